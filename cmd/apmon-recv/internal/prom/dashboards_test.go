package prom

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/nats"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/internal/testkit/prometheus"
	"github.com/apmon-go/apmon/xdr"
)

const packaging = "../../../../packaging/"

// everything returns an exporter with all that we send, mapped by packaging/receiver.yaml, and
// all metrics of the receiver itself.
func everything(t *testing.T) *testStore {
	t.Helper()
	in, err := nats.NewConsumer(nats.ConsumeOptions{Server: nats.Server{URL: "nats://127.0.0.1:4222"}}, nats.Handler{})
	if err != nil {
		t.Fatal(err)
	}
	store := history.New(history.Options{MaxSeries: 10000, MaxBytes: 1 << 30})
	e, err := New(store, packaged(t), Sources{
		Receiver: func() receiver.Stats { return receiver.Stats{KernelKnown: true} },
		Inputs:   func() []*nats.Consumer { return []*nats.Consumer{in} },
		Filtered: func() (datagrams, params uint64) { return 0, 0 },
		Outputs: func() []output.Stats {
			return []output.Stats{{Output: "relay", Dropped: map[string]uint64{output.QueueFull: 1}, Hold: time.Second}}
		},
		Windows: func() history.WindowStats { return history.WindowStats{MaxBytes: 1} },
		Reload:  func() (bool, time.Time) { return true, time.Now() },
		Version: "1.2.3",
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &testStore{store, e, time.Now()}
	eachParameter(func(cluster, node, name, unit string, text bool) {
		if text {
			s.offer(cluster, node, xdr.String(name, "text"))
		} else {
			s.offer(cluster, node, number(name, 1))
		}
	})
	// The runtime of a program has no table: take what a program reports.
	reg := metrics.New()
	t.Cleanup(func() { _ = reg.Close() })
	reg.AddRuntime()
	reader := reg.NewReader()
	testkit.Eventually(t, "a pause and a delay of the runtime", func() bool {
		runtime.GC()
		values, err := reader.Read()
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			s.offer("Site_Services", "web", values[i].Param)
		}
		has := func(name string) bool {
			return slices.ContainsFunc(values, func(v metrics.Value) bool { return v.Name == name })
		}
		return has("go_gc_pause_max") && has("go_sched_latency_max")
	})
	return s
}

// exported returns the labels of each metric of an exposition.
func exported(text string) map[string]map[string]bool {
	labels := map[string]map[string]bool{}
	for line := range strings.Lines(text) {
		m := sampleLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		if labels[m[1]] == nil {
			labels[m[1]] = map[string]bool{"job": true, "instance": true} // Prometheus adds them
		}
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[2], -1) {
			labels[m[1]][l[1]] = true
		}
	}
	return labels
}

// dashboard is the part of a dashboard of Grafana that the tests check.
type dashboard struct {
	ID, UID       any
	Title         string
	SchemaVersion int
	Tags          []string
	Templating    struct{ List []variable }
	Panels        []panel
}

type variable struct {
	Name, Type string
	Query      any // of the type query: an object with the query
	Datasource source
}

type source struct{ Type, UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               source
	FieldConfig              struct {
		Defaults struct {
			Unit     string
			Mappings []any
		}
	}
	Targets []struct{ RefID, Expr, LegendFormat string }
}

func readDashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(packaging + "grafana/dashboard-*.json")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = d
	}
	return all
}

// Dashboards can be imported in any Grafana of today: they have no identity of their own, take
// the data source from a variable, name units that Grafana knows, and panels do not overlap.
func TestDashboardsAreWellFormed(t *testing.T) {
	t.Parallel()
	units := []string{"short", "none", "percentunit", "bytes", "Bps", "s", "ops", "reqps"}
	titles := map[string]bool{}
	for name, d := range readDashboards(t) {
		if d.ID != nil || d.UID != nil || d.SchemaVersion < 42 || titles[d.Title] || !slices.Equal(d.Tags, []string{"apmon"}) {
			t.Errorf("%s: id %v, uid %v, schemaVersion %d, title %q, tags %q", name, d.ID, d.UID, d.SchemaVersion, d.Title, d.Tags)
		}
		titles[d.Title] = true
		for i, v := range d.Templating.List {
			if i == 0 && (v.Name != "datasource" || v.Type != "datasource" || v.Query != "prometheus") {
				t.Errorf("%s: the first variable is %+v", name, v)
			}
			if i > 0 && (v.Type != "query" || v.Datasource != source{"prometheus", "${datasource}"}) {
				t.Errorf("%s: variable %+v", name, v)
			}
		}
		ids, cells := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			if ids[p.ID] || p.Title == "" {
				t.Errorf("%s: panel %d, title %q", name, p.ID, p.Title)
			}
			ids[p.ID] = true
			g := p.GridPos
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: %s overlaps %s or the margin", name, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			unit := p.FieldConfig.Defaults
			if len(p.Targets) == 0 || p.Datasource != (source{"prometheus", "${datasource}"}) ||
				p.Type != "table" && len(unit.Mappings) == 0 && !slices.Contains(units, unit.Unit) {
				t.Errorf("%s: panel %s: %+v", name, p.Title, p)
			}
		}
	}
}

// Parts of PromQL. There is no parser here: that of Prometheus would bring many modules for
// this test. Prometheus itself reads the expressions in TestDashboardsAnswer and TestAlertRules.
var (
	quoted      = regexp.MustCompile(`"[^"]*"`)
	selector    = regexp.MustCompile(`([a-zA-Z_]\w*)\{([^}]*)\}`)
	matcher     = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouping    = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	duration    = regexp.MustCompile(`\[[^\]]*\]`)
	identifier  = regexp.MustCompile(`[a-zA-Z_]\w*\s*\(?`)
	placeholder = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?([a-z_]\w*)\s*\}\}`)
	words       = []string{"and", "or", "unless", "bool", "offset"}
)

// checkExpr checks that an expression names only metrics and labels that are exported, and that
// groupings, and texts with {{label}} beside it, name only labels of the first metric. It
// returns the metrics.
func checkExpr(labels map[string]map[string]bool, expr string, texts ...string) (metrics []string, err error) {
	bare := quoted.ReplaceAllString(expr, `""`)
	for _, m := range selector.FindAllStringSubmatch(bare, -1) {
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !labels[m[1]][l[1]] {
				return nil, fmt.Errorf("%s: %s has no label %s", expr, m[1], l[1])
			}
		}
	}
	var used []string // labels of the first metric, which the result has
	for _, m := range grouping.FindAllStringSubmatch(bare, -1) {
		used = append(used, strings.FieldsFunc(m[1], func(c rune) bool { return c == ',' || c == ' ' })...)
	}
	for _, s := range texts {
		for _, m := range placeholder.FindAllStringSubmatch(s, -1) {
			used = append(used, m[1])
		}
	}
	bare = grouping.ReplaceAllString(bare, "")
	bare = duration.ReplaceAllString(bare, "")
	bare = selector.ReplaceAllString(bare, "$1")
	for _, m := range identifier.FindAllString(bare, -1) {
		if m = strings.TrimSpace(m); strings.HasSuffix(m, "(") || slices.Contains(words, m) {
			continue
		}
		if labels[m] == nil {
			return nil, fmt.Errorf("%s: %s is not exported", expr, m)
		}
		metrics = append(metrics, m)
	}
	if metrics == nil {
		return nil, fmt.Errorf("%s: no metric", expr)
	}
	for _, l := range used {
		if !labels[metrics[0]][l] {
			return nil, fmt.Errorf("%s: %s has no label %s, which it or %q uses", expr, metrics[0], l, texts)
		}
	}
	return metrics, nil
}

func TestCheckExpr(t *testing.T) {
	t.Parallel()
	labels := exported("a_total{x=\"1\",y=\"2\"} 1\nb{x=\"1\"} 1\nc 2\n")
	for _, good := range []string{`a_total{x=~"$z, q=", y!="b{"}`, `sum by (x, instance) (rate(a_total[5m])) / on (x) b > 0.5`, `b{x="1"} and c or vector(0)`} {
		if _, err := checkExpr(labels, good, "{{x}} {{ $value | humanize }}"); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{`d`, `sum(d{x="1"})`, `b{y="1"}`, `sum by (y) (b)`, `b unless on (y) a_total`, `vector(1)`, `rate(a[5m])`} {
		if m, err := checkExpr(labels, bad); err == nil {
			t.Errorf("%s: %q", bad, m)
		}
	}
	if _, err := checkExpr(labels, "b", "{{ $labels.y }}"); err == nil {
		t.Error("a label of a text")
	}
}

var labelValues = regexp.MustCompile(`label_values\((.*), (\w+)\)`)

// Each expression of a dashboard names metrics and labels that are exported.
func TestDashboardsNameExportedMetrics(t *testing.T) {
	t.Parallel()
	labels := exported(everything(t).scrape(t, plainText))
	for name, d := range readDashboards(t) {
		used := map[string]bool{}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				found, err := checkExpr(labels, target.Expr, target.LegendFormat)
				if err != nil {
					t.Errorf("%s: %s: %v", name, p.Title, err)
				}
				for _, m := range found {
					used[m] = true
				}
			}
		}
		for _, v := range d.Templating.List[1:] {
			m := labelValues.FindStringSubmatch(fmt.Sprint(v.Query))
			if m == nil {
				t.Errorf("%s: variable %s: %v", name, v.Name, v.Query)
			} else if _, err := checkExpr(labels, m[1], "{{"+m[2]+"}}"); err != nil {
				t.Errorf("%s: variable %s: %v", name, v.Name, err)
			}
		}
		if len(used) < 15 {
			t.Errorf("%s: only %d metrics", name, len(used))
		}
	}
}

// The real Prometheus has an answer to each expression of a dashboard.
func TestDashboardsAnswer(t *testing.T) {
	t.Parallel()
	s := everything(t)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	query := prometheus.Start(t, strings.TrimPrefix(server.URL, "http://"), "/metrics")
	variables := strings.NewReplacer("$cluster", ".*", "$node", ".*", "$instance", ".*", "$stream", ".*", "$__rate_interval", "1h", "$__range", "1h")
	for name, d := range readDashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				expr := variables.Replace(target.Expr)
				testkit.Eventually(t, fmt.Sprintf("an answer for %s, %s: %s", name, p.Title, expr), func() bool {
					return query(expr) != ""
				})
			}
		}
	}
}

// Each alert names metrics and labels that are exported.
func TestAlertsNameExportedMetrics(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(packaging + "prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(b, &file); err != nil || len(file.Groups) != 1 {
		t.Fatalf("%+v, %v", file, err)
	}
	labels := exported(everything(t).scrape(t, plainText))
	for _, r := range file.Groups[0].Rules {
		if _, err := checkExpr(labels, r.Expr, r.Annotations["summary"], r.Annotations["description"]); err != nil || r.Annotations["summary"] == "" {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
}

// Prometheus accepts the alert rules, and they fire when packaging/prometheus/alerts_test.yaml
// says so.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool here: install Debian's package prometheus")
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		cmd := exec.Command(path, args...)
		cmd.Dir = packaging + "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "SUCCESS") {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
