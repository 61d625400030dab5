package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/dashboard"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// pageOf returns the address of the page of a receiver.
func pageOf(t *testing.T, s *session) (url string) {
	t.Helper()
	testkit.Eventually(t, "the address", func() bool {
		m := regexp.MustCompile(`page at (http://\S+)/,`).FindStringSubmatch(s.stderr.String())
		if m != nil {
			url = m[1]
		}
		return m != nil
	})
	return url
}

// Datagrams that arrive at the socket are on the page and in the API, with exact values and
// the counts of the receiver.
func TestPage(t *testing.T) {
	t.Parallel()
	s := begin(t, nil, "--http", "0", "--http-host", "monitor.example.org", "--format", "json")
	url := pageOf(t, s)
	for i, seq := range []int32{1, 2, 4} { // 3 is lost
		d := xdr.Datagram{Version: "2.2.20_go", Instance: 9, Seq: seq, Cluster: "T_Nodes", Node: "n1", Params: []xdr.Param{
			xdr.Int("load1", i), xdr.Int64("big", 1<<60+1), xdr.Float("total_mem", 2048), xdr.String("os_type", "<b>Linux</b>"),
		}}
		s.send(d.Append(nil))
	}
	s.send([]byte("not a datagram"))
	var o dashboard.Overview
	testkit.Eventually(t, "the counts", func() bool {
		if err := json.Unmarshal([]byte(get(t, url+"/api/v1/overview")), &o); err != nil {
			t.Fatal(err)
		}
		return o.Totals.Datagrams == 3 && o.Totals.Refused == 1 && o.NodeCount == 1
	})
	if o.Totals.Parameters != 12 || o.Totals.Lost != 1 || o.Totals.Refusals["malformed"] != 1 || o.Program != "apmon-recv" || len(o.Outputs) != 1 {
		t.Errorf("%+v", o)
	}
	for path, want := range map[string][]string{
		"/":                             {"T_Nodes", "1 of 1", "n1"},
		"/node?cluster=T_Nodes&node=n1": {"2 GiB", "&lt;b&gt;Linux&lt;/b&gt;", "1152921504606846977"},
		"/param?cluster=T_Nodes&node=n1&param=load1": {"minimum", "data-plot"},
		"/senders":                                                    {"127.0.0.1", "2.2.20_go", "T_Nodes", "1 lost"},
		"/api/v1/nodes?cluster=T_Nodes":                               {`"name":"n1"`},
		"/api/v1/params?cluster=T_Nodes&node=n1":                      {`"value":1152921504606846977`, `"unit":"MB"`},
		"/api/v1/series?cluster=T_Nodes&node=n1&param=load1":          {`,0],[`, `,2]]`, `"mean":1,`},
		"/api/v1/series?cluster=T_Nodes&node=n1&param=big&format=csv": {",T_Nodes,n1,big,1152921504606846977\r\n"},
		"/api/v1/senders":                                             {`"instance":9`, `"lost":1`, `"version":"2.2.20_go"`, `"refusal":"`},
		"/metrics":                                                    {`apmon_param{cluster="T_Nodes",node="n1",param="load1"} 2`},
		"/static/style." + regexp.MustCompile(`/static/style\.(\w+\.css)`).FindStringSubmatch(get(t, url+"/"))[1]: {"--accent"},
	} {
		body := get(t, url+path)
		for _, text := range want {
			if !strings.Contains(body, text) {
				t.Errorf("%s: no %q in %.3000s", path, text, body)
			}
		}
	}
	// An open stream does not delay the end.
	resp, err := http.Get(url + "/live")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	s.cancel()
	s.wants(0, "n1", `total +3`)
}

// Only names of this host are answered, for all paths, and other sites read nothing.
func TestPageHosts(t *testing.T) {
	t.Parallel()
	s := begin(t, nil, "--http", "0", "--http-host", "monitor.example.org")
	url := pageOf(t, s)
	ask := func(path, host, site string) (int, http.Header, string) {
		req, err := http.NewRequest("GET", url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			req.Host = host
		}
		if site != "" {
			req.Header.Set("Sec-Fetch-Site", site)
			req.Header.Set("Origin", "http://evil.example")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, string(b)
	}
	for _, path := range []string{"/", "/metrics", "/healthz", "/api/v1/overview", "/nodes"} {
		for host, want := range map[string]int{"": 200, "localhost:1": 200, "monitor.example.org": 200, "Monitor.Example.Org:80": 200, "[::1]:9": 200, "evil.example": 421} {
			status, h, body := ask(path, host, "")
			if status != want || status == 421 && !strings.Contains(body, "--http-host evil.example") {
				t.Errorf("%s for %s: %d %s, want %d", path, host, status, body, want)
			}
			if h.Get("Access-Control-Allow-Origin") != "" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: headers %v", path, h)
			}
		}
		if status, _, body := ask(path, "", "cross-site"); status != 403 || strings.Contains(body, "apmon") {
			t.Errorf("%s for another site: %d %s", path, status, body)
		}
	}
	s.cancel()
	s.wants(0, "^$", `(?s)http-host evil\.example`)
	if n := s.stderr.Count("--http-host evil.example"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, s.stderr.String())
	}
}

// The parameters of each sender are counted, and their names do not take memory without a
// bound.
func TestHeardIsBounded(t *testing.T) {
	t.Parallel()
	var h heard
	long := strings.Repeat("x", maxAboutName+1)
	for i := range 2 * maxAbout {
		note(&h, int32(i), "C", "v")
	}
	note(&h, -1, long, "v")
	note(&h, 5, "C", long)
	if len(h.senders) != maxAbout || h.datagrams != 2*maxAbout+2 || h.parameters != h.datagrams {
		t.Errorf("%d senders, %d datagrams, %d parameters", len(h.senders), h.datagrams, h.parameters)
	}
	for _, a := range h.senders {
		if len(a.cluster) > maxAboutName || len(a.version) > maxAboutName {
			t.Fatalf("%+v", a)
		}
	}
}

func note(h *heard, instance int32, cluster, version string) {
	h.note(&receiver.Packet{From: netip.MustParseAddrPort("192.0.2.1:1"), Datagram: &xdr.Datagram{
		Version: version, Instance: instance, Seq: 1, Cluster: cluster, Node: "n", Params: []xdr.Param{xdr.Int("x", 1)},
	}})
}

// BenchmarkNote counts a datagram of one of 1000 known senders.
func BenchmarkNote(b *testing.B) {
	var h heard
	packets := make([]receiver.Packet, 1000)
	for i := range packets {
		packets[i] = receiver.Packet{From: netip.MustParseAddrPort("192.0.2.1:1"), Datagram: &xdr.Datagram{Version: "2.2.20_go", Instance: int32(i), Seq: 1, Cluster: "C", Node: "n"}}
	}
	for i := range b.N {
		h.note(&packets[i%len(packets)])
	}
}
