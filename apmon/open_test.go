package apmon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
)

// web replaces the servers of configurations.
type web struct {
	mu    sync.Mutex
	pages map[string]string // by URL
	serve func(*http.Request) (*http.Response, error)
	times []time.Time // of the requests
}

func (w *web) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.times = append(w.times, time.Now())
	serve, text := w.serve, w.pages[req.URL.String()]
	w.mu.Unlock()
	if serve != nil {
		return serve(req)
	}
	status := http.StatusOK
	if text == "" {
		status = http.StatusNotFound
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}, nil
}

func (w *web) set(url, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pages == nil {
		w.pages = map[string]string{}
	}
	w.pages[url] = text
}

func (w *web) hang(hangs bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serve = nil
	if hangs {
		w.serve = func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
	}
}

func open(t testing.TB, n *fakeNet, w *web, sources []string, opts ...Option) *Client {
	t.Helper()
	c, err := OpenSources(context.Background(), conf.ParseSources(sources...), append(append(n.options(), WithTransport(w)), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

const u1, u2 = "http://one.example/conf?app=prod", "http://two.example/conf"

func names(c *Client) string {
	var s []string
	for _, d := range c.Stats().Destinations {
		s = append(s, d.Name)
	}
	return strings.Join(s, " ")
}

func TestOpenMergesSources(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.conf")
	if err := os.WriteFile(file, []byte("10.0.0.1\nxApMon_maxMsgRate = 5\nbad line here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var n fakeNet
	var w web
	w.set(u1, "10.0.0.2 pw\n10.0.0.1 pw1\nxApMon_maxMsgRate = 3\nxApMon_sys_load1 = off")
	c := open(t, &n, &w, []string{file, u1, u2, "10.0.0.3, 10.0.0.4", "['10.0.0.5']"})
	equal(t, "destinations", names(c), "10.0.0.1:8884 10.0.0.2:8884 10.0.0.3:8884 10.0.0.4:8884 10.0.0.5:8884")
	rate, _ := c.sender.limiter.limit()
	equal(t, "the lowest rate", rate, 3)
	if err := c.Send("C", "N", Int("x", 1)); err != nil {
		t.Fatal(err)
	}
	equal(t, "password of its double", n.got[netip.MustParseAddrPort("10.0.0.1:8884")][0].Password, "pw1")
	s := c.Stats().Configs
	equal(t, "sources", len(s), 5)
	if len(s[0].Problems) != 1 || !strings.HasPrefix(s[0].Problems[0], file+":3: ") || s[0].LastError != "" {
		t.Errorf("file: %+v", s[0])
	}
	if s[2].Failures != 1 || !strings.Contains(s[2].LastError, "404") || s[2].Destinations != 0 {
		t.Errorf("URL that does not exist: %+v", s[2])
	}
	// Options belong to their source.
	equal(t, "option", c.Configs()[1].Switches["sys_load1"].On, false)
	equal(t, "option of another source", len(c.Configs()[0].Switches), 0)
}

func TestOpenWithNothing(t *testing.T) {
	t.Parallel()
	var n fakeNet
	var w web
	dir := t.TempDir()
	w.set(u2, "# nothing\n")
	_, err := OpenSources(context.Background(), conf.ParseSources(dir+"/none.conf", u1, u2, "h:99999"), append(n.options(), WithTransport(&w))...)
	if err == nil {
		t.Fatal("opened")
	}
	for _, part := range []string{dir + "/none.conf", u1, "404", u2 + ": no usable destination", "list: no usable destination"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in %v", part, err)
		}
	}
	if _, err := OpenSources(context.Background(), conf.ParseSources("{'h' => $x}")); err == nil {
		t.Error("a variable was evaluated")
	}
}

func TestOpenStartsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		c := open(t, &n, &w, []string{u1}, Options{StartEmpty: true})
		if err := c.Send("C", "N", Int("x", 1)); !errors.Is(err, ErrNoDestination) {
			t.Errorf("got %v", err)
		}
		w.set(u1, "10.0.0.1")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if err := c.Send("C", "N", Int("x", 1)); err != nil {
			t.Error(err)
		}
		equalSlices(t, "numbers", n.seqs("10.0.0.1:8884"), []int32{1})
	})
}

// Sources are read neither too often nor all at once, and less often while they fail.
func TestRecheckTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		w := web{}
		w.set(u1, "10.0.0.1\nxApMon_recheck_interval = 5\n")
		c := open(t, &n, &w, []string{u1})
		gaps := func() (g []time.Duration) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for i := 1; i < len(w.times); i++ {
				g = append(g, w.times[i].Sub(w.times[i-1]))
			}
			w.times = w.times[:0]
			return g
		}
		time.Sleep(time.Hour)
		g := gaps()
		if slices.Min(g) < 30*time.Second || slices.Max(g) > 37*time.Second {
			t.Errorf("least interval: %v", g)
		}
		w.set(u1, "10.0.0.1\n") // the directive is gone: 600 s again
		time.Sleep(10 * time.Hour)
		g = gaps()[1:]
		if slices.Min(g) < 540*time.Second || slices.Max(g) > 660*time.Second || slices.Min(g) == slices.Max(g) {
			t.Errorf("default interval with jitter: %v", g)
		}
		w.set(u1, "")
		time.Sleep(20 * time.Hour)
		g = gaps()
		if len(g) < 15 || len(g) > 30 || slices.Max(g) > 66*time.Minute || g[len(g)-1] < 50*time.Minute {
			t.Errorf("back-off: %v", g)
		}
		s := c.Stats().Configs[0]
		if s.Failures < 15 || s.Destinations != 1 || !strings.Contains(s.LastError, "404") {
			t.Errorf("%+v", s)
		}
		equal(t, "last good destination", names(c), "10.0.0.1:8884")
		w.set(u1, "10.0.0.1\nxApMon_conf_recheck = off\n")
		time.Sleep(2 * time.Hour)
		gaps()
		time.Sleep(20 * time.Hour)
		equal(t, "rechecks when switched off", len(gaps()), 0)
	})
}

func TestReloadKeepsUnchangedDestinations(t *testing.T) {
	t.Parallel()
	var n fakeNet
	var w web
	w.set(u1, "10.0.0.1\n10.0.0.2 pw\nxApMon_maxMsgRate = 7\n")
	var log bytes.Buffer
	c := open(t, &n, &w, []string{u1}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))), Options{RatePolicy: RateOff})
	send := func() {
		t.Helper()
		if err := c.Send("C", "N", Int("x", 1)); err != nil {
			t.Fatal(err)
		}
	}
	reload := func(text string) error {
		w.set(u1, text)
		return c.Reload(context.Background())
	}
	send()
	if err := reload("10.0.0.3\n10.0.0.2 a-much-longer-password\n"); err != nil {
		t.Fatal(err)
	}
	send()
	rate, _ := c.sender.limiter.limit()
	equal(t, "rate returned to its default", rate, DefaultRate)
	equal(t, "sockets made", len(n.dials), 3)
	equal(t, "sockets closed", n.closed, 1)
	equalSlices(t, "removed", n.seqs("10.0.0.1:8884"), []int32{1})
	equalSlices(t, "stays", n.seqs("10.0.0.2:8884"), []int32{1, 2})
	equalSlices(t, "new", n.seqs("10.0.0.3:8884"), []int32{1})
	got := n.got[netip.MustParseAddrPort("10.0.0.2:8884")]
	equal(t, "new password", got[1].Password, "a-much-longer-password")
	equal(t, "instance", got[1].Instance, got[0].Instance)

	// A source that fails changes only Stats.
	for range 3 {
		if err := reload(""); err == nil || !strings.Contains(err.Error(), u1) {
			t.Errorf("got %v", err)
		}
	}
	if err := reload("# empty\n"); !errors.Is(err, conf.ErrNoDestination) {
		t.Errorf("got %v", err)
	}
	send()
	equalSlices(t, "last good", n.seqs("10.0.0.3:8884"), []int32{1, 2})
	if lines := strings.Count(log.String(), "configuration not loaded"); lines != 1 {
		t.Errorf("%d lines in the log:\n%s", lines, log.String())
	}

	// A destination that is used again continues its sequence numbers.
	if err := reload("10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	send()
	equalSlices(t, "back", n.seqs("10.0.0.1:8884"), []int32{1, 2})
	equal(t, "failures", c.Stats().Configs[0].Failures, 4)
}

// While the configuration changes continuously, the destination that stays gets
// every message exactly once.
func TestReloadLosesNothing(t *testing.T) {
	t.Parallel()
	var n fakeNet
	var w web
	w.set(u1, "10.0.0.1")
	c := open(t, &n, &w, []string{u1}, Options{RatePolicy: RateOff})
	const senders, reloads = 4, 100
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		defer close(stop)
		for i := range reloads {
			w.set(u1, fmt.Sprintf("10.0.0.1 %s\n10.0.1.%d\n", strings.Repeat("p", 1+i%50), i%5))
			if err := c.Reload(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	var sent [senders]int64
	for s := range senders {
		wg.Go(func() {
			for i := int64(0); ; i++ {
				select {
				case <-stop:
					sent[s] = i
					return
				default:
				}
				if err := c.Send("C", "N", Int("s", s), Int("i", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := n.got[netip.MustParseAddrPort("10.0.0.1:8884")]
	var next [senders]int64
	for i, d := range got {
		if d.Seq != int32(i+1) {
			t.Fatalf("number %d at place %d", d.Seq, i)
		}
		s := d.Params[0].Int()
		if d.Params[1].Int() != next[s] {
			t.Fatalf("sender %d: message %d, want %d", s, d.Params[1].Int(), next[s])
		}
		next[s]++
	}
	equal(t, "arrived", next, sent)
	equal(t, "reloads", c.Stats().Configs[0].Reads, 1+reloads)
}

func TestAdjust(t *testing.T) {
	t.Parallel()
	const u1, u2, plain = "https://one.example/conf?app=prod", "https://two.example/conf", "http://three.example/conf"
	var n fakeNet
	var w web
	w.set(u1, "10.0.0.1\n10.0.0.2 own\n")
	c := open(t, &n, &w, []string{u1}, Options{Adjust: func(cfg *conf.Config) { cfg.SetDefaultPassword("common"); cfg.MaxMsgRate = 9 }})
	w.set(u1, "10.0.0.1\n10.0.0.2 own\n10.0.0.3\nxApMon_maxMsgRate = 5\n")
	if err := c.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.Send("C", "N", Int("x", 1))
	for addr, want := range map[string]string{"10.0.0.1:8884": "common", "10.0.0.2:8884": "own", "10.0.0.3:8884": "common"} {
		equal(t, addr, n.got[netip.MustParseAddrPort(addr)][0].Password, want)
	}
	rate, _ := c.sender.limiter.limit()
	equal(t, "rate", rate, 9)

	// The password of another source is used, in any order of the sources.
	w.set(u2, "10.0.0.1 theirs\n")
	c = open(t, &n, &w, []string{u1, u2}, Options{Adjust: func(cfg *conf.Config) { cfg.SetDefaultPassword("common") }})
	c.Send("C", "N", Int("x", 1))
	got := n.got[netip.MustParseAddrPort("10.0.0.1:8884")]
	equal(t, "password of another source", got[len(got)-1].Password, "theirs")

	// A server that answers for a plain-http source must not get a password.
	w.set(plain, "10.0.0.1\n10.0.0.4\n")
	c = open(t, &n, &w, []string{plain, u1}, Options{Adjust: func(cfg *conf.Config) {
		equal(t, "sources", strings.Join(cfg.SetDefaultPassword("common"), " "), plain)
	}})
	c.Send("C", "N", Int("x", 1))
	got = n.got[netip.MustParseAddrPort("10.0.0.1:8884")]
	equal(t, "password of a destination that an https source names too", got[len(got)-1].Password, "common")
	equal(t, "password of a destination that only an http source names", n.got[netip.MustParseAddrPort("10.0.0.4:8884")][0].Password, "")
}

// TestOpenMissingFile: the name of a missing file is not used as a host.
func TestOpenMissingFile(t *testing.T) {
	t.Parallel()
	c, err := Open(t.Context(), "no_such_destinations.conf")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err == nil {
		c.Close()
	}
}

// TestOpenRefusesIntervals: a bad interval that a program sets is an error when
// the client is made, even if no configuration can be read. Later it is an error of
// the reload, which changes nothing.
func TestOpenRefusesIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, opt := range []Options{{StartEmpty: true}, {OpenInBackground: true}} {
			opt.AdjustSource = func(o *conf.Options) { o.SysInterval = 120 }
			_, err := OpenSources(t.Context(), conf.ParseSources("10.0.0.1"), opt)
			if err == nil || !strings.Contains(err.Error(), "write 120*time.Second") {
				t.Errorf("got %v", err)
			}
		}
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1\n")
		var log bytes.Buffer
		c := open(t, &n, &w, []string{u1}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
			Options{AdjustSource: func(o *conf.Options) { o.SysInterval /= 1e9 }})
		w.set(u1, "10.0.0.2\nxApMon_sys_interval = 60\n")
		if err := c.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "interval of 60ns") {
			t.Errorf("Reload: %v", err)
		}
		equal(t, "destinations", names(c), "10.0.0.1:8884")
		time.Sleep(time.Hour)
		equal(t, "destinations later", names(c), "10.0.0.1:8884")
		if lines := strings.Count(log.String(), "\n"); lines < 2 || lines > 8 { // one for each read
			t.Errorf("log:\n%s", log.String())
		}
		w.set(u1, "10.0.0.3\n")
		if err := c.Reload(t.Context()); err != nil {
			t.Error(err)
		}
		equal(t, "destinations at the end", names(c), "10.0.0.3:8884")
	})
}

func TestFallback(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1")
		w.set(u2, "10.0.0.2")
		c := open(t, &n, &w, []string{"http://dead.example", u1, u2}, Options{Fallback: true})
		seen[names(c)] = true
		if err := c.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		equal(t, "the one in use stays", len(c.Stats().Destinations), 1)
		c.Close()
	}
	if len(seen) != 2 || !seen["10.0.0.1:8884"] || !seen["10.0.0.2:8884"] {
		t.Errorf("got %v", seen)
	}
	var n fakeNet
	var w web
	_, err := OpenSources(context.Background(), conf.ParseSources(u1, u2), append(n.options(), WithTransport(&w), Options{Fallback: true})...)
	if err == nil || !strings.Contains(err.Error(), u1) || !strings.Contains(err.Error(), u2) {
		t.Errorf("got %v", err)
	}
}

// While one fallback source is in use, the others are not read.
func TestFallbackTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 10 {
			var n fakeNet
			var w web
			w.set(u2, "10.0.0.2")
			c := open(t, &n, &w, []string{u1, u2}, Options{Fallback: true, StartEmpty: true})
			time.Sleep(time.Hour)
			w.mu.Lock()
			if len(w.times) < 6 || len(w.times) > 9 {
				t.Errorf("%d requests in an hour", len(w.times))
			}
			w.mu.Unlock()
			c.Close()
		}
		var n fakeNet
		var w web
		c := open(t, &n, &w, []string{u1, u2}, Options{Fallback: true, StartEmpty: true})
		time.Sleep(10 * time.Minute)
		w.set(u1, "10.0.0.1")
		time.Sleep(2 * time.Hour)
		equal(t, "destinations", names(c), "10.0.0.1:8884")
		if len(w.times) > 40 {
			t.Errorf("%d requests", len(w.times))
		}
	})
}

// A message under way while all destinations are replaced goes to either the old
// ones or the new ones, once. The same holds if two names of one address change
// their order.
func TestReplacingAllLosesNothing(t *testing.T) {
	t.Parallel()
	for _, pages := range [][]string{
		{"10.0.0.1", "10.0.0.2"},
		{"a.example\n10.0.0.1", "10.0.0.1\na.example", "10.0.0.1", "a.example"},
	} {
		var n fakeNet
		n.answer("a.example", "10.0.0.1")
		var w web
		w.set(u1, pages[0])
		c := open(t, &n, &w, []string{u1}, Options{RatePolicy: RateOff})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			defer close(stop)
			for i := range 200 {
				w.set(u1, pages[i%len(pages)])
				if err := c.Reload(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
		var sent [4]int
		for s := range sent {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := c.Send("C", "N", Int("s", s)); err != nil {
						t.Error(err)
					}
					sent[s]++
				}
			})
		}
		wg.Wait()
		arrived := 0
		for _, ds := range n.got {
			arrived += len(ds)
		}
		equal(t, "arrived", arrived, sent[0]+sent[1]+sent[2]+sent[3])
	}
}

// A message that waits for the limiter while the configuration changes goes to
// the new destinations.
func TestWaitingMessageFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1\nxApMon_maxMsgRate = 1\n")
		c := open(t, &n, &w, []string{u1}, Options{RatePolicy: RateWait})
		done := make(chan struct{})
		go func() {
			for range 30 {
				if err := c.Send("C", "N", Int("x", 1)); err != nil {
					t.Error(err)
				}
			}
			close(done)
		}()
		synctest.Wait()
		w.set(u1, "10.0.0.2 a-long-password-that-needs-room\nxApMon_maxMsgRate = 1\n")
		if err := c.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		before := len(n.seqs("10.0.0.1:8884"))
		<-done
		equal(t, "to the old one after the reload", len(n.seqs("10.0.0.1:8884")), before)
		equal(t, "arrived", before+len(n.seqs("10.0.0.2:8884")), 30)
	})
}

// A message that waited, and has no room with the new configuration, is an error.
func TestWaitingMessageFindsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1\nxApMon_maxMsgRate = 1\n")
		c := open(t, &n, &w, []string{u1}, Options{RatePolicy: RateWait})
		for range 200 { // near the limit chance decides
			c.sender.limiter.allow(c.sender.network.now(), 1)
		}
		failed := make(chan error)
		go func() { failed <- c.Send(strings.Repeat("c", 8000), "N", Int("x", 1)) }()
		synctest.Wait()
		w.set(u1, "10.0.0.2 "+strings.Repeat("p", 500))
		if err := c.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, ErrTooLarge) {
			t.Errorf("got %v", err)
		}
		equal(t, "messages", c.Stats().Messages, 0)
	})
}

// A destination that is removed during its first look-up, and added again, is looked
// up again.
func TestReturnBeforeTheFirstAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		n.set("h.example", hang)
		w.set(u1, "10.0.0.1\nh.example")
		c := open(t, &n, &w, []string{u1})
		for _, page := range []string{"10.0.0.1", "10.0.0.1\nh.example"} {
			w.set(u1, page)
			if err := c.Reload(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		n.answer("h.example", "10.0.0.2")
		time.Sleep(3 * retryInterval)
		synctest.Wait()
		c.Send("C", "N", Int("x", 1))
		synctest.Wait()
		c.Send("C", "N", Int("x", 1))
		if len(n.seqs("10.0.0.2:8884")) == 0 {
			t.Errorf("%+v", c.Stats().Destinations[1])
		}
	})
}

// New destinations replace old ones with an address only when one of the new ones
// resolves.
func TestUnresolvableDestinationsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1")
		c := open(t, &n, &w, []string{u1})
		w.set(u1, "h.example")
		if err := c.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := c.Send("C", "N", Int("x", 1)); err != nil {
			t.Error(err)
		}
		equal(t, "destinations", names(c), "10.0.0.1:8884")
		n.answer("h.example", "10.0.0.2")
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		c.Send("C", "N", Int("x", 1))
		equal(t, "destinations", names(c), "h.example:8884")
		equalSlices(t, "old", n.seqs("10.0.0.1:8884"), []int32{1})
		equalSlices(t, "new", n.seqs("10.0.0.2:8884"), []int32{1})
	})
}

// A caller that gives up is not a failure of the source.
func TestReloadGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1")
		c := open(t, &n, &w, []string{u1})
		w.hang(true)
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		if err := c.Reload(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		equal(t, "failures", c.Stats().Configs[0].Failures, 0)
		if err := c.Reload(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// A malformed source does not affect the others.
func TestMalformedSource(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := open(t, &n, &web{}, []string{"10.0.0.1", "{'h' =>"})
	equal(t, "destinations", names(c), "10.0.0.1:8884")
	if s := c.Stats().Configs[1]; !strings.Contains(s.LastError, "Perl") {
		t.Errorf("%+v", s)
	}
}

// A fetch that hangs does not delay senders or Close.
func TestHangingSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1")
		c := open(t, &n, &w, []string{u1})
		w.hang(true)
		failed := make(chan error)
		go func() { failed <- c.Reload(context.Background()) }()
		synctest.Wait()
		start := time.Now()
		for range 100 {
			if err := c.Send("C", "N", Int("x", 1)); err != nil {
				t.Fatal(err)
			}
		}
		c.Stats()
		equal(t, "sending took", time.Since(start), 0)
		if err := <-failed; err == nil || !strings.Contains(err.Error(), u1) {
			t.Errorf("got %v", err)
		}
		equal(t, "a fetch lasts", time.Since(start), 5*time.Second)

		go func() { failed <- c.Reload(context.Background()) }()
		synctest.Wait()
		start = time.Now()
		c.Close()
		equal(t, "Close took", time.Since(start), 0)
		if err := <-failed; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		if err := c.Reload(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// Names are looked up again at each recheck. A look-up that fails or hangs keeps the
// address.
func TestRecheckLooksNamesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "h.example\nxApMon_recheck_interval = 60\n")
		n.answer("h.example", "10.0.0.1")
		c := open(t, &n, &w, []string{u1})
		addr := func() string { return c.Stats().Destinations[0].Addr.String() }
		equal(t, "address", addr(), "10.0.0.1:8884")
		c.Send("C", "N", Int("x", 1))
		n.answer("h.example", "10.0.0.2")
		time.Sleep(70 * time.Second)
		equal(t, "changed", addr(), "10.0.0.2:8884")
		n.set("h.example", func(context.Context) ([]netip.Addr, error) { return nil, errors.New("server failure") })
		time.Sleep(70 * time.Second)
		equal(t, "failed", addr(), "10.0.0.2:8884")
		n.set("h.example", hang)
		time.Sleep(10 * time.Minute)
		equal(t, "hanging", addr(), "10.0.0.2:8884")
		c.Send("C", "N", Int("x", 1))
		equalSlices(t, "numbers continue", n.seqs("10.0.0.2:8884"), []int32{2})
	})
}

func TestFilesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("b.conf", "10.0.0.2\n")
		write("a.conf", "10.0.0.1\nxApMon_recheck_interval = 30\n")
		write("c.conf.rpmnew", "10.0.0.3\n")
		var n fakeNet
		c := open(t, &n, &web{}, []string{dir})
		equal(t, "destinations", names(c), "10.0.0.1:8884 10.0.0.2:8884")
		write("d.conf", "10.0.0.4\n")
		time.Sleep(40 * time.Second)
		synctest.Wait()
		equal(t, "destinations", names(c), "10.0.0.1:8884 10.0.0.2:8884 10.0.0.4:8884")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		equal(t, "destinations", names(c), "10.0.0.1:8884 10.0.0.2:8884 10.0.0.4:8884")
	})
}

func TestSendAllocatesNothingWhileASourceHangs(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	l := testkit.Listen(t)
	hanging := make(chan struct{})
	w := &web{}
	w.set(u1, l.Name()+"\nxApMon_maxMsgRate = 1000000000\n")
	c, err := OpenSources(context.Background(), conf.ParseSources(u1), WithTransport(w))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w.serve = func(req *http.Request) (*http.Response, error) {
		close(hanging)
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Reload(ctx) }()
	<-hanging
	params := mixed(10)
	if n := testing.AllocsPerRun(200, func() {
		if err := c.Send("C", "N", params...); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	stop()
	<-done
}

func TestKnownOption(t *testing.T) {
	t.Parallel()
	for spelling, want := range map[string]string{
		"sys_load1": "sys_load1", "sys_blocks_in_R": "sys_pages_in", "sys_net_socket": "sys_net_sockets",
		"job_total_processes": "job_processes", "cpu_MHz": "cpu_MHz", "load1": "", "sys_": "",
	} {
		if got, ok := KnownOption(spelling); got != want || ok != (want != "") {
			t.Errorf("%s: got %s", spelling, got)
		}
	}
}

// The sample documents exactly the options that exist.
func TestSampleKnowsEveryOption(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(conf.Sample, "#xApMon_", "xApMon_")
	loaded := conf.Load(t.Context(), []*conf.Reader{{Source: conf.Text("sample", text), Lookup: KnownOption}})
	for _, p := range loaded[0].Problems {
		t.Error(p)
	}
	for _, option := range known() {
		if !strings.Contains(conf.Sample, "xApMon_"+option+" ") {
			t.Errorf("%s is not in the sample", option)
		}
	}
}

// TestOpenInBackground: Open returns at once, even if a source hangs, and the
// client sends as soon as there is a destination.
func TestOpenInBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1\n")
		w.hang(true)
		start := time.Now()
		c := open(t, &n, &w, []string{u1}, Options{OpenInBackground: true})
		equal(t, "time to open", time.Since(start), 0)
		if err := c.Send("C", "N", Int("x", 1)); !errors.Is(err, ErrNoDestination) {
			t.Errorf("Send: %v", err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := c.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ready while a source hangs: %v", err)
		}
		w.hang(false)
		if err := c.Ready(t.Context()); err != nil { // the read that hangs has failed
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if err := c.Send("C", "N", Int("x", 1)); err != nil {
			t.Fatal(err)
		}
		equalSlices(t, "arrived", n.seqs("10.0.0.1:8884"), []int32{1})

		c = open(t, &n, &w, []string{u1}, Options{OpenInBackground: true})
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Send("C", "N", Int("x", 1)); err != nil {
			t.Fatal(err)
		}
	})
}
