package procinfo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestUsageStat(t *testing.T) {
	t.Parallel()
	const stat = "17 (a) R (b) S 1 17 17 0 -1 4194560 100 0 0 0 250 125 0 0 20 0 9 0 1000 8192 3 18446744073709551615 0 0\n"
	page := float64(os.Getpagesize())
	for _, tt := range []struct {
		name, stat string
		since      float64
		want       Usage
	}{
		{"whole", stat, 30, Usage{Uptime: Known(20), UserTime: Known(2.5), SystemTime: Known(1.25),
			Threads: Known(9), VSZ: Known(8192), RSS: Known(3 * page)}},
		{"clock before the start", stat, 5, Usage{UserTime: Known(2.5), SystemTime: Known(1.25),
			Threads: Known(9), VSZ: Known(8192), RSS: Known(3 * page)}},
		{"cut short", stat[:strings.Index(stat, "250")+3], 30, Usage{}},
		{"negative", strings.Replace(stat, " 250 125 ", " -1 x ", 1), -1, Usage{}},
		{"nothing", "", 30, Usage{}},
		{"no fields", "17 (a)", 30, Usage{}},
	} {
		var p Usage
		p.setStat([]byte(tt.stat), time.Duration(tt.since*float64(time.Second)))
		if p != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, p, tt.want)
		}
	}
}

func FuzzUsage(f *testing.F) {
	f.Add([]byte("17 (a) R (b) S 1 17 17 0 -1 4194560 100 0 0 0 250 125 0 0 20 0 9 0 1000 8192 3 0"), int64(30*time.Second))
	f.Fuzz(func(t *testing.T, b []byte, since int64) {
		var p Usage
		p.setStat(b, time.Duration(since))
		if p.Uptime.OK && !(p.Uptime.V >= 0) || p.RSS.OK && p.RSS.V < 0 {
			t.Errorf("%+v", p)
		}
	})
}

func TestOpenFiles(t *testing.T) {
	t.Parallel()
	if got := openFiles(t.TempDir()); got.OK {
		t.Errorf("no directory: %v", got)
	}
	if got := openFiles("/proc"); !got.OK || got.V < 3 {
		t.Errorf("own: %v", got)
	}
}

func TestWithoutProc(t *testing.T) {
	t.Parallel()
	p := readUsage(t.TempDir())
	if p != (Usage{}) {
		t.Errorf("%+v", p)
	}
}

// The resident memory of statm is exact, that of stat is too low.
func TestProcessRSS(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	dir := filepath.Join(proc, "self")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	stat := "10 (a) S 1 10 10 0 -1 4194560 10 0 2 0 30 40 0 0 20 0 1 0 1000 1048576 100 18446744073709551615 0\n"
	for name, content := range map[string]string{"stat": stat, "statm": "256 128 40 1 0 60 0\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := readUsage(proc)
	if want := float64(128 * os.Getpagesize()); p.RSS.V != want || p.VSZ.V != 1048576 {
		t.Errorf("RSS %v, VSZ %v, want %v and 1048576", p.RSS, p.VSZ, want)
	}
}
