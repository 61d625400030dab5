package apmon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSendArrives(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			if addr == "[::1]:0" {
				if conn, err := net.ListenPacket("udp", addr); err != nil {
					t.Skipf("no IPv6 loopback here: %v", err)
				} else {
					conn.Close()
				}
			}
			l := testkit.ListenAt(t, addr)
			c := client(t, config(t, l.Name()+" secret"))
			if err := c.Send("C", "N", Int("i", -5), Float("f", 2.5), String("s", "hé")); err != nil {
				t.Fatal(err)
			}
			d := l.Next()
			equal(t, "version", d.Version, xdr.Version)
			equal(t, "password", d.Password, "secret")
			equal(t, "seq", d.Seq, 1)
			equal(t, "cluster/node", d.Cluster+"/"+d.Node, "C/N")
			equal(t, "timed", d.Timed, false)
			equal(t, "parameters", len(d.Params), 3)
			equal(t, "i", d.Params[0].Int(), -5)
			equal(t, "f", d.Params[1].Float(), 2.5)
			equal(t, "s", d.Params[2].Text(), "hé")

			if err := c.SendAt(time.Unix(1_700_000_000, 999), "C", "N", Int("i", 1)); err != nil {
				t.Fatal(err)
			}
			e := l.Next()
			equal(t, "seq", e.Seq, 2)
			equal(t, "instance", e.Instance, d.Instance)
			equal(t, "timed", e.Timed, true)
			equal(t, "time", e.Time, 1_700_000_000)
			if d.Instance < 0 {
				t.Errorf("instance id %d is negative", d.Instance)
			}
		})
	}
}

func TestNamesDefaultAndScope(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	c := client(t, config(t, l.Name()), Options{Node: "my node"})
	c.Send("", "", Int("x", 1))
	d := l.Next()
	equal(t, "names", d.Cluster+"/"+d.Node, "ApMon_UserSend/my node")
	// The names of one message do not affect the next.
	c.Send("A?/b", "", Int("x", 1))
	d = l.Next()
	equal(t, "names", d.Cluster+"/"+d.Node, "A?/b/my node")
	s := c.Scope("S", "T")
	s.Send(Int("x", 1))
	d = l.Next()
	equal(t, "names", d.Cluster+"/"+d.Node, "S/T")
	s.SendAt(time.Unix(5, 0), Int("x", 1))
	equal(t, "time", l.Next().Time, 5)
}

func TestInstanceIDsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[int32]bool{}
	for range 100 {
		id := newInstance()
		if id < 0 || seen[id] {
			t.Fatalf("instance id %d", id)
		}
		seen[id] = true
	}
}

func TestSequencePerDestination(t *testing.T) {
	t.Parallel()
	a, b := testkit.Listen(t), testkit.Listen(t)
	c := client(t, config(t, a.Name()+" longer-password", b.Name()))
	for i := range 5 {
		if err := c.Send("C", "N", Int("i", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		for _, l := range []*testkit.Listener{a, b} {
			d := l.Next()
			equal(t, "seq", d.Seq, int32(i+1))
			equal(t, "i", d.Params[0].Int(), int64(i))
		}
	}
}

func TestSequenceWraps(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, "1.2.3.4"), n.options()...)
	c.sender.network.set.Load().targets[0].seq = xdr.SeqModulus - 1
	c.Send("C", "N", Int("x", 1))
	c.Send("C", "N", Int("x", 1))
	equalSlices(t, "numbers", n.seqs("1.2.3.4:8884"), []int32{1_999_999_999, 0})
}

func TestBadParameterLeavesTheOthers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", xdr.MaxString+1)
	for _, tt := range []struct {
		name string
		bad  Param
		want error
		says string
	}{
		{"empty name", Int("", 1), ErrBadName, `""`},
		{"blank name", Int(" \t", 1), ErrBadName, `" \t"`},
		{"over-long name", Int(long, 1), ErrBadName, "32768 bytes"},
		{"NaN", Float("load", math.NaN()), ErrBadValue, `"load"`},
		{"infinity", Float("load", math.Inf(-1)), ErrBadValue, `"load"`},
		{"empty text", String("status", ""), ErrBadValue, `"status"`},
		{"blank text", String("status", " \x00"), ErrBadValue, `"status"`},
		{"over-long text", String("status", long), ErrBadValue, `"status"`},
		{"megabyte", String("log", strings.Repeat("x", 1<<20)), ErrBadValue, `"log"`},
		{"too large for a datagram", String("log", strings.Repeat("x", 8192)), ErrTooLarge, `"log"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n fakeNet
			c := client(t, config(t, "1.2.3.4"), n.options()...)
			err := c.Send("C", "N", Int("before", 1), tt.bad, Int("after", 2))
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got error %v, want %v naming %s", err, tt.want, tt.says)
			}
			if len(err.Error()) > 300 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			got := n.got[netip.MustParseAddrPort("1.2.3.4:8884")]
			if len(got) != 1 || len(got[0].Params) != 2 || got[0].Params[1].Name != "after" {
				t.Errorf("got %v", got)
			}
			equal(t, "bad parameters", c.Stats().BadParameters, 1)
			// Without another parameter, nothing is sent.
			if err := c.Send("C", "N", tt.bad); !errors.Is(err, tt.want) {
				t.Errorf("alone: %v", err)
			}
			equal(t, "messages", c.Stats().Messages, 1)
		})
	}
}

func TestManyBadParametersMakeAShortError(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, "1.2.3.4"), n.options()...)
	params := make([]Param, 100_000)
	for i := range params {
		params[i] = Float(fmt.Sprint("p", i), math.NaN())
	}
	err := c.Send("C", "N", params...)
	if !errors.Is(err, ErrBadValue) || len(err.Error()) > 2000 || !strings.Contains(err.Error(), "99990 more parameters") {
		t.Errorf("got %v", err)
	}
	equal(t, "counted", c.Stats().BadParameters, 100_000)
}

func TestBadNamesAndTimes(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, "1.2.3.4"), n.options()...)
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"blank cluster", c.Send(" ", "N", Int("x", 1)), ErrBadName},
		{"over-long node", c.Send("C", strings.Repeat("n", 40_000), Int("x", 1)), ErrBadName},
		{"names fill the datagram", c.Send(strings.Repeat("c", 8150), "N", Int("x", 1)), ErrTooLarge},
		{"1970", c.SendAt(time.Unix(0, 0), "C", "N", Int("x", 1)), ErrTime},
		{"2038", c.SendAt(time.Unix(math.MaxInt32+1, 0), "C", "N", Int("x", 1)), ErrTime},
		{"no time", c.SendAt(time.Time{}, "C", "N", Int("x", 1)), ErrTime},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.err, tt.want)
		}
	}
	equal(t, "datagrams", len(n.got), 0)
	if err := c.Send("C", "N"); err != nil || len(n.got) != 0 {
		t.Errorf("no parameters: %v, %v", err, n.got)
	}
	if err := c.SendAt(time.Unix(math.MaxInt32, 0), "C", "N", Int("x", 1)); err != nil {
		t.Errorf("the last second: %v", err)
	}
}

func TestHundredThousandParameters(t *testing.T) {
	t.Parallel()
	var n fakeNet
	params := make([]Param, 100_000)
	for i := range params {
		params[i] = Int(fmt.Sprint("p", i), i)
	}
	// The receiver would drop so many datagrams at once.
	c := client(t, config(t, "1.2.3.4"), n.options()...)
	if err := c.Send("C", "N", params...); !errors.Is(err, ErrRateLimited) || !strings.Contains(err.Error(), "message of 1447 datagrams") {
		t.Errorf("got %v", err)
	}
	c = client(t, config(t, "1.2.3.4"), append(n.options(), Options{RatePolicy: RateOff})...)
	if err := c.SendAt(time.Unix(7, 0), "C", "N", params...); err != nil {
		t.Fatal(err)
	}
	i := 0
	for _, d := range n.got[netip.MustParseAddrPort("1.2.3.4:8884")] {
		if size := len(d.Append(nil)); size > xdr.DefaultLimit || !d.Timed || d.Time != 7 {
			t.Fatalf("datagram of %d bytes, time %d", size, d.Time)
		}
		for _, p := range d.Params {
			if p.Int() != int64(i) {
				t.Fatalf("parameter %d has value %d", i, p.Int())
			}
			i++
		}
	}
	equal(t, "arrived", i, len(params))
}

// The last of many bad parameters has another kind of error than the others.
func TestEveryKindOfErrorIsFound(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, "1.2.3.4"), n.options()...)
	params := make([]Param, 50)
	for i := range params {
		params[i] = Float(fmt.Sprint("p", i), math.NaN())
	}
	params = append(params, String("big", strings.Repeat("x", 9000)), Int("", 1))
	err := c.Send("C", "N", params...)
	for _, want := range []error{ErrBadValue, ErrTooLarge, ErrBadName} {
		if !errors.Is(err, want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	equal(t, "counted", c.Stats().BadParameters, 52)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, "1.2.3.4"), n.options()...)
	if err := c.Check(Message{Params: []Param{Int("x", 1)}}); err != nil {
		t.Error(err)
	}
	if err := c.Check(Message{Params: []Param{Int("x", 1), Int("", 1)}}); !errors.Is(err, ErrBadName) {
		t.Errorf("got %v", err)
	}
	if err := c.Check(Message{Cluster: " "}); !errors.Is(err, ErrBadName) {
		t.Errorf("got %v", err)
	}
	equal(t, "sent", len(n.got), 0)
	equal(t, "counted", c.Stats().BadParameters, 0)
}

func TestDatagramLimit(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, "1.2.3.4 "+strings.Repeat("p", 100), "5.6.7.8"), append(n.options(), Options{DatagramLimit: 8192})...)
	var params []Param
	for i := range 400 {
		params = append(params, Int(fmt.Sprint("parameter", i), i))
	}
	if err := c.Send("C", "N", params...); err != nil {
		t.Fatal(err)
	}
	for addr, ds := range n.got {
		for _, d := range ds {
			if size := len(d.Append(nil)); size > 8192 {
				t.Errorf("%v: datagram of %d bytes", addr, size)
			}
		}
		equal(t, "datagrams", len(ds), 2)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, "1.2.3.4"), n.options()...)
	c.Send("C", "N", Int("x", 1))
	c.Close()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Send("C", "N", Int("x", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	equal(t, "sockets closed", n.closed, 1)
	equal(t, "sent", c.Stats().Destinations[0].Sent, 1)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := []conf.Destination{{Host: "1.2.3.4"}}
	for _, tt := range []struct {
		name string
		cfg  conf.Config
		opt  Option
		says string
	}{
		{"nothing", conf.Config{}, nil, "no destination"},
		{"bad host", conf.Config{Destinations: []conf.Destination{{Host: "a b"}}}, nil, `"a b:8884"`},
		{"nanoseconds", conf.Config{Destinations: good, Options: conf.Options{SysInterval: 120}}, nil, "SysInterval: interval of 120ns is not within 1s … 277777h46m40s: a bare number is nanoseconds, write 120*time.Second for 120 seconds"},
		{"job interval", conf.Config{Destinations: good, Options: conf.Options{JobInterval: 60}}, nil, "JobInterval: interval of 60ns"},
		{"recheck interval", conf.Config{Destinations: good, Options: conf.Options{RecheckInterval: 600}}, nil, "RecheckInterval: interval of 600ns"},
		{"negative interval", conf.Config{Destinations: good, Options: conf.Options{SysInterval: -time.Second}}, nil, "-1s"},
		{"AdjustSource", conf.Config{Destinations: good}, Options{AdjustSource: func(o *conf.Options) { o.JobInterval = 30 }}, "write 30*time.Second"},
		{"Adjust", conf.Config{Destinations: good}, Options{Adjust: func(c *conf.Config) { c.MaxMsgRate = math.NaN() }}, "rate limit of NaN"},
		{"destination of Adjust", conf.Config{Destinations: good}, Options{Adjust: func(c *conf.Config) { c.Destinations[0].Host = "a b" }}, `"a b:8884"`},
		{"negative rate", conf.Config{Destinations: good, Options: conf.Options{MaxMsgRate: -1}}, nil, "-1"},
		{"limit", conf.Config{Destinations: good}, Options{DatagramLimit: 9000}, "9000"},
		{"policy", conf.Config{Destinations: good}, Options{RatePolicy: 7}, "7"},
		{"node", conf.Config{Destinations: good}, Options{Node: " "}, "node"},
		{"resolver", conf.Config{Destinations: good}, WithResolver(nil), "nil"},
	} {
		opts := []Option{}
		if tt.opt != nil {
			opts = append(opts, tt.opt)
		}
		c, err := New(tt.cfg, opts...)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if c != nil {
			t.Errorf("%s: got a client", tt.name)
		}
	}
	if _, err := New(conf.Config{}); !errors.Is(err, ErrNoDestination) {
		t.Errorf("got %v", err)
	}
}

// Refusals of a destination are counted and do not affect other destinations. Once a
// receiver listens, it gets every datagram.
func TestRefusedDestination(t *testing.T) {
	t.Parallel()
	good := testkit.Listen(t)
	bad := testkit.Listen(t)
	name := bad.Name()
	bad.Close()
	c := client(t, config(t, name, good.Name()))
	for i := range 4 {
		if err := c.Send("C", "N", Int("i", i)); err != nil {
			t.Fatal(err)
		}
		equal(t, "seq", good.Next().Seq, int32(i+1))
	}
	c.Probe()
	s := c.Stats().Destinations
	equal(t, "refused", s[0].Refused, 4)
	equal(t, "sent", s[0].Sent, 4)
	equal(t, "last error", s[0].LastError, "connection refused")
	equal(t, "refused by the good one", s[1].Refused, 0)

	c.Send("C", "N", Int("i", 4)) // refused too; the answer waits in the socket
	again := testkit.ListenAt(t, name)
	c.Send("C", "N", Int("i", 5)) // gets that answer, and is sent again
	d := again.Next()
	equal(t, "seq", d.Seq, 6)
	equal(t, "i", d.Params[0].Int(), 5)
}

func TestSocketIsMadeAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := true
		n := fakeNet{}
		n.write = func(netip.AddrPort, []byte) error {
			if fails {
				return fmt.Errorf("write: %w", syscall.EINVAL)
			}
			return nil
		}
		c := client(t, config(t, "1.2.3.4"), n.options()...)
		for range 100 {
			if err := c.Send("C", "N", Int("x", 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		// 5 s of failures: one new socket a second, not one for each datagram.
		if len(n.dials) < 4 || len(n.dials) > 6 {
			t.Errorf("%d sockets made", len(n.dials))
		}
		equal(t, "unsent", c.Stats().Destinations[0].Unsent, 100)
		fails = false
		c.Send("C", "N", Int("x", 1))
		equalSlices(t, "numbers", n.seqs("1.2.3.4:8884"), []int32{101})
		c.Close()
		equal(t, "sockets closed", n.closed, len(n.dials))
	})
}

func TestFullSocketIsKept(t *testing.T) {
	t.Parallel()
	for _, errno := range []error{errAgain, errNoBufs, errMsgSize} {
		n := fakeNet{}
		n.write = func(netip.AddrPort, []byte) error { return errno }
		c := client(t, config(t, "1.2.3.4"), n.options()...)
		c.Send("C", "N", Int("x", 1))
		c.Send("C", "N", Int("x", 1))
		s := c.Stats().Destinations[0]
		equal(t, "sockets made", len(n.dials), 1)
		equal(t, "unsent", s.Unsent, 2)
		equal(t, "full or too long", s.Full+s.TooLong, 2)
	}
}

func TestNoSocketIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := fakeNet{dialErr: syscall.ENETUNREACH}
		c := client(t, config(t, "1.2.3.4", "5.6.7.8"), n.options()...)
		for range 10 {
			c.Send("C", "N", Int("x", 1))
		}
		equal(t, "attempts", len(n.dials), 2)
		equal(t, "unsent", c.Stats().Destinations[1].Unsent, 10)
		n.dialErr = nil
		time.Sleep(redialInterval)
		c.Send("C", "N", Int("x", 1))
		equal(t, "sent", c.Stats().Destinations[0].Sent, 1)
	})
}

func TestLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		n.answer("both.example", "2001:db8::1", "10.0.0.1")
		n.answer("six.example", "2001:db8::2")
		n.set("slow.example", func(ctx context.Context) ([]netip.Addr, error) {
			time.Sleep(2 * time.Second)
			return []netip.Addr{netip.MustParseAddr("10.0.0.3")}, nil
		})
		n.set("slow2.example", func(ctx context.Context) ([]netip.Addr, error) {
			time.Sleep(2 * time.Second)
			return []netip.Addr{netip.MustParseAddr("10.0.0.4")}, nil
		})
		start := time.Now()
		c := client(t, config(t, "both.example", "six.example", "slow.example", "slow2.example", "gone.example"), n.options()...)
		equal(t, "in parallel", time.Since(start), 2*time.Second)
		if err := c.Send("C", "N", Int("x", 1)); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"both.example:8884": "10.0.0.1:8884", "six.example:8884": "[2001:db8::2]:8884",
			"slow.example:8884": "10.0.0.3:8884", "slow2.example:8884": "10.0.0.4:8884",
			"gone.example:8884": "invalid AddrPort",
		}
		for _, d := range c.Stats().Destinations {
			equal(t, d.Name, d.Addr.String(), want[d.Name])
		}
		s := c.Stats().Destinations[4]
		if s.LastError != "no such host" || s.LookupFailures != 1 || s.Unsent != 1 {
			t.Errorf("gone.example: %+v", s)
		}

		// Look-ups later, off the sending path. (An immediate answer might arrive
		// before the message is sent.)
		later := func(addr string) func(context.Context) ([]netip.Addr, error) {
			return func(context.Context) ([]netip.Addr, error) {
				time.Sleep(time.Second)
				return []netip.Addr{netip.MustParseAddr(addr)}, nil
			}
		}
		n.set("gone.example", later("10.0.0.5"))
		time.Sleep(2 * retryInterval)
		synctest.Wait()
		c.Send("C", "N", Int("x", 1))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		c.Send("C", "N", Int("x", 1))
		equalSlices(t, "numbers", n.seqs("10.0.0.5:8884"), []int32{1})

		// A changed address is noticed, and the sequence numbers continue.
		n.set("slow.example", later("10.0.0.33"))
		n.set("both.example", func(context.Context) ([]netip.Addr, error) { return nil, errors.New("server failure") })
		time.Sleep(lookupInterval)
		synctest.Wait()
		c.Send("C", "N", Int("x", 1))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		c.Send("C", "N", Int("x", 1))
		equalSlices(t, "old address", n.seqs("10.0.0.3:8884"), []int32{1, 2, 3, 4})
		equalSlices(t, "new address", n.seqs("10.0.0.33:8884"), []int32{5})
		equalSlices(t, "failed look-up keeps the address", n.seqs("10.0.0.1:8884"), []int32{1, 2, 3, 4, 5})
	})
}

// A name that fails to resolve is looked up at growing intervals, like a source of
// configuration, no matter how often messages are sent and sources are read.
func TestLookupsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var mu sync.Mutex
		var times []time.Time
		n.set("gone.example", func(context.Context) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Now())
			return nil, errors.New("no such host")
		})
		var w web
		w.set(u1, "10.0.0.1\ngone.example\nxApMon_recheck_interval = 30\n")
		c := open(t, &n, &w, []string{u1})
		send := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Second) {
				if err := c.Send("C", "N", Int("x", 1)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		send(24 * time.Hour)
		mu.Lock()
		for i := range times[1:] {
			about := min(retryInterval<<i, time.Hour)
			if gap := times[i+1].Sub(times[i]); gap < max(about*9/10, retryInterval) || gap > about*6/5+8*time.Second {
				t.Errorf("look-up %d after %v, not about %v", i+2, gap, about)
			}
		}
		asked := len(times)
		mu.Unlock()
		if asked < 25 || asked > 35 {
			t.Errorf("%d look-ups in a day", asked)
		}

		// An explicit Reload looks the name up at once.
		n.answer("gone.example", "10.0.0.2")
		time.Sleep(retryInterval) // a look-up may just have failed
		if err := c.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		send(15 * time.Second)
		if len(n.seqs("10.0.0.2:8884")) == 0 {
			t.Error("not looked up by Reload")
		}

		// After a success the intervals start again.
		n.set("gone.example", func(context.Context) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Now())
			return nil, errors.New("no such host")
		})
		send(5 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if gap := times[asked+1].Sub(times[asked]); gap < retryInterval || gap > retryInterval*6/5+8*time.Second {
			t.Errorf("after a success: %v", gap)
		}
	})
}

func TestNewWaitsFiveSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		n.set("dead.example", hang)
		start := time.Now()
		c := client(t, config(t, "dead.example", "1.2.3.4"), n.options()...)
		equal(t, "waited", time.Since(start), resolveTimeout)
		if err := c.Send("C", "N", Int("x", 1)); err != nil {
			t.Errorf("one destination is there: %v", err)
		}
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		start = time.Now()
		d, err := New(config(t, "dead.example"), append(n.options(), WithContext(ctx))...)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "waited for the context", time.Since(start), time.Second)
		start = time.Now()
		err = d.Send("C", "N", Int("x", 1))
		if !errors.Is(err, ErrNoDestination) || !strings.Contains(err.Error(), "dead.example:8884") {
			t.Errorf("got %v", err)
		}
		d.Close() // ends the look-up
		equal(t, "sending and closing waited", time.Since(start), 0)
		equal(t, "counted", d.Stats().NoDestination, 1)
	})
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	var n fakeNet
	n.answer("a.example", "10.0.0.1")
	n.answer("b.example", "10.0.0.1")
	c := client(t, config(t, "a.example", "a.example:8884", "b.example", "b.example:9"), n.options()...)
	c.Send("C", "N", Int("x", 1))
	equal(t, "destinations", len(c.Stats().Destinations), 3)
	equalSlices(t, "one address, two names", n.seqs("10.0.0.1:8884"), []int32{1})
	equalSlices(t, "another port", n.seqs("10.0.0.1:9"), []int32{1})
	equal(t, "twin", c.Stats().Destinations[1].Twin, "a.example:8884")
	c = client(t, config(t, "10.0.0.9", "[::ffff:10.0.0.9]"), n.options()...)
	equal(t, "the same in IPv6", c.Stats().Destinations[1].Twin, "10.0.0.9:8884")
}

func TestConcurrentSenders(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c := client(t, config(t, "1.2.3.4", "5.6.7.8"), append(n.options(), Options{RatePolicy: RateOff})...)
	const workers, each = 8, 500
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if err := c.Send("C", "N", Int("w", w), Int("i", i)); err != nil {
					t.Error(err)
					return
				}
				if i%50 == 0 {
					c.Stats()
					c.Probe()
				}
			}
		})
	}
	wg.Wait()
	for _, addr := range []string{"1.2.3.4:8884", "5.6.7.8:8884"} {
		seqs := n.seqs(addr)
		equal(t, "datagrams", len(seqs), workers*each)
		for i, seq := range seqs {
			if seq != int32(i+1) {
				t.Fatalf("number %d at place %d", seq, i)
			}
		}
	}
}

func TestCloseWhileSending(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	c := client(t, config(t, l.Name(), "localhost:1"), Options{RatePolicy: RateOff})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				if err := c.Send("C", "N", Int("x", 1)); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	l.Next()
	c.Close()
	wg.Wait()
}

func TestManyClose(t *testing.T) {
	t.Parallel()
	for range 50 {
		var n fakeNet
		for _, h := range []string{"a", "b", "c"} {
			n.answer(h, "10.0.0.1")
		}
		c, err := New(config(t, "a", "b", "c"), n.options()...)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range c.sender.network.all {
			d.lookupDue.Store(true)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { c.Send("C", "N", Int("x", 1)) })
			wg.Go(func() { c.Close() })
		}
		wg.Wait()
		for _, d := range c.sender.network.all {
			if d.sock != nil {
				t.Error("a socket is open")
			}
		}
	}
}

// The log is bounded and holds no password.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		n := fakeNet{}
		n.write = func(netip.AddrPort, []byte) error { return errRefused }
		c := client(t, config(t, "1.2.3.4 hunter2", "gone.example hunter3"),
			append(n.options(), WithLogger(slog.New(slog.NewTextHandler(&buf, nil))), Options{RatePolicy: RateOff})...)
		for range 1000 {
			c.Send("C", "N", Int("x", 1))
			time.Sleep(100 * time.Millisecond)
		}
		c.Close()
		log := buf.String()
		if lines := strings.Count(log, "\n"); lines < 3 || lines > 8 {
			t.Errorf("%d lines in 100 s:\n%s", lines, log)
		}
		if !strings.Contains(log, "1.2.3.4:8884") || !strings.Contains(log, "repeated=") {
			t.Errorf("log:\n%s", log)
		}
		cfg := config(t, "1.2.3.4 hunter2")
		log += fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg.Destinations[0])
		if strings.Contains(log, "hunter") {
			t.Errorf("a password in:\n%s", log)
		}
	})
}

func TestSendAllocatesNothing(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	a, b := testkit.Listen(t), testkit.Listen(t)
	for _, policy := range []RatePolicy{RateOff, RateDrop} {
		cfg := config(t, a.Name(), b.Name()+" pw")
		cfg.MaxMsgRate = 1e9
		c := client(t, cfg, Options{RatePolicy: policy})
		params := mixed(10)
		s := c.Scope("C", "N")
		for what, f := range map[string]func(){
			"Send":        func() { c.Send("C", "N", params...) },
			"SendAt":      func() { c.SendAt(time.Unix(1, 0), "C", "N", params...) },
			"variadic":    func() { c.Send("C", "N", Int("a", 1), Float("b", 2), String("c", "d")) },
			"Scope":       func() { s.Send(Int("a", 1)) },
			"SendMessage": func() { c.SendMessage(context.Background(), Message{Params: params}) },
			"50":          func() { c.Send("C", "N", mixed50...) },
		} {
			if n := testing.AllocsPerRun(200, f); n != 0 {
				t.Errorf("%s, policy %d: %v allocations", what, policy, n)
			}
		}
	}
	// A message over the limit does not allocate either.
	cfg := config(t, a.Name())
	cfg.MaxMsgRate = 1e-9
	c := client(t, cfg)
	c.sender.limiter.random = func() float64 { return 1 }
	c.Send("C", "N", Int("x", 1))
	if n := testing.AllocsPerRun(200, func() { c.Send("C", "N", Int("x", 1)) }); n != 0 {
		t.Errorf("over the limit: %v allocations", n)
	}
}

var mixed50 = mixed(50)

// mixed returns parameters like those of a job, under 1432 bytes for 50.
func mixed(n int) []Param {
	params := make([]Param, n)
	for i := range params {
		switch i % 3 {
		case 0:
			params[i] = Int(fmt.Sprint("events", i), 1200+i)
		case 1:
			params[i] = Float(fmt.Sprint("cpu", i), 0.93)
		case 2:
			params[i] = String(fmt.Sprint("st", i), "RUN")
		}
	}
	return params
}

// TestIgnoredOptions: an option that the constructor ignores is an error, and so
// are Options given twice.
func TestIgnoredOptions(t *testing.T) {
	t.Parallel()
	cfg := config(t, "1.2.3.4")
	for name, opt := range map[string]Option{
		"Fallback": Options{Fallback: true}, "StartEmpty": Options{StartEmpty: true},
		"OpenInBackground": Options{OpenInBackground: true}, "WithTransport": WithTransport(nil),
	} {
		if _, err := New(cfg, opt); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New with %s: %v", name, err)
		}
	}
	if _, err := OpenSources(t.Context(), []conf.Source{conf.Fixed(cfg)}, WithContext(t.Context())); err == nil || !strings.Contains(err.Error(), "WithContext") {
		t.Errorf("OpenSources: %v", err)
	}
	if _, err := New(cfg, Options{}, Options{Node: "n"}); err == nil || !strings.Contains(err.Error(), "more than once") {
		t.Errorf("New with Options twice: %v", err)
	}
}

// TestOpenFixed: a configuration that the program built is a source like others.
func TestOpenFixed(t *testing.T) {
	t.Parallel()
	var n fakeNet
	c, err := OpenSources(t.Context(), []conf.Source{conf.Fixed(config(t, "1.2.3.4 pw"))}, n.options()...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Send("C", "N", Int("x", 1)); err != nil {
		t.Fatal(err)
	}
	equalSlices(t, "sequence numbers", n.seqs("1.2.3.4:8884"), []int32{1})
}
