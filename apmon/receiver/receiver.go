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
// UDP has no flow control: a datagram that is not read in time is lost. So for each socket
// one goroutine only reads: on Linux up to 32 datagrams with one system call, which get one
// time of arrival. It copies them into a queue that is bounded by count and by bytes; a
// datagram that does not fit is dropped and counted. Another goroutine takes them from the
// queue one at a time. It refuses those of an address that the access rules deny or that
// sends too much, decodes the others without a copy, checks password and names, updates the
// counts of the sender, and calls the handler. Nothing is allocated in steady state, and
// nothing waits for a batch to become full. The receiver asks the kernel for a large
// receive buffer; the datagrams that the kernel drops are in [Stats] if the system reports
// them.
//
// On large machines several sockets may share the port, and the kernel chooses one for each
// datagram by the addresses and ports of both ends. So datagrams of one sender stay in order
// until its port changes, and the handler is called once at a time for each socket. A port
// that is in use is still an error.
//
// A sender is identified by address and instance id. Losses are gaps in its sequence
// numbers, which wrap from 1 999 999 999 to 0; see [Counts].
//
// # Hostile senders
//
// Anybody can send UDP datagrams under any address. All memory is bounded: the queues by
// Options.QueueLen and QueueBytes, the accounts by MaxSenders, flood control by a table of
// fixed size, and reading by a buffer of 2 MiB for each socket. With the defaults that is at
// most about 100 MB for each socket, and 40 MB besides. Forged addresses and instance ids take the places of newcomers only: a sender
// with two accepted datagrams keeps its account until three quarters of the accounts belong
// to such senders, and an address keeps its place in flood control while it sends more than
// the others. Nothing prevents a sender from using up the limit of an address that it
// forges.
package receiver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/internal/queue"
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
	// Password, if not nil, is the password at the start that datagrams must have;
	// others are refused. White space around it does not count, as in MonALISA. An
	// empty Password refuses all datagrams with a password. It has precedence over
	// the password of Access; see [Receiver.SetPassword].
	Password *string
	// Access are the access rules at the start, nil for none; see
	// [Receiver.SetAccess].
	Access *Access
	// FloodLimit is the most datagrams per second that are accepted of one address,
	// as the MonALISA service limits them (to 50): up to 0.9 of it all pass, and
	// the faster an address sends beyond, the fewer. Others are refused. 0 or less
	// is no limit.
	FloodLimit int
	// Sockets is the number of sockets that share the port, see [DefaultSockets].
	// With more than one the handler must be safe for concurrent use, and another
	// process of the same user may share the port if it asks for that. On other
	// systems than Linux it is always 1.
	Sockets int // 1 if not positive
	// ReadBuffer is the size in bytes of the receive buffer requested from the
	// kernel for each socket. The kernel may grant less, see [Stats].
	ReadBuffer int // DefaultReadBuffer if not positive
	// QueueLen and QueueBytes limit the datagrams of each socket that wait for the
	// handler or are in its hands: their number, and their memory in bytes.
	QueueLen   int // DefaultQueueLen if not positive
	QueueBytes int // DefaultQueueBytes if not positive
	// MaxSenders is the most senders that are remembered. If there are more, one
	// that is silent for long is dropped, and counted as evicted. Several sockets
	// divide large accounts by instance id, so that it may be reached a little
	// earlier.
	MaxSenders int // DefaultMaxSenders if not positive
}

// DefaultSockets returns the number of sockets that suit this machine: one for each 8 CPUs
// that Go uses, at least 1 and at most 4.
func DefaultSockets() int { return min(max(runtime.GOMAXPROCS(0)/8, 1), 4) }

func (o *Options) setDefaults() {
	o.Sockets = orDefault(o.Sockets, 1)
	if !manySockets {
		o.Sockets = 1
	}
	o.ReadBuffer = orDefault(o.ReadBuffer, DefaultReadBuffer)
	o.QueueLen = orDefault(o.QueueLen, DefaultQueueLen)
	o.QueueBytes = orDefault(o.QueueBytes, DefaultQueueBytes)
	o.MaxSenders = orDefault(o.MaxSenders, DefaultMaxSenders)
}

// Packet is one datagram for the handler. It and everything it refers to, names and texts
// too, are valid only during the call: keep a [strings.Clone] of them, or [xdr.Parse] of Raw.
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
	// and node, and no parameters. It is nil if the datagram was not refused, or was
	// refused for its address, which is done before it is decoded.
	Refused *xdr.Datagram
	// Err is why it was refused, nil if it was not: an [*xdr.DecodeError], or an
	// error that is [ErrPassword], [ErrAccess] or [ErrFlood]. One error has a
	// Datagram: [xdr.ErrTruncated], if parameters are missing at the end.
	Err error
	// Waiting is the number of datagrams of the same socket that wait to be handled.
	// At 0 a handler should flush its output.
	Waiting int
}

// Stats are the counts of a receiver since it was made, for all sockets together.
type Stats struct {
	// Counts sums up all senders, including those that have been dropped.
	Counts
	// Refusals has the parts of Refused.
	Refusals Refusals
	// ActiveSenders is the number of senders with an accepted datagram that are
	// remembered, for [SenderLifetime].
	ActiveSenders int
	// Dropped counts datagrams that were read and discarded because the handler
	// was too slow. Those of a sender with sequence numbers are also Lost, as are
	// those that the kernel dropped.
	Dropped uint64
	// Queued is the number of datagrams that wait for the handler or are in its
	// hands.
	Queued int
	// KernelDropped counts datagrams that the kernel dropped because a receive
	// buffer was full, and KernelQueued is the number of bytes in the buffers, of
	// the ReadBuffer that they have. They are valid if KernelKnown is set: only on
	// Linux, from 4.12 on. After [Receiver.Close] KernelDropped keeps its value.
	// The kernel counts modulo 2^32 for each socket: call Stats once an hour or
	// more.
	KernelDropped uint64
	KernelQueued  int
	KernelKnown   bool
	// ReadErrors counts temporary errors of the sockets.
	ReadErrors uint64
	// Sockets is the number of sockets, and ReadBuffer the size in bytes of the
	// receive buffers that the kernel reports; on Linux half of it is for
	// bookkeeping.
	Sockets, ReadBuffer int
	// Expired and Evicted count senders that were dropped: after [SenderLifetime]
	// without a datagram, and because there were too many.
	Expired, Evicted uint64
}

// Receiver receives datagrams on a port. Its methods may be called from any goroutine, also
// from the handler.
type Receiver struct {
	sockets  []*socket
	addr     netip.AddrPort
	password atomic.Pointer[[sha256.Size]byte] // nil for none
	access   atomic.Pointer[Access]
	flood    *flood // nil for none
	began    time.Time
	served   atomic.Bool
	accounts *accounts

	closeOnce sync.Once
	closed    chan struct{}
	closeErr  error
}

// Listen binds UDP sockets to addr, which has the form host:port. Port 0 selects a free
// port (see [Receiver.Addr]), an empty host means all addresses, and an IPv6 address is
// written in brackets. The error names the address. The kernel buffers datagrams from
// now on; [Receiver.Serve] handles them.
func Listen(addr string, options Options) (*Receiver, error) {
	options.setDefaults()
	sockets, err := bind(addr, options)
	if err != nil {
		return nil, err
	}
	r := &Receiver{
		sockets:  sockets,
		addr:     sockets[0].addr(),
		began:    time.Now(),
		accounts: newAccounts(options.MaxSenders, len(sockets)),
		closed:   make(chan struct{}),
	}
	r.access.Store(options.Access)
	if options.FloodLimit > 0 {
		r.flood = newFlood(options.FloodLimit)
	}
	r.SetPassword(options.Password)
	return r, nil
}

func orDefault(v, or int) int {
	if v > 0 {
		return v
	}
	return or
}

// Addr returns the address that the receiver listens on. Its host is 0.0.0.0 or :: for
// all addresses.
func (r *Receiver) Addr() netip.AddrPort { return r.addr }

// SetAccess replaces the access rules, by none if they are nil. Datagrams that are handled
// from now on are checked by the new ones; none is lost.
func (r *Receiver) SetAccess(a *Access) { r.access.Store(a) }

// SetPassword replaces the password of [Options], by none if it is nil. Datagrams that are
// handled from now on are checked against the new one; none is lost.
func (r *Receiver) SetPassword(password *string) {
	if password == nil {
		r.password.Store(nil)
		return
	}
	d := digest(*password)
	r.password.Store(&d)
}

// Close closes the sockets; [Receiver.Serve] then handles the datagrams already read and
// returns. Close does not wait for that, so that a handler can call it. Datagrams that
// the kernel still holds are lost: to handle them too, end the context of Serve instead.
// Later calls do nothing and return the same error.
func (r *Receiver) Close() error {
	r.closeOnce.Do(func() {
		close(r.closed)
		for _, s := range r.sockets {
			r.closeErr = errors.Join(r.closeErr, s.close())
		}
	})
	return r.closeErr
}

// Serve receives datagrams and calls handle for each, including refused ones: those of one
// socket one at a time and in the order of arrival; with Options.Sockets above 1 those of
// several sockets concurrently. When ctx ends, it handles the datagrams that have arrived and returns nil;
// after [Receiver.Close] it handles those that have been read and returns nil. It returns an
// error if a socket fails permanently; temporary errors are counted. It may be called once.
//
// If handle panics, Serve closes the receiver and panics too.
func (r *Receiver) Serve(ctx context.Context, handle func(*Packet)) error {
	if r.served.Swap(true) {
		return ErrServed
	}
	// A deadline in the past wakes a read.
	stop := context.AfterFunc(ctx, func() {
		for _, s := range r.sockets {
			_ = s.conn.SetReadDeadline(time.Unix(1, 0))
		}
	})
	defer stop()
	var (
		wg      sync.WaitGroup
		failed  = make(chan error, len(r.sockets))
		crashes = make(chan any, len(r.sockets)) // values of panics; nil for Goexit
	)
	for i, s := range r.sockets {
		wg.Go(func() {
			if err := s.serve(ctx, r.closed); err != nil {
				failed <- err
				_ = r.Close()
			}
		})
		if i == 0 {
			continue // Serve handles them itself
		}
		wg.Go(func() {
			returned := false
			defer func() {
				if !returned {
					crashes <- recover()
					_ = r.Close()
				}
			}()
			r.handle(s.queue, handle)
			returned = true
		})
	}
	func() {
		defer wg.Wait()
		returned := false
		defer func() {
			if !returned { // handle panicked, or ended its goroutine
				_ = r.Close()
			}
		}()
		r.handle(r.sockets[0].queue, handle)
		returned = true
	}()
	select {
	case v := <-crashes:
		if v == nil {
			runtime.Goexit()
		}
		panic(v)
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// handle decodes, checks and hands over the datagrams of a queue until it is closed and
// empty.
func (r *Receiver) handle(q *queue.Queue, handle func(*Packet)) {
	var (
		b queue.Batch
		p Packet
		d xdr.Datagram
	)
	for q.Take(context.Background(), &b, 1, 0) {
		for i := range b.Items {
			it := &b.Items[i]
			waiting := len(b.Items) - 1 - i
			if waiting == 0 {
				n, _ := q.Len()
				waiting = n - len(b.Items)
			}
			p = Packet{From: it.From, Received: it.At, Raw: it.Data, Waiting: waiting}
			r.admit(&p, &d)
			handle(&p)
		}
	}
}

// Decode decodes p.Raw into d and sets Datagram, Refused and Err accordingly. A refusal for
// another reason, such as the password, is given with it; nil is none. A datagram that was
// refused for its address is not decoded.
func (p *Packet) Decode(d *xdr.Datagram, refused error) {
	p.Datagram, p.Refused, p.Err = nil, nil, refused
	if byAddress(refused) {
		return
	}
	err := d.Decode(p.Raw)
	switch {
	case refused != nil:
		p.refuse(d, refused)
	case err == nil || errors.Is(err, xdr.ErrTruncated):
		p.Datagram, p.Err = d, err
	default:
		p.refuse(d, err)
	}
}

// Sequenced reports whether an accepted packet has an instance id, as its [Sender] has then.
func (p *Packet) Sequenced() bool { return sequenced(p.Datagram) }

// refuse makes a packet a refused one, with the header and names of d.
func (p *Packet) refuse(d *xdr.Datagram, err error) {
	d.Params, d.Time, d.Timed = d.Params[:0], 0, false
	p.Datagram, p.Refused, p.Err = nil, d, err
}

// byAddress reports whether an error depends on the sender's address alone.
func byAddress(err error) bool {
	if err == nil {
		return false
	}
	a, ok := err.(*accessError)
	return ok && a.byAddress || err == ErrFlood
}

// admit decides on a datagram, decodes it into d, and updates the counts of its sender.
func (r *Receiver) admit(p *Packet, d *xdr.Datagram) {
	addr := p.From.Addr()
	access := r.access.Load()
	err := access.address(addr)
	if err == nil && r.flood != nil && !r.flood.accept(addr, r.second(p.Received)) {
		err = ErrFlood
	}
	p.Decode(d, err)
	if p.Datagram != nil {
		if err := r.check(access, d); err != nil {
			p.refuse(d, err)
		}
	}
	r.accounts.count(p)
}

// second returns the number of the second of a time, from 1 on. It does not jump with the
// clock of the system.
func (r *Receiver) second(t time.Time) int32 { return int32(t.Sub(r.began)/time.Second) + 1 }

// check checks password and names.
func (r *Receiver) check(access *Access, d *xdr.Datagram) error {
	want := r.password.Load()
	if want == nil && access != nil && access.hasPassword {
		want = &access.password
	}
	if want != nil {
		// Digests have one length, so that the time does not depend on the password's.
		got := digest(d.Password)
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return ErrPassword
		}
	}
	return access.names(d.Cluster, d.Node)
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

// Stats returns the counts so far.
func (r *Receiver) Stats() Stats {
	s := Stats{Sockets: len(r.sockets), KernelKnown: true}
	for _, k := range r.sockets {
		s.Dropped += k.dropped.Load()
		s.ReadErrors += k.readErrors.Load()
		s.ReadBuffer += k.readBuffer
		n, _ := k.queue.Len()
		s.Queued += n
		m := k.memory()
		s.KernelDropped += m.drops
		s.KernelQueued += int(m.held)
		s.KernelKnown = s.KernelKnown && m.known
	}
	r.accounts.addTo(&s, time.Now())
	return s
}

// Senders returns every sender with a datagram in the last [SenderLifetime], sorted by
// address and instance id.
func (r *Receiver) Senders() []Sender { return r.accounts.list(time.Now()) }
