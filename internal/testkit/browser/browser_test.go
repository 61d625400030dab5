package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/apmon-go/apmon/internal/testkit"
)

// TestCheck opens a page with one fault of each kind.
func TestCheck(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, `<title>t</title><style>body { background: #fff } #wide { width: 2000px } svg { width: 50px; fill: none } #empty { display: block; height: 9px }</style>
<main><p id="pale">fine</p><p style="color: #999">pale</p><p style="font-size: 30px; color: #888">large</p><p style="opacity: .4">faded</p>
<svg viewBox="0 0 9 9" aria-hidden="true"><g class="grid"><path d="M0 0H9" stroke="#eee"/></g><path id="good" d="M0 0H9" stroke="#777"/><path id="mark" d="M0 0H9" stroke="#ccc"/></svg>
<svg viewBox="0 0 9 9" id="nameless"><path d="M0 0H9" stroke="#000"/></svg>
<input id="in"><label>name <input></label><a href="/x" id="empty"> </a><table id="headless"><tr><td>x</table><p id="pale">again</p><div id="wide">wide</div></main>
<script>console.error("oops", 7); fetch("http://other.test:1/").catch(() => {}); undefined.x</script>`)
	}))
	defer server.Close()
	tab := Start(t).Open(t, server.URL, View{})
	faults := tab.Faults()
	for _, want := range []string{`"pale"`, `"faded"`, "path#mark", "no name: main > svg#nameless", "no name: main > input#in", "no name: main > a#empty", "no head: main > table#headless",
		"id twice: pale", "no language", "not one main and one h1", "the page is 20", "a style attribute"} {
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, want) }) {
			t.Errorf("not found: %s", want)
		}
	}
	for _, f := range faults {
		for _, not := range []string{`"fine"`, `"large"`, "path#good", "grid", "label > input"} {
			if strings.Contains(f, not) {
				t.Errorf("found: %s", f)
			}
		}
	}
	testkit.Eventually(t, "errors and requests", func() bool { return len(tab.Errors()) >= 3 && len(tab.Foreign()) == 1 })
	if e := fmt.Sprint(tab.Errors()); !strings.Contains(e, "oops") || !strings.Contains(e, "TypeError") || !strings.Contains(e, "ERR_") {
		t.Error(e)
	}
	if t.Failed() {
		t.Logf("%q\n%q", faults, tab.Errors())
	}
}

// TestView: the settings of a view reach the page, and keys and names do.
func TestView(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `<!doctype html><meta name="viewport" content="width=device-width"><title>t</title><input autofocus><script>var script = 1</script>`)
	}))
	defer server.Close()
	b := Start(t)
	tab := b.Open(t, server.URL, View{Width: 390, Height: 844, Touch: true, Dark: true, Media: map[string]string{"prefers-reduced-motion": "reduce", "forced-colors": "active"}})
	for _, media := range []string{"(prefers-color-scheme: dark)", "(prefers-reduced-motion: reduce)", "(forced-colors: active)", "(pointer: coarse)", "(width: 390px)"} {
		if !Eval[bool](tab, fmt.Sprintf("matchMedia(%q).matches", media)) {
			t.Errorf("not %s", media)
		}
	}
	tab.Do(chromedp.Focus(chromedp.CSS("input")))
	tab.Key("a/b")
	tab.Eventually(`document.querySelector("input").value === "a/b"`)
	tab.Close()
	site := strings.Replace(server.URL, "127.0.0.1", "some.test", 1)
	tab = b.Open(t, site, View{NoScript: true, Print: true})
	if Eval[string](tab, "typeof script") != "undefined" || !Eval[bool](tab, `matchMedia("print").matches`) {
		t.Error("scripts run, or this is not paper")
	}
	if r := tab.Requests(); len(r) == 0 || r[0] != site+"/" || len(tab.Foreign()) > 0 {
		t.Errorf("%q, %q", r, tab.Foreign())
	}
}
