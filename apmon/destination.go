package apmon

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/backoff"
	"github.com/apmon-go/apmon/xdr"
)

const (
	// resolveTimeout bounds each name look-up.
	resolveTimeout = 5 * time.Second
	// lookupInterval is the time between two look-ups of a name that resolves,
	// and retryInterval the shortest time after one that failed, see package backoff.
	lookupInterval = 600 * time.Second
	retryInterval  = 30 * time.Second
	// redialInterval is the shortest time between two attempts to make a socket
	// for one destination.
	redialInterval = time.Second
)

// errExited: a resolver has ended the goroutine in which it was called.
var errExited = errors.New("ended its goroutine with runtime.Goexit")

// DestinationStats holds the state and the counters of one destination. Sent and
// Unsent add up to all datagrams for it.
type DestinationStats struct {
	Name string         // host:port as written
	Addr netip.AddrPort // in use; the zero value while the name is not resolved
	// Twin names an earlier destination with the same address, which gets the
	// datagrams instead of this one.
	Twin string

	Sent  uint64 // datagrams that the kernel accepted
	Bytes uint64 // in them

	Unsent  uint64 // datagrams that could not be sent, for the causes below or others
	Full    uint64 // of these: the socket or device had no room (EAGAIN, ENOBUFS)
	TooLong uint64 // of these: longer than the network allows (EMSGSIZE)

	// Refused counts error messages of the network (port unreachable, host
	// unreachable). Each is caused by at least one of the Sent datagrams.
	Refused uint64

	Redials        uint64 // sockets made in place of one that had failed
	Lookups        uint64 // of the name
	LookupFailures uint64
	LastError      string // empty for none
}

// destination is one receiver: its address, its socket, and its sequence number
// and counters, which last as long as the network, even if the address changes.
type destination struct {
	*common
	name    string // host:port as written, its identity
	host    string
	port    uint16
	literal bool // the host is an address: nothing to look up

	// mu keeps the sequence numbers in order. Its holder never waits.
	mu       sync.Mutex
	seq      int32 // of the next datagram
	addr     netip.AddrPort
	sock     *socket
	closed   bool
	retired  bool          // not in the set
	inRow    int           // failed look-ups since the last success
	lookedUp time.Duration // on the client's clock: the last look-up
	timer    *time.Timer   // until the next look-up is due
	nextDial time.Duration // on the client's clock: the earliest time to make a socket
	stats    DestinationStats
	noted    [causes]noted // the log lines of each cause

	// Atomic, since ready reads them without the lock.
	resolved  atomic.Bool // addr is valid, and stays so
	lookupDue atomic.Bool // the next message starts a look-up
}

// tag marks the destinations that get the same reports; 0 stands for all.
type tag uint64

// target is a destination with the prefix of its datagrams: header, instance
// id, and room for the sequence number.
type target struct {
	*destination
	tag    tag
	prefix []byte
	twin   string // an earlier target with the same address, which gets the datagrams
}

// cause is the reason why a datagram was not sent, or another reason for a log line.
type cause int

const (
	causeRefused cause = iota
	causeFull
	causeTooLong
	causeError
	causeDial
	causeLookup
	causes
)

func (c cause) String() string {
	return [...]string{
		"destination refuses datagrams",
		"socket is full, datagram dropped",
		"datagram is too long for the network",
		"datagram not sent",
		"no socket for the destination",
		"name look-up failed",
	}[c]
}

// event is a log line, to be written once the destination's lock is released.
type event struct {
	cause cause
	err   error
	more  int // lines of this cause left out since the last one
}

// common holds the fields that all destinations of a network share.
type common struct {
	start   time.Time       // of the clock of limits and intervals
	ctx     context.Context // ends with the network
	dialer  dialer          // nil for UDP
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	report  func(destination string, e event)
	wg      sync.WaitGroup // look-ups under way

	// The sums over all destinations, also over former ones; refused includes
	// failed look-ups.
	sent, unsent, refused atomic.Uint64
}

// now returns the time since the start, which steps of the wall clock do not change.
func (c *common) now() time.Duration { return time.Since(c.start) }

// note adds an event to evs, unless its cause was logged less than logInterval ago. The caller
// holds d.mu.
func (d *destination) note(evs *[]event, c cause, err error, now time.Duration) {
	d.stats.LastError = err.Error()
	if more, ok := d.noted[c].pass(now); ok {
		*evs = append(*evs, event{c, err, more})
	}
}

func newDestination(cd conf.Destination, c *common) *destination {
	d := &destination{
		common: c,
		name:   cd.Name(),
		host:   cd.Host,
		port:   cd.Port,
		seq:    1,
	}
	if d.port == 0 {
		d.port = conf.DefaultPort
	}
	d.stats.Name = d.name
	if ip, err := netip.ParseAddr(d.host); err == nil {
		d.addr = netip.AddrPortFrom(ip.Unmap(), d.port)
		d.literal = true
		d.resolved.Store(true)
	} else {
		d.lookupDue.Store(true)
	}
	return d
}

// send writes the datagrams from … to−1 of a message. It counts and reports failures.
func (t *target) send(enc *xdr.Encoder, from, to int) {
	if t.twin != "" {
		return
	}
	d := t.destination
	var evs []event
	d.mu.Lock()
	sent, unsent := d.stats.Sent, d.stats.Unsent
	if d.sock == nil && !d.closed {
		d.dial(&evs)
	}
	if d.sock == nil {
		d.stats.Unsent += uint64(to - from)
	} else {
		for i := from; i < to; i++ {
			b := enc.Datagram(i, t.prefix)
			// A datagram that is lost here uses its number, so that the receiver
			// notices the loss.
			d.seq = number(b[:len(t.prefix)], d.seq)
			err := d.sock.write(b)
			if err != nil {
				err = d.again(b, err, &evs)
			}
			if err != nil {
				d.stats.Unsent++
				continue
			}
			d.stats.Sent++
			d.stats.Bytes += uint64(len(b))
		}
	}
	sent, unsent = d.stats.Sent-sent, d.stats.Unsent-unsent
	d.mu.Unlock()
	d.common.sent.Add(sent)
	if unsent > 0 {
		d.common.unsent.Add(unsent)
	}
	if len(evs) > 0 {
		d.reportAll(evs)
	}
}

// number puts a sequence number into a prefix and returns the next.
func number(prefix []byte, seq int32) int32 {
	binary.BigEndian.PutUint32(prefix[len(prefix)-4:], uint32(seq))
	if seq++; seq == xdr.SeqModulus {
		return 0
	}
	return seq
}

// again handles a failed write: it writes once more if that may succeed, and
// returns the error that remains. The caller holds d.mu.
func (d *destination) again(b []byte, err error, evs *[]event) error {
	now := d.now()
	switch {
	case errors.Is(err, errRefused):
		// The error is about an earlier datagram; this one was not sent.
		d.stats.Refused++
		d.refused.Add(1)
		d.note(evs, causeRefused, err, now)
		if err = d.sock.write(b); err != nil {
			d.note(evs, causeError, err, now)
		}
		return err
	case errors.Is(err, errAgain), errors.Is(err, errNoBufs):
		d.stats.Full++
		d.note(evs, causeFull, err, now)
		return err
	case errors.Is(err, errMsgSize):
		d.stats.TooLong++
		d.note(evs, causeTooLong, err, now)
		return err
	}
	// After a change of the local address every write on the old socket fails.
	d.note(evs, causeError, err, now)
	d.dial(evs)
	// Try again, also on the old socket: the error may be the network's answer to
	// an earlier datagram.
	return d.sock.write(b)
}

// dial makes a new socket, unless the last attempt was less than redialInterval
// ago. If that fails, the old one is kept. The caller holds d.mu; connecting a
// datagram socket to an address does not wait.
func (d *destination) dial(evs *[]event) {
	now := d.now()
	if !d.addr.IsValid() || now < d.nextDial {
		return
	}
	d.nextDial = now + redialInterval
	sock, err := newSocket(d.ctx, d.dialer, d.addr)
	if err != nil {
		d.note(evs, causeDial, err, now)
		return
	}
	if d.sock != nil {
		d.sock.close()
		d.stats.Redials++
	}
	d.sock = sock
}

// probe checks the socket for a refusal of the last datagram.
func (d *destination) probe() {
	now := d.now()
	var evs []event
	d.mu.Lock()
	if d.sock != nil {
		if err := d.sock.pending(); err != nil {
			d.stats.Refused++
			d.refused.Add(1)
			d.note(&evs, causeRefused, err, now)
		}
	}
	d.mu.Unlock()
	d.reportAll(evs)
}

// reportAll reports events. The caller does not hold d.mu.
func (d *destination) reportAll(evs []event) {
	for _, e := range evs {
		d.report(d.name, e)
	}
}

// ready reports whether there is an address to send to, and whether a look-up
// is due, which the caller must then start: see [network.lookup].
func (d *destination) ready() (resolved, due bool) {
	if d.lookupDue.Load() {
		due = d.takeLookup()
	}
	return d.resolved.Load(), due
}

// takeLookup reports whether a look-up is due. It returns true to one caller only.
func (d *destination) takeLookup() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || !d.lookupDue.Swap(false) {
		return false
	}
	d.wg.Add(1) // under d.mu, so that network.close, which closes d first, waits for it
	return true
}

// lookupIn makes a look-up due after a time. The next message starts it, so that
// a client that sends nothing sends no queries either. The caller holds d.mu.
func (d *destination) lookupIn(wait time.Duration) {
	if d.timer != nil {
		d.timer.Stop()
	}
	if !d.closed {
		d.timer = time.AfterFunc(wait, func() { d.lookupDue.Store(true) })
	}
}

// lookAgain makes a look-up due now, unless the host is an address or the last
// look-up is recent. A name that failed to resolve keeps its own schedule unless
// failed is true.
func (d *destination) lookAgain(failed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.literal && d.now()-d.lookedUp >= retryInterval && (failed || d.inRow == 0) {
		d.lookupDue.Store(true)
	}
}

// lookup resolves the name, and reports whether the address has changed. It
// holds no lock while it waits for the name server.
func (d *destination) lookup(ctx context.Context) (moved bool) {
	var ips []netip.Addr
	err := errExited
	// Deferred, since the resolver may end the goroutine.
	defer func() { moved = d.lookupEnded(ips, err) }()
	ips, err = d.resolve(ctx, d.host)
	return false // the deferred function sets the result
}

// lookupEnded handles the result of a look-up: it replaces the address, drops the
// socket of the old one, and reports whether the address has changed.
func (d *destination) lookupEnded(ips []netip.Addr, err error) (moved bool) {
	if err == nil && len(ips) == 0 {
		err = errors.New("the name has no address")
	}
	now := d.now()
	var evs []event
	d.mu.Lock()
	d.lookedUp = now
	d.stats.Lookups++
	if err != nil {
		d.stats.LookupFailures++
		d.refused.Add(1)
		d.inRow++
		d.lookupIn(backoff.Spread(backoff.After(retryInterval, d.inRow), retryInterval))
		d.note(&evs, causeLookup, err, now)
	} else {
		d.inRow = 0
		d.lookupIn(lookupInterval)
		if addr := netip.AddrPortFrom(choose(ips, d.addr.Addr()), d.port); addr != d.addr && !d.closed {
			d.addr, moved = addr, true
			d.resolved.Store(true)
			if d.sock != nil {
				d.sock.close()
				d.sock = nil
			}
			d.nextDial = 0
		}
	}
	d.mu.Unlock()
	d.reportAll(evs)
	return moved
}

// choose returns the present address if it is still among ips, since the order of
// an answer may rotate; else the first IPv4 address, on which every receiver
// listens; else the first address.
func choose(ips []netip.Addr, present netip.Addr) netip.Addr {
	var first4 netip.Addr
	for _, ip := range ips {
		ip = ip.Unmap()
		if ip == present {
			return ip
		}
		if !first4.IsValid() && ip.Is4() {
			first4 = ip
		}
	}
	if first4.IsValid() {
		return first4
	}
	return ips[0].Unmap()
}

// address returns the address in use, the zero value for none.
func (d *destination) address() netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addr
}

// use puts a destination into use. It may have been retired before.
func (d *destination) use() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.retired {
		d.retired = false
		d.lookupDue.Store(!d.literal)
	}
}

// retire closes the socket of a destination that is no longer in the set. A
// sender that still uses the earlier set makes a new socket, which the next
// reload closes.
func (d *destination) retire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retired = true
	d.nextDial = 0
	d.drop()
}

// drop closes the socket and stops the timer. The caller holds d.mu.
func (d *destination) drop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.sock != nil {
		d.sock.close()
		d.sock = nil
	}
}

// close ends the destination. Sequence number and counters stay.
func (d *destination) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.drop()
}
