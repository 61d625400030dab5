package dashboard

import (
	"encoding/json"
	"html"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/xdr"
)

// hostile are names that nobody should give.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='x`, `{{.}}`, `</title></main></svg>`, `javascript:alert(1)`,
	"a&b=c?d#e/f%20g+h", "../../etc/passwd", "sha256:", "sha256:" + strings.Repeat("0", 64), "\x00\x01\x1b[31m", "\xff\xfe", "\u202egnp.exe\u2066", "\u2028", " ", "*?[\\", "]]>", "\U0001f600",
	"", strings.Repeat("n", 32767), strings.Repeat("<b>\u202e", 4000), strings.Repeat("\xff", 300), strings.Repeat("ä", 201), "-->", "&lt;b&gt;",
}

// Hostile names stay text on every page, are found by their links, and do not make a page
// large.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	f := newFarm(epoch)
	for i, name := range hostile {
		f.members = append(f.members, member{name, name, 10, i % 10, func(second int) []xdr.Param {
			return []xdr.Param{xdr.Int(name, second), xdr.String(name+"t", name), xdr.Int("run_time", 1), xdr.Int("exit_code", 1)}
		}})
	}
	n := int32(1)
	for _, name := range hostile {
		f.senders = append(f.senders, Sender{Address: "192.0.2.1", Instance: &n, Version: name, Cluster: name, Refusal: name, Refused: 1, FirstHeard: epoch, LastHeard: epoch})
	}
	f.outputs = []Output{{Name: hostile[0], Error: hostile[1]}, {Name: hostile[18], Error: hostile[19]}}
	d := f.dashboard()
	f.run(d, 60)
	for _, path := range []string{"/", "/clusters", "/nodes", "/jobs", "/senders", "/search?q=*"} {
		checkHostile(t, path, get(t, d, path, 200))
	}
	for _, name := range hostile {
		c := url.QueryEscape(Ref(name))
		for _, path := range []string{
			"/nodes?cluster=" + c, "/node?cluster=" + c + "&node=" + c, "/param?cluster=" + c + "&node=" + c + "&param=" + c, "/param?cluster=" + c + "&param=" + c,
			"/param?cluster=" + c + "&node=" + c + "&param=" + url.QueryEscape(Ref(name+"t")), "/jobs?cluster=" + c,
		} {
			checkHostile(t, path, get(t, d, path, 200))
		}
		if q := name[:min(len(name), 200)]; plain(q) {
			path := "/search?q=" + url.QueryEscape(q)
			checkHostile(t, path, get(t, d, path, 200))
		} else {
			get(t, d, "/search?q="+url.QueryEscape(q), 400)
		}
		var s SeriesList
		if err := json.Unmarshal([]byte(get(t, d, "/api/v1/series?cluster="+c+"&node="+c+"&param="+c, 200)), &s); err != nil || len(s.Series) != 1 || len(s.Series[0].Points) == 0 {
			t.Errorf("%.40q: %v", name, err)
		}
		// Each link to the node that a page has leads there.
		body := get(t, d, "/nodes?cluster="+c, 200)
		found := false
		for _, m := range hrefs.FindAllStringSubmatch(body, -1) {
			if link := html.UnescapeString(m[1]); strings.HasPrefix(link, "/node?") {
				found = true
				get(t, d, link, 200)
			}
		}
		if !found {
			t.Errorf("%.40q: no link", name)
		}
	}
}

// checkHostile checks a page that shows hostile names.
func checkHostile(t *testing.T, path, body string) {
	t.Helper()
	checkHTML(t, path, body)
	for _, bad := range []string{"<script>", "<img", "\u202e", "\u2066", "\u2028", "\x00", "\x1b", "<b>\ufffd", "<title></title></main>"} {
		if i := strings.Index(body, bad); i >= 0 {
			t.Errorf("%.80s: %q in %.200q", path, bad, body[max(0, i-80):])
		}
	}
	if !utf8.ValidString(body) {
		t.Errorf("%.80s: not UTF-8", path)
	}
	if strings.Count(body, "<main") != 1 || strings.Count(body, "</main>") != 1 || strings.Count(body, "<title>") != 1 {
		t.Errorf("%.80s: the page is broken", path)
	}
	if len(body) > 1<<20 {
		t.Errorf("%.80s: %d bytes", path, len(body))
	}
}

func FuzzNames(f *testing.F) {
	for _, name := range hostile {
		f.Add(name)
	}
	// One dashboard serves all inputs: to make one takes much longer than to render its pages.
	now, windows := epoch, history.NewWindows(history.WindowOptions{})
	d := newDashboard(Source{Windows: windows, Name: "test"}, page.Options{}, func() time.Time { return now })
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || len(name) > 32767 {
			return
		}
		text := shown(name)
		if n := utf8.RuneCountInString(text); n > maxShown || !utf8.ValidString(text) || n == 0 {
			t.Errorf("%q is shown as %q", name, text)
		}
		if len(name) < maxShown && strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) < 0 && text != name {
			t.Errorf("%q is shown as %q", name, text)
		}
		if ref := Ref(name); !isRef(ref, name) || len(ref) > maxInURL || isRef(ref, name+"x") {
			t.Errorf("%q is not %q", ref, name)
		}
		if order := CompareNames(name, text); order != -CompareNames(text, name) || order == 0 && text != name {
			t.Errorf("%q and %q: order %d", name, text, order)
		}
		now = now.Add(2 * viewEvery)
		windows.Offer(name, name, []xdr.Param{xdr.Int(name, 1), xdr.String("t", name)}, now, 0)
		defer windows.Forget(func(string, string) bool { return true })
		v, ref := d.c.view(), url.Values{"cluster": {Ref(name)}, "node": {Ref(name)}}
		param := maps.Clone(ref)
		param.Set("param", Ref(name))
		for _, p := range []struct {
			render func(*view, *query) (page.Page, error)
			values url.Values
		}{{d.overviewPage, nil}, {d.nodePage, ref}, {d.paramPage, param}} {
			main, err := p.render(v, &query{values: p.values, now: now})
			if err != nil || !utf8.ValidString(string(main.Main)) || strings.Contains(string(main.Main), "<script") {
				t.Errorf("%q: %v %s", name, err, main.Main)
			}
			if want := "<bdi>" + html.EscapeString(text) + "</bdi>"; !strings.Contains(string(main.Main), want) && !strings.ContainsAny(text, "+\"'") {
				t.Errorf("no %q in %s", want, main.Main)
			}
		}
	})
}

func TestCompareNames(t *testing.T) {
	t.Parallel()
	names := []string{"wn10", "wn2", "wn", "wn1", "load15", "load1", "load5", "", "wn02", "a", "wn1b", "wn10a"}
	slices.SortFunc(names, CompareNames)
	if got := strings.Join(names, " "); got != " a load1 load5 load15 wn wn1 wn1b wn02 wn2 wn10 wn10a" {
		t.Errorf("%q", got)
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"load", "sys_LOAD1", true}, {"load*", "sys_load1", false}, {"LOAD?", "load1", true}, {"*1", "load1", true}, {"x", "load1", false}, {`\*`, "*", true}, {`\*`, "a", false},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%q %q: %v", c.pattern, c.name, got)
		}
	}
	// The time of a search grows with the product of the lengths at most.
	start := time.Now()
	matches(strings.Repeat("*a", maxPattern/2), strings.Repeat("a", 32767)+"b")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("%v", took)
	}
}
