package apmon

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

// maxSeq is the highest sequence number; 0 follows it, while the first one of
// all is 1.
const maxSeq = 1_999_999_999

// destination is one receiver: its address, its socket, and what belongs to it
// for as long as the client lives, whatever its address: sequence number and
// counters.
type destination struct {
	name    string // host:port as written, its identity
	host    string
	port    uint16
	literal bool // the host is an address: nothing to look up

	// mu makes the sequence numbers leave in order. Nothing that waits happens
	// under it.
	mu       sync.Mutex
	seq      int32 // the number to come
	addr     netip.AddrPort
	sock     *socket
	closed   bool
	retired  bool          // not in the set
	inRow    int           // look-ups that failed since the last success
	lookedUp time.Duration // on the client's clock: the last look-up
	timer    *time.Timer   // until the next look-up is due
	nextDial time.Duration // on the client's clock; not before it is a socket made
	stats    DestinationStats
	noted    [causes]noted // what was logged, and when

	// For ready, which looks at them without the lock.
	resolved  atomic.Bool // addr is valid, and stays so
	lookupDue atomic.Bool // the name is to be looked up with the next message
}

// cause says why a datagram did not go, or what else is worth a log line.
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

// noted bounds the log: one line a minute for each cause.
type noted struct {
	ever bool
	at   time.Duration
	more int // left out since
}

const logInterval = time.Minute

// pass reports whether a line may be logged now, and how many were left out
// since the last.
func (n *noted) pass(now time.Duration) (more int, ok bool) {
	if n.ever && now-n.at < logInterval {
		n.more++
		return 0, false
	}
	more = n.more
	*n = noted{ever: true, at: now}
	return more, true
}

// repeated is the attribute for a number of lines that were left out, if any.
func repeated(more int) []slog.Attr {
	if more == 0 {
		return nil
	}
	return []slog.Attr{slog.Int("repeated", more)}
}

// event is a log line to be written once the lock is no longer held.
type event struct {
	cause cause
	err   error
	more  int
}

// note adds a cause to what is to be logged, unless it has been lately. The
// caller holds d.mu.
func (d *destination) note(evs *[]event, c cause, err error, now time.Duration) {
	d.stats.LastError = err.Error()
	if more, ok := d.noted[c].pass(now); ok {
		*evs = append(*evs, event{c, err, more})
	}
}

func newDestination(cd conf.Destination) *destination {
	d := &destination{
		name: cd.Name(),
		host: cd.Host,
		port: cd.Port,
		seq:  1,
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

// send writes the datagrams from … to−1 of a message. What fails is counted,
// and logged.
func (t *target) send(c *Client, enc *xdr.Encoder, from, to int) {
	if t.twin != "" {
		return
	}
	d := t.destination
	var evs []event
	d.mu.Lock()
	sent, unsent := d.stats.Sent, d.stats.Unsent
	if d.sock == nil && !d.closed {
		d.dial(c, &evs)
	}
	if d.sock == nil {
		d.stats.Unsent += uint64(to - from)
	} else {
		for i := from; i < to; i++ {
			b := enc.Datagram(i, t.prefix)
			// A datagram that is lost on our side uses up its number all the
			// same, so that the receiver knows of the loss.
			d.seq = number(b[:len(t.prefix)], d.seq)
			err := d.sock.write(b)
			if err != nil {
				err = d.again(c, b, err, &evs)
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
	c.counters.sent.Add(sent)
	if unsent > 0 {
		c.counters.unsent.Add(unsent)
	}
	if len(evs) > 0 {
		c.log(d, evs)
	}
}

// number puts a sequence number into a prefix and returns the next.
func number(prefix []byte, seq int32) int32 {
	binary.BigEndian.PutUint32(prefix[len(prefix)-4:], uint32(seq))
	if seq++; seq > maxSeq {
		return 0
	}
	return seq
}

// again handles a failed write: it tries once more where that makes sense and
// returns the error that remains.
func (d *destination) again(c *Client, b []byte, err error, evs *[]event) error {
	now := c.now()
	switch {
	case errors.Is(err, errRefused):
		// This speaks of the datagram before; the present one was not sent.
		d.stats.Refused++
		c.counters.refused.Add(1)
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
	// After a change of the local address every write on the old socket fails
	// for ever.
	d.note(evs, causeError, err, now)
	d.dial(c, evs)
	// On the old socket, too, a second try makes sense: the error may be the
	// network's answer to the datagram before.
	return d.sock.write(b)
}

// dial makes a new socket if one may be made already. The old one is kept
// where that fails. The caller holds d.mu; connecting a datagram socket to an
// address does not wait.
func (d *destination) dial(c *Client, evs *[]event) {
	now := c.now()
	if !d.addr.IsValid() || now < d.nextDial {
		return
	}
	d.nextDial = now + redialInterval
	sock, err := c.opt.newSocket(c.ctx, d.addr)
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

// probe asks the socket whether the last datagram has been refused already.
func (d *destination) probe(c *Client) {
	now := c.now()
	var evs []event
	d.mu.Lock()
	if d.sock != nil {
		if err := d.sock.pending(); err != nil {
			d.stats.Refused++
			c.counters.refused.Add(1)
			d.note(&evs, causeRefused, err, now)
		}
	}
	d.mu.Unlock()
	c.log(d, evs)
}

// ready reports whether there is an address to send to, and whether it is time
// to look the name up (again): the caller must then do so, see [Client.lookup].
func (d *destination) ready(c *Client) (resolved, due bool) {
	if d.lookupDue.Load() {
		due = d.takeLookup(c)
	}
	return d.resolved.Load(), due
}

// takeLookup reports whether the caller, and no other, is to look the name up.
func (d *destination) takeLookup(c *Client) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || !d.lookupDue.Swap(false) {
		return false
	}
	c.wg.Add(1) // here, so that Close, which marks d as closed first, waits for it
	return true
}

// lookupIn makes a look-up due after a time. The next message starts it, so a
// client that sends nothing asks nobody. The caller holds d.mu.
func (d *destination) lookupIn(wait time.Duration) {
	if d.timer != nil {
		d.timer.Stop()
	}
	if !d.closed {
		d.timer = time.AfterFunc(wait, func() { d.lookupDue.Store(true) })
	}
}

// lookAgain makes a look-up due now, unless the address is literal or has been
// looked up lately, or fails and is not to be tried before its time.
func (d *destination) lookAgain(now time.Duration, failed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.literal && now-d.lookedUp >= retryInterval && (failed || d.inRow == 0) {
		d.lookupDue.Store(true)
	}
}

// lookup resolves the name and drops the socket of an old address. It waits for
// the name server, but holds no lock meanwhile. It reports whether the address
// is another one now.
func (d *destination) lookup(ctx context.Context, c *Client) (moved bool) {
	var ips []netip.Addr
	err := errExited
	// Deferred, since a resolver may end the goroutine: it is tried again all
	// the same.
	defer func() { moved = d.lookupEnded(c, ips, err) }()
	ips, err = c.opt.resolve(ctx, d.host)
	return false // or what is found
}

// lookupEnded notes what came of a look-up, and reports whether the address is
// another one now.
func (d *destination) lookupEnded(c *Client, ips []netip.Addr, err error) (moved bool) {
	if err == nil && len(ips) == 0 {
		err = errors.New("the name has no address")
	}
	now := c.now()
	var evs []event
	d.mu.Lock()
	d.lookedUp = now
	d.stats.Lookups++
	if err != nil {
		d.stats.LookupFailures++
		c.counters.refused.Add(1)
		d.inRow++
		d.lookupIn(spread(backoff(retryInterval, d.inRow), retryInterval))
		d.note(&evs, causeLookup, err, now)
	} else {
		d.inRow = 0
		d.lookupIn(recheckInterval)
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
	c.log(d, evs)
	return moved
}

// choose picks an address: the present one if it is still among them, so that
// a rotating answer does not move us, else the first IPv4 (every receiver
// listens there), else the first.
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

// use makes a destination that may have been retired one of the set.
func (d *destination) use() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.retired {
		d.retired = false
		d.lookupDue.Store(!d.literal)
	}
}

// retire closes the socket of a destination that is no longer in the set. Who
// still has the set before may send yet: it gets a new socket, which is closed
// with the next reload.
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

// close ends the destination with its client. Numbers and counters stay.
func (d *destination) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.drop()
}
