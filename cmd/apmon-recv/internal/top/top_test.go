package top

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/cmd/internal/paramunits"
	"github.com/apmon-go/apmon/cmd/internal/readable"
	"github.com/apmon-go/apmon/internal/dashboard"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// farm is what a dashboard shows.
type farm struct {
	*dashboard.Dashboard
	windows *history.Windows
	totals  dashboard.Totals
}

func newFarm(t testing.TB) *farm {
	f := &farm{windows: history.NewWindows(history.WindowOptions{})}
	f.Dashboard = dashboard.New(dashboard.Source{
		Windows: f.windows, Totals: func() dashboard.Totals { return f.totals },
		Units: paramunits.Unit, Name: "apmon-recv", Host: "h",
	}, page.Options{})
	t.Cleanup(f.Close)
	return f
}

func (f *farm) send(cluster, node string, params ...xdr.Param) {
	f.windows.Offer(cluster, node, params, time.Now(), 0)
	f.totals.Datagrams++
	f.totals.Parameters += uint64(len(params))
}

// fill lets hosts, services and jobs report for 12 minutes of simulated time: one host falls
// silent, one job is killed.
func (f *farm) fill() {
	f.totals.Senders = 30
	for s := range 12 * 4 {
		x := float64(s)
		for n := range 30 {
			if n == 3 && s > 8 {
				continue
			}
			load := 20 + 8*math.Sin(x/8+float64(n))
			f.send("MySite_Nodes", fmt.Sprintf("wn%d.example.org", n), xdr.Float("load1", load), xdr.Float("cpu_usage", 3*load),
				xdr.Float("mem_usage", 55.123456), xdr.Float("total_traffic_in", 1000*load), xdr.String("hostname", "wn"), xdr.Float("uptime", 12.3))
		}
		f.send("MySite_Jobs", "4711", xdr.Float("run_time", 600+15*x), xdr.Float("cpu_time", 9*x), xdr.Float("rss", 8123456))
		f.send("MySite_Services", "web@wn1", xdr.Float("up", 1), xdr.Float("rss", 123456))
		f.Overview() // which follows the intervals of the nodes
		time.Sleep(15 * time.Second)
	}
	f.send("MySite_Jobs", "4711", xdr.Float("run_time", 1320), xdr.Int("exit_signal", 9))
	time.Sleep(time.Second)
}

// look returns the model after the refreshes that it wants.
func look(t testing.TB, src Source, width, height int) *model {
	m := newModel(t.Context(), src, "apmon-recv", false, nil)
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	m.busy = false
	settle(m, m.Init())
	return m
}

// settle runs a command and those that its messages want, but for those of the clock.
func settle(m *model, cmd tea.Cmd) {
	for cmd != nil {
		msg := cmd()
		if _, cmd = m.Update(msg); !m.busy {
			return
		}
	}
}

// press presses keys.
func press(m *model, keys ...string) {
	codes := map[string]rune{"up": tea.KeyUp, "down": tea.KeyDown, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "end": tea.KeyEnd, "home": tea.KeyHome, "pgdown": tea.KeyPgDown, "backspace": tea.KeyBackspace, "space": tea.KeySpace}
	for _, k := range keys {
		msg := tea.KeyPressMsg{Text: k, Code: []rune(k)[0]}
		if code, ok := codes[k]; ok {
			msg = tea.KeyPressMsg{Code: code}
		}
		_, cmd := m.Update(msg)
		settle(m, cmd)
	}
}

func text(m *model) string {
	lines := m.frame()
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	lines[0] = strings.Replace(lines[0], m.state.at.Local().Format(time.TimeOnly), "12:34:56", 1)
	return strings.Join(lines, "\n") + "\n"
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" { // of commandtest
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Error(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	if got != string(want) {
		t.Errorf("%s differs, run with -update:\n%s", name, cmp.Diff(string(want), got))
	}
}

// TestFrames compares the screens with testdata/*.txt:
// go test ./cmd/apmon-recv/internal/top -run TestFrames -update
func TestFrames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t)
		f.fill()
		for _, size := range []struct{ w, h int }{{80, 24}, {200, 50}, {48, 12}} {
			m := look(t, Local{f.Dashboard}, size.w, size.h)
			name := func(what string) string { return fmt.Sprintf("%s-%dx%d.txt", what, size.w, size.h) }
			check := func(what string) {
				t.Helper()
				got := text(m)
				golden(t, name(what), got)
				if n := strings.Count(got, "\n"); n != size.h {
					t.Errorf("%s: %d lines", name(what), n)
				}
				for _, l := range m.frame() {
					if readable.Width(l) > size.w {
						t.Errorf("%s: %d columns: %s", name(what), readable.Width(l), l)
					}
				}
			}
			check("list")
			press(m, "down", "down", "enter")
			check("node")
			press(m, "esc", "c")
			check("columns")
			press(m, "esc", "?")
			check("help")
			press(m, "x", "/", "w", "n", "2", "*", "enter", "p")
			check("filter")
		}
		var once bytes.Buffer
		if err := Once(t.Context(), &once, 80, Options{Source: Local{f.Dashboard}, Name: "apmon-recv"}); err != nil {
			t.Fatal(err)
		}
		golden(t, "once.txt", regexp.MustCompile(`\d\d:\d\d:\d\d\n`).ReplaceAllString(once.String(), "12:34:56\n"))
	})
}

// TestKeys moves through the list.
func TestKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t)
		f.fill()
		m := look(t, Local{f.Dashboard}, 80, 24)
		if first := m.cursor; first.node == "" {
			t.Errorf("at the start the cursor is on %v", first)
		}
		press(m, "end")
		if m.at != len(m.rows)-1 || !strings.Contains(text(m), m.cursor.node) {
			t.Errorf("the end: row %d of %d", m.at, len(m.rows))
		}
		before := m.cursor
		f.send("A_new_one", "n", xdr.Float("load1", 1)) // comes before others
		time.Sleep(2 * time.Second)
		settle(m, m.refresh())
		if m.cursor != before || m.rows[m.at].id() != before {
			t.Errorf("the cursor moved from %v to %v", before, m.cursor)
		}
		// Sorted by load, the highest first.
		press(m, "home")
		for m.cursor.cluster != "MySite_Nodes" || m.cursor.node == "" {
			press(m, "down")
		}
		for m.sort != "load1" {
			press(m, "s")
		}
		var loads []float64
		for _, r := range m.rows {
			if r.node != nil && r.group.Name == "MySite_Nodes" {
				loads = append(loads, m.state.values[cellID{r.id(), "load1"}].number)
			}
		}
		if len(loads) != 30 || !slices.IsSortedFunc(loads, func(a, b float64) int { return int(math.Copysign(1, b-a)) }) {
			t.Errorf("by load: %v", loads)
		}
		// Other columns.
		press(m, "c", "space", "enter")
		if g := m.group(); len(g.columns) != len(m.columns["MySite_Nodes"]) || !slices.Equal(g.columns, m.columns["MySite_Nodes"]) {
			t.Errorf("columns %v, chosen %v", g.columns, m.columns)
		}
		// A paused view stays.
		press(m, "p")
		still := text(m)
		f.send("A_new_one", "another", xdr.Float("load1", 1))
		time.Sleep(5 * time.Second)
		_, cmd := m.Update(tick{})
		if cmd != nil || text(m) != still || !strings.Contains(still, "paused") {
			t.Errorf("paused:\n%s", text(m))
		}
		press(m, "p")
		if !strings.Contains(text(m), "A_new_one") && len(m.rows) == 0 {
			t.Error("the view does not go on")
		}
		// An open node that ends.
		press(m, "home")
		for m.rows[m.at].node == nil {
			press(m, "down")
		}
		press(m, "enter")
		f.windows.Forget(func(cluster, node string) bool { return cluster == m.node.cluster && node == m.node.node })
		time.Sleep(5 * time.Second)
		settle(m, m.refresh())
		if !strings.Contains(text(m), "it is gone") || m.state.err != nil {
			t.Errorf("a node that is gone: %v\n%s", m.state.err, text(m))
		}
		for _, k := range []tea.KeyPressMsg{{Text: "q", Code: 'q'}, {Code: 'c', Mod: tea.ModCtrl}} {
			if _, cmd := m.Update(k); cmd == nil || cmd() != tea.Quit() {
				t.Errorf("%v does not end the view", k)
			}
		}
	})
}

// hostile are names that try to steer or to shift.
var hostile = []string{
	"\x1b[2J\x1b[31m", "\u202eabc\u202c", "a\r\nb", "\u009b31m", strings.Repeat("x", 32<<10), strings.Repeat("日", 10_000), strings.Repeat("\u0301", 9999),
	"שלום", "مرحبا 123", "\xff\xfe", "🇩🇪👩‍👩‍👧", "e\u0301e\u0301", "한국어", "ᄒ\u1161\u11ab", "👍🏽", "a\u200bb\ufeff", "", "क्षि", "\t", "\u2028",
}

func TestHostileNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t)
		for _, s := range hostile {
			f.send("C"+s, "N"+s, xdr.Float("load1", 12.5), xdr.Float("P"+s, 1), xdr.String("s", s))
			f.send("All", "N"+s, xdr.Float("load1", 12.5))
		}
		time.Sleep(time.Second)
		for _, size := range []struct{ w, h int }{{80, 200}, {200, 200}} {
			m := look(t, Local{f.Dashboard}, size.w, size.h)
			check := func(what string) {
				t.Helper()
				for _, l := range m.frame() {
					if strings.ContainsFunc(l, func(r rune) bool {
						return !unicode.IsPrint(r) || unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Cf)
					}) {
						t.Errorf("%s: %q", what, l)
					}
					if readable.Width(l) > size.w {
						t.Errorf("%s: %d columns: %s", what, readable.Width(l), l)
					}
				}
			}
			check("list")
			nodes := 0
			for _, r := range m.rows[m.top:min(m.top+m.room(), len(m.rows))] {
				if r.node == nil || r.group.Name != "All" {
					continue
				}
				nodes++
				s := m.screen()
				lay := s.layout(1)
				s.nodeRow(m.state, r.group, r.node, lay, false)
				before, _, ok := strings.Cut(s.lines[0], "12.5")
				if got, want := readable.Width(before), 2+lay.name+2+valueWidth-len("12.5"); !ok || got != want {
					t.Errorf("the value is in column %d, not %d: %q", got, want, s.lines[0])
				}
			}
			if nodes != len(hostile) {
				t.Errorf("%d nodes of %d", nodes, len(hostile))
			}
			for i := range m.rows {
				if m.rows[i].node != nil {
					m.cursor = m.rows[i].id()
					m.place()
					press(m, "enter")
					check("node " + safe(m.cursor.node, 20))
					press(m, "esc")
				}
			}
		}
	})
}

// Remote and Local show the same, and the secrets of the URL are nowhere.
func TestRemote(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	for i := range 40 {
		f.send("C", fmt.Sprint("n", i), xdr.Float("load1", float64(i)), xdr.String("s", "x"))
	}
	f.send("Long"+strings.Repeat("x", 32<<10), strings.Repeat("y", 32<<10), xdr.Float("load1", 1), xdr.Float(strings.Repeat("z", 5000), 1))
	f.send("a/b?c&d=\x1b", "e%f#", xdr.Float(`lo*d\`, 1), xdr.Float("load", 2))
	var asked atomic.Int32
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if user, password, _ := r.BasicAuth(); user != "me" || password != "s3cret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		http.StripPrefix("/recv", f.Dashboard).ServeHTTP(w, r)
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "https://")
	src, err := NewRemote("https://me:s3cret@" + host + "/recv/")
	if err != nil {
		t.Fatal(err)
	}
	src.client.Transport, src.client.Timeout = srv.Client().Transport, testkit.Patience
	frame := func(src Source) string {
		var b bytes.Buffer
		if err := Once(t.Context(), &b, 120, Options{Source: src, Name: "x"}); err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`.*\n`).ReplaceAllStringFunc(b.String(), func(l string) string {
			if strings.Contains(l, " dg/s ") { // depends on when it was asked
				return "x\n"
			}
			return regexp.MustCompile(`\d+s$|\d\d:\d\d:\d\d| +\d+s ago`).ReplaceAllString(strings.TrimSpace(l), "") + "\n"
		})
	}
	remote, local := frame(src), frame(Local{f.Dashboard})
	if diff := cmp.Diff(local, remote); diff != "" || strings.Contains(remote, "s3cret") || asked.Load() == 0 {
		t.Errorf("%d requests:\n%s", asked.Load(), diff)
	}
	for _, n := range []id{{"a/b?c&d=\x1b", "e%f#"}, {"Long" + strings.Repeat("x", 32<<10), strings.Repeat("y", 32<<10)}} {
		l, err := src.Params(t.Context(), n.cluster, n.node, "")
		if err != nil || len(l.Params) != 2 {
			t.Errorf("%.20q: %v, %v", n.cluster, l, err)
			continue
		}
		s, err := src.Series(t.Context(), n.cluster, l.Params[0].Name, []string{n.node}, time.Now().Add(-time.Hour))
		if err != nil || len(s) != 1 || len(s[0].Points) != 1 || s[0].Node != n.node {
			t.Errorf("%.20q: %v", n.cluster, err)
		}
	}
	if l, err := src.Params(t.Context(), "a/b?c&d=\x1b", "", `lo*d\`); err != nil || len(l.Params) != 1 || l.Params[0].Name != `lo*d\` {
		t.Errorf("one parameter: %v, %v", l, err)
	}
	if _, err := src.Nodes(t.Context(), "none"); !errors.Is(err, errGone) {
		t.Errorf("a cluster that is gone: %v", err)
	}
	other, _ := NewRemote("https://me:wr0ng@" + host + "/recv")
	other.client.Transport = srv.Client().Transport
	if _, err := other.Overview(t.Context()); err == nil || !strings.Contains(err.Error(), "USER:PASSWORD") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestRemoteURL(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "host:9108", "ftp://h/", "http:///x", "http://me:s3cret@h:port/", "http://me:s3cret@[::1/", "http://me:s3cret@h/?q=1", "http://me:s3cret@h/#x", "http://me:s3cret%zz@h/", "s3cret"} {
		if _, err := NewRemote(address); err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "http://HOST:PORT/") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Answers that are hostile or late are errors, of bounded cost.
func TestRemoteAnswers(t *testing.T) {
	t.Parallel()
	released := make(chan struct{})
	for _, c := range []struct {
		name, want string
		answer     http.HandlerFunc
	}{
		{"endless", "more than", func(w http.ResponseWriter, r *http.Request) {
			b := bytes.Repeat([]byte(" "), 1<<20)
			for {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}},
		{"another service", "not that of a receiver", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") }},
		{"null", "not that of a receiver", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "null") }},
		{"other JSON", "not that of a receiver", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"time":null,"a":[1]}`) }},
		{"a wrong type", "not that of a receiver", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"time":{}}`) }},
		{"deep", "not that of a receiver", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("[", 1<<20)) }},
		{"a bare status", "it answers 503 Service Unavailable", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }},
		{"no HTTP", "not that of a receiver", func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprint(conn, strings.Repeat("\x1b[2J\x00\xff", 1000))
				conn.Close()
			}
		}},
		{"a redirect", "302", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}},
		{"an error", `too \x1b[2J`, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			fmt.Fprint(w, `{"error":"too \u001b[2J"}`)
		}},
		{"silence", "timed out", func(w http.ResponseWriter, r *http.Request) { <-released }},
		{"silence in an answer", "timed out", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "{")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}},
	} {
		srv := httptest.NewServer(c.answer)
		src, err := NewRemote(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		src.client.Timeout = testkit.Patience
		if strings.HasPrefix(c.name, "silence") {
			src.client.Timeout = 50 * time.Millisecond
		}
		_, err = src.Overview(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.name == "silence" {
			close(released)
		}
		srv.CloseClientConnections()
		srv.Close()
	}
}

// TestServerDown: the headline says that a server does not answer, what was known stays, and
// the view goes on when it answers again.
func TestServerDown(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	f.send("C", "n1", xdr.Float("load1", 1))
	var down atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		f.Dashboard.ServeHTTP(w, r)
	}))
	defer srv.Close()
	src, err := NewRemote(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	down.Store(true)
	m := look(t, src, 80, 24)
	if got := text(m); !strings.Contains(got, "✕ no answer: ") {
		t.Errorf("down at the start:\n%s", got)
	}
	again := func(want string, not string) {
		t.Helper()
		testkit.Eventually(t, want, func() bool {
			settle(m, m.refresh())
			got := text(m)
			return strings.Contains(got, want) && (not == "" || !strings.Contains(got, not)) && strings.Contains(got, "n1")
		})
	}
	down.Store(false)
	again("dg/s", "no answer")
	down.Store(true)
	again("✕ no answer: ", "")
	down.Store(false)
	again("dg/s", "no answer")
}

// A view without news asks for little, and for no series.
func TestRefreshIsCheap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t)
		f.fill()
		src := &counting{Source: Local{f.Dashboard}}
		m := look(t, src, 80, 24)
		src.series, src.others = 0, 0
		const seconds = 30
		for range seconds {
			time.Sleep(time.Second)
			settle(m, m.refresh())
		}
		if src.series > 6 || src.others > seconds*16 {
			t.Errorf("%d requests for series and %d others in %d s", src.series, src.others, seconds)
		}
	})
}

// counting counts requests.
type counting struct {
	Source
	series, others int
}

func TestSafe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{
		{"wn14.example.org", 20, "wn14.example.org"}, {"wn14.example.org", 8, "wn14.ex…"}, {"", 5, ""}, {"abc", 0, ""}, {"abc", 1, "…"},
		{"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"a b", 5, "a b"}, {"\x1b[2J", 20, `\u001b[2J`}, {"\xff", 9, `\xff`}, {"e\u0301", 5, "e\u0301"},
		{"e\u0301\u0301", 20, "e\u0301\\u0301"}, {"\u202eabc", 20, `\u202eabc`}, {"שלום", 20, `\u05e9\u05dc\u05d5…`}, {"👍🏽", 20, `👍\u1f3fd`}, {`a\`, 5, `a\`},
	} {
		if got := safe(c.in, c.width); got != c.want || readable.Width(got) > c.width {
			t.Errorf("%q in %d: %q, want %q", c.in, c.width, got, c.want)
		}
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e6, 0)
	at := func(ago time.Duration, v string) dashboard.Sample {
		return dashboard.Sample{Time: now.Add(-ago), Value: []byte(v)}
	}
	got := buckets([]dashboard.Sample{at(11*time.Minute, "9"), at(590*time.Second, "1"), at(585*time.Second, "3"), at(455*time.Second, "4"), at(400*time.Second, `"text"`), at(399*time.Second, `"NaN"`), at(90*time.Second, "5"), at(-time.Second/2, "6")}, now)
	text := strings.ReplaceAll(fmt.Sprint(got), "NaN", "-")
	if want := "[2 2 4 - - - - - - - 5 6]"; text != want {
		t.Errorf("%s, want %s", text, want)
	}
}

func TestShortAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{-1: "0s", 59 * time.Second: "59s", 14 * time.Minute: "14m", 192 * time.Minute: "3h12m", 11 * time.Hour: "11h", 52 * time.Hour: "2d4h", 300 * 24 * time.Hour: "300d", math.MaxInt64: "old", 9*time.Hour + 59*time.Minute: "9h59m", 9*24*time.Hour + 23*time.Hour: "9d23h"} {
		if got := shortAge(d); got != want || len(got) > ageWidth {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func (c *counting) Overview(ctx context.Context) (*dashboard.Overview, error) {
	c.others++
	return c.Source.Overview(ctx)
}

func (c *counting) Nodes(ctx context.Context, cluster string) (*dashboard.NodeList, error) {
	c.others++
	return c.Source.Nodes(ctx, cluster)
}

func (c *counting) Params(ctx context.Context, cluster, node, name string) (*dashboard.ParamList, error) {
	c.others++
	return c.Source.Params(ctx, cluster, node, name)
}

func (c *counting) Series(ctx context.Context, cluster, param string, nodes []string, from time.Time) ([]dashboard.Series, error) {
	c.series++
	return c.Source.Series(ctx, cluster, param, nodes, from)
}

// A time that is too long for its column loses its smallest parts, not its end.
func TestShortTime(t *testing.T) {
	t.Parallel()
	const day = 86400
	for seconds, want := range map[float64]string{
		7*day + 19*3600 + 35*60 + 1: "7 d 19:35", 12*day + 9*3600 + 5: "12 d 9 h", 99*day + 23*3600: "99 d 23 h", 200 * day: "200 d", 23*3600 + 1: "23:00:01", -12*day - 3600: "-12 d 1 h",
	} {
		v := value{dashboard.Param{Type: "double", Unit: "s"}, seconds}
		if got := v.text(valueWidth); got != want {
			t.Errorf("%v s: %q, want %q", seconds, got, want)
		}
	}
}

// Nodes are in natural order, also after one has come or gone.
func TestByNumber(t *testing.T) {
	t.Parallel()
	var order []int
	for _, c := range [][2]string{
		{"", ""}, {"wn1 wn10 wn2", "wn1 wn2 wn10"}, {"wn1 wn10 wn2", "wn1 wn2 wn10"}, {"wn10 wn2 wn9", "wn2 wn9 wn10"},
		{"wn0 wn1 wn10 wn2", "wn0 wn1 wn2 wn10"}, {"b a", "a b"}, {"a", "a"},
	} {
		var nodes []dashboard.Node
		for name := range strings.FieldsSeq(c[0]) {
			nodes = append(nodes, dashboard.Node{Name: name})
		}
		var sorted []dashboard.Node
		sorted, order = byNumber(nodes, order)
		var got []string
		for _, n := range sorted {
			got = append(got, n.Name)
		}
		if strings.Join(got, " ") != c[1] {
			t.Errorf("%s: %q, want %s", c[0], got, c[1])
		}
	}
}

// The keys for help and to leave are there in each width.
func TestKeysIn(t *testing.T) {
	t.Parallel()
	const all = "↑↓ move  enter open  / filter  ? help  q quit"
	for width, want := range map[int]string{80: all, 40: "↑↓ move  enter open  ? help  q quit", 26: "↑↓ move  ? help  q quit", 5: "? help  q quit"} {
		if got := keysIn(all, width); got != want {
			t.Errorf("in %d: %q, want %q", width, got, want)
		}
	}
}
