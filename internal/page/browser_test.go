package page

import (
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/page/guard"
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
	broken   atomic.Bool // pages get 500
	noStream atomic.Bool // the stream gets 503
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
<p id="selected">some text to select</p>
<div class="scroll"><table><thead><tr><th>node</th><th class="n">value</th></tr></thead><tbody>`)
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
