package statusz

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
)

// The page shows what fails, the requests of the server, those in progress, and the metrics in
// their units. Names of others cannot change it.
func TestHTML(t *testing.T) {
	t.Parallel()
	reg := metrics.New()
	stats := httpstats.New(httpstats.Options{})
	p := New(reg, Options{Client: client(t), HTTP: stats})
	const evil = "<script>alert(1)</script>"
	reg.Counter(evil).Add(3)
	reg.Sum("balance").Add(-2.5)
	reg.Gauge("memory").Set(2048)
	reg.Describe("memory", "KB", "Of all "+evil+".")
	reg.Measure("lookup").Start().Stop()
	reg.Measure("lookup").Observe(1500)
	reg.Cache("names").Hit()
	reg.AddFunc(func(add func(apmon.Param)) {
		add(apmon.String("state", evil))
		panic(evil)
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, get(t, p, "/status", "text/html")) })
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	h := stats.Wrap(mux)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/broken", nil))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/users/<script>?secret", nil))
	body := w.Body.String()
	for _, want := range []string{
		`<a class="kpi" href="#requests"`, `<a class="kpi bad" href="#routes"`, `<span class="label">p99</span>`, `<span class="label">up</span>`,
		`Needs attention <small>1</small>`, `<b><bdi>metrics</bdi></b>`, `panic`,
		`<svg class="graph"`, `aria-label="Responses by class`, `aria-label="Time of requests`,
		`<th scope="row" dir="auto">/broken</th><td dir="auto">GET</td><td dir="auto">503</td><td class="n">1</td>`,
		`<td dir="auto">192.0.2.1</td><td dir="auto">GET</td><td dir="auto">/users/&lt;script&gt;`, `<td class="n">0 s</td>`,
		`&lt;script&gt;alert(1)&lt;/script&gt;</th><td class="n">3</td>`, `balance</th><td class="n">-2.5</td>`,
		`title="Of all &lt;script&gt;alert(1)&lt;/script&gt;.">memory</th><td class="n">2 MiB</td>`, `<td class="n">1.5 s</td>`,
		`names</th><td class="n">1</td><td class="n">0</td><td class="n">100 %</td>`, `<h2>Functions</h2>`, `resident memory`, `127.0.0.1:1</th>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(body, "alert(1)</script>") || strings.Contains(body, "secret") || strings.Contains(body, "style=") {
		t.Error("not escaped, a secret, or a style attribute")
	}
	// The page brings its files along.
	for _, ref := range regexp.MustCompile(`(?:href|src)="(\?file=[^"]*)"`).FindAllStringSubmatch(body, -1) {
		if get(t, p, "/status"+ref[1]) == "" {
			t.Errorf("%s is empty", ref[1])
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}
