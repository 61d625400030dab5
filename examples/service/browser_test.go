package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/apmon/profiler"
	"github.com/apmon-go/apmon/internal/testkit/browser"
)

// TestPage: a browser shows the requests, percentiles and a moving graph of the service under
// load, on a wide window and on a phone.
func TestPage(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	url := start(t, apmontest.New(t), "-load", "50")
	for name, view := range browser.Views {
		tab := b.Open(t, url+"/status", view)
		const kpi = `(label) => [...document.querySelectorAll(".kpi")].find((k) => k.querySelector(".label").textContent === label)?.querySelector(".value").textContent ?? ""`
		for _, want := range []string{
			`parseFloat((` + kpi + `)("requests")) > 0`, `parseFloat((` + kpi + `)("p99")) > 0`, `parseFloat((` + kpi + `)("in progress")) >= 1`,
			`document.body.innerText.includes("/hello")`, `document.body.innerText.includes("greetings")`, `document.body.innerText.includes("GET")`,
		} {
			tab.Eventually(want)
		}
		tab.Eventually(`document.querySelectorAll("svg.graph path").length > 0 && (window.before = document.querySelector("svg.graph").innerHTML).length > 0`)
		tab.Eventually(`document.querySelector("svg.graph").innerHTML !== before`)
		if dir := os.Getenv("APMON_SHOTS"); dir != "" {
			tab.Screenshot(filepath.Join(dir, "status-"+strings.ReplaceAll(name, " ", "-")+".png"))
		}
		if tab.Check(); t.Failed() {
			t.Fatal(name)
		}
	}
}

// A page of another site, in a browser on this machine, neither reads nor starts anything.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	url := start(t, apmontest.New(t), "-load", "0")
	p, err := profiler.Listen("127.0.0.1:0", profiler.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	profiles := "http://" + p.Addr().String()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!doctype html><title>Evil</title><script>
const read = [];
let left = 0;
for (const [method, url] of [["GET", %q], ["GET", %q], ["POST", %q], ["GET", %q]]) for (const mode of ["cors", "no-cors"]) {
  left++;
  fetch(url, {method, mode}).then((r) => r.text()).then((s) => read.push(s)).catch(() => {}).finally(() => left--);
}
</script>`, url+"/status", url+"/metrics", profiles+"/start?seconds=600", profiles+"/heap")
	}))
	defer evil.Close()
	tab := b.Open(t, strings.Replace(evil.URL, "127.0.0.1", "evil.test", 1), browser.View{})
	tab.Eventually(`left === 0`)
	if browser.Eval[bool](tab, `read.some((s) => s !== "")`) {
		t.Errorf("read %s", browser.Eval[string](tab, `JSON.stringify(read)`))
	}
	if err := p.StartLogging(time.Millisecond, 0); err != nil {
		t.Errorf("the page has started a profile: %v", err)
	}
	page := get(t, url+"/metrics")
	for _, path := range []string{"/status", "/metrics"} {
		if refused := `http_requests_total{code="403",method="GET",route="` + path + `"}`; !strings.Contains(page, refused) || strings.Contains(page, strings.Replace(refused, "403", "200", 1)) {
			t.Errorf("%s was answered:\n%s", path, page)
		}
	}
}
