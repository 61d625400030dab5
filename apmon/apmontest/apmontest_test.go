package apmontest_test

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/xdr"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write sends from a new socket. It may run in a goroutine of its own.
func write(t testing.TB, addr string, b ...[]byte) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	for _, b := range b {
		if _, err := c.Write(b); err != nil {
			t.Error(err)
		}
	}
}

func message(node string, params ...xdr.Param) []byte {
	d := xdr.Datagram{Version: xdr.Version, Instance: 1, Cluster: "C", Node: node, Params: params}
	return d.Append(nil)
}

// fake is a test that fails without failing this one.
type fake struct {
	testing.TB
	cleanups []func()
	failure  string
}

func (f *fake) Helper()          {}
func (f *fake) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }
func (f *fake) Fatalf(format string, args ...any) {
	f.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// run runs a test and returns the message of its failure.
func (f *fake) run(test func(testing.TB)) string {
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	for _, c := range slices.Backward(f.cleanups) {
		c()
	}
	return f.failure
}

func TestWaitReturnsTheFirst(t *testing.T) {
	r := apmontest.New(t)
	go write(t, r.Addr(), message("1"), message("2"), message("3"))
	for n := range 4 {
		got := r.Wait(n)
		if len(got) != n {
			t.Fatalf("Wait(%d) returned %d datagrams", n, len(got))
		}
		for i, d := range got {
			if d.Node != fmt.Sprint(i+1) {
				t.Errorf("Wait(%d): datagram %d is of node %s", n, i, d.Node)
			}
		}
	}
	if got := r.Datagrams(); len(got) != 3 {
		t.Errorf("%d datagrams, want 3", len(got))
	}
}

func TestWaitFor(t *testing.T) {
	r := apmontest.New(t)
	go write(t, r.Addr(), message("1"), message("2", xdr.Int("x", 1)), message("2", xdr.Int("x", 2)), message("3"))
	calls := 0
	got := r.WaitFor(func(d *xdr.Datagram) bool { calls++; return d.Node == "2" })
	if got.Params[0].Int() != 1 || calls != 2 {
		t.Errorf("got %+v after %d calls, want the first of two after 2", got, calls)
	}
	// The callback may use the receiver.
	r.WaitFor(func(d *xdr.Datagram) bool { return len(r.Datagrams()) > 0 && d.Node == "3" })
}

func TestParams(t *testing.T) {
	r := apmontest.New(t)
	write(t, r.Addr(),
		message("1", xdr.Int("i", 1), xdr.Int64("l", 1<<40), xdr.Real32("f", 0.5), xdr.Float("d", 0.93), xdr.String("s", "text")),
		message("2", xdr.Int("i", 3)),
		message("1", xdr.Int("i", 2)))
	r.Wait(3)
	want := map[string]any{"i": 2, "l": int64(1 << 40), "f": 0.5, "d": 0.93, "s": "text"}
	if diff := cmp.Diff(want, r.Params("C", "1")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := r.Params("C", "none"); len(got) != 0 {
		t.Errorf("parameters of no node: %v", got)
	}
}

func TestErrors(t *testing.T) {
	r := apmontest.New(t)
	write(t, r.Addr(), []byte("garbage"), nil, message("1"))
	r.Wait(1)
	errs := r.Errors()
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), "7 bytes from 127.0.0.1:") {
		t.Errorf("errors: %v", errs)
	}
}

func TestFailuresListDatagrams(t *testing.T) {
	for _, c := range []struct {
		name string
		wait func(*apmontest.Receiver)
		want []string
	}{
		{"Wait", func(r *apmontest.Receiver) { r.Wait(3) },
			[]string{"waited 50ms for 3 datagrams; 2 arrived, 1 were refused", `"node":"first"`, `"node":"second"`, `"name":"x"`, "7 bytes from"}},
		{"WaitFor", func(r *apmontest.Receiver) { r.WaitFor(func(*xdr.Datagram) bool { return false }) },
			[]string{"waited 50ms for a datagram that matches; 2 arrived", `"node":"first"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f fake
			got := f.run(func(tb testing.TB) {
				r := apmontest.New(tb)
				write(t, r.Addr(), []byte("garbage"), message("first", xdr.Int("x", 1)), message("second"))
				r.Wait(2)
				r.Timeout = 50 * time.Millisecond
				c.wait(r)
			})
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("failure %q lacks %q", got, want)
				}
			}
		})
	}
}

func TestFailuresListNoFlood(t *testing.T) {
	var f fake
	got := f.run(func(tb testing.TB) {
		r := apmontest.New(tb)
		for range 100 {
			write(t, r.Addr(), message("1"))
		}
		r.Wait(100)
		r.Timeout = 0
		r.Wait(101)
	})
	if !strings.Contains(got, "… and 80 more") || strings.Count(got, "\n") != 21 {
		t.Errorf("failure: %s", got)
	}
}

func TestClosedWithTheTest(t *testing.T) {
	var f fake
	var addr string
	if got := f.run(func(tb testing.TB) { addr = apmontest.New(tb).Addr() }); got != "" {
		t.Fatal(got)
	}
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	c.Close()
}
