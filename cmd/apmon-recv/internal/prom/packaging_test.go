package prom

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/procinfo"
)

// packaged returns the rules of packaging/receiver.yaml.
func packaged(t testing.TB) Options {
	t.Helper()
	b, err := os.ReadFile("../../../../packaging/receiver.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Options      `yaml:",inline"`
		Listen, HTTP string // settings of others
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&config); err != nil {
		t.Fatal(err)
	}
	return config.Options
}

// unmapped returns the lines of a scrape that no rule has mapped, and the series left out.
func unmapped(s *testStore, text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, paramMetric+"{") {
			lines = append(lines, line)
		}
	}
	if u := s.Unexported(); u != (Unexported{}) {
		lines = append(lines, fmt.Sprintf("%+v", u))
	}
	return lines
}

var unit = regexp.MustCompile(`_(bytes|seconds|ratio|hertz)(_total|_per_second|_mean|_peak)*$`)

// checkUnit checks that a parameter has the base unit, and the scale, of its unit.
func checkUnit(t *testing.T, rs *rules, cluster, param, of string) {
	t.Helper()
	s := newTestStore(t, Options{})
	s.Exporter.rules.Store(rs)
	s.offer(cluster, "N", number(param, 1000))
	for line := range strings.Lines(s.values(t, plainText)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, "{")
		value := rest[strings.LastIndex(rest, " ")+1:]
		base := ""
		if m := unit.FindStringSubmatch(name); m != nil {
			base = m[1]
		}
		want, ok := map[string][2]string{
			"%": {"ratio", "10"}, "KB": {"bytes", "1024000"}, "MB": {"bytes", "1048576000"}, "KB/s": {"bytes", "1024000"},
			"bytes": {"bytes", "1000"}, "s": {"seconds", "1000"}, "ms": {"seconds", "1"}, "days": {"seconds", "86400000"},
			"MHz": {"hertz", "1000000000"}, "bit/s": {"bytes", "125"}, "unix s": {"seconds", "1000"}, "0 to 1": {"ratio", "1000"},
		}[of]
		if !ok {
			want = [2]string{"", "1000"}
		}
		if base != want[0] || strings.TrimSpace(value) != want[1] {
			t.Errorf("%s (%s): %s", param, of, line)
		}
		if strings.HasSuffix(of, "/s") && !strings.Contains(name, "_per_second") && param != "go_gc_pause_R" {
			t.Errorf("%s (%s): %s", param, of, line)
		}
	}
}

// eachParameter visits the parameters in the tables of the packages, under clusters and nodes
// that send them, with their unit.
func eachParameter(visit func(cluster, node, name, unit string, text bool)) {
	add := func(cluster, node, name, unit string, text bool) {
		visit(cluster, node, strings.Replace(name, "IF_", "eth0.1_", 1), unit, text)
	}
	for _, m := range procinfo.Metrics() {
		names := []string{m.Name}
		for _, a := range m.Aliases {
			if !slices.Contains(names, a.Name) {
				names = append(names, a.Name)
			}
		}
		for _, name := range names {
			// The other spelling of a parameter is sent by other nodes.
			node := fmt.Sprint("N", slices.Index(names, name))
			if m.Category == "job" {
				add("Site_Services", node, name, m.Unit, m.Text)
				if m.Name != "up" && m.Name != "restarts" {
					add(apmon.DefaultJobCluster, node, name, m.Unit, m.Text)
					add("Site_Jobs", node, name, m.Unit, m.Text)
				}
			} else {
				add(apmon.DefaultHostCluster, node, name, m.Unit, m.Text)
				add("Site_Nodes", node, name, m.Unit, m.Text)
			}
		}
	}
	for _, m := range httpstats.Metrics() {
		add("Site_Services", "web", httpstats.DefaultPrefix+m.Name, m.Unit, false)
	}
	for _, name := range []string{"client_count", "requests", "requests_R", "unmatched", "late", "bad_lines", "windows_lost", "truncated"} {
		add("Site_Streams", "N", name, "", false)
	}
	add("Site_Streams", "N", "bytes_sent", "bytes", false)
	add("Site_Streams", "N", "bytes_sent_R", "bytes", false)
	for _, name := range []string{"lostDatagrams", "lostDatagrams_R", "receivedDatagrams", "receivedDatagrams_R", "activeSenders"} {
		add("ApMon_Receiver", "N", "ApMon_8884_"+name, "", false)
	}
}

// Each parameter in the tables of the packages has a rule, and a base unit.
func TestPackagedRulesAreComplete(t *testing.T) {
	t.Parallel()
	o := packaged(t)
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	rs, _ := newRules(o)
	s := newTestStore(t, o)
	eachParameter(func(cluster, node, name, unit string, text bool) {
		if !text {
			s.offer(cluster, node, number(name, 1))
			checkUnit(t, rs, cluster, name, unit)
		}
	})
	text := s.scrape(t, plainText)
	if lines := unmapped(s, text); len(lines) > 0 {
		t.Errorf("without a rule:\n%s", strings.Join(lines, ""))
	}
	promtool(t, text)
	for _, r := range rs.list {
		if r.family != nil && r.family.help == "" {
			t.Errorf("%v: no help", r)
		}
	}
}
