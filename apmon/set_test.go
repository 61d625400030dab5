package apmon

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/conf"
)

func TestSetDestinations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		n.answer("h.example", "10.0.0.4")
		c := client(t, config(t, "10.0.0.1", "10.0.0.2 pw"), append(n.options(), Options{RatePolicy: RateOff})...)
		send := func() {
			t.Helper()
			if err := c.Send("C", "N", Int("x", 1)); err != nil {
				t.Fatal(err)
			}
		}
		set := func(lines ...string) error { return c.SetDestinations(config(t, lines...)) }
		send()
		if err := set("10.0.0.2 a-longer-password", "10.0.0.3", "h.example"); err != nil {
			t.Fatal(err)
		}
		send()
		equalSlices(t, "removed", n.seqs("10.0.0.1:8884"), []int32{1})
		equalSlices(t, "stays", n.seqs("10.0.0.2:8884"), []int32{1, 2})
		equalSlices(t, "new", n.seqs("10.0.0.3:8884"), []int32{1})
		equalSlices(t, "new by name", n.seqs("10.0.0.4:8884"), []int32{1})
		equal(t, "sockets made", len(n.dials), 4)
		got := n.got[netip.MustParseAddrPort("10.0.0.2:8884")]
		equal(t, "new password", got[1].Password, "a-longer-password")
		equal(t, "instance", got[1].Instance, got[0].Instance)
		equal(t, "sent to what stays", c.Stats().Destinations[0].Sent, 2)

		// A bad configuration changes nothing.
		for _, tt := range []struct {
			cfg  conf.Config
			says string
		}{
			{conf.Config{}, "no destination in the configuration"},
			{conf.Config{Destinations: []conf.Destination{{Host: "a b"}}}, `"a b:8884"`},
			{conf.Config{Destinations: []conf.Destination{{Host: "10.0.0.9"}}, Options: conf.Options{SysInterval: 60}}, "60*time.Second"},
			{config(t, "gone.example"), "gone.example:8884"},
		} {
			if err := c.SetDestinations(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v: %v", tt.cfg, err)
			}
		}
		if err := set("gone.example"); !errors.Is(err, ErrNoDestination) {
			t.Errorf("got %v", err)
		}
		equal(t, "destinations", names(c), "10.0.0.2:8884 10.0.0.3:8884 h.example:8884")

		// A destination that is used again continues its sequence numbers.
		if err := set("10.0.0.1"); err != nil {
			t.Fatal(err)
		}
		send()
		equalSlices(t, "back", n.seqs("10.0.0.1:8884"), []int32{1, 2})

		// Later changes of the caller's value have no effect.
		cfg := config(t, "10.0.0.5")
		cfg.Switches = map[string]conf.ParamSwitch{"sys_load1": {On: false}}
		if err := c.SetDestinations(cfg); err != nil {
			t.Fatal(err)
		}
		cfg.Destinations[0].Host = "10.0.0.6"
		cfg.Switches["sys_load1"] = conf.ParamSwitch{On: true}
		if got := c.Configs()[0]; got.Destinations[0].Host != "10.0.0.5" || got.Switches["sys_load1"].On {
			t.Errorf("in force: %+v", got)
		}

		c.Close()
		if err := set("10.0.0.1"); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// After SetDestinations the sources have no effect, not even a source that is being
// read.
func TestSetDestinationsEndsSources(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1\n")
		c := open(t, &n, &w, []string{u1})
		w.set(u1, "10.0.0.2\n")
		w.hang(true)
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Reload(context.Background()) })
		synctest.Wait()
		if err := c.SetDestinations(config(t, "10.0.0.3")); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		w.hang(false)
		asked := len(w.times)
		time.Sleep(24 * time.Hour)
		if err := c.Reload(t.Context()); err != nil {
			t.Error(err)
		}
		equal(t, "destinations", names(c), "10.0.0.3:8884")
		equal(t, "readings after it", len(w.times), asked)
		equal(t, "sources", len(c.Stats().Configs), 0)
	})
}

// While destinations change continuously, the one that stays gets every message
// exactly once.
func TestSetDestinationsLosesNothing(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, "10.0.0.1"), append(n.options(), Options{RatePolicy: RateOff})...)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(stop)
		for i := range 200 {
			if err := c.SetDestinations(config(t, "10.0.0.1", "10.0.1."+string(rune('1'+i%5)))); err != nil {
				t.Error(err)
			}
		}
	})
	sent := 0
	for done := false; !done; sent++ {
		select {
		case <-stop:
			done = true
		default:
		}
		if err := c.Send("C", "N", Int("x", 1)); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	seqs := n.seqs("10.0.0.1:8884")
	equal(t, "arrived", len(seqs), sent)
	for i, seq := range seqs {
		if seq != int32(i+1) {
			t.Fatalf("number %d at place %d", seq, i)
		}
	}
}

func TestSetMaxMsgRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, "10.0.0.1\nxApMon_maxMsgRate = 7\n")
		c := open(t, &n, &w, []string{u1})
		rate := func() float64 { r, _ := c.sender.limiter.limit(); return r }
		for _, bad := range []float64{-1, math.NaN(), math.Inf(1)} {
			if err := c.SetMaxMsgRate(bad); err == nil {
				t.Errorf("%v is taken", bad)
			}
		}
		equal(t, "configured", rate(), 7)
		if err := c.SetMaxMsgRate(3); err != nil {
			t.Fatal(err)
		}
		equal(t, "set", rate(), 3)
		w.set(u1, "10.0.0.1\nxApMon_maxMsgRate = 9\n")
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, "after a reload", rate(), 3)
		var err error
		for err == nil {
			err = c.Send("C", "N", Int("x", 1))
		}
		if !errors.Is(err, ErrRateLimited) || !strings.Contains(err.Error(), "of 3 datagrams") {
			t.Errorf("got %v", err)
		}
		if err := c.SetMaxMsgRate(0); err != nil {
			t.Fatal(err)
		}
		equal(t, "configured again", rate(), 9)
	})
}

func TestSetHostReportNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, n := monitored(t, Options{Node: "host", HostCluster: "A"}, WithLogger(slog.New(slog.DiscardHandler)))
		if err := c.Monitor(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if err := c.SetHostReportNames(" ", "N"); !errors.Is(err, ErrBadName) {
			t.Errorf("got %v", err)
		}
		if err := c.SetHostReportNames("B", "N"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if err := c.SetHostReportNames("", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, want := range []nodeName{{"A", "host"}, {"B", "N"}, {DefaultHostCluster, "host"}} {
			got := n.reports(here, want.cluster)
			if len(got) < 4 {
				t.Errorf("%d reports of %s", len(got), want.cluster)
			}
			for _, d := range got {
				equal(t, "node", d.Node, want.node)
			}
		}
	})
}

// With WithoutHost only sources are reported, also after a reload that switches the
// host on.
func TestWithoutHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var w web
		w.set(u1, here)
		c := open(t, &n, &w, []string{u1}, Options{WithoutHost: true})
		add(t, c, &ticker{}, ReportOptions{Name: "own", Interval: time.Minute})
		if err := c.Monitor(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.set(u1, here+"\nxApMon_sys_monitoring = on\nxApMon_general_info = on\nxApMon_sys_interval = 60\n")
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Report(t.Context(), ReportNow); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		equal(t, "host reports", len(n.reports(here, DefaultHostCluster)), 0)
		if got := len(n.reports(here, DefaultCluster)); got < 119 {
			t.Errorf("%d reports of the source in two hours", got)
		}
		equal(t, "sources", len(c.Stats().Reports), 1)
	})
}
