package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func packet(d *xdr.Datagram) *receiver.Packet {
	p := &receiver.Packet{From: netip.MustParseAddrPort("192.0.2.1:8884"), Received: time.Now(), Raw: d.Append(nil)}
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
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// Datagrams arrive as they were, those of one process from one port, those of many from
// several.
func TestRelay(t *testing.T) {
	t.Parallel()
	r, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := start(t, Options{To: r.LocalAddr().String()})
	from := map[int32]int{} // instance → port
	ports := map[int]bool{}
	buf := make([]byte, 65536)
	for i := range int32(300) {
		d := &xdr.Datagram{Version: "2.2.20", Password: "pw", Instance: 1000 + i%100, Seq: i, Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("i", i)}}
		p := packet(d)
		if !s.Put(t.Context(), p) {
			t.Fatal("not taken")
		}
		n, addr, err := r.ReadFromUDP(buf)
		if err != nil {
			t.Fatal(err)
		}
		if string(buf[:n]) != string(p.Raw) {
			t.Fatalf("%x arrived as %x", p.Raw, buf[:n])
		}
		if port, ok := from[d.Instance]; ok && port != addr.Port {
			t.Errorf("instance %d from %d and %d", d.Instance, port, addr.Port)
		}
		from[d.Instance], ports[addr.Port] = addr.Port, true
	}
	if len(ports) != 16 {
		t.Errorf("%d ports", len(ports))
	}
	// Refused datagrams are not passed on; those without an instance id are.
	bad := &receiver.Packet{Raw: []byte{1}}
	bad.Decode(new(xdr.Datagram), nil)
	s.Offer(bad)
	old := packet(&xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}})
	s.Offer(old)
	if n, _, err := r.ReadFromUDP(buf); err != nil || string(buf[:n]) != string(old.Raw) {
		t.Errorf("%x, %v", buf[:n], err)
	}
}

// A destination where nothing listens, or that does not exist, loses datagrams with a count,
// and gets them as soon as it is there.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	addr := testkit.Refusing(t)
	s := start(t, Options{To: addr})
	p := packet(&xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}})
	testkit.Eventually(t, "an error", func() bool {
		s.Put(t.Context(), p)
		return strings.Contains(s.Stats()[0].Error, "refused") && s.Stats()[0].Dropped[SendFailed] > 0
	})
	s = start(t, Options{To: "no-such-host.invalid"})
	s.Put(t.Context(), p)
	s.Put(t.Context(), p)
	s.Idle(t.Context())
	if st := s.Stats()[0]; st.Dropped[SendFailed] != 2 || !strings.Contains(st.Error, "no-such-host.invalid") && st.Error != errNoAddress.Error() {
		t.Errorf("%+v", st)
	}
}

// regrouped is a datagram that a regrouping relay would send, and when.
type regrouped struct {
	at time.Duration
	d  *xdr.Datagram
}

// simulate runs the regrouping with simulated time and no socket. Feed adds datagrams.
func simulate(t *testing.T, hold time.Duration, feed func(r *regrouping)) (sent []regrouped, waits []time.Duration) {
	t.Helper()
	begin := time.Now()
	r := &regrouping{groups: make(map[key]*group), wake: make(chan struct{}, 1)}
	go func() {
		feed(r)
		r.end()
	}()
	s := sender{instance: 5, pace: time.NewTicker(time.Second / rate)}
	defer s.pace.Stop()
	for g := r.next(t.Context(), hold); g != nil; g = r.next(t.Context(), hold) {
		if lost := s.encode(g); lost > 0 {
			t.Errorf("%d lost", lost)
		}
		err := s.send(t.Context(), g, func(_ context.Context, _ int, b []byte) error {
			d, err := xdr.Parse(b)
			sent = append(sent, regrouped{time.Since(begin), d})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, time.Since(g.first))
	}
	return sent, waits
}

// The datagrams of a node within the hold are one message: values in their order, two of one
// parameter too; other nodes, times and passwords are messages of their own.
func TestRegroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		add := func(r *regrouping, d xdr.Datagram) {
			d.Cluster = "C"
			if !r.add(&d, time.Now()) {
				t.Error("not taken")
			}
		}
		sent, _ := simulate(t, 2*time.Second, func(r *regrouping) {
			add(r, xdr.Datagram{Node: "a", Params: []xdr.Param{xdr.Int("x", 1), xdr.String("s", "t")}})
			add(r, xdr.Datagram{Node: "b", Params: []xdr.Param{xdr.Int("x", 2)}})
			time.Sleep(time.Second)
			add(r, xdr.Datagram{Node: "a", Params: []xdr.Param{xdr.Int("x", 3)}})
			add(r, xdr.Datagram{Node: "a", Timed: true, Time: 17, Params: []xdr.Param{xdr.Float("x", 4)}})
			add(r, xdr.Datagram{Node: "a", Password: "pw", Params: []xdr.Param{xdr.Int("x", 5)}})
			time.Sleep(1100 * time.Millisecond)
			add(r, xdr.Datagram{Node: "a", Params: []xdr.Param{xdr.Int("x", 6)}})
			time.Sleep(time.Hour)
		})
		var got []string
		for i, s := range sent {
			var values []string
			for _, p := range s.d.Params {
				values = append(values, fmt.Sprintf("%s=%v%s", p.Name, p.Float(), p.Text()))
			}
			got = append(got, fmt.Sprintf("%s %s %q %d %v %s", s.at.Round(100*time.Millisecond), s.d.Node, s.d.Password, s.d.Time, s.d.Timed, strings.Join(values, " ")))
			if s.d.Instance != 5 || s.d.Seq != int32(i+1) || s.d.Version != xdr.Version {
				t.Errorf("header %+v", s.d)
			}
		}
		want := []string{
			`2s a "" 0 false x=1 s=0t x=3`,
			`2s b "" 0 false x=2`,
			`3s a "" 17 true x=4`,
			`3s a "pw" 0 false x=5`,
			`4.1s a "" 0 false x=6`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// Ten senders for each of 400 nodes, ten times a second each: 40 000 datagrams a second. All
// values arrive, at the rate that the next receiver accepts, and the hold grows to what 400
// nodes need.
func TestRegroupManyNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const nodes, seconds = 400, 60
		values := 0
		sent, waits := simulate(t, 2*time.Second, func(r *regrouping) {
			for i := range seconds * 10 {
				for node := range nodes {
					d := xdr.Datagram{Cluster: "C", Node: fmt.Sprint("n", node), Params: []xdr.Param{xdr.Int("x", i)}}
					if !r.add(&d, time.Now()) {
						t.Fatal("not taken")
					}
					values++
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
		got, last := 0, time.Duration(0)
		for i, s := range sent {
			got += len(s.d.Params)
			if i > 0 && s.at-last < time.Second/45 {
				t.Fatalf("datagram %d %v after the last", i, s.at-last)
			}
			last = s.at
		}
		if got != values {
			t.Errorf("%d of %d values arrived", got, values)
		}
		// A message of a node needs several datagrams when it has waited long.
		if w := slices.Max(waits); w < nodes*time.Second/45 || w > 60*time.Second {
			t.Errorf("held for %v", w)
		}
	})
}

// Without end, memory has one.
func TestHeldFull(t *testing.T) {
	t.Parallel()
	r := &regrouping{groups: make(map[key]*group), wake: make(chan struct{}, 1)}
	d := xdr.Datagram{Cluster: "C", Params: []xdr.Param{xdr.String("s", strings.Repeat("x", 30000))}}
	n := 0
	for ; n < 10000; n++ {
		d.Node = fmt.Sprint(n)
		if !r.add(&d, time.Now()) {
			break
		}
	}
	if n < 2000 || n > 64<<20/30000 {
		t.Errorf("%d datagrams", n)
	}
}

// The output as a whole, over a socket: all values arrive when it ends.
func TestRegroupOutput(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	s := start(t, Options{To: recv.Addr(), Regroup: time.Minute})
	for i := range 50 {
		s.Put(t.Context(), packet(&xdr.Datagram{Version: "2.2.20", Instance: 9, Seq: int32(i), Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("i", i)}}))
	}
	big := packet(&xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.String("s", strings.Repeat("x", 20000))}})
	s.Put(t.Context(), big)
	st := s.Close(t.Context())[0]
	if st.Sent != 50 || st.Dropped[TooLarge] != 1 || st.Hold <= 0 || !strings.Contains(st.String(), "held for") {
		t.Errorf("%+v", st)
	}
	var got []int64
	recv.WaitFor(func(d *xdr.Datagram) bool {
		for _, p := range d.Params {
			got = append(got, p.Int())
		}
		return len(got) == 50
	})
	if !slices.IsSorted(got) {
		t.Errorf("values %v", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{To: "host"}, ""},
		{Options{To: "[::1]:99", Regroup: time.Second}, ""},
		{Options{}, "to:"},
		{Options{To: "host:99999"}, "to:"},
		{Options{To: "host secret"}, "to: host:8884 has a password"},
		{Options{To: "host", Regroup: -1}, "regroup:"},
	} {
		err := c.o.Check()
		if (err == nil) != (c.want == "") || err != nil && (!strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

// A relay to its own receiver sends each datagram once at most, and says what is wrong.
func TestLoop(t *testing.T) {
	t.Parallel()
	for _, hold := range []time.Duration{0, time.Millisecond} {
		r, err := receiver.Listen("127.0.0.1:0", receiver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := start(t, Options{To: r.Addr().String(), Regroup: hold})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		served := make(chan error)
		go func() { served <- r.Serve(ctx, s.Offer) }()
		p := packet(&xdr.Datagram{Version: "2.2.20", Instance: 7, Seq: 1, Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}})
		s.Offer(p)
		testkit.Eventually(t, "the datagram that comes back", func() bool { return s.Stats()[0].Dropped[Loop] == 1 })
		s.Offer(p)
		testkit.Eventually(t, "the next one to be dropped", func() bool { return s.Stats()[0].Dropped[Loop] == 2 })
		if c := s.Stats()[0]; c.Sent != 1 || !strings.Contains(c.Error, "this receiver") {
			t.Errorf("%+v", c)
		}
		cancel()
		if err := <-served; err != nil || r.Stats().Received != 1 {
			t.Errorf("%d received, %v", r.Stats().Received, err)
		}
	}
}
