package apmon

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// flood is the receiver's flood control for one address: the formula of the limiter
// with a weight of 0.92 and 50 datagrams a second, on a clock whose seconds
// begin at another moment than those of the sender. Its behavior in idle seconds has not
// been observed; the test assumes that it decays in each of them. (A receiver
// that decays by one step after any pause would drop datagrams after the pause.)
type flood struct {
	phase      time.Duration
	second     int64
	sent, prev float64
	random     func() float64
}

func (f *flood) accepts(now time.Duration) bool {
	const h, max = 0.92, 50
	if second := int64((now + f.phase) / time.Second); second != f.second {
		f.prev = h*f.prev + (1-h)*f.sent
		f.prev *= math.Pow(h, float64(second-f.second-1))
		f.second, f.sent = second, 0
	}
	rate := h*f.prev + (1-h)*f.sent
	if rate > max/10 && f.random()*max/10 >= max-rate {
		return false
	}
	f.sent++
	return true
}

// offer sends messages through a limiter into the receiver's flood control and
// returns how many the limiter let through and how many of these were lost.
func offer(l *limiter, f *flood, times []time.Duration) (passed, lost int) {
	for _, now := range times {
		if l.allow(now, 1) {
			passed++
			if !f.accepts(now) {
				lost++
			}
		}
	}
	return passed, lost
}

// steady offers rate messages a second, evenly.
func steady(rate float64, d time.Duration) (times []time.Duration) {
	for t := time.Duration(0); t < d; t += time.Duration(float64(time.Second) / rate) {
		times = append(times, t)
	}
	return times
}

func burst(n int, at time.Duration) (times []time.Duration) {
	for range n {
		times = append(times, at)
	}
	return times
}

// The model of the receiver agrees with its observed behavior, and 0.92 and 40 lose
// no datagram.
func TestLimiterAgainstReceiver(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2)).Float64
	newFlood := func() *flood { return &flood{random: rng} }
	newLimiter := func(max, h float64) *limiter { return &limiter{max: max, h: h, random: rng} }

	t.Run("the receiver is modelled as observed", func(t *testing.T) {
		for rate, want := range map[float64]float64{45: 1, 50: .94, 75: .65, 100: .49, 200: .25} {
			times := steady(rate, 1000*time.Second)
			f, n := newFlood(), 0
			for _, now := range times {
				if f.accepts(now) {
					n++
				}
			}
			if got := float64(n) / float64(len(times)); math.Abs(got-want) > .02 {
				t.Errorf("%v a second: %.3f accepted, observed %.2f", rate, got, want)
			}
		}
	})

	t.Run("a cold burst of 1000", func(t *testing.T) {
		// With 0.92 about 450 pass, and none is lost.
		for range 100 {
			passed, lost := offer(newLimiter(40, limiterWeight), newFlood(), burst(1000, time.Second/2))
			if passed < 445 || passed > 500 || lost > 0 {
				t.Fatalf("0.92 at 40: %d passed, %d lost", passed, lost)
			}
		}
		// With 0.95 some 720 pass, and an eighth of a thousand is lost.
		sum := 0
		for range 100 {
			passed, lost := offer(newLimiter(40, .95), newFlood(), burst(1000, time.Second/2))
			if passed < 715 || passed > 800 {
				t.Fatalf("0.95 at 40: %d passed", passed)
			}
			sum += lost
		}
		if mean := sum / 100; mean < 100 || mean > 180 {
			t.Errorf("0.95 at 40: %d lost in the mean, expected about 127", mean)
		}
	})

	t.Run("nothing is lost at any load", func(t *testing.T) {
		// Bursts and pauses at random, for an hour.
		for seed := range uint64(50) {
			r := rand.New(rand.NewPCG(seed, 7))
			l, f := newLimiter(40, limiterWeight), newFlood()
			f.phase = time.Duration(r.IntN(int(time.Second)))
			passed, lost := 0, 0
			for now := time.Duration(0); now < time.Hour; now += time.Duration(r.ExpFloat64() * float64(10*time.Second)) {
				for range r.IntN(100) {
					if weight := 1 + int(r.ExpFloat64()*10); l.allow(now, weight) {
						for range weight {
							passed++
							if !f.accepts(now) {
								lost++
							}
						}
					}
				}
			}
			if lost > 0 || passed < 10_000 {
				t.Errorf("seed %d: %d of %d lost", seed, lost, passed)
			}
		}
	})
}

// The fractions of messages that old clients send, with h = 0.95.
func TestLimiterSteadyFractions(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4)).Float64
	for max, want := range map[float64][4]float64{
		20:  {.75, .395, .20, .10},
		50:  {1, .92, .49, .25},
		100: {1, 1, .92, .49},
	} {
		for i, rate := range []float64{25, 50, 100, 200} {
			l := &limiter{max: max, h: .95, random: rng}
			times := steady(rate, 2000*time.Second)
			n := 0
			for _, now := range times {
				if l.allow(now, 1) {
					n++
				}
			}
			if got := float64(n) / float64(len(times)); math.Abs(got-want[i]) > .03 {
				t.Errorf("max %v, %v a second: %.3f sent, want %v", max, rate, got, want[i])
			}
		}
	}
}

func TestLimiterWeighsDatagrams(t *testing.T) {
	t.Parallel()
	count := func(weight int) (n int) {
		l := &limiter{max: 40, h: limiterWeight, random: func() float64 { return 0 }}
		for l.allow(0, weight) {
			n += weight
		}
		return n
	}
	one, three := count(1), count(3)
	if one < 495 || one > 505 || three < one-3 || three > one+3 {
		t.Errorf("burst of %d datagrams one by one, %d by three", one, three)
	}
}

func TestLimiterForgetsIdleTime(t *testing.T) {
	t.Parallel()
	l := &limiter{max: 40, h: limiterWeight, random: func() float64 { return 1 }}
	for l.allow(0, 1) {
	}
	if l.allow(2*time.Second, 1) && l.prev > 36 {
		t.Error("recovered at once")
	}
	l.allow(120*time.Second, 1) // the old clients decay by one step here
	if l.prev > .01 {
		t.Errorf("after two idle minutes the rate is still %v", l.prev)
	}
}

func TestLimiterSmallRates(t *testing.T) {
	t.Parallel()
	l := newLimiter(.5) // below 10 the C clients divide by zero
	n := 0
	for _, now := range steady(20, 1000*time.Second) {
		if l.allow(now, 1) {
			n++
		}
	}
	if n < 400 || n > 600 {
		t.Errorf("%d of a rate of 0.5 in 1000 s", n)
	}
}

func TestPolicyDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		c := client(t, config(t, "1.2.3.4"), n.options()...)
		dropped := 0
		for range 1000 {
			if err := c.Send("C", "N", Int("x", 1)); errors.Is(err, ErrRateLimited) {
				dropped++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		s := c.Stats()
		equal(t, "counted", s.RateLimited, uint64(dropped))
		equal(t, "sent and dropped", s.Messages+s.RateLimited, 1000)
		if s.Messages < 440 || s.Messages > 510 {
			t.Errorf("%d sent", s.Messages)
		}
		// Dropped messages use no sequence numbers, so no receiver sees a loss.
		seqs := n.seqs("1.2.3.4:8884")
		equal(t, "last number", seqs[len(seqs)-1], int32(s.Messages))
	})
}

func TestPolicyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		c := client(t, config(t, "1.2.3.4"), append(n.options(), Options{RatePolicy: RateWait})...)
		start := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for range 200 {
					if err := c.Send("C", "N", Int("x", 1)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		equal(t, "sent", len(n.seqs("1.2.3.4:8884")), 2000)
		if d := time.Since(start); d < 25*time.Second || d > 50*time.Second {
			t.Errorf("2000 messages at 40 a second took %v", d)
		}

		// A message that would never pass as a whole is sent in parts.
		start = time.Now()
		params := make([]Param, 100_000)
		for i := range params {
			params[i] = Int("parameter", i)
		}
		if err := c.Send("C", "N", params...); err != nil {
			t.Fatal(err)
		}
		sent := len(n.seqs("1.2.3.4:8884")) - 2000
		if d := time.Since(start); d < time.Duration(sent/50)*time.Second || d > time.Duration(sent/30)*time.Second {
			t.Errorf("a message of %d datagrams took %v", sent, d)
		}

		ctx, stop := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer stop()
		var err error
		for err == nil {
			err = c.SendMessage(ctx, Message{Params: []Param{Int("x", 1)}})
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}

		closed := make(chan error)
		go func() {
			var err error
			for err == nil {
				err = c.Send("C", "N", Int("x", 1))
			}
			closed <- err
		}()
		synctest.Wait() // it waits for the limiter now
		c.Close()
		if err := <-closed; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// A message that is sent in parts continues in smaller parts if the rate is lowered
// while it waits, also if it waits for its first part.
func TestPolicyWaitFollowsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{0, 3 * time.Second} {
			var n fakeNet
			var w web
			w.set(u1, "10.0.0.1\nxApMon_maxMsgRate = 1000\n")
			c := open(t, &n, &w, []string{u1}, Options{RatePolicy: RateWait, DatagramLimit: 200})
			for c.sender.limiter.allow(c.sender.network.now(), 20) {
			}
			params := make([]Param, 40_000)
			for i := range params {
				params[i] = Int("parameter", i)
			}
			sent := make(chan error, 1)
			go func() { sent <- c.Send("C", "N", params...) }()
			synctest.Wait()
			time.Sleep(after)
			w.set(u1, "10.0.0.1\nxApMon_maxMsgRate = 3\n")
			if err := c.Reload(context.Background()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			before := len(n.seqs("10.0.0.1:8884"))
			time.Sleep(24 * time.Hour)
			select {
			case err := <-sent:
				if err != nil {
					t.Error(err)
				}
			default:
				t.Errorf("lowered after %v: %d datagrams before, %d a day later", after, before, len(n.seqs("10.0.0.1:8884")))
			}
			c.Close()
		}
	})
}

func TestPolicyOff(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, "1.2.3.4"), append(n.options(), Options{RatePolicy: RateOff})...)
	for range 2000 {
		if err := c.Send("C", "N", Int("x", 1)); err != nil {
			t.Fatal(err)
		}
	}
}
