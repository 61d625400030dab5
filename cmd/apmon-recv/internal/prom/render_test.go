package prom

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func TestWithoutRules(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{})
	s.offer("C", "N", number("a", 1.5), number("b", math.NaN()), number("c", math.Inf(-1)), xdr.String("text", "x"))
	s.offer("C", "N \"\\\n\xff", number("é", 2))
	lines := []string{
		`apmon_param{cluster="C",node="N",param="a"} 1.5`,
		`apmon_param{cluster="C",node="N",param="b"} NaN`,
		`apmon_param{cluster="C",node="N",param="c"} -Inf`,
		`apmon_param{cluster="C",node="N \"\\\n\\xff",param="é"} 2`,
	}
	for f := range formats {
		text := s.scrape(t, f)
		for _, line := range lines {
			if strings.Count(text, line+"\n") != 1 {
				t.Errorf("not once: %s\n%s", line, text)
			}
		}
		typ := [formats]string{"untyped", "unknown"}[f]
		if !strings.Contains(text, "# TYPE apmon_param "+typ+"\n") || strings.Contains(text, "text") && strings.Contains(text, `param="text"`) {
			t.Errorf("%s", text)
		}
		seen := fmt.Sprintf("apmon_node_last_seen_timestamp_seconds{cluster=\"C\",node=\"N\"} %s\n", appendSeconds(nil, s.now.UnixMilli()))
		if !strings.Contains(text, seen) {
			t.Errorf("no %s in\n%s", seen, text)
		}
		if n := s.parse(t, text, f); n[paramMetric] != 4 || n[lastSeenMetric] != 2 || n["apmon_recv_series"] != 1 {
			t.Errorf("%v", n)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{Metrics: []Rule{
		{Param: "mem_free", Name: "mem_bytes", Help: "Say \"mem\"\\.\nMore.", Labels: map[string]string{"kind": "free"}, Scale: 1024},
		{Param: "mem_*", Name: "mem_bytes", Labels: map[string]string{"kind": "$1"}, Scale: 1024},
		{Cluster: "*_Jobs", Param: "*_time", Name: "job_seconds_total", Type: "counter", Labels: map[string]string{"site": "$1", "what": "$2", "all": "$cluster/$node/$param"}},
		{Param: "os_type", Name: "os_info", Type: "info", ValueLabel: "os", Help: "System."},
		{Param: "secret*", Drop: true},
		{Param: "*_R", Name: "app_${1}_per_second", Help: "Rate."},
	}})
	s.offer("A_Jobs", "1", number("mem_free", 2), number("mem_used", 3), number("cpu_time", 7), number("run_time", -1),
		number("other", 5), xdr.String("os_type", "Debian \"12\""), xdr.String("note", "x"), xdr.String("mem_x", "y"),
		number("secret1", 1), number("page hits_R", 4), number("9_R", 5))
	compareText(t, s.values(t, plainText),
		`apmon_param{cluster="A_Jobs",node="1",param="other"} 5`,
		`# HELP app_9_per_second Rate.`,
		`# TYPE app_9_per_second gauge`,
		`app_9_per_second{cluster="A_Jobs",node="1"} 5`,
		`# HELP app_page_hits_per_second Rate.`,
		`# TYPE app_page_hits_per_second gauge`,
		`app_page_hits_per_second{cluster="A_Jobs",node="1"} 4`,
		`# HELP job_seconds_total ApMon parameters that a rule maps.`,
		`# TYPE job_seconds_total counter`,
		`job_seconds_total{cluster="A_Jobs",node="1",all="A_Jobs/1/cpu_time",site="A",what="cpu"} 7`,
		`# HELP mem_bytes Say "mem"\\.\nMore.`,
		`# TYPE mem_bytes gauge`,
		`mem_bytes{cluster="A_Jobs",node="1",kind="free"} 2048`,
		`mem_bytes{cluster="A_Jobs",node="1",kind="used"} 3072`,
		`# HELP os_info System.`,
		`# TYPE os_info gauge`,
		`os_info{cluster="A_Jobs",node="1",os="Debian \"12\""} 1`,
	)
	if u := s.Unexported(); u != (Unexported{Value: 2}) {
		t.Errorf("%+v", u)
	}
	om := s.values(t, openMetrics)
	for _, head := range []string{
		"# HELP job_seconds ApMon parameters that a rule maps.\n# TYPE job_seconds counter\njob_seconds_total{",
		"# HELP mem_bytes Say \\\"mem\\\"\\\\.\\nMore.\n# TYPE mem_bytes gauge\nmem_bytes{",
		"# HELP os System.\n# TYPE os info\nos_info{",
	} {
		if !strings.Contains(om, head) {
			t.Errorf("no %q in\n%s", head, om)
		}
	}
	s.parse(t, s.scrape(t, openMetrics), openMetrics)
}

// A text becomes another, and a number.
func TestInfoFollowsItsParameter(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{Metrics: []Rule{{Param: "v", Name: "v_info", Type: "info"}}})
	head := []string{`# HELP v_info ApMon parameters that a rule maps.`, `# TYPE v_info gauge`}
	for _, c := range []struct {
		param xdr.Param
		want  string
	}{{xdr.String("v", "1.0"), "1.0"}, {xdr.String("v", "1.1"), "1.1"}, {xdr.Int("v", 2), "2"}} {
		s.offer("C", "N", c.param)
		compareText(t, s.values(t, plainText), append(head, `v_info{cluster="C",node="N",value="`+c.want+`"} 1`)...)
	}
}

func TestFirstMatchWins(t *testing.T) {
	t.Parallel()
	// The kind of a pattern does not matter, nor does it whether it is a literal.
	s := newTestStore(t, Options{Metrics: []Rule{
		{MatchType: "regex", Param: "a[0-9]+b?", Name: "first"},
		{Param: "a1*", Name: "second"},
	}})
	s.offer("C", "N", number("a1", 1))
	s.offer("C", "M", number("a1x", 2))
	compareText(t, s.values(t, plainText),
		"# HELP first ApMon parameters that a rule maps.", "# TYPE first gauge", `first{cluster="C",node="N"} 1`,
		"# HELP second ApMon parameters that a rule maps.", "# TYPE second gauge", `second{cluster="C",node="M"} 2`,
	)
	s = newTestStore(t, Options{Metrics: []Rule{
		{Cluster: "D", Param: "a", Name: "one"},
		{Cluster: "C*", Param: "*", Name: "two", Labels: map[string]string{"p": "$2"}},
		{Param: "a", Name: "three"},
	}})
	s.offer("C", "N", number("a", 1))
	s.offer("D", "N", number("a", 2))
	s.offer("E", "N", number("a", 3))
	compareText(t, s.values(t, plainText),
		"# HELP one ApMon parameters that a rule maps.", "# TYPE one gauge", `one{cluster="D",node="N"} 2`,
		"# HELP three ApMon parameters that a rule maps.", "# TYPE three gauge", `three{cluster="E",node="N"} 3`,
		"# HELP two ApMon parameters that a rule maps.", "# TYPE two gauge", `two{cluster="C",node="N",p="a"} 1`,
	)
}

func TestReload(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{})
	s.offer("C", "N", number("a", 1))
	plain := `apmon_param{cluster="C",node="N",param="a"} 1`
	compareText(t, s.values(t, plainText), plain)
	if err := s.SetOptions(Options{Metrics: []Rule{{Param: "a", Name: "a_info"}}}); err == nil {
		t.Error("no error")
	}
	compareText(t, s.values(t, plainText), plain)
	for _, scale := range []float64{2, 3} {
		if err := s.SetOptions(Options{Metrics: []Rule{{Param: "*", Name: "x", Labels: map[string]string{"p": "$1"}, Scale: scale}}}); err != nil {
			t.Fatal(err)
		}
		before := s.Store.Stats().Bytes
		compareText(t, s.values(t, plainText), "# HELP x ApMon parameters that a rule maps.", "# TYPE x gauge",
			fmt.Sprintf(`x{cluster="C",node="N",p="a"} %v`, scale))
		if after := s.Store.Stats().Bytes; scale == 3 && after != before || scale == 2 && after <= before {
			t.Errorf("scale %v: memory %d, then %d", scale, before, after)
		}
	}
	if err := s.SetOptions(Options{}); err != nil {
		t.Fatal(err)
	}
	compareText(t, s.values(t, plainText), plain)
}

// Two parameters of a node with one name and the same labels: the first is exported, the
// other when the first has ended. Other series are not affected.
func TestClash(t *testing.T) {
	t.Parallel()
	for _, labels := range []map[string]string{nil, {"l": "${1}"}} {
		s := newTestStore(t, Options{Metrics: []Rule{{MatchType: "regex", Param: "(a)[0-9]", Name: "a", Labels: labels}}})
		extra := ""
		if labels != nil {
			extra = `,l="a"`
		}
		s.now = s.now.Add(-history.DefaultExpire / 2)
		s.offer("C", "N", number("a1", 1))
		s.now = time.Now()
		s.offer("C", "N", number("a2", 2), number("other", 3))
		s.offer("C", "M", number("a3", 4))
		s.offer("C", "M", number("a4", 5))
		for range 2 {
			text := s.values(t, plainText)
			for _, line := range []string{
				`apmon_param{cluster="C",node="N",param="other"} 3`,
				`a{cluster="C",node="M"` + extra + `} 4`,
				`a{cluster="C",node="N"` + extra + `} 1`,
			} {
				if !strings.Contains(text, line+"\n") {
					t.Errorf("no %s in\n%s", line, text)
				}
			}
			s.parse(t, s.scrape(t, plainText), plainText)
			u := s.Unexported()
			if u.Clash != 2 || !strings.Contains(u.Example, "cluster C, node ") {
				t.Errorf("%+v", u)
			}
		}
		s.Each(time.Now().Add(history.DefaultExpire/2+time.Minute), func(*history.Node) {}) // a1 ends
		if text := s.values(t, plainText); !strings.Contains(text, `a{cluster="C",node="N"`+extra+"} 2\n") {
			t.Errorf("a2 does not take its place:\n%s", text)
		}
		if u := s.Unexported(); u.Clash != 1 {
			t.Errorf("%+v", u)
		}
	}
}

// A name from captures that another rule has with other labels.
func TestConflict(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{Metrics: []Rule{
		{Param: "x", Name: "app_a", Labels: map[string]string{"l": "1"}},
		{Param: "*_R", Name: "app_$1"},
		{Param: "g*", Name: "$1"},
	}})
	s.offer("C", "N", number("a_R", 1), number("b_R", 2), number("gapmon_recv_x", 3), number("gapmon_param", 4), number("gapp_b", 5))
	text := s.values(t, plainText)
	compareText(t, text, "# HELP app_b ApMon parameters that a rule maps.", "# TYPE app_b gauge", `app_b{cluster="C",node="N"} 2`)
	if u := s.Unexported(); u.Conflict != 3 || u.Clash != 1 {
		t.Errorf("%+v", u)
	}
	// A metric that is gone leaves nothing behind.
	rs := s.Exporter.rules.Load()
	families := len(rs.order)
	for i := range 10 {
		s.Each(time.Now().Add(time.Duration(i)*time.Hour), func(*history.Node) {})
		s.offer("C", "N", number(fmt.Sprintf("new%d_R", i), 1))
		if text := s.values(t, plainText); !strings.Contains(text, fmt.Sprintf("app_new%d{", i)) {
			t.Errorf("%s", text)
		}
		s.Each(time.Now().Add(time.Hour), func(*history.Node) {})
	}
	s.scrape(t, plainText)
	if len(rs.order) >= families || len(rs.families) != len(rs.order) {
		t.Errorf("%d families, %d in order, %d at first", len(rs.families), len(rs.order), families)
	}
}

func TestExpireOfARule(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{Metrics: []Rule{{Param: "a", Name: "a", Expire: 10 * time.Second}}})
	s.now = s.now.Add(-9 * time.Second)
	s.offer("C", "N", number("a", 1), number("b", 2))
	if !strings.Contains(s.values(t, plainText), "a{") {
		t.Error("no a")
	}
	s.Each(s.now.Add(10*time.Second), func(*history.Node) {})
	compareText(t, s.values(t, plainText), `apmon_param{cluster="C",node="N",param="b"} 2`)
	s.Each(s.now.Add(history.DefaultExpire), func(*history.Node) {})
	if text := s.scrape(t, plainText); strings.Contains(text, lastSeenMetric) {
		t.Errorf("%s", text)
	}
}

func TestTimestamps(t *testing.T) {
	t.Parallel()
	rule := Rule{Param: "a", Name: "a"}
	for _, all := range []bool{false, true} {
		rule.Timestamps = !all
		s := newTestStore(t, Options{Timestamps: all, Metrics: []Rule{rule}})
		ms := s.now.UnixMilli()
		s.Offer("C", "M", []xdr.Param{number("a", 1), number("b", 2)}, s.now, 1_700_000_000)
		s.offer("C", "N", number("a", 3))
		for f, want := range [formats][2]string{
			{" 1700000000000", fmt.Sprintf(" %d", ms)},
			{" 1700000000", " " + string(appendSeconds(nil, ms))},
		} {
			text := s.values(t, format(f))
			b := ""
			if all {
				b = want[0]
			}
			for _, line := range []string{
				`a{cluster="C",node="M"} 1` + want[0], `a{cluster="C",node="N"} 3` + want[1],
				`apmon_param{cluster="C",node="M",param="b"} 2` + b,
			} {
				if !strings.Contains(text, line+"\n") {
					t.Errorf("no %s in\n%s", line, text)
				}
			}
			s.parse(t, s.scrape(t, format(f)), format(f))
		}
	}
}

// The labels of mapped series are within the memory of the store.
func TestMemoryOfLabels(t *testing.T) {
	t.Parallel()
	store := history.New(history.Options{MaxBytes: 1 << 20})
	e, err := New(store, Options{Metrics: []Rule{{Param: "*", Name: "x", Labels: map[string]string{"p": "$1", "q": "$1$1$1$1"}}}}, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	s := &testStore{store, e, time.Now()}
	for i := range 100 {
		s.offer("C", "N", number(fmt.Sprint(i, strings.Repeat("x", 8000)), 1))
	}
	before := store.Stats()
	s.parse(t, s.scrape(t, plainText), plainText)
	u, after := s.Unexported(), store.Stats()
	if before.Series != 100 || after.Series != 100 || u.Memory == 0 || u.Memory == 100 || after.Bytes > 1<<20 {
		t.Errorf("%+v, %+v", u, after)
	}
}

// Ten times as many families as chunks, long lines among short ones: all is written once.
func TestRenderingIsWhole(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{Metrics: []Rule{{Param: "x*", Name: "x_$1", Labels: map[string]string{"p": "$1"}}}})
	want := 0
	for i := range 40 {
		long := strings.Repeat("é\"", 1+i%7)
		if i%10 == 0 {
			long = strings.Repeat("é\"", 10_000)
		}
		s.offer(fmt.Sprint("C", i%20, long), fmt.Sprint("N", i), number("a", 1), number(fmt.Sprint("x", i%50), 2), number("b"+long[:len(long)/3*3], 3))
		want += 3
	}
	for range 2 {
		got := 0
		for name, n := range s.parse(t, s.scrape(t, plainText), plainText) {
			if name == paramMetric || strings.HasPrefix(name, "x_") {
				got += n
			}
		}
		if got != want {
			t.Errorf("%d samples, want %d", got, want)
		}
	}
}

// No output of the receiver itself may stand in the way of a scrape.
func TestPromtoolIsSilent(t *testing.T) {
	t.Parallel()
	s := newTestStore(t, Options{Metrics: []Rule{
		{Param: "a", Name: "a_total", Type: "counter", Help: "A."},
		{Param: "v", Name: "v_info", Type: "info"},
	}})
	s.offer("C\x00\r\x7f\u2028\uFEFF", "N\xff\"\\\n", number("a", 1), number("b", math.Inf(1)), xdr.String("v", "\\n"))
	promtool(t, s.scrape(t, plainText))
}

// A hundred thousand series: 50 ms and 1 MB of allocation is the bar. The floor is to copy
// the labels and to format the numbers, with a line in the cache.
func BenchmarkScrape(b *testing.B) {
	b.Run("floor", func(b *testing.B) {
		labels := `apmon_param{cluster="Some_Cluster",node="node1234.example.org",param="parameter_1"} `
		var line []byte
		cpu := cpuTime()
		for b.Loop() {
			for i := range 100_000 {
				line = append(line[:0], labels...)
				line = strconv.AppendFloat(line, float64(i/10)+float64(i%10)/7, 'g', -1, 64)
				line = append(line, '\n')
			}
		}
		b.ReportMetric((cpuTime()-cpu).Seconds()*1000/float64(b.N), "cpu-ms/op")
	})
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"apmon_param", Options{}},
		{"mapped", Options{Metrics: []Rule{{Param: "parameter_*", Name: "parameter", Labels: map[string]string{"p": "$1"}, Scale: 1024}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newTestStore(b, c.o)
			s.fill(100_000)
			w := newDiscard()
			req := newRequest()
			s.ServeHTTP(w, req)
			b.SetBytes(int64(w.n))
			b.ReportAllocs()
			cpu := cpuTime()
			for b.Loop() {
				s.ServeHTTP(w, req)
			}
			b.ReportMetric((cpuTime()-cpu).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}

func TestAllocationOfAScrape(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	s := newTestStore(t, Options{Metrics: []Rule{{Param: "parameter_[0-4]", MatchType: "regex", Name: "parameter", Labels: map[string]string{"p": "$param"}}}})
	s.fill(100_000)
	w, req := newDiscard(), newRequest()
	s.ServeHTTP(w, req)
	if w.n < 5_000_000 {
		t.Fatalf("%d bytes", w.n)
	}
	testkit.Retry(t, func(t testing.TB) {
		got := allocated(func() { s.ServeHTTP(w, req) })
		t.Logf("%d bytes allocated", got)
		if got > 1<<20 {
			t.Errorf("%d bytes allocated", got)
		}
	})
}
