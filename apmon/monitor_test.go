package apmon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// ticker is a source that records the times of its calls.
type ticker struct {
	mu      sync.Mutex
	times   []time.Time
	collect func(context.Context, []Param) ([]Param, error) // nil for one parameter
}

func (s *ticker) Collect(ctx context.Context, params []Param) ([]Param, error) {
	s.mu.Lock()
	s.times = append(s.times, time.Now())
	n := len(s.times)
	s.mu.Unlock()
	if s.collect != nil {
		return s.collect(ctx, params)
	}
	return append(params, Int("n", n)), nil
}

func (s *ticker) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.times)
}

// noHost switches the host's own reports off.
var noHost = Options{AdjustSource: hostOff}

func hostOff(o *conf.Options) { o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off }

const here = "127.0.0.1:8884"

// monitored makes a client in a bubble of simulated time, with a fake network.
func monitored(t *testing.T, opts ...Option) (*Client, *fakeNet) {
	t.Helper()
	n := &fakeNet{}
	return client(t, config(t, here), append(n.options(), opts...)...), n
}

// add adds a source.
func add(t *testing.T, c *Client, s Source, o ReportOptions) *MonitoredSource {
	t.Helper()
	m, err := c.AddSource(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// reports returns the datagrams of a cluster that arrived at an address.
func (n *fakeNet) reports(addr, cluster string) []*xdr.Datagram {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*xdr.Datagram
	for d := range slices.Values(n.got[mustAddr(addr)]) {
		if d.Cluster == cluster {
			all = append(all, d)
		}
	}
	return all
}

func TestMonitorReportsAtEqualDistances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, n := monitored(t, noHost)
		s := &ticker{}
		add(t, c, s, ReportOptions{Cluster: "C", Node: "N", Interval: time.Minute})
		start := time.Now()
		if err := c.Monitor(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		first := s.times[0].Sub(start)
		if first < 6*time.Second || first > 66*time.Second {
			t.Errorf("first report after %v, not after a random part of a minute", first)
		}
		for i, at := range s.times {
			equal(t, "time of a report", at.Sub(start), first+time.Duration(i)*time.Minute)
		}
		if got := len(s.times); got < 59 || got > 60 {
			t.Errorf("%d reports in an hour", got)
		}
		equal(t, "reports that arrived", len(n.reports(here, "C")), len(s.times))
		equal(t, "counted", c.Stats().Reports[0].Reports, uint64(len(s.times)))
	})
}

func TestMonitorStartsAtRandom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		offsets := map[time.Duration]bool{}
		for range 5 {
			c, _ := monitored(t, noHost)
			s := &ticker{}
			add(t, c, s, ReportOptions{Interval: time.Minute})
			start := time.Now()
			c.Monitor(t.Context())
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			offsets[s.times[0].Sub(start)] = true
			c.Close()
		}
		equal(t, "different offsets", len(offsets), 5)
	})
}

func TestHungSourceHarmsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, n := monitored(t, noHost, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		release := make(chan struct{})
		hung := &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) {
			<-release // like a read from a dead file server, which ignores the context
			return append(p, Int("late", 1)), nil
		}}
		good := &ticker{}
		add(t, c, hung, ReportOptions{Name: "hung", Cluster: "H", Interval: time.Minute})
		add(t, c, good, ReportOptions{Name: "good", Cluster: "G", Interval: time.Minute})
		c.Monitor(t.Context())
		time.Sleep(10*time.Minute + 30*time.Second)
		synctest.Wait()
		equal(t, "reports of the hung source", hung.asked(), 1)
		st := c.Stats()
		equal(t, "skipped", st.Reports[0].Skipped, uint64(good.asked()-1))
		equal(t, "busy", st.Reports[0].Busy, true)
		equal(t, "skipped of the good one", st.Reports[1].Skipped, 0)
		if got := len(n.reports(here, "G")); got < 10 {
			t.Errorf("%d reports of the good source in ten minutes", got)
		}
		equal(t, "log lines about it", strings.Count(log.String(), "source=hung"), 1)

		start := time.Now()
		err := c.Report(t.Context(), ReportNow)
		if err == nil || !strings.Contains(err.Error(), "hung does not return") {
			t.Errorf("Report: %v", err)
		}
		equal(t, "Report waited", time.Since(start), 0)

		close(release)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := len(n.reports(here, "H")); got < 2 {
			t.Errorf("%d reports of the source that no longer hangs", got)
		}
	})
}

func TestCloseDoesNotWaitForHungSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := monitored(t, noHost)
		release := make(chan struct{})
		defer close(release)
		add(t, c, &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) { <-release; return p, nil }},
			ReportOptions{Interval: time.Minute})
		polite := make(chan struct{})
		add(t, c, &ticker{collect: func(ctx context.Context, p []Param) ([]Param, error) {
			<-ctx.Done()
			close(polite)
			return p, ctx.Err()
		}}, ReportOptions{Interval: time.Hour})
		c.Monitor(t.Context())
		time.Sleep(3 * time.Hour / 2)
		start := time.Now()
		c.Close()
		equal(t, "Close took", time.Since(start), 500*time.Millisecond)
		<-polite
		if err := c.Monitor(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Monitor after Close: %v", err)
		}
		if err := c.Report(t.Context(), ReportNow); !errors.Is(err, ErrClosed) {
			t.Errorf("Report after Close: %v", err)
		}
	})
}

func TestPanickingSourceIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, n := monitored(t, noHost, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		bad := &ticker{}
		bad.collect = func(_ context.Context, p []Param) ([]Param, error) {
			if len(bad.times) <= 2 {
				panic("oops")
			}
			return append(p, Int("x", 1)), nil
		}
		add(t, c, bad, ReportOptions{Name: "bad", Cluster: "B", Interval: time.Minute})
		half := &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) {
			return append(p, Int("x", 1)), errors.New("the rest is missing")
		}}
		add(t, c, half, ReportOptions{Name: "half", Cluster: "H", Interval: time.Minute})
		c.Monitor(t.Context())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		st := c.Stats().Reports
		equal(t, "failures", st[0].Failures, 2)
		equal(t, "last error", st[0].LastError, "")
		equal(t, "reports after it", len(n.reports(here, "B")), bad.asked()-2)
		equal(t, "all of the half reports failed", st[1].Failures, st[1].Reports)
		equal(t, "what it had was sent", len(n.reports(here, "H")), half.asked())
		equal(t, "log lines", strings.Count(log.String(), "source=half"), 1)
		if !strings.Contains(log.String(), "panic: oops") || !strings.Contains(log.String(), "made again") {
			t.Errorf("log: %s", log.String())
		}
	})
}

// A source that ends its goroutine has failed.
func TestGoexitIsAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, n := monitored(t, noHost, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		bad := &ticker{}
		bad.collect = func(_ context.Context, p []Param) ([]Param, error) {
			if len(bad.times) <= 2 {
				runtime.Goexit()
			}
			return append(p, Int("x", 1)), nil
		}
		add(t, c, bad, ReportOptions{Name: "bad", Cluster: "B", Interval: time.Minute})
		if err := c.Report(t.Context(), ReportNow); err == nil || !strings.Contains(err.Error(), "Goexit") {
			t.Errorf("Report: %v", err)
		}
		c.Monitor(t.Context())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		st := c.Stats().Reports[0]
		equal(t, "failures", st.Failures, 2)
		equal(t, "skipped", st.Skipped, 0)
		equal(t, "busy", st.Busy, false)
		if got := len(n.reports(here, "B")); got < 8 || got != bad.asked()-2 {
			t.Errorf("%d reports after it, asked %d times", got, bad.asked())
		}
		if !strings.Contains(log.String(), "Goexit") {
			t.Errorf("log: %s", log.String())
		}
	})
}

// A resolver that ends its goroutine has failed.
func TestGoexitOfAResolver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		asked := 0
		lines := []string{here}
		for i := range maxLookups + 1 { // more than are looked up at once
			host := fmt.Sprintf("h%d.example", i)
			lines = append(lines, host)
			n.set(host, func(context.Context) ([]netip.Addr, error) {
				n.mu.Lock()
				asked++
				n.mu.Unlock()
				runtime.Goexit()
				return nil, nil
			})
		}
		start := time.Now()
		c := client(t, config(t, lines...), n.options()...)
		equal(t, "New waited", time.Since(start), 0)
		equal(t, "looked up", asked, maxLookups+1)
		n.answer("h0.example", "10.0.0.1")
		time.Sleep(2 * retryInterval)
		for range 2 {
			c.Send("C", "N", Int("x", 1))
			synctest.Wait()
		}
		if len(n.seqs("10.0.0.1:8884")) == 0 {
			t.Error("not looked up again")
		}
		c.Close()
		equal(t, "Close waited", time.Since(start), 2*retryInterval)
	})
}

func TestSourcesComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, n := monitored(t, noHost)
		c.Monitor(t.Context())
		time.Sleep(time.Hour) // nothing to do
		a, b := &ticker{}, &ticker{}
		ma := add(t, c, a, ReportOptions{Interval: time.Minute})
		time.Sleep(5 * time.Minute)
		mb := add(t, c, b, ReportOptions{Interval: 10 * time.Second})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		ma.Remove()
		ma.Remove() // a second call has no effect
		was := a.asked()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		equal(t, "asked after it was removed", a.asked(), was)
		if was < 9 || was > 10 {
			t.Errorf("asked %d times in ten minutes", was)
		}
		if got := b.asked(); got < 59 || got > 60 {
			t.Errorf("the other was asked %d times in ten minutes", got)
		}
		equal(t, "sources", len(c.Stats().Reports), 1)

		// Parameters that a source collects while it is removed are not sent.
		started, release := make(chan struct{}), make(chan struct{})
		mc := add(t, c, &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) {
			close(started)
			<-release
			return append(p, Int("x", 1)), nil
		}}, ReportOptions{Cluster: "Removed", Interval: time.Minute})
		<-started
		mc.Remove()
		close(release)
		mb.Remove()
		time.Sleep(time.Hour)
		synctest.Wait()
		equal(t, "reports of the removed source", len(n.reports(here, "Removed")), 0)
	})
}

func TestMonitorRunsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := monitored(t, noHost)
		s := &ticker{}
		add(t, c, s, ReportOptions{Interval: time.Minute})
		ctx, stop := context.WithCancel(t.Context())
		c.Monitor(ctx)
		if err := c.Monitor(ctx); !errors.Is(err, ErrMonitoring) {
			t.Errorf("second Monitor: %v", err)
		}
		time.Sleep(10 * time.Minute)
		stop()
		synctest.Wait()
		was := s.asked()
		time.Sleep(time.Hour)
		equal(t, "asked after the end", s.asked(), was)
		if err := c.Monitor(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := s.asked() - was; got < 9 || got > 10 {
			t.Errorf("asked %d times in ten minutes when monitored again", got)
		}
		for _, r := range c.Stats().Reports {
			equal(t, "skipped by the pause", r.Skipped, 0)
		}
	})
}

func TestReportInTheForeground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, n := monitored(t, noHost)
		s := &ticker{}
		add(t, c, s, ReportOptions{Cluster: "C", Interval: time.Minute})
		for range 600 {
			if err := c.Report(t.Context(), ReportDue); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if got := s.asked(); got < 9 || got > 10 {
			t.Errorf("asked %d times in ten minutes", got)
		}
		was := s.asked()
		if err := c.Report(t.Context(), ReportNow); err != nil {
			t.Fatal(err)
		}
		equal(t, "asked at once", s.asked(), was+1)
		equal(t, "arrived", len(n.reports(here, "C")), was+1)

		// Reports missed during a long pause, as of a suspended machine, are not made later.
		time.Sleep(time.Hour)
		was = s.asked()
		c.Report(t.Context(), ReportDue)
		c.Report(t.Context(), ReportDue)
		equal(t, "asked after a pause", s.asked(), was+1)
		equal(t, "skipped by a caller that seldom reports", c.Stats().Reports[0].Skipped, 0)
	})
}

// handler is a logger that calls the client, hangs or panics.
type handler struct {
	slog.Handler
	handle func()
}

func (h handler) Enabled(_ context.Context, l slog.Level) bool  { return l >= slog.LevelInfo }
func (h handler) Handle(_ context.Context, _ slog.Record) error { h.handle(); return nil }

// TestLoggerMayAskAndHang: the client holds no lock while it logs.
func TestLoggerMayAskAndHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c *Client
		release := make(chan struct{})
		asked := 0
		log := handler{handle: func() {
			_ = c.Stats()
			asked++
			<-release
		}}
		n := &fakeNet{}
		c = client(t, config(t, here), append(n.options(), noHost, WithLogger(slog.New(log)))...)
		add(t, c, &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) { return p, errors.New("bad") }}, ReportOptions{Interval: time.Minute})
		good := &ticker{}
		add(t, c, good, ReportOptions{Interval: time.Minute})
		c.Monitor(t.Context())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		equal(t, "asked by the logger", asked, 1)
		if got := good.asked(); got < 9 {
			t.Errorf("%d reports of the good source", got)
		}
		start := time.Now()
		c.Close()
		equal(t, "Close took", time.Since(start), 500*time.Millisecond)
		equal(t, "statistics after Close", len(c.Stats().Reports), 2)
		close(release)
	})
}

func TestMonitorAgainAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := monitored(t, noHost)
		for range 100 {
			ctx, stop := context.WithCancel(t.Context())
			if err := c.Monitor(ctx); err != nil {
				t.Fatal(err)
			}
			stop()
		}
	})
}

// TestSelfCountersNeverGoDown: also if a reload removes destinations or jobs.
func TestSelfCountersNeverGoDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1\n10.0.0.2\nno.example\n")
		c := open(t, &n, &w, []string{u1})
		for range 10 {
			if err := c.Send("C", "N", Int("x", 1)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		self := func() procinfo.Self {
			s := *c.self(0)
			s.RSS = procinfo.Value{}
			return s
		}
		before := self()
		equal(t, "sent", before.Sent.V, 20)
		equal(t, "dropped", before.Dropped.V, 10)
		equal(t, "failed look-ups", before.Errors.V, 1)
		w.set(u1, "10.0.0.1\n")
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, "after a reload", self(), before)
	})
}

// TestReportsOfGroups: a report without a destination is not made; a report that
// could not be sent is an error.
func TestReportsOfGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1\n")
		w.set(u2, "10.0.0.1\nxApMon_sys_load1 = off\n")
		c := open(t, &n, &w, []string{u1, u2})
		if err := c.Report(t.Context(), ReportNow); err != nil {
			t.Fatal(err)
		}
		equal(t, "reports", len(c.Stats().Reports), 1)
		equal(t, "reported", c.Stats().Reports[0].Name, "host "+u1)

		w.set(u2, "no.example\nxApMon_sys_load1 = off\n")
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Report(t.Context(), ReportNow); !errors.Is(err, ErrNoDestination) || !strings.Contains(err.Error(), "no.example") {
			t.Errorf("Report: %v", err)
		}

		// A destination that Adjust adds gets the reports of the first source.
		c = client(t, config(t, "10.0.0.3"), append(n.options(), Options{Adjust: func(cfg *conf.Config) { cfg.AddLine("10.0.0.4") }})...)
		if err := c.Report(t.Context(), ReportNow); err != nil {
			t.Fatal(err)
		}
		equal(t, "datagrams to the one added", len(n.seqs("10.0.0.4:8884")), len(n.seqs("10.0.0.3:8884")))
	})
}

func TestReportReturnsErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := monitored(t, noHost)
		add(t, c, &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) { return p, errors.New("first") }}, ReportOptions{})
		add(t, c, &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) { return append(p, Int("", 1)), nil }}, ReportOptions{})
		add(t, c, &ticker{collect: func(ctx context.Context, p []Param) ([]Param, error) { <-ctx.Done(); return p, nil }}, ReportOptions{Name: "slow", Interval: time.Hour})
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		err := c.Report(ctx, ReportNow)
		if err == nil || !strings.Contains(err.Error(), "first") || !errors.Is(err, ErrBadName) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Report: %v", err)
		}
	})
}

type twoNodes struct{ at time.Time }

func (s twoNodes) Messages(_ context.Context, send func(Message) error) error {
	return errors.Join(
		send(Message{Node: "one", Params: []Param{Int("x", 1)}}),
		send(Message{Cluster: "Other", Time: s.at, Params: []Param{Int("x", 2)}}),
		send(Message{}), // without parameters
	)
}

func TestMessengerReportsOnMoreThanOneNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, n := monitored(t, noHost)
		at := time.Unix(1_700_000_000, 0)
		if _, err := c.AddMessenger(twoNodes{at}, ReportOptions{Cluster: "C", Node: "default"}); err != nil {
			t.Fatal(err)
		}
		if err := c.Report(t.Context(), ReportNow); err != nil {
			t.Fatal(err)
		}
		one, two := n.reports(here, "C"), n.reports(here, "Other")
		if len(one) != 1 || len(two) != 1 {
			t.Fatalf("%d and %d messages", len(one), len(two))
		}
		equal(t, "node", one[0].Node, "one")
		equal(t, "node by default", two[0].Node, "default")
		equal(t, "time", int64(two[0].Time), at.Unix())
	})
}

func TestAddSourceRefuses(t *testing.T) {
	t.Parallel()
	c := client(t, config(t, here))
	for _, o := range []ReportOptions{{Interval: -1}, {Interval: 60}, {Interval: math.MaxInt64}, {Cluster: " "}, {Node: strings.Repeat("n", 100_000)}} {
		if _, err := c.AddSource(&ticker{}, o); err == nil {
			t.Errorf("AddSource(%.20v…) is accepted", o)
		}
	}
	if _, err := c.AddSource(nil, ReportOptions{}); err == nil {
		t.Error("a nil source is taken")
	}
}

// TestHostReport reads the real /proc.
func TestHostReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, n := monitored(t, Options{HostCluster: "Nodes", HostNode: "host.example"})
		c.Monitor(t.Context())
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		// A report has more than one datagram; its first parameter marks the next one.
		reports, load, rates, model, self := 0, 0, 0, 0, 0
		for _, d := range n.reports(here, "Nodes") {
			equal(t, "node", d.Node, "host.example")
			for _, p := range d.Params {
				switch p.Name {
				case "load1":
					load++
				case "interrupts_R":
					rates++
				case "kernel_version":
					model++
				case "apmon_sent":
					self++
				}
				reports = max(load, self)
			}
		}
		if reports < 9 || reports > 10 {
			t.Errorf("%d reports in 20 minutes", reports)
		}
		equal(t, "reports with load1", load, reports)
		equal(t, "reports with rates, from the first one on", rates, reports)
		equal(t, "reports with general information", model, (reports+1)/2)
		equal(t, "reports with self statistics", self, reports)
		equal(t, "split", len(n.reports(here, "Nodes")) > reports, true)
	})
}

func TestReportIsSplit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, n := monitored(t, Options{AdjustSource: hostOff, DatagramLimit: 500})
		add(t, c, &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) {
			for i := range 60 {
				p = append(p, Float(fmt.Sprintf("parameter_%d", i), 1))
			}
			return p, nil
		}}, ReportOptions{Cluster: "C"})
		if err := c.Report(t.Context(), ReportNow); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		ds := n.reports(here, "C")
		for _, d := range ds {
			for _, p := range d.Params {
				seen[p.Name] = true
			}
		}
		equal(t, "parameters", len(seen), 60)
		if len(ds) < 4 {
			t.Errorf("%d datagrams", len(ds))
		}
	})
}

// TestReportWaitsForTheLimit: a background report over the rate limit is sent later.
func TestReportWaitsForTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, n := monitored(t, noHost)
		for i := range 1000 {
			add(t, c, &ticker{}, ReportOptions{Cluster: "C", Node: fmt.Sprint(i), Interval: 2 * time.Minute})
		}
		c.Monitor(t.Context())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		c.Close()
		nodes := map[string]bool{}
		for _, d := range n.reports(here, "C") {
			nodes[d.Node] = true
		}
		equal(t, "sources that arrived", len(nodes), 1000)
		equal(t, "rate-limited", c.Stats().RateLimited, 0)
	})
}

// TestMonitoringOptionsPerSource: the options of a source of configuration apply to
// its own destinations.
func TestMonitoringOptionsPerSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1\nxApMon_sys_interval = 60\nxApMon_general_info = off\nxApMon_self = off\n")
		w.set(u2, "10.0.0.2\nxApMon_sys_interval = 600\nxApMon_sys_load1 = off\nxApMon_sys_blocks_in = on\n")
		c := open(t, &n, &w, []string{u1, u2, "10.0.0.3"}, Options{HostCluster: "Nodes"})
		c.Monitor(t.Context())
		time.Sleep(time.Hour)
		synctest.Wait()
		count := func(addr, name string) (found int) {
			for _, d := range n.reports(addr+":8884", "Nodes") {
				for _, p := range d.Params {
					if p.Name == name {
						found++
					}
				}
			}
			return found
		}
		within := func(what string, got, least, most int) {
			t.Helper()
			if got < least || got > most {
				t.Errorf("%s: %d, not within %d … %d", what, got, least, most)
			}
		}
		within("load1 every minute", count("10.0.0.1", "load1"), 59, 60)
		within("load5 every ten minutes", count("10.0.0.2", "load5"), 5, 6)
		within("load1 by default", count("10.0.0.3", "load1"), 29, 30)
		equal(t, "load1 where it is off", count("10.0.0.2", "load1"), 0)
		equal(t, "general where it is off", count("10.0.0.1", "no_CPUs"), 0)
		equal(t, "self where it is off", count("10.0.0.1", "apmon_sent"), 0)
		within("general", count("10.0.0.2", "no_CPUs"), 3, 3)
		equal(t, "the old name if it is configured", count("10.0.0.2", "blocks_in_R"), count("10.0.0.2", "load5"))
		equal(t, "the new name there", count("10.0.0.2", "pages_in"), 0)
		equal(t, "host collections", len(c.Stats().Reports), 3)

		// A reload changes the reports. Sources with the same options share one
		// collection.
		w.set(u1, "10.0.0.1\n")
		w.set(u2, "10.0.0.2\n")
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, "host collections after the reload", len(c.Stats().Reports), 1)
		was := count("10.0.0.1", "load1")
		time.Sleep(time.Hour)
		synctest.Wait()
		within("load1 every two minutes", count("10.0.0.1", "load1")-was, 29, 30)
		within("load1 of the other", count("10.0.0.2", "load1"), 29, 30)
	})
}

// TestTap: the tap gets datagrams even without a destination.
func TestTap(t *testing.T) {
	t.Parallel()
	var seen []*xdr.Datagram
	tap := WithTap(func(b []byte) {
		d, err := xdr.Parse(bytes.Clone(b))
		if err != nil {
			t.Error(err)
		}
		seen = append(seen, d)
	})
	c, err := OpenSources(t.Context(), nil, Options{StartEmpty: true}, tap)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 3 {
		if err := c.Send("C", "N", Int("x", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Report(t.Context(), ReportNow); err != nil {
		t.Fatal(err)
	}
	for i, d := range seen {
		equal(t, "sequence number", d.Seq, int32(i+1))
	}
	if len(seen) < 4 || seen[3].Cluster != DefaultHostCluster {
		t.Fatalf("%d datagrams", len(seen))
	}

	// It gets each datagram once, however many destinations there are, and no password.
	l := testkit.Listen(t)
	seen = nil
	c = client(t, config(t, l.Name()+" secret"), tap)
	if err := c.Send("C", "N", Int("x", 1)); err != nil {
		t.Fatal(err)
	}
	equal(t, "password on the wire", l.Next().Password, "secret")
	equal(t, "shown", len(seen), 1)
	equal(t, "password shown", seen[0].Password, "")
}

func TestReportOneSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, n := monitored(t, noHost)
		a, b := &ticker{}, &ticker{}
		started, release := make(chan struct{}, 10), make(chan struct{})
		slow := &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) {
			started <- struct{}{}
			<-release
			return append(p, Int("x", 1)), errors.New("half of it")
		}}
		ma := add(t, c, a, ReportOptions{Cluster: "A", Interval: time.Hour})
		add(t, c, b, ReportOptions{Cluster: "B", Interval: time.Hour})
		ms := add(t, c, slow, ReportOptions{Name: "slow", Cluster: "S", Interval: time.Minute})
		for range 2 {
			if err := ma.Report(t.Context()); err != nil {
				t.Error(err)
			}
		}
		equal(t, "reports of the one", len(n.reports(here, "A")), 2)
		equal(t, "of the other", b.asked(), 0)

		// A call waits for a report under way, and then makes another.
		both := make(chan error, 2)
		go func() { both <- ms.Report(t.Context()) }()
		<-started
		go func() { both <- ms.Report(t.Context()) }()
		synctest.Wait()
		close(release)
		for range 2 {
			if err := <-both; err == nil || err.Error() != "half of it" {
				t.Errorf("Report: %v", err)
			}
		}
		equal(t, "reports of the slow one", len(n.reports(here, "S")), 2)

		ms.Remove()
		if err := ms.Report(t.Context()); err != nil {
			t.Errorf("removed: %v", err)
		}
		equal(t, "reports after it was removed", len(n.reports(here, "S")), 2)
		c.Close()
		if err := ma.Report(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Report after Close: %v", err)
		}
	})
}

// All reports that wait for the one under way are made.
func TestReportsThatWaitAreMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := monitored(t, noHost)
		s := &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) {
			time.Sleep(time.Second)
			return append(p, Int("n", 1)), nil
		}}
		m := add(t, c, s, ReportOptions{Cluster: "C", Node: "N", Interval: time.Minute})
		const reports = 4
		var done sync.WaitGroup
		for range reports {
			done.Go(func() {
				if err := m.Report(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
		equal(t, "reports", s.asked(), reports)
	})
}
