package dashboard

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/page/guard"
	"github.com/apmon-go/apmon/internal/testkit/browser"
	"github.com/apmon-go/apmon/xdr"
)

// served serves a typical farm, and updates its open pages at an interval.
func served(t *testing.T, every time.Duration) (f *farm, url string) {
	t.Helper()
	f = typicalFarm(time.Now())
	d := newDashboard(f.source(), page.Options{Every: every, Foot: []page.Link{{Path: "/metrics", Text: "/metrics"}}}, f.clock)
	f.run(d, 3600)
	srv := httptest.NewServer(guard.New(guard.Options{}).Handler(d))
	t.Cleanup(srv.Close)
	t.Cleanup(d.Close)
	return f, srv.URL
}

// Every page is readable in light and dark, on a wide and a narrow screen: contrast, names of
// controls and graphs, no error of the console, and no request to another host.
func TestBrowser(t *testing.T) {
	b := browser.Start(t)
	_, url := served(t, time.Hour)
	pages := []struct{ name, path string }{
		{"overview", "/"}, {"param", "/param?cluster=MySite_Nodes&param=load1&node=wn00.example.org&node=wn01.example.org"},
		{"nodes", "/nodes?cluster=MySite_Nodes"}, {"all", "/nodes?state=failing"}, {"clusters", "/clusters"}, {"jobs", "/jobs"}, {"senders", "/senders"},
		{"node", "/node?cluster=MySite_Nodes&node=wn00.example.org"}, {"service", "/node?cluster=MySite_Services&node=se01"}, {"search", "/search?q=load*"},
		{"mean", "/param?cluster=MySite_Nodes&param=cpu_usage"}, {"text", "/param?cluster=MySite_Nodes&param=kernel_version&node=wn00.example.org"}, {"none", "/none"},
	}
	for name, v := range browser.Views {
		some := pages
		if (v.Width > 1000) == v.Dark { // the other views show the style of each page
			some = pages[:2]
		}
		tab := b.Open(t, url+some[0].path, v)
		for i, p := range some {
			if i > 0 {
				tab.Visit(url + p.path)
			}
			if dir := os.Getenv("APMON_SHOTS"); dir != "" {
				tab.Screenshot(filepath.Join(dir, fmt.Sprintf("%s-%s.png", p.name, strings.ReplaceAll(name, " ", "-"))))
			}
			if p.name != "none" {
				tab.Check()
			} else if faults := tab.Faults(); len(faults) > 0 { // Chromium logs the status as an error
				t.Errorf("%q", faults)
			}
		}
		tab.Close()
	}
}

// A reader finds a node that was just heard, opens its graph, and sees it move.
func TestBrowserFindsNode(t *testing.T) {
	b := browser.Start(t)
	f, url := served(t, 200*time.Millisecond)
	tab := b.Open(t, url, browser.View{})
	value := 41
	report := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now = f.now.Add(2 * time.Second) // the state is collected once a second of this clock
		f.windows.Offer("New_Nodes", "fresh", []xdr.Param{xdr.Int("answer", value)}, f.now, 0)
		value++
	}
	report()
	tab.Eventually(`document.body.innerText.includes("New_Nodes")`)
	browser.Eval[bool](tab, `document.getElementById("search").focus() || true`)
	tab.Key("fre*\r")
	tab.Eventually(`location.pathname == "/search" && [...document.querySelectorAll("a")].some(a => a.textContent == "fresh")`)
	browser.Eval[bool](tab, `[...document.querySelectorAll("a")].find(a => a.textContent == "fresh").click() || true`)
	tab.Eventually(`location.pathname == "/node" && [...document.querySelectorAll("a")].some(a => a.textContent == "answer")`)
	browser.Eval[bool](tab, `[...document.querySelectorAll("a")].find(a => a.textContent == "answer").click() || true`)
	tab.Eventually(`location.pathname == "/param" && document.querySelector("svg.graph .line, svg.graph .dot")`)
	before := browser.Eval[string](tab, `document.querySelector("svg.graph").innerHTML`)
	report()
	tab.Eventually(`document.querySelector("main > .scroll tbody").innerText.includes("42")`)
	if after := browser.Eval[string](tab, `document.querySelector("svg.graph").innerHTML`); after == before {
		t.Error("the graph does not move")
	}
	if got := browser.Eval[string](tab, `document.querySelector("main > .scroll tbody tr").innerText`); !strings.Contains(got, "41") || !strings.Contains(got, "42") {
		t.Errorf("%q", got)
	}
	tab.Check()
}
