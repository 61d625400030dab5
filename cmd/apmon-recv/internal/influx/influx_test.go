package influx

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func packet(d xdr.Datagram) *receiver.Packet {
	p := &receiver.Packet{From: netip.MustParseAddrPort("192.0.2.1:8884"), Received: time.Unix(1763735000, 123456000), Raw: d.Append(nil)}
	p.Decode(new(xdr.Datagram), nil)
	return p
}

func start(t *testing.T, o Options) *output.Set {
	t.Helper()
	out, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := new(output.Set)
	s.Swap(t.Context(), []output.Output{out}, nil)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Close(ctx)
	})
	return s
}

func TestLine(t *testing.T) {
	t.Parallel()
	at := time.Unix(1763735000, 123456000)
	x := []xdr.Param{xdr.Int("x", 1)}
	for _, c := range []struct {
		d    xdr.Datagram
		want string
	}{
		{xdr.Datagram{Cluster: "C", Node: "N", Params: x}, "C,node=N x=1 1763735000123456000\n"},
		{xdr.Datagram{Cluster: "C", Node: "N", Timed: true, Time: 17, Params: x}, "C,node=N x=1 17000000000\n"},
		{xdr.Datagram{Cluster: "C", Node: "N", Timed: true, Params: x}, "C,node=N x=1 1763735000123456000\n"},
		{xdr.Datagram{Cluster: "C", Params: []xdr.Param{xdr.Float("a", 0.5), xdr.Float("nan", math.NaN()), xdr.String("s", `a"b\c`+"\n\xff"), xdr.Int64("l", 1<<40), xdr.Int("", 1), xdr.Float("t", 1e300)}},
			`C a=0.5,s="a\"b\\c` + "\n" + `\\xff",l=1099511627776,t=1e+300 1763735000123456000` + "\n"},
		{xdr.Datagram{Cluster: "a b,c=d", Node: "e f,g=h\n\r\xfe", Params: []xdr.Param{xdr.Int("i j,k=l", 1), xdr.Int("time", 2), xdr.Int(`m\`, 3), xdr.Int("ü", 4)}},
			`a\ b\,c=d,node=e\ f\,g\=h\n\r\xfe i\ j\,k\=l=1,time_=2,m\_=3,ü=4 1763735000123456000` + "\n"},
		{xdr.Datagram{Cluster: "#c", Node: "N", Params: x}, `\#c,node=N x=1 1763735000123456000` + "\n"},
		{xdr.Datagram{Cluster: "C", Node: "N"}, ""},
		{xdr.Datagram{Cluster: "C", Params: []xdr.Param{xdr.Float("nan", math.Inf(1))}}, ""},
		{xdr.Datagram{Node: "N", Params: x}, ""},
	} {
		got, ok := appendLine([]byte("before"), &c.d, at)
		if string(got) != "before"+c.want || ok != (c.want != "") {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
	}
}

// influxd is a running server of version 1.
type influxd struct {
	t   *testing.T
	url string
	dir string
}

// startInfluxd starts Debian's InfluxDB in a folder of its own.
func startInfluxd(t *testing.T) *influxd {
	t.Helper()
	path, err := exec.LookPath("influxd")
	if err != nil {
		t.Skip("influxd is not installed")
	}
	s := &influxd{t: t, dir: t.TempDir()}
	for range 5 { // another process may take the ports
		ports := freePorts(t, 2)
		config := fmt.Sprintf("bind-address = \"127.0.0.1:%d\"\nreporting-disabled = true\n[meta]\n dir = %q\n[data]\n dir = %q\n wal-dir = %q\n[http]\n bind-address = \"127.0.0.1:%d\"\n log-enabled = false\n[monitor]\n store-enabled = false\n",
			ports[0], filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "data"), filepath.Join(s.dir, "wal"), ports[1])
		name := filepath.Join(s.dir, "influxdb.conf")
		if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, "run", "-config", name)
		log := new(testkit.Log)
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		t.Cleanup(func() { cmd.Process.Kill(); <-ended })
		s.url = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
		up := false
		testkit.Eventually(t, "influxd to answer", func() bool {
			select {
			case <-ended:
				return true
			default:
			}
			resp, err := http.Get(s.url + "/ping")
			if err == nil {
				resp.Body.Close()
				up = true
			}
			return up
		})
		if up {
			s.query("CREATE DATABASE apmon")
			return s
		}
		t.Logf("influxd: %s", log)
	}
	t.Fatal("influxd does not start")
	return nil
}

// freePorts returns ports that were free.
func freePorts(t *testing.T, n int) []int {
	var all []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().(*net.TCPAddr).Port)
	}
	return all
}

// query returns the rows of the answer of a query.
func (s *influxd) query(q string) [][]any {
	s.t.Helper()
	resp, err := http.PostForm(s.url+"/query", url.Values{"db": {"apmon"}, "q": {q}, "epoch": {"ns"}})
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Results []struct {
			Error  string
			Series []struct{ Values [][]any }
		}
	}
	d := json.NewDecoder(resp.Body)
	d.UseNumber()
	if err := d.Decode(&answer); err != nil {
		s.t.Fatal(err)
	}
	if len(answer.Results) != 1 || answer.Results[0].Error != "" {
		s.t.Fatalf("%s: %+v", q, answer)
	}
	if len(answer.Results[0].Series) == 0 {
		return nil
	}
	return answer.Results[0].Series[0].Values
}

// A real server takes the lines, with hostile names and texts, and answers queries.
func TestInfluxd(t *testing.T) {
	t.Parallel()
	srv := startInfluxd(t)
	for _, zip := range []bool{false, true} {
		s := start(t, Options{URL: srv.url + "/write?db=apmon", Gzip: zip})
		cluster := fmt.Sprintf("C,a=b c %v", zip)
		for i := range 3 {
			s.Put(t.Context(), packet(xdr.Datagram{Cluster: cluster, Node: "no de,=\\", Timed: true, Time: int32(1000 + i), Params: []xdr.Param{
				xdr.Float("f", float64(i)/4), xdr.Int("i", i), xdr.String("s t", "q\"\\\n\xff"), xdr.Int("time", 7)}}))
		}
		// A field cannot change its type: this line is refused, and the others are not.
		s.Put(t.Context(), packet(xdr.Datagram{Cluster: cluster, Node: "other", Timed: true, Time: 2000, Params: []xdr.Param{xdr.String("f", "text")}}))
		s.Put(t.Context(), packet(xdr.Datagram{Cluster: "#" + cluster, Node: "N\nM", Params: []xdr.Param{xdr.Int("x\ny", 1)}}))
		if !s.Idle(t.Context()) {
			t.Fatal("not idle")
		}
		st := s.Stats()[0]
		if st.Sent != 4 || st.Dropped[output.Rejected] != 1 || !strings.Contains(st.Error, "field type conflict") {
			t.Errorf("%+v", st)
		}
		got := srv.query(fmt.Sprintf(`SELECT "f", "i", "s t", "time_", "node" FROM %q`, cluster))
		var want [][]any
		for i := range 3 {
			want = append(want, []any{json.Number(fmt.Sprint((1000 + i) * 1e9)), json.Number(fmt.Sprint(float64(i) / 4)), json.Number(fmt.Sprint(i)), `q"\` + "\n" + `\xff`, json.Number("7"), `no de,=\_`})
		}
		for i := range want {
			want[i][0] = json.Number(fmt.Sprintf("%d000000000", 1000+i))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		// This line is in another shard than the refused one. The server answers as soon as one
		// shard fails.
		testkit.Eventually(t, "the line of the cluster that looks like a comment", func() bool {
			return len(srv.query(fmt.Sprintf(`SELECT * FROM %q`, `\#`+cluster)))+len(srv.query(fmt.Sprintf(`SELECT * FROM %q`, "#"+cluster))) == 1
		})
	}
}

// failingServer answers each request with what the test says.
func failingServer(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request, body string)) (base string, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(in)
			if err != nil {
				t.Error(err)
				return
			}
			in = z
		}
		body, _ := io.ReadAll(in)
		answer(int(requests.Add(1)), w, r, string(body))
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// Lines that a server refuses are found and counted; the others arrive.
func TestRefusedLines(t *testing.T) {
	t.Parallel()
	var taken atomic.Int64
	base, _ := failingServer(t, func(_ int, w http.ResponseWriter, _ *http.Request, body string) {
		if strings.Contains(body, "bad") {
			http.Error(w, "unable to parse", http.StatusBadRequest)
			return
		}
		taken.Add(int64(strings.Count(body, "\n")))
		w.WriteHeader(http.StatusNoContent)
	})
	s := start(t, Options{URL: base + "/api/v2/write?org=O&bucket=B"})
	for i := range 1000 {
		name := "good"
		if i == 17 || i == 700 {
			name = "bad"
		}
		s.Put(t.Context(), packet(xdr.Datagram{Cluster: "C", Node: fmt.Sprint(i), Params: []xdr.Param{xdr.Int(name, i)}}))
	}
	s.Idle(t.Context())
	if st := s.Stats()[0]; st.Sent != 998 || st.Dropped[output.Rejected] != 2 || taken.Load() != 998 {
		t.Errorf("%+v, %d taken", st, taken.Load())
	}
}

// A server that fails gets the lines as soon as it works; its words do not betray secrets.
func TestRecovers(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var taken atomic.Int64
	base, requests := failingServer(t, func(n int, w http.ResponseWriter, r *http.Request, body string) {
		if n == 1 {
			http.Error(w, "you sent s3cret-token\x1b[2J and pass", http.StatusServiceUnavailable)
			return
		}
		if got := r.Header.Get("Authorization"); got != "Token s3cret-token" {
			t.Errorf("authorization %q", got)
		}
		taken.Add(int64(strings.Count(body, "\n")))
		w.WriteHeader(http.StatusNoContent)
	})
	u := strings.Replace(base, "http://", "http://user:pass@", 1)
	s := start(t, Options{URL: u + "/write?db=D", TokenFile: token, Gzip: true})
	if name := s.Stats()[0].Output; name != "influx "+base+"/write" {
		t.Errorf("name %q", name)
	}
	s.Put(t.Context(), packet(xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}))
	testkit.Eventually(t, "an error", func() bool { return s.Stats()[0].Error != "" || requests.Load() > 1 })
	if text := s.Stats()[0].Error; strings.Contains(text, "s3cret") || strings.Contains(text, "pass") {
		t.Errorf("error %q", text)
	}
	s.Idle(t.Context())
	if st := s.Stats()[0]; st.Sent != 1 || taken.Load() != 1 || st.Error != "" {
		t.Errorf("%+v, %d taken", st, taken.Load())
	}
}

// A server that never answers, redirects, or sends without end holds up nothing else.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	elsewhere, stolen := failingServer(t, func(int, http.ResponseWriter, *http.Request, string) {})
	redirects, requests := failingServer(t, func(_ int, w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Location", elsewhere+"/write?db=D")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	s := start(t, Options{URL: redirects + "/write?db=D"})
	s.Put(t.Context(), packet(xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}))
	testkit.Eventually(t, "a request", func() bool { return requests.Load() > 0 && s.Stats()[0].Error != "" })
	if stolen.Load() != 0 {
		t.Error("another server got the data")
	}
	endless, asked := failingServer(t, func(_ int, w http.ResponseWriter, _ *http.Request, _ string) {
		w.WriteHeader(http.StatusInternalServerError)
		for range 64 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
	s = start(t, Options{URL: endless + "/write?db=D"})
	s.Put(t.Context(), packet(xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}))
	testkit.Eventually(t, "an error", func() bool { return asked.Load() > 0 && s.Stats()[0].Error != "" })
	if n := len(s.Stats()[0].Error); n > 500 {
		t.Errorf("an error of %d bytes", n)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, want string }{
		{"http://h:8086/write?db=D", ""},
		{"https://u:secret@h/api/v2/write?org=O&bucket=B", ""},
		{"http://h/prefix/write?db=D&rp=two", ""},
		{"", "url: it does not begin"},
		{"ftp://h/write?db=D", "url: it does not begin"},
		{"http://u:secret@h", "url: http://h has no path"},
		{"http://h/write", "url: it has no parameter db"},
		{"http://h/api/v2/write?org=O", "url: it has no parameter bucket"},
		{"http://h/write?db=D&precision=s", "url: times are in nanoseconds"},
		{"http://u:secret@h:port/write", "url: it is not a URL"},
	} {
		err := Options{URL: c.url}.Check()
		if (err == nil) != (c.want == "") || err != nil && (!strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", c.url, err)
		}
	}
}

// BenchmarkLine encodes a datagram of 10 parameters.
func BenchmarkLine(b *testing.B) {
	d := xdr.Datagram{Cluster: "Cluster_Nodes", Node: "node001.example.org"}
	for i := range 10 {
		d.Params = append(d.Params, xdr.Float(fmt.Sprintf("parameter_%d", i), float64(i)*1.1))
	}
	at := time.Now()
	var buf []byte
	for b.Loop() {
		buf, _ = appendLine(buf[:0], &d, at)
	}
}

// A server that sends back what it got, and no HTTP, does not bring secrets into the log.
func TestEchoBetraysNothing(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, authorization := range []string{"Token s3cret-token", "Basic dXNlcjpwYXNz", "user:pass"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Read(make([]byte, 1<<16))
				fmt.Fprintf(c, "%s\r\n\r\n", authorization)
				c.Close()
			}
		}()
		s := start(t, Options{URL: "http://user:pass@" + l.Addr().String() + "/write?db=D", TokenFile: token})
		s.Put(t.Context(), packet(xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}))
		testkit.Eventually(t, "an error", func() bool { return s.Stats()[0].Error != "" })
		if text := s.Stats()[0].Error; strings.Contains(text, "s3cret") || strings.Contains(text, "pass") || strings.Contains(text, "dXNlcjpwYXNz") {
			t.Errorf("error %q", text)
		}
	}
}

// SIGHUP reads a new token. One that cannot be read leaves the last one.
func TestNewToken(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens := make(chan string, 10)
	base, _ := failingServer(t, func(_ int, w http.ResponseWriter, r *http.Request, _ string) {
		tokens <- r.Header.Get("Authorization")
		w.WriteHeader(http.StatusNoContent)
	})
	s := start(t, Options{URL: base + "/write?db=D", TokenFile: token})
	for _, c := range []struct{ file, want string }{{"first\n", "Token first"}, {"second\n", "Token second"}, {"", "Token second"}} {
		if err := os.WriteFile(token, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Reopen()
		s.Put(t.Context(), packet(xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}))
		if got := <-tokens; got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// A new token is tried at once, although the server has asked to wait.
func TestNewTokenEndsPause(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base, requests := failingServer(t, func(_ int, w http.ResponseWriter, r *http.Request, _ string) {
		if r.Header.Get("Authorization") == "Token new" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Retry-After", "3600") // at most retryMax
		w.WriteHeader(http.StatusUnauthorized)
	})
	began := time.Now()
	s := start(t, Options{URL: base + "/write?db=D", TokenFile: token})
	s.Put(t.Context(), packet(xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}))
	testkit.Eventually(t, "a pause", func() bool { return s.Stats()[0].Error != "" })
	if err := os.WriteFile(token, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Reopen()
	testkit.Eventually(t, "delivery", func() bool { return s.Stats()[0].Sent == 1 })
	if took := time.Since(began); took >= retryMax || requests.Load() != 2 {
		t.Errorf("%d requests in %v", requests.Load(), took)
	}
}
