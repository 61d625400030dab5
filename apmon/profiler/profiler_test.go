package profiler

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// These tests do not run in parallel: a process can run one CPU profile at a time.

// burn spends CPU time in spin until the end of the test.
func burn(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			spin()
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
}

var sink uint64

//go:noinline
func spin() {
	x := uint64(1)
	for i := range uint64(1 << 20) {
		x = x*6364136223846793005 + i
	}
	sink = x
}

func listen(t *testing.T) (*Profiler, *testkit.Log) {
	t.Helper()
	j := &testkit.Log{}
	p, err := Listen("127.0.0.1:0", Options{}, WithLogger(slog.New(slog.NewTextHandler(j, nil))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, j
}

// ask sends a request to a profiler.
func ask(t *testing.T, p *Profiler, method, path string, headers ...string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+p.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, b
}

func TestProfilerAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0:0": "not a loopback address", ":0": "not a loopback address", "[::]:0": "not a loopback address", "192.0.2.1:0": "not a loopback address",
		"[fe80::1%lo]:0": "not a loopback address", "127.0.0.1": "missing port", "": "not a loopback address", "127.0.0.1:x": "",
	} {
		p, err := Listen(addr, Options{})
		if err == nil {
			p.Close()
			t.Errorf("%q is taken", addr)
		} else if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "profiler: ") {
			t.Errorf("%q: %v", addr, err)
		}
	}
	// With Remote, Listen tries such an address; no machine has this one.
	p, err := Listen("192.0.2.1:0", Options{Remote: true})
	if err == nil {
		p.Close()
		t.Skip("192.0.2.1 is an address of this machine")
	}
	if !strings.Contains(err.Error(), "listen") {
		t.Error(err)
	}
}

func TestProfileOnRequest(t *testing.T) {
	p, _ := listen(t)
	burn(t)
	testkit.Eventually(t, "a profile with spin in it", func() bool {
		code, b := ask(t, p, "GET", "/profile?seconds=0.1")
		if code != 200 {
			t.Fatalf("%d %s", code, b)
		}
		total, top, err := busiest(b, 3, false)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(top, func(s spent) bool { return strings.HasSuffix(s.name, "profiler.spin") })
		return i >= 0 && top[i].self > 0 && top[i].self <= top[i].all && top[i].all <= total
	})
	for _, tt := range []struct {
		method, path, header string
		code                 int
	}{
		{"GET", "/heap", "", 200}, {"GET", "/goroutine", "", 200}, {"GET", "/none", "", 404}, {"GET", "/", "", 404},
		{"GET", "/profile?seconds=0", "", 400}, {"GET", "/profile?seconds=x", "", 400}, {"GET", "/profile?seconds=601", "", 400}, {"GET", "/profile?seconds=NaN", "", 400},
		{"GET", "/profile?seconds=-1", "", 400}, {"POST", "/start?seconds=2&every=1", "", 400}, {"POST", "/start?every=x", "", 400}, {"POST", "/start?seconds=1e300", "", 400},
		{"GET", "/start", "", 404}, {"POST", "/heap", "", 405}, {"POST", "/stop", "", 200},
		{"GET", "/heap", "X-Forwarded-For: 8.8.8.8", 403}, {"POST", "/start", "Forwarded: for=unknown", 403},
		{"POST", "/start", "Sec-Fetch-Site: cross-site", 403}, {"POST", "/start", "Origin: http://example.org", 403},
		{"GET", "/heap", "Sec-Fetch-Site: cross-site", 403}, {"HEAD", "/profile", "Sec-Fetch-Site: same-site", 403},
		{"GET", "/heap", "Host: evil.example", 403}, {"GET", "/heap", "Host: localhost", 200}, {"GET", "/heap", "Host: [::1]:1", 200},
	} {
		var headers []string
		if tt.header != "" {
			headers = append(headers, tt.header)
		}
		if code, b := ask(t, p, tt.method, tt.path, headers...); code != tt.code {
			t.Errorf("%+v: %d %s", tt, code, b)
		}
	}
}

// A profiler that answers every client refuses pages of other sites all the same.
func TestRemoteRefusesOtherSites(t *testing.T) {
	p, err := Listen("127.0.0.1:0", Options{Remote: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for header, want := range map[string]int{
		"X-Forwarded-For: 8.8.8.8": 200, "Host: www1.example": 200, "Sec-Fetch-Site: none": 200,
		"Sec-Fetch-Site: cross-site": 403, "Origin: http://evil.example": 403,
	} {
		for _, path := range []string{"/heap", "/profile?seconds=0.01"} {
			if code, b := ask(t, p, "GET", path, header); code != want {
				t.Errorf("%s, %s: %d %s", path, header, code, b)
			}
		}
	}
}

func TestProfileToTheLog(t *testing.T) {
	p, j := listen(t)
	burn(t)
	// Repeatedly, until StopLogging.
	if code, b := ask(t, p, "POST", "/start?seconds=0.1&every=0.11"); code != 200 {
		t.Fatalf("%d %s", code, b)
	}
	if code, _ := ask(t, p, "POST", "/start"); code != 409 {
		t.Errorf("started twice: %d", code)
	}
	if err := p.StartLogging(time.Second, 0); !errors.Is(err, ErrRunning) {
		t.Errorf("started twice: %v", err)
	}
	testkit.Eventually(t, "profiles with spin in them", func() bool { return j.Count("of=100ms") >= 2 && j.Count("profiler.spin ") > 0 })
	ask(t, p, "POST", "/stop")
	n := j.Count("of=100ms")

	// Once; StopLogging logs the profile under way.
	if err := p.StartLogging(time.Minute, 0); err != nil {
		t.Fatal(err)
	}
	p.StopLogging()
	p.StopLogging()
	if got := j.Count("of=1m0s"); got != 1 || j.Count("of=100ms") != n {
		t.Errorf("%d profiles, and %d after the stop", got, j.Count("of=100ms")-n)
	}
	if err := p.StartLogging(time.Millisecond, 0); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "the end of a single profile", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.stop == nil
	})
	if got := j.Count("of=1ms"); got != 1 {
		t.Errorf("%d profiles", got)
	}
}

func TestOneProfileAtATime(t *testing.T) {
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Fatal(err)
	}
	defer pprof.StopCPUProfile()
	p, j := listen(t)
	if code, _ := ask(t, p, "GET", "/profile?seconds=0.001"); code != 409 {
		t.Errorf("%d while the program profiles itself", code)
	}
	if err := p.StartLogging(time.Millisecond, 0); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "a line in the log", func() bool { return j.Count("no CPU profile") == 1 })
}

func TestCloseEndsProfiles(t *testing.T) {
	p, j := listen(t)
	if err := p.StartLogging(MaxProfile, 2*MaxProfile); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(start); took > 10*time.Second || j.Count("of=10m0s") != 1 {
		t.Errorf("closed after %v, %d profiles", took, j.Count("of=10m0s"))
	}
	if err := p.StartLogging(time.Second, 0); err == nil {
		t.Error("started after Close")
	}

	// Also a profile that a client waits for.
	p, _ = listen(t)
	code := make(chan int)
	go func() {
		c, _ := ask(t, p, "GET", "/profile?seconds=600")
		code <- c
	}()
	testkit.Eventually(t, "the request", func() bool {
		if pprof.StartCPUProfile(io.Discard) != nil {
			return true
		}
		pprof.StopCPUProfile()
		return false
	})
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if c := <-code; c != 200 {
		t.Errorf("%d", c)
	}
}

// zipped returns a profile of these fields.
func zipped(b ...byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func TestBusiest(t *testing.T) {
	t.Parallel()
	text := func(s string) []byte { return append([]byte{6<<3 | 2, byte(len(s))}, s...) }
	message := func(field byte, b ...byte) []byte { return append([]byte{field<<3 | 2, byte(len(b))}, b...) }
	profile := slices.Concat(
		text(""), text("inner"), text("outer"),
		message(5, 1<<3, 1, 2<<3, 1), message(5, 1<<3, 2, 2<<3, 2), // functions 1 and 2
		message(4, 1<<3, 1, 4<<3|2, 2, 1<<3, 1, 4<<3|2, 2, 1<<3, 2),                  // location 1: inner, inlined in outer
		message(4, 1<<3, 2, 4<<3|2, 2, 1<<3, 2),                                      // location 2: outer
		message(2, 1<<3|2, 2, 1, 2, 2<<3|2, 2, 1, 100),                               // inner < outer < outer
		message(2, 1<<3, 2, 2<<3, 1, 2<<3, 50),                                       // outer, unpacked
		[]byte{12 << 3, 1, 13<<3 | 1, 0, 0, 0, 0, 0, 0, 0, 0, 14<<3 | 5, 0, 0, 0, 0}, // unknown fields
	)
	total, top, err := busiest(zipped(profile...), 10, false)
	if want := []spent{{"inner", 100, 100}, {"outer", 50, 150}}; err != nil || total != 150 || !slices.Equal(top, want) {
		t.Errorf("%v %v %v", total, top, err)
	}
	if _, top, _ = busiest(zipped(profile...), 1, false); len(top) != 1 {
		t.Errorf("%v", top)
	}
	if total, top, err := busiest(zipped(), 1, false); total != 0 || len(top) != 0 || err != nil {
		t.Errorf("nothing: %v %v %v", total, top, err)
	}
	for name, b := range map[string][]byte{
		"no gzip":        profile,
		"cut short":      zipped(profile...)[:30],
		"in a field":     zipped(profile[:len(profile)-2]...),
		"group":          zipped(3),
		"no such text":   zipped(slices.Concat(message(5, 1<<3, 1, 2<<3, 99), message(4, 1<<3, 1, 4<<3|2, 2, 1<<3, 1), message(2, 1<<3, 1, 2<<3, 1, 2<<3, 1))...),
		"without values": zipped(message(2, 1<<3, 1)...),
		"long length":    zipped(6<<3|2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
	} {
		if _, _, err := busiest(b, 1, false); !errors.Is(err, errProfile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzBusiest(f *testing.F) {
	f.Add([]byte{6<<3 | 2, 1, 'x', 5<<3 | 2, 4, 1 << 3, 1, 2 << 3, 0, 4<<3 | 2, 6, 1 << 3, 1, 4<<3 | 2, 2, 1 << 3, 1, 2<<3 | 2, 6, 1 << 3, 1, 2 << 3, 1, 2 << 3, 50})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, top, _ := busiest(zipped(b...), 3, false)
		if len(top) > 3 {
			t.Error(top)
		}
	})
}

// A profile is readable without tools, and the last one stays.
func TestProfileAsText(t *testing.T) {
	p, _ := listen(t)
	if code, b := ask(t, p, "GET", "/last"); code != 200 || string(b) != noData+"\n" {
		t.Errorf("%d %s", code, b)
	}
	for _, query := range []string{"format=html", "format=text&sort=name"} {
		if code, b := ask(t, p, "GET", "/profile?"+query); code != 400 {
			t.Errorf("%s: %d %s", query, code, b)
		}
	}
	if code, _ := ask(t, p, "GET", "/last?sort=x"); code != 400 {
		t.Error(code)
	}
	burn(t)
	for _, sort := range []string{"cum", "flat"} {
		var b []byte
		testkit.Eventually(t, "samples", func() bool {
			var code int
			code, b = ask(t, p, "GET", "/profile?format=text&seconds=0.3&sort="+sort)
			return code == 200 && strings.Contains(string(b), "profiler.spin\n")
		})
		_, last := ask(t, p, "GET", "/last?sort="+sort)
		if string(last) != string(b) || !strings.HasPrefix(string(b), "CPU time: ") {
			t.Errorf("%s\n%s", b, last)
		}
		previous := 1e9
		for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
			columns := strings.Fields(line)
			if i < 2 || len(columns) < 5 {
				continue
			}
			v, err := strconv.ParseFloat(strings.TrimSuffix(columns[map[string]int{"flat": 0, "cum": 2}[sort]], "s"), 64)
			if err != nil || v > previous {
				t.Errorf("%s: %q, %v", sort, line, err)
			}
			previous = v
		}
	}
}
