package page

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/apmon-go/apmon/internal/page/guard"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/internal/testkit/browser"
)

// sample is a site with a page of most elements, whose number n changes with each rendering.
type sample struct {
	*httptest.Server
	site     *Site
	renders  atomic.Int64
	opened   atomic.Int64 // streams
	open     atomic.Int64
	requests atomic.Int64
	evil     atomic.Int64 // renderings for other sites
	broken   atomic.Bool  // pages get 500
	noStream atomic.Bool  // the stream gets 503
}

const hostile = "<script>alert(1)</script>\u202e\"'&"

func newSample(t testing.TB, every time.Duration) *sample {
	s := &sample{site: New(Options{
		Program: "apmon-test", Version: "1.2.3", Host: "host.example.org", Every: every, Search: "/search", SearchHint: "node or " + hostile,
		Nav: []Link{{"/", "Overview"}, {"/nodes", "Nodes"}}, Foot: []Link{{"/api", "/api"}},
	})}
	mux := http.NewServeMux()
	mux.Handle(StaticPath, s.site)
	mux.HandleFunc(LivePath, func(w http.ResponseWriter, r *http.Request) {
		if s.noStream.Load() {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		s.opened.Add(1)
		s.open.Add(1)
		defer s.open.Add(-1)
		s.site.ServeHTTP(w, r)
	})
	live := s.site.Live(func(r *http.Request) Page {
		if r.FormValue("evil") != "" {
			s.evil.Add(1)
		}
		return Page{Title: "Overview", Main: samplePage(s.renders.Add(1), r.FormValue("rows"))}
	})
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if s.broken.Load() {
			http.Error(w, "broken", http.StatusInternalServerError)
			return
		}
		live.ServeHTTP(w, r)
	})
	mux.HandleFunc("/search", func(w http.ResponseWriter, r *http.Request) {
		s.site.Render(w, r, Page{Title: "Search", Query: r.FormValue("q"), Main: `<h1>Search</h1><p id="q">` + template.HTML(template.HTMLEscapeString(r.FormValue("q"))) + `</p>`})
	})
	s.Server = httptest.NewServer(guard.New(guard.Options{}).Handler(mux))
	t.Cleanup(func() { s.site.Close(); s.Server.CloseClientConnections(); s.Server.Close() })
	return s
}

// samplePage shows n. Rows r0 to r5 are in turn; an odd n has one more row.
func samplePage(n int64, rows string) template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<h1>Overview <small>rendering <span id="n">%d</span></small></h1>`, n)
	b.WriteString(`<div class="kpis"><a class="kpi" href="/"><span class="label">datagrams</span><span class="value">4 812<small>/s</small></span></a>
<a class="kpi warn" href="/"><span class="label">lost</span><span class="value">0.02<small>%</small></span></a></div>
<h2>Needs attention <small>2</small></h2>
<ul class="problems"><li><span class="mark">✕</span><span><a href="/"><b>MySite_Jobs / 4711</b></a> ended by signal 9, <span class="soft">memory 7.9 of 8.0 GiB</span></span><time>2 min ago</time></li>
<li><span class="mark w">!</span><span><a href="/"><b>MySite_Nodes</b></a>: 2 nodes silent</span><time>14 min ago</time></li></ul>
<h2>Clusters</h2><div class="clusters"><div class="cluster"><h3><a href="/">MySite_Nodes</a><span>45 of 48</span></h3></div></div>
<div class="panel"><div><b>load1</b><span class="range"><a href="/" aria-current="true">10 min</a><a href="/">1 h</a></span></div>
<svg class="graph" viewBox="0 0 860 230" role="img" aria-label="load1" data-from="1000" data-to="2000" data-plot="50 20 800 180"><rect class="paper" width="860" height="230" fill="none"/></svg></div>
<details id="more"><summary>More</summary><p>text</p><input id="field" aria-label="field"></details>
<p id="selected">`)
	fmt.Fprintf(&b, `some text to select %d</p>
<div class="scroll"><table><thead><tr><th>node</th><th class="n">value</th></tr></thead><tbody>`, n)
	count := 6
	fmt.Sscan(rows, &count)
	for i := range count {
		k := (i + int(n)) % count
		fmt.Fprintf(&b, `<tr id="r%d"><th scope="row"><a href="/node?n=%d">node %d</a></th><td class="n">%d</td></tr>`, k, k, k, n*int64(k))
	}
	if n%2 == 1 {
		fmt.Fprintf(&b, `<tr id="odd" class="stale"><th scope="row">%s</th><td class="age">%d s</td></tr>`, template.HTMLEscapeString(hostile), n)
	}
	b.WriteString(`</tbody></table></div>`)
	return template.HTML(b.String())
}

func TestLooks(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	s := newSample(t, time.Hour)
	for name, v := range browser.Views {
		tab := b.Open(t, s.URL, v)
		tab.Check()
		if dark := browser.Eval[string](tab, "getComputedStyle(document.body).backgroundColor"); (dark == "rgb(20, 23, 26)") != v.Dark {
			t.Errorf("%s: %s", name, dark)
		}
	}
}

// rendered is the number of the rendering that a page shows.
const rendered = `Number(document.getElementById("n").textContent)`

// TestUpdates: what the reader did to a page survives its updates.
func TestUpdates(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	s := newSample(t, 150*time.Millisecond)
	tab := b.Open(t, s.URL+"/?rows=40", browser.View{Width: 390, Height: 400})
	tab.Eventually(rendered + " > 2")
	browser.Eval[bool](tab, `(() => {
		document.getElementById("more").open = true;
		window.field = document.getElementById("field");
		field.value = "typed";
		field.focus();
		window.row = document.getElementById("r3");
		getSelection().selectAllChildren(document.getElementById("selected"));
		field.focus();
		getSelection().setBaseAndExtent(document.getElementById("selected").firstChild, 5, document.getElementById("selected").firstChild, 9);
		document.querySelector("#r5 a").focus({ preventScroll: true });
		scrollTo(0, 300);
		document.querySelector(".scroll").scrollLeft = 7;
		window.at = `+rendered+`;
		return true;
	})()`)
	tab.Eventually(rendered + " > at + 3")
	for _, kept := range []string{
		`document.getElementById("more").open`, `document.getElementById("field") === field && field.value === "typed"`, `document.getElementById("r3") === row`,
		`String(getSelection()) === "text"`, `document.activeElement === document.querySelector("#r5 a")`, `Math.abs(scrollY - 300) < 60`,
		`document.querySelectorAll("tbody tr").length >= 40 && document.querySelectorAll("tbody tr").length <= 41`,
	} {
		if !browser.Eval[bool](tab, kept) {
			t.Errorf("not %s", kept)
		}
	}
	// The page is the one that the server rendered.
	if !browser.Eval[bool](tab, `(async () => {
		document.querySelector("#live button").click();
		await new Promise((r) => setTimeout(r, 500));
		const before = document.getElementById("main").innerHTML.replace(' open=""', ""), n = `+rendered+`;
		window.parts = [...document.querySelectorAll("tbody tr")].map((r) => r.id).join();
		const first = n % 40, want = [...Array(40).keys()].map((i) => "r" + (i + n) % 40).concat(n % 2 ? ["odd"] : []).join();
		return parts === want && document.querySelector("#r7 td").textContent === String(7 * n);
	})()`) {
		t.Errorf("rows: %s", browser.Eval[string](tab, "parts"))
	}
	n := browser.Eval[float64](tab, rendered) // it is paused
	renders := s.renders.Load()
	tab.Eventually(`document.getElementById("live").textContent === "paused"`)
	if browser.Eval[float64](tab, rendered) != n || s.renders.Load() != renders {
		t.Error("a paused page is updated")
	}
	browser.Eval[any](tab, `document.querySelector("#live button").click()`)
	tab.Eventually(fmt.Sprintf("%s > %v", rendered, n))
	s.broken.Store(true)
	tab.Eventually(`document.getElementById("live").textContent.startsWith("no answer since")`)
	s.broken.Store(false)
	tab.Eventually(`document.getElementById("live").textContent.startsWith("live")`)
}

// TestTabs: ten tabs of a browser load and are kept up to date by one stream, which is closed
// while all are hidden.
func TestTabs(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	s := newSample(t, 500*time.Millisecond) // ten tabs keep a core busy
	var tabs []*browser.Tab
	for i := range 10 {
		tabs = append(tabs, b.Open(t, fmt.Sprintf("%s/?%d", s.URL, i), browser.View{}))
	}
	for _, tab := range tabs {
		tab.Eventually(rendered + " > 20")
		tab.Check()
	}
	if s.open.Load() != 1 || s.opened.Load() != 1 {
		t.Errorf("%d streams, %d are open", s.opened.Load(), s.open.Load())
	}
	hide := func(hidden bool) {
		for _, tab := range tabs {
			browser.Eval[bool](tab, fmt.Sprintf(`Object.defineProperty(document, "hidden", { value: %v, configurable: true }) && document.dispatchEvent(new Event("visibilitychange"))`, hidden))
		}
	}
	hide(true)
	testkit.Eventually(t, "the stream to close", func() bool { return s.open.Load() == 0 })
	hide(false)
	n := s.renders.Load()
	for _, tab := range tabs {
		tab.Eventually(fmt.Sprintf("%s > %d", rendered, n))
	}
	if s.open.Load() != 1 || s.opened.Load() != 2 {
		t.Errorf("%d streams, %d are open", s.opened.Load(), s.open.Load())
	}
	// Tabs that close, or load another page, leave no stream behind.
	for _, tab := range tabs[1:] {
		tab.Close()
	}
	tabs[0].Do(chromedp.Navigate(s.URL + "/search"))
	testkit.Eventually(t, "the stream to close", func() bool { return s.open.Load() == 0 })
}

// TestPolling: without a stream, and without SharedWorker, pages are kept up to date.
func TestPolling(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	s := newSample(t, 100*time.Millisecond)
	s.noStream.Store(true)
	tab := b.Open(t, s.URL, browser.View{})
	tab.Eventually(rendered + " > 3")
	if len(tab.Foreign()) > 0 || s.opened.Load() != 0 {
		t.Errorf("%q, %d streams", tab.Foreign(), s.opened.Load())
	}
}

// TestWithoutScript: pages are complete without the script.
func TestWithoutScript(t *testing.T) {
	t.Parallel()
	s := newSample(t, 10*time.Millisecond)
	tab := browser.Start(t).Open(t, s.URL, browser.View{NoScript: true})
	tab.Check()
	if text := browser.Eval[string](tab, "document.body.innerText"); !strings.Contains(text, "as of ") || !strings.Contains(text, "node 5") {
		t.Error(text)
	}
}

// TestSearchAndRange: "/" moves to the search field, and a range dragged on a graph is in the
// address.
func TestSearchAndRange(t *testing.T) {
	t.Parallel()
	s := newSample(t, 50*time.Millisecond)
	tab := browser.Start(t).Open(t, s.URL+"/?node=a%26b", browser.View{})
	tab.Eventually(rendered + " > 1")
	box := browser.Eval[map[string]float64](tab, `(() => { const s = document.querySelector("svg.graph"); s.scrollIntoView({block: "center"}); return s.getBoundingClientRect().toJSON() })()`)
	scale := box["width"] / 860
	at := func(fraction float64) float64 { return box["x"] + scale*(50+800*fraction) }
	y := box["y"] + box["height"]/2
	mouse := func(typ input.DispatchMouseEventType, x float64) {
		tab.Do(chromedp.MouseEvent(typ, x, y, chromedp.ButtonLeft))
	}
	mouse(input.DispatchMouseEventTypeMousePressed, at(.25))
	mouse(input.DispatchMouseEventTypeMouseMoved, at(.4))
	tab.Eventually(`document.querySelector("svg.graph rect.drag")`)
	n := browser.Eval[float64](tab, rendered)
	requests := s.requests.Load()
	testkit.Eventually(t, "time to pass", func() bool { time.Sleep(300 * time.Millisecond); return true })
	if browser.Eval[float64](tab, rendered) != n || s.requests.Load() > requests+1 {
		t.Error("the page is updated during a drag")
	}
	tab.Key("\u001b") // Escape
	tab.Eventually(fmt.Sprintf(`!document.querySelector("rect.drag") && %s > %v`, rendered, n))
	mouse(input.DispatchMouseEventTypeMouseReleased, at(.4))
	mouse(input.DispatchMouseEventTypeMousePressed, at(.75))
	mouse(input.DispatchMouseEventTypeMouseMoved, at(.5))
	mouse(input.DispatchMouseEventTypeMouseMoved, at(.25))
	mouse(input.DispatchMouseEventTypeMouseReleased, at(.25))
	tab.Eventually(`location.search.includes("from=")`)
	if got := browser.Eval[string](tab, "location.search"); got != "?node=a%26b&from=1250&to=1750" {
		t.Error(got)
	}
	tab.Eventually(`document.readyState === "complete" && document.querySelector("#live button")`)
	tab.Do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: "keyDown", Key: "/", Code: "Slash", Text: "/"})
		return err
	}))
	tab.Eventually(`document.activeElement === document.getElementById("search")`)
	tab.Do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, input.InsertText, input.InsertTextParams{Text: hostile + "/"})
		return err
	}))
	tab.Key("\r")
	tab.Eventually(`location.pathname === "/search" && document.getElementById("q")`)
	if got := browser.Eval[string](tab, `document.getElementById("q").textContent`); got != hostile+"/" {
		t.Errorf("%q", got)
	}
	tab.Check()
}

// TestOtherSites: a page of another site can neither read ours nor load anything of it, also
// if its name is made to resolve to this host, but may link to it.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	s := newSample(t, time.Second)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>evil</title><a id="link" href="%s/">link</a>`, s.URL)
	}))
	defer evil.Close()
	b := browser.Start(t)
	for _, address := range []string{evil.URL, strings.Replace(evil.URL, "127.0.0.1", "evil.test", 1)} {
		tab := b.Open(t, address, browser.View{})
		got := browser.Eval[[]string](tab, fmt.Sprintf(`(async () => {
			const site = %q, got = [];
			const step = async (name, f) => { try { got.push(name + ": " + await f()); } catch (e) { got.push(name + ": refused"); } };
			await step("fetch", async () => (await fetch(site + "/?evil=1")).text());
			await step("no-cors", async () => (await fetch(site + "/?evil=1", { mode: "no-cors" })).type);
			await step("post", async () => (await fetch(site + "/?evil=1", { method: "POST", body: "x" })).status);
			const load = (tag, set) => new Promise((ok, no) => { const e = document.createElement(tag); e.onload = () => ok("loaded"); e.onerror = no; set(e); document.head.append(e); });
			await step("img", () => load("img", (e) => { e.src = site + %q; }));
			await step("script", () => load("script", (e) => { e.src = site + %q; }));
			await step("style", () => load("link", (e) => { e.rel = "stylesheet"; e.href = site + %q; }));
			await step("stream", () => new Promise((ok, no) => { const e = new EventSource(site + "/live"); e.onmessage = () => ok("event"); e.onerror = () => { e.close(); no(); }; }));
			await step("frame", () => new Promise((ok) => { const e = document.createElement("iframe"); e.onload = () => { try { ok(e.contentDocument ? "read" : "opaque"); } catch { ok("opaque"); } }; e.src = site + "/?evil=1"; document.body.append(e); }));
			return got;
		})()`, s.URL, statics().icon.path, statics().script.path, statics().style.path))
		want := []string{"fetch: refused", "no-cors: refused", "post: refused", "img: refused", "script: refused", "style: refused", "stream: refused", "frame: opaque"}
		if !slices.Equal(got, want) || s.evil.Load() != 0 {
			t.Errorf("%s: %q, %d renderings", address, got, s.evil.Load())
		}
		browser.Eval[any](tab, `document.getElementById("link").click()`)
		tab.Eventually(`location.origin === "` + s.URL + `" && document.getElementById("n")`)
	}
	rebound := b.Open(t, strings.Replace(s.URL, "127.0.0.1", "evil.test", 1), browser.View{})
	if text := browser.Eval[string](rebound, "document.body.innerText"); !strings.Contains(text, "not known by the name evil.test") {
		t.Error(text)
	}
}

// TestMedia: forced colors, paper and reduced motion do not break a page.
func TestMedia(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	s := newSample(t, time.Hour)
	for _, v := range []browser.View{{Print: true}, {Print: true, Dark: true}, {Media: map[string]string{"forced-colors": "active"}}, {Media: map[string]string{"prefers-reduced-motion": "reduce"}}} {
		tab := b.Open(t, s.URL, v)
		tab.Check()
		if v.Print && browser.Eval[string](tab, "getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)" {
			t.Errorf("%+v", v)
		}
	}
	tab := b.Open(t, s.URL, browser.View{})
	tab.Key("\t")
	if !browser.Eval[bool](tab, `document.activeElement.className === "skip" && document.activeElement.getBoundingClientRect().left >= 0 && getComputedStyle(document.activeElement).outlineStyle === "solid"`) {
		t.Error("the first tab does not show the link to the contents")
	}
}
