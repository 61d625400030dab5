// Package receiver receives the datagrams of ApMon clients, decodes them, and counts the
// losses of each sender.
//
//	r, err := receiver.Listen("127.0.0.1:8884", receiver.Options{})
//	if err != nil {
//		return err
//	}
//	defer r.Close()
//	err = r.Serve(ctx, func(p *receiver.Packet) {
//		if p.Err != nil {
//			log.Printf("%v: %v", p.From, p.Err)
//		}
//		if p.Datagram == nil { // a truncated one has both
//			return
//		}
//		for i := range p.Datagram.Params {
//			param := &p.Datagram.Params[i]
//			fmt.Println(p.Datagram.Cluster, p.Datagram.Node, param.Name, param.Float())
//		}
//	})
//	for _, s := range r.Senders() {
//		fmt.Println(s.Addr, s.Received, s.Lost)
//	}
//
// # How it works
//
// UDP has no flow control: a datagram that is not read in time is lost. So one goroutine
// only reads. It copies each datagram into a buffer of about its size and puts it into a
// queue that is bounded by count and by bytes; a datagram that does not fit is dropped
// and counted. [Receiver.Serve] takes datagrams from the queue one at a time, decodes
// them without a copy, checks the password, updates the counts of the sender, and calls
// the handler. The receiver asks the kernel for a large receive buffer; the datagrams
// that the kernel drops are in [Stats] if the system reports them.
//
// A sender is identified by address and instance id. Losses are gaps in its sequence
// numbers, which wrap from 1 999 999 999 to 0; see [Counts].
package receiver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// Defaults of Options.
const (
	// DefaultReadBuffer is in bytes. It holds a burst of about ten thousand
	// datagrams if the system permits it.
	DefaultReadBuffer = 16 << 20
	// DefaultQueueLen is a number of datagrams.
	DefaultQueueLen = 1 << 17
	// DefaultQueueBytes is in bytes of memory.
	DefaultQueueBytes = 64 << 20
)

// maxDatagram is the length in bytes of the longest possible datagram.
const maxDatagram = 64 << 10

var (
	// ErrPassword is the error of a datagram with a wrong password. It contains
	// neither password.
	ErrPassword = errors.New("wrong password")
	// ErrServed is returned by a second call of [Receiver.Serve].
	ErrServed = errors.New("receiver: Serve was called before")
)

// Options are the settings of a receiver. The zero value is ready to use.
type Options struct {
	// Password, if not nil, is the password that datagrams must have; others are
	// refused. White space around it does not count, as in MonALISA. An empty
	// Password refuses all datagrams with a password.
	Password *string
	// ReadBuffer is the size in bytes of the receive buffer requested from the
	// kernel, which may grant less, see [Stats].
	ReadBuffer int // DefaultReadBuffer if not positive
	// QueueLen and QueueBytes limit the datagrams that wait for the handler: their
	// number, and their memory in bytes.
	QueueLen   int // DefaultQueueLen if not positive
	QueueBytes int // DefaultQueueBytes if not positive
	// MaxSenders is the most senders that are remembered. If there are more, the
	// one that is silent for longest is dropped, and counted as evicted.
	MaxSenders int // DefaultMaxSenders if not positive
}

// Packet is one datagram for the handler. It and everything it refers to are valid only
// during the call; [xdr.Parse] of Raw makes a copy.
type Packet struct {
	// From is the address of the sender, never an IPv4-mapped one.
	From netip.AddrPort
	// Received is the time when it was read from the socket.
	Received time.Time
	// Raw is the datagram as received. It may hold a password.
	Raw []byte
	// Datagram is the decoded datagram, nil if it was refused.
	Datagram *xdr.Datagram
	// Refused is the decoded part of a refused datagram: at most header, cluster
	// and node, and no parameters. It is nil if the datagram was not refused.
	Refused *xdr.Datagram
	// Err is why it was refused, nil if it was not: an [*xdr.DecodeError], or an
	// error that is [ErrPassword]. One error has a Datagram: [xdr.ErrTruncated],
	// if parameters are missing at the end.
	Err error
	// Waiting is the number of datagrams that wait to be handled. At 0 a handler
	// should flush its output.
	Waiting int
}

// Stats are the counts of a receiver since it was made.
type Stats struct {
	// Counts sums up all senders, including those that have been dropped.
	Counts
	// Dropped counts datagrams that were read and discarded because the handler
	// was too slow. Those of a sender with sequence numbers are also Lost, as are
	// those that the kernel dropped.
	Dropped uint64
	// KernelDropped counts datagrams that the kernel dropped because its receive
	// buffer was full. It is valid if KernelKnown is set: only on Linux, where it
	// is read from /proc.
	KernelDropped uint64
	KernelKnown   bool
	// ReadErrors counts temporary errors of the socket.
	ReadErrors uint64
	// ReadBuffer is the size in bytes of the receive buffer that the kernel
	// reports; on Linux half of it is for bookkeeping.
	ReadBuffer int
	// Expired and Evicted count senders that were dropped: after [SenderLifetime]
	// without a datagram, and because there were too many.
	Expired, Evicted uint64
}

// Receiver receives datagrams on a socket. Its methods may be called from any goroutine,
// also from the handler.
type Receiver struct {
	conn       *net.UDPConn
	recv       func([]byte) (int, netip.AddrPort, error) // conn's; a test has others
	addr       netip.AddrPort
	readBuffer int
	socket     uint64
	options    Options
	password   [sha256.Size]byte
	served     atomic.Bool
	pool       pool

	dropped, readErrors atomic.Uint64

	mu      sync.Mutex
	senders *table

	closeOnce sync.Once
	closed    chan struct{}
	closeErr  error
	// The drops of the kernel when the socket was closed.
	lastDrops      uint64
	lastDropsKnown bool
}

// Listen binds a UDP socket to addr, which has the form host:port. Port 0 selects a free
// port (see [Receiver.Addr]), an empty host means all addresses, and an IPv6 address is
// written in brackets. The error names the address. The kernel buffers datagrams from
// now on; [Receiver.Serve] handles them.
func Listen(addr string, options Options) (*Receiver, error) {
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("receiver: %w", err)
	}
	conn := pc.(*net.UDPConn)
	options.ReadBuffer = orDefault(options.ReadBuffer, DefaultReadBuffer)
	options.QueueLen = orDefault(options.QueueLen, DefaultQueueLen)
	options.QueueBytes = orDefault(options.QueueBytes, DefaultQueueBytes)
	options.MaxSenders = orDefault(options.MaxSenders, DefaultMaxSenders)
	r := &Receiver{
		conn:       conn,
		recv:       conn.ReadFromUDPAddrPort,
		addr:       unmap(conn.LocalAddr().(*net.UDPAddr).AddrPort()),
		readBuffer: growBuffer(conn, options.ReadBuffer),
		socket:     socketID(conn),
		options:    options,
		senders:    newTable(options.MaxSenders),
		closed:     make(chan struct{}),
	}
	if options.Password != nil {
		r.password = digest(*options.Password)
	}
	return r, nil
}

func orDefault(v, or int) int {
	if v > 0 {
		return v
	}
	return or
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Addr returns the address that the receiver listens on. Its host is 0.0.0.0 or :: for
// all addresses.
func (r *Receiver) Addr() netip.AddrPort { return r.addr }

// Close closes the socket; [Receiver.Serve] then handles the datagrams already read and
// returns. Close does not wait for that, so that a handler can call it. Datagrams that
// the kernel still holds are lost: to handle them too, end the context of Serve instead.
// Later calls do nothing and return the same error.
func (r *Receiver) Close() error {
	r.closeOnce.Do(func() {
		r.lastDrops, r.lastDropsKnown = kernelDrops(r.socket)
		close(r.closed)
		r.closeErr = r.conn.Close()
	})
	return r.closeErr
}

// Serve receives datagrams and calls handle for each, one at a time and in the order of
// arrival, including refused ones. When ctx ends, it handles the datagrams that have
// arrived and returns nil; after [Receiver.Close] it handles those that have been read
// and returns nil. It returns an error if the socket fails permanently; temporary errors
// are counted. It may be called once.
//
// If handle panics, Serve closes the receiver and panics too.
func (r *Receiver) Serve(ctx context.Context, handle func(*Packet)) error {
	if r.served.Swap(true) {
		return ErrServed
	}
	q := newQueue(r.options.QueueLen, r.options.QueueBytes)
	// A deadline in the past wakes a read.
	stop := context.AfterFunc(ctx, func() { _ = r.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	read := make(chan error, 1)
	go func() {
		defer q.close()
		read <- r.read(ctx, q)
	}()
	returned := false
	defer func() {
		if !returned { // handle panicked, or ended its goroutine
			_ = r.Close()
			<-read
		}
	}()

	var (
		p     Packet
		d     xdr.Datagram
		batch []*item
	)
	for {
		batch = q.take(batch)
		if len(batch) == 0 {
			break
		}
		for i, it := range batch {
			p = Packet{From: it.from, Received: it.at, Raw: it.buf[:it.n], Waiting: q.done(it)}
			r.admit(&p, &d)
			handle(&p)
			batch[i] = nil
			r.pool.put(it)
		}
	}
	returned = true
	return <-read
}

// Decode decodes p.Raw into d and sets Datagram, Refused and Err accordingly. A refusal for
// a reason outside the datagram, such as its password, is given with it; nil is none.
func (p *Packet) Decode(d *xdr.Datagram, refused error) {
	p.Datagram, p.Refused = nil, nil
	p.Err = d.Decode(p.Raw)
	if refused != nil {
		p.Err = refused
	}
	if p.Err == nil || errors.Is(p.Err, xdr.ErrTruncated) {
		p.Datagram = d
		return
	}
	d.Params, d.Time, d.Timed = d.Params[:0], 0, false
	p.Refused = d
}

// admit decodes a datagram into d, checks its password, and updates the counts of its
// sender.
func (r *Receiver) admit(p *Packet, d *xdr.Datagram) {
	p.Err = d.Decode(p.Raw)
	truncated := errors.Is(p.Err, xdr.ErrTruncated)
	if (p.Err == nil || truncated) && r.options.Password != nil {
		// Digests have one length, so that the time does not depend on the password's.
		got := digest(d.Password)
		if subtle.ConstantTimeCompare(got[:], r.password[:]) != 1 {
			p.Err, truncated = ErrPassword, false
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	addr := p.From.Addr()
	switch {
	case p.Err != nil && !truncated:
		r.senders.refuse(p.Received, addr)
		d.Params, d.Time, d.Timed = d.Params[:0], 0, false
		p.Refused = d
		return
	case d.Sequenced():
		r.senders.accept(p.Received, addr, d.Instance, d.Seq, truncated)
	default:
		r.senders.acceptPlain(p.Received, addr, truncated)
	}
	p.Datagram = d
}

// digest returns the hash of a password, trimmed as MonALISA trims it.
func digest(password string) [sha256.Size]byte {
	for password != "" && password[0] <= ' ' {
		password = password[1:]
	}
	for password != "" && password[len(password)-1] <= ' ' {
		password = password[:len(password)-1]
	}
	return sha256.Sum256([]byte(password))
}

const (
	// After this number of consecutive errors, with growing pauses of about 20 s in
	// all, the socket has failed.
	maxFailures = 200
	maxPause    = 100 * time.Millisecond

	// When the context ends, the datagrams in the kernel are still read: until none
	// has come for drainIdle this number of times (once may be a time in which this
	// process did not run), and for at most drainMax, as a flood never ends.
	drainIdle  = 10 * time.Millisecond
	drainTries = 3
	drainMax   = 2 * time.Second
)

// read moves datagrams from the socket to the queue until the context ends,
// the receiver is closed, or the socket fails for good.
func (r *Receiver) read(ctx context.Context, q *queue) error {
	buf := make([]byte, maxDatagram)
	failures := 0 // in a row
	for {
		n, from, err := r.recv(buf)
		if err == nil {
			r.enqueue(q, buf[:n], from)
			failures = 0
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if ctx.Err() != nil {
			r.drain(q, buf)
			return nil
		}
		r.readErrors.Add(1)
		if failures++; failures > maxFailures {
			return fmt.Errorf("receiver: %d failures in a row: %w", failures, err)
		}
		// The first consecutive errors may be about single datagrams (an ICMP
		// message, a datagram too long for Windows); later ones are permanent, and
		// must not cause a busy loop.
		if failures > 8 {
			select {
			case <-time.After(min(time.Duration(failures)*time.Millisecond, maxPause)):
			case <-r.closed:
			case <-ctx.Done():
			}
		}
	}
}

// drain moves the datagrams in the kernel to the queue.
func (r *Receiver) drain(q *queue, buf []byte) {
	end := time.Now().Add(drainMax)
	for idle := 0; idle < drainTries; {
		now := time.Now()
		if now.After(end) {
			return
		}
		_ = r.conn.SetReadDeadline(now.Add(drainIdle))
		n, from, err := r.recv(buf)
		switch {
		case err == nil:
			r.enqueue(q, buf[:n], from)
			idle = 0
		case errors.Is(err, net.ErrClosed):
			return
		default:
			idle++
		}
	}
}

func (r *Receiver) enqueue(q *queue, b []byte, from netip.AddrPort) {
	it := r.pool.get(len(b))
	it.from, it.at, it.n = unmap(from), time.Now(), copy(it.buf, b)
	if !q.put(it) {
		r.dropped.Add(1)
		r.pool.put(it)
	}
}

// Stats returns the counts so far.
func (r *Receiver) Stats() Stats {
	s := Stats{
		Dropped:    r.dropped.Load(),
		ReadErrors: r.readErrors.Load(),
		ReadBuffer: r.readBuffer,
	}
	select {
	case <-r.closed:
		s.KernelDropped, s.KernelKnown = r.lastDrops, r.lastDropsKnown
	default:
		s.KernelDropped, s.KernelKnown = kernelDrops(r.socket)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.senders.expire(time.Now())
	s.Counts = r.senders.total()
	s.Expired, s.Evicted = r.senders.expired, r.senders.evicted
	return s
}

// Senders returns every sender with a datagram in the last [SenderLifetime], sorted by
// address and instance id.
func (r *Receiver) Senders() []Sender {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.senders.expire(time.Now())
	return r.senders.list()
}
