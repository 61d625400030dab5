// Package receiver is the other end of ApMon: it receives the datagrams that
// clients send, decodes them, and keeps account of what each sender has lost.
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
// # How it works inside
//
// UDP knows no flow control: what is not read in time is lost. So one
// goroutine does nothing but read. It copies each datagram into a buffer of
// about its size and puts it into a queue that is bounded by count and by
// bytes; what does not fit is dropped and counted. [Receiver.Serve] itself
// takes from the queue, decodes (borrowing from that buffer), applies the
// access rule, brings the account of senders up to date, and calls the
// handler, for one datagram at a time. Before all this stands the kernel's
// receive buffer, which is asked to be large; what it drops is in [Stats] too,
// where the system tells.
//
// Senders are told apart by address and instance id. Losses are gaps in their
// sequence numbers, which wrap from 1 999 999 999 to 0; see [Counts].
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

// What Options asks for by default.
const (
	// DefaultReadBuffer is in bytes. It holds a burst of some ten thousand
	// datagrams where the system permits it.
	DefaultReadBuffer = 16 << 20
	// DefaultQueueLen is a number of datagrams.
	DefaultQueueLen = 1 << 17
	// DefaultQueueBytes is in bytes of memory.
	DefaultQueueBytes = 64 << 20
)

// maxDatagram is the length in bytes of the longest possible datagram.
const maxDatagram = 64 << 10

var (
	// ErrPassword is why a datagram with a wrong password is refused. It
	// tells neither password.
	ErrPassword = errors.New("wrong password")
	// ErrServed is returned by a second call of [Receiver.Serve].
	ErrServed = errors.New("receiver: Serve was called before")
)

// Options are the settings of a receiver. The zero value is ready to use.
type Options struct {
	// Password, if not nil, is what datagrams must carry; the others are
	// refused. White space around it does not count, as in MonALISA. An empty
	// one refuses all datagrams that do carry a password.
	Password *string
	// ReadBuffer is the size in bytes asked of the kernel for its receive
	// buffer. The kernel may give less, see [Stats].
	ReadBuffer int // DefaultReadBuffer if not positive
	// QueueLen and QueueBytes bound what waits for the handler: a number of
	// datagrams, and the memory they take, in bytes.
	QueueLen   int // DefaultQueueLen if not positive
	QueueBytes int // DefaultQueueBytes if not positive
	// MaxSenders is how many senders are remembered. When there are more, the
	// one longest silent is forgotten, and counted as evicted.
	MaxSenders int // DefaultMaxSenders if not positive
}

// Packet is one datagram, as the handler gets it. It and all it refers to are
// valid during the call alone; [xdr.Parse] of Raw makes a copy.
type Packet struct {
	// From is the address the datagram came from; IPv4 always in its own form.
	From netip.AddrPort
	// Received is when it was read from the socket.
	Received time.Time
	// Raw is the datagram as it came. It may hold a password.
	Raw []byte
	// Datagram is what it says, nil if it was refused.
	Datagram *xdr.Datagram
	// Refused is what could be read of a datagram that was refused: header,
	// cluster and node at most, and no parameters. It is nil if it was not.
	Refused *xdr.Datagram
	// Err is why it was refused, nil if it was not: an [*xdr.DecodeError], or
	// an error that is [ErrPassword]. One error comes with a Datagram:
	// [xdr.ErrTruncated], when parameters are missing at the end.
	Err error
	// Waiting is how many other datagrams are already waiting to be handled.
	// At 0 it is time to flush what was buffered.
	Waiting int
}

// Stats is what a receiver has counted since it was made.
type Stats struct {
	// Counts sums up all senders, those that have been forgotten included.
	Counts
	// Dropped counts datagrams that were read and thrown away unseen because
	// the handler was too slow. Of a sender with sequence numbers they are
	// also Lost, as are those that the kernel dropped.
	Dropped uint64
	// KernelDropped counts datagrams that never got out of the kernel because
	// its receive buffer was full. It is meaningful if KernelKnown is set, and
	// is known on Linux alone, where asking takes a look into /proc.
	KernelDropped uint64
	KernelKnown   bool
	// ReadErrors counts errors of the socket that were survived.
	ReadErrors uint64
	// ReadBuffer is the size in bytes of the kernel's receive buffer, as the
	// kernel tells it; on Linux half of it is for bookkeeping.
	ReadBuffer int
	// Expired and Evicted count senders that were forgotten: after [Idle]
	// without a datagram, and because there were too many.
	Expired, Evicted uint64
}

// Receiver is a socket on which datagrams arrive. Its methods may be called
// from any goroutine, from the handler too.
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
	// What the kernel had dropped by the time the socket was closed.
	lastDrops      uint64
	lastDropsKnown bool
}

// Listen binds a UDP socket to addr, which has the form host:port: port 0
// picks a free one (see [Receiver.Addr]), an empty host stands for all
// addresses, and an IPv6 address is written in brackets. The error tells the
// address and the reason. Datagrams are kept by the kernel from now on, and
// handled by [Receiver.Serve].
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

// Addr returns the address the receiver listens on. Its host is 0.0.0.0 or ::
// if it listens on all.
func (r *Receiver) Addr() netip.AddrPort { return r.addr }

// Close closes the socket and lets [Receiver.Serve] return once it has handed
// over what was already read. It does not wait for that, so that a handler can
// call it. What the kernel still holds is lost: to have that too, end the
// context given to Serve. Later calls do nothing and return the same error.
func (r *Receiver) Close() error {
	r.closeOnce.Do(func() {
		r.lastDrops, r.lastDropsKnown = kernelDrops(r.socket)
		close(r.closed)
		r.closeErr = r.conn.Close()
	})
	return r.closeErr
}

// Serve receives datagrams and calls handle for each, one at a time and in
// the order of arrival, refused ones included. It returns nil when ctx has
// ended, after handing over all that had arrived by then, or after
// [Receiver.Close], after handing over all that had been read. It returns an
// error if the socket fails for good; passing failures are counted and
// survived. It may be called once.
//
// If handle panics, the panic goes on to Serve's caller, and the receiver is
// closed.
func (r *Receiver) Serve(ctx context.Context, handle func(*Packet)) error {
	if r.served.Swap(true) {
		return ErrServed
	}
	q := newQueue(r.options.QueueLen, r.options.QueueBytes)
	// A deadline in the past is what wakes a read.
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

// admit decodes a datagram into d, applies the access rule, and brings the
// account of its sender up to date.
func (r *Receiver) admit(p *Packet, d *xdr.Datagram) {
	p.Err = d.Decode(p.Raw)
	truncated := errors.Is(p.Err, xdr.ErrTruncated)
	if (p.Err == nil || truncated) && r.options.Password != nil {
		// Digests are of one length, so that not even a length leaks.
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
	// After so many errors in a row, with growing pauses that make it some
	// 20 s, the socket is given up.
	maxFailures = 200
	maxPause    = 100 * time.Millisecond

	// When the context ends, what the kernel holds is still read: until
	// nothing has come for drainIdle so many times (once may be but a moment
	// in which this process did not run), and for drainMax at most, since a
	// flood never ends.
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
		// The first errors of a row are answers to datagrams (an ICMP message,
		// one too long for Windows), the later ones a lasting trouble that
		// must not spin.
		if failures > 8 {
			select {
			case <-time.After(min(time.Duration(failures)*time.Millisecond, maxPause)):
			case <-r.closed:
			case <-ctx.Done():
			}
		}
	}
}

// drain moves what the kernel still holds to the queue.
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

// Stats returns what has been counted so far.
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

// Senders returns the account of every sender heard of in the last [Idle],
// sorted by address and instance id.
func (r *Receiver) Senders() []Sender {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.senders.expire(time.Now())
	return r.senders.list()
}
