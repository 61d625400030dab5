// Package apmontest provides a receiver for tests of programs that send with ApMon. It
// listens on a free port and keeps the datagrams; a test waits for them without
// sleeping.
//
//	func TestReport(t *testing.T) {
//		recv := apmontest.New(t)
//		report(recv.Addr()) // the function under test; Addr is a destination
//		recv.Wait(1)
//		want := map[string]any{"events": 1200, "cpu_eff": 0.93, "status": "RUNNING"}
//		if got := recv.Params("MySite_Jobs", "123456"); !maps.Equal(got, want) {
//			t.Errorf("sent %v, want %v", got, want)
//		}
//	}
//
// # How it works
//
// A [receiver.Receiver] runs in its own goroutine, and every datagram is copied. It is
// closed when the test ends.
package apmontest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/xdr"
)

// DefaultTimeout is the default of [Receiver].Timeout.
const DefaultTimeout = 10 * time.Second

// Receiver collects datagrams for one test. Its methods may be called from any goroutine,
// except [Receiver.Wait] and [Receiver.WaitFor]: they may end the test, so only its own
// goroutine may call them.
type Receiver struct {
	// Timeout bounds Wait and WaitFor, which then fail the test. Set it before they
	// are called.
	Timeout time.Duration

	tb testing.TB
	r  *receiver.Receiver

	mu        sync.Mutex
	datagrams []*xdr.Datagram
	errs      []error
	changed   chan struct{} // closed and replaced when a datagram arrives
}

// New starts a receiver on a free port of 127.0.0.1, which accepts datagrams with any
// password and is closed when the test ends. If it cannot listen, the test fails and
// ends.
func New(tb testing.TB) *Receiver {
	tb.Helper()
	r, err := receiver.Listen("127.0.0.1:0", receiver.Options{})
	if err != nil {
		tb.Fatalf("apmontest: %v", err)
	}
	recv := &Receiver{Timeout: DefaultTimeout, tb: tb, r: r, changed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- r.Serve(context.Background(), recv.handle) }()
	tb.Cleanup(func() {
		_ = r.Close()
		if err := <-served; err != nil {
			tb.Errorf("apmontest: %v", err)
		}
	})
	return recv
}

// Addr returns the address as host:port, which is a destination in a configuration.
func (r *Receiver) Addr() string { return r.r.Addr().String() }

func (r *Receiver) handle(p *receiver.Packet) {
	d, err := (*xdr.Datagram)(nil), p.Err
	if err == nil {
		d, err = xdr.Parse(p.Raw)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("%d bytes from %v: %w", len(p.Raw), p.From, err))
	} else {
		r.datagrams = append(r.datagrams, d)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// Datagrams returns the datagrams that have arrived, in order, except refused ones.
func (r *Receiver) Datagrams() []*xdr.Datagram {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.datagrams)
}

// Errors returns the errors of refused datagrams.
func (r *Receiver) Errors() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs)
}

// Params returns the parameters that have arrived for a cluster and a node, each with its
// last value. For comparison with literals an int32 is an int, an int64 an int64, both
// real types a float64, and a text a string.
func (r *Receiver) Params(cluster, node string) map[string]any {
	params := make(map[string]any)
	for _, d := range r.Datagrams() {
		if d.Cluster != cluster || d.Node != node {
			continue
		}
		for i := range d.Params {
			p := &d.Params[i]
			switch p.Type() {
			case xdr.TypeString:
				params[p.Name] = p.Text()
			case xdr.TypeInt32:
				params[p.Name] = int(p.Int())
			case xdr.TypeInt64:
				params[p.Name] = p.Int()
			default:
				params[p.Name] = p.Float()
			}
		}
	}
	return params
}

// Wait waits until n datagrams have arrived since New, and returns the first n. If they do
// not arrive in time, the test fails with a list of those that did, and ends. Refused
// datagrams do not count.
func (r *Receiver) Wait(n int) []*xdr.Datagram {
	r.tb.Helper()
	var got []*xdr.Datagram
	if !r.wait(func(all []*xdr.Datagram) bool {
		if len(all) < n {
			return false
		}
		got = slices.Clone(all[:n])
		return true
	}) {
		r.tb.Fatalf("apmontest: waited %v for %d datagrams; %s", r.Timeout, n, r.arrived())
	}
	return got
}

// WaitFor waits for a datagram for which match returns true, and returns the first such
// one that has arrived since New. If there is none in time, the test fails with a list of
// those that did arrive, and ends. Match is called once for each datagram, and must not
// change it.
func (r *Receiver) WaitFor(match func(*xdr.Datagram) bool) *xdr.Datagram {
	r.tb.Helper()
	var got *xdr.Datagram
	seen := 0
	if !r.wait(func(all []*xdr.Datagram) bool {
		for ; seen < len(all); seen++ {
			if match(all[seen]) {
				got = all[seen]
				return true
			}
		}
		return false
	}) {
		r.tb.Fatalf("apmontest: waited %v for a datagram that matches; %s", r.Timeout, r.arrived())
	}
	return got
}

// wait calls done now and whenever a datagram has arrived, until done returns true or the
// time is over.
func (r *Receiver) wait(done func([]*xdr.Datagram) bool) bool {
	timeout := time.NewTimer(r.Timeout)
	defer timeout.Stop()
	for late := false; ; {
		r.mu.Lock()
		// Do not hold the lock while done runs: it may call the test's code.
		all, changed := r.datagrams, r.changed
		r.mu.Unlock()
		if done(all) {
			return true
		}
		if late {
			return false
		}
		select {
		case <-changed:
		case <-timeout.C:
			late = true // check once more, in case both happened
		}
	}
}

// listed is the number of datagrams that a failure lists.
const listed = 20

// arrived lists the datagrams, one a line.
func (r *Receiver) arrived() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d arrived, %d were refused", len(r.datagrams), len(r.errs))
	list := func(n int, line func(i int) string) {
		for i := range min(n, listed) {
			b.WriteString("\n\t" + line(i))
		}
		if n > listed {
			fmt.Fprintf(&b, "\n\t… and %d more", n-listed)
		}
	}
	list(len(r.datagrams), func(i int) string {
		return fmt.Sprintf("%d: %s", i+1, r.datagrams[i].AppendJSON(nil, ""))
	})
	list(len(r.errs), func(i int) string { return "refused: " + r.errs[i].Error() })
	return b.String()
}
