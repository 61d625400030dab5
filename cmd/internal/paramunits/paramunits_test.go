package paramunits

import (
	"os"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/quantity"
)

// TestDocumentedParameters: each parameter of our documents has its unit and meaning, in which
// its values can be shown.
func TestDocumentedParameters(t *testing.T) {
	t.Parallel()
	found := 0
	for file, column := range map[string]int{"parameters.md": 2, "httpstats.md": 1, "metrics.md": 1} {
		text, err := os.ReadFile("../../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			cells := strings.Split(line, "|")
			if len(cells) < column+4 {
				continue
			}
			unit := strings.TrimSpace(cells[column+1])
			var base string
			for name := range strings.SplitSeq(cells[column], ",") {
				name = strings.TrimSpace(name)
				switch {
				case strings.HasPrefix(name, "---"), name == "sent as", name == "…", strings.HasPrefix(name, "NAME") && unit == "":
					continue
				case strings.HasPrefix(name, "_"):
					name = strings.TrimSuffix(base, "_sum") + name
				default:
					name = strings.Replace(name, "IF_", "enp3s0_", 1)
					name = strings.Replace(name, "NAME", "lookups", 1)
					base = name
				}
				if name == "lookups" || name == "go_gc_pause_cnt" {
					continue
				}
				found++
				got, meaning := Unit(name)
				if want := strings.TrimSuffix(unit, "text"); got != want || meaning == "" {
					t.Errorf("%s: %s: %q %q, want %q", file, name, got, meaning, want)
				}
				if s := quantity.String(12.5, got); s == "" {
					t.Errorf("%s: no text", name)
				}
			}
		}
	}
	if found < 200 {
		t.Errorf("%d parameters found", found)
	}
}

func TestUnit(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"rss": "KB", "eth0_in": "KB/s", "eth0.100_errs": "count", "logged_in": "", "_in": "", "swap_in": "pages/s", "blocks_in_R": "KB/s", "interrupts_R": "1/s",
		"lookup_cnt_R": "1/s", "cache_hit_percent": "%", "_R": "", "http_current_bitrate": "bit/s", "go_gc_pause_avg": "ms", "go_gc_pause_cnt": "count", "go_gc_pause_R": "ms/s", "go_sched_latency_max": "ms", "my_value": "", "": "", "uptime": "days", "bytes_sent_R": "bytes/s", "eth0_ip": "", "request_time_p90": "ms", "top_url_3_bytes": "bytes", "top_client_10_bytes": "bytes", "top_1x2_": "", "top_x_3": "",
	} {
		if got, _ := Unit(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
