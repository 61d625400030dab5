package metrics

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/internal/changes"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

// sent keeps the datagrams of a client.
type sent struct {
	mu        sync.Mutex
	start     time.Time
	times     []time.Duration
	datagrams []*xdr.Datagram
}

// client makes a client that does not report the host or itself.
func client(t *testing.T, opts ...apmon.Option) (*apmon.Client, *sent) {
	t.Helper()
	s := &sent{start: time.Now()}
	tap := apmon.WithTap(func(b []byte) {
		d, err := xdr.Parse(b)
		if err != nil {
			t.Error(err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.times, s.datagrams = append(s.times, time.Since(s.start)), append(s.datagrams, d)
	})
	quiet := apmon.Options{AdjustSource: func(o *conf.Options) { o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off }}
	c, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "127.0.0.1", Port: 1}}}, append(opts, tap, quiet)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, s
}

// all returns, of each datagram, the names of its parameters.
func (s *sent) all() (names [][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.datagrams {
		var n []string
		for _, p := range d.Params {
			n = append(n, p.Name)
		}
		names = append(names, n)
	}
	return names
}

// value returns a parameter of the last datagram, -1 for none.
func (s *sent) value(name string) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.datagrams) > 0 {
		for _, p := range s.datagrams[len(s.datagrams)-1].Params {
			if p.Name == name {
				return p.Float()
			}
		}
	}
	return -1
}

func publish(t *testing.T, c *apmon.Client, reg *Registry, o PublishOptions) *Publisher {
	t.Helper()
	p, err := Publish(c, reg, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPublish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := client(t)
		reg := New()
		requests := reg.Counter("requests")
		p := publish(t, c, reg, PublishOptions{Cluster: "C", Node: "N"})
		if err := c.Monitor(t.Context()); err != nil {
			t.Fatal(err)
		}
		requests.Add(5)
		time.Sleep(time.Minute)
		synctest.Wait()
		n := len(s.all())
		if n < 5 || n > 6 {
			t.Errorf("%d reports in a minute", n)
		}
		if s.times[0] >= 11*time.Second || s.times[1]-s.times[0] != 10*time.Second {
			t.Errorf("at %v", s.times)
		}
		if d := s.datagrams[0]; d.Cluster != "C" || d.Node != "N" || !slices.Equal(s.all()[0], []string{"requests", "requests_R"}) {
			t.Errorf("%+v", d)
		}
		if first := s.datagrams[0].Params[1].Float(); first <= 0 {
			t.Errorf("first rate %v", first)
		}
		requests.Add(2)
		time.Sleep(50 * time.Millisecond) // before the next is due, or a little after
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if got := s.value("requests"); got != 7 {
			t.Errorf("last report: %v requests", got)
		}
		n = len(s.all())
		requests.Add(1)
		if err := p.Stop(t.Context()); err != nil {
			t.Errorf("second Stop: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(s.all()); got != n {
			t.Errorf("%d reports after the last", got-n)
		}
		// After Stop it may be published again.
		if err := publish(t, c, reg, PublishOptions{}).Stop(t.Context()); err != nil || s.value("requests") != 8 {
			t.Errorf("again: %v, %v requests", err, s.value("requests"))
		}
	})
}

func TestPublishChangesOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := client(t)
		reg := New()
		a, b := reg.Gauge("a"), reg.Gauge("b")
		state := "IDLE"
		reg.AddFunc(func(add func(apmon.Param)) { add(apmon.String("state", state)) })
		a.Set(1)
		b.Set(1)
		p := publish(t, c, reg, PublishOptions{ChangesOnly: true, RefreshEvery: 4})
		report := func() string {
			n := len(s.all())
			time.Sleep(time.Second)
			if err := c.Report(t.Context(), apmon.ReportNow); err != nil {
				t.Error(err)
			}
			if all := s.all(); len(all) > n {
				return strings.Join(all[n], " ")
			}
			return ""
		}
		const everything = "a a_min a_max b b_min b_max state"
		nothing := func() {}
		for i, tt := range []struct {
			change func()
			want   string
		}{
			{nothing, everything},
			{nothing, ""},
			{func() { a.Set(2) }, "a a_max"},
			{nothing, "a_min"}, // a was 2 throughout
			{nothing, everything},
			{func() { b.Set(0) }, "b b_min"},
			{func() { state = "RUNNING" }, "b_max state"},
			{nothing, ""},
			{nothing, everything},
		} {
			tt.change()
			if got := report(); got != tt.want {
				t.Errorf("report %d: %q, want %q", i, got, tt.want)
			}
		}
		n := len(s.all())
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if last := s.all()[n:]; len(last) != 1 || strings.Join(last[0], " ") != everything {
			t.Errorf("last report: %q", last)
		}
	})
}

func TestPublishAllAfterAReportThatWasNotSent(t *testing.T) {
	t.Parallel()
	w := &publication{filter: &changes.Filter{Every: 100}}
	reg := New()
	reg.Gauge("g").Set(1)
	w.reader = reg.NewReader()
	var got []int
	for _, e := range []error{nil, nil, errors.New("not sent"), nil} {
		w.Messages(t.Context(), func(m apmon.Message) error { got = append(got, len(m.Params)); return e })
	}
	if !slices.Equal(got, []int{3, 0, 0, 3}) {
		t.Errorf("%v parameters", got)
	}
}

func TestPublishSurvives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := client(t)
		reg := New()
		reg.Counter("requests").Add(1)
		bad := true
		var mu sync.Mutex
		reg.AddFunc(func(add func(apmon.Param)) {
			mu.Lock()
			defer mu.Unlock()
			if bad {
				panic("oops")
			}
			add(apmon.Int("x", 1))
		})
		p := publish(t, c, reg, PublishOptions{Interval: time.Second})
		c.Monitor(t.Context())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if st := c.Stats().Reports[0]; st.Name != "metrics" || st.Failures != st.Reports || !strings.Contains(st.LastError, "oops") || len(s.all()) < 9 {
			t.Errorf("%+v, %d datagrams", st, len(s.all()))
		}
		mu.Lock()
		bad = false
		mu.Unlock()
		if err := p.Stop(t.Context()); err != nil || s.value("x") != 1 {
			t.Errorf("%v, x %v", err, s.value("x"))
		}
	})
}

func TestNothingIsReadAfterTheLastReport(t *testing.T) {
	t.Parallel()
	reg := New()
	reg.Measure("m").Observe(0)
	w := &publication{reader: reg.NewReader()}
	w.stop()
	var got []int
	for _, e := range []error{errors.New("not sent"), nil, nil} {
		w.Messages(t.Context(), func(m apmon.Message) error { got = append(got, len(m.Params)); return e })
		reg.Measure("m").Observe(1)
	}
	if len(got) != 2 {
		t.Errorf("%d reports, want another only after the one that was not sent", len(got))
	}
	want(t, read(t, w.reader), map[string]float64{"m_cnt": 2})
}

func TestNothingIsLostAtTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := client(t)
		reg := New()
		m := reg.Measure("m")
		started, release := make(chan struct{}, 10), make(chan struct{})
		reg.AddFunc(func(func(apmon.Param)) { started <- struct{}{}; <-release })
		p := publish(t, c, reg, PublishOptions{})
		c.Monitor(t.Context())
		m.Observe(1)
		<-started // of a report that has read the measure and is not sent
		m.Observe(2)
		stopped := make(chan error)
		go func() { stopped <- p.Stop(t.Context()) }()
		synctest.Wait()
		m.Observe(4)
		close(release)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		sum := 0.
		for _, d := range s.datagrams {
			for _, p := range d.Params {
				if p.Name == "m_sum" {
					sum += p.Float()
				}
			}
		}
		if sum != 7 || len(s.all()) != 2 {
			t.Errorf("sum of %d reports: %v", len(s.all()), sum)
		}
	})
}

func TestStopEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := client(t)
		reg := New()
		release := make(chan struct{})
		reg.AddFunc(func(func(apmon.Param)) { <-release })
		p := publish(t, c, reg, PublishOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := p.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Stop after %v: %v", time.Since(start), err)
		}
		close(release)
		synctest.Wait()
		if n := len(s.all()); n != 0 {
			t.Errorf("%d reports of the stopped publisher", n)
		}
	})
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := client(t)
		for _, tt := range []struct {
			o    PublishOptions
			want string
		}{
			{PublishOptions{Interval: 10}, "source metrics: interval of 10ns is not within 1s"},
			{PublishOptions{Interval: 10}, "10*time.Second"},
			{PublishOptions{Interval: -time.Second}, "interval of -1s"},
			{PublishOptions{RefreshEvery: 90}, "refresh every 90 reports of 10s"},
			{PublishOptions{RefreshEvery: -1}, "refresh every -1"},
			{PublishOptions{RefreshEvery: math.MaxInt}, "refresh every"},
			{PublishOptions{Cluster: " "}, `cluster " "`},
		} {
			reg := New()
			if _, err := Publish(c, reg, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v: %v", tt.o, err)
			}
			publish(t, c, reg, PublishOptions{RefreshEvery: 89}) // a refused Publish has no effect
			if _, err := Publish(c, reg, PublishOptions{}); !errors.Is(err, ErrPublished) {
				t.Errorf("twice: %v", err)
			}
		}
		reg := New()
		p := publish(t, c, reg, PublishOptions{Interval: time.Hour, RefreshEvery: 1})
		c.Close()
		if err := p.Stop(t.Context()); !errors.Is(err, apmon.ErrClosed) {
			t.Errorf("Stop after Close: %v", err)
		}
	})
}
