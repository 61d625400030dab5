package receiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/internal/queue"
)

// socket is a UDP socket, and the queue of the datagrams that were read from it.
type socket struct {
	conn       *net.UDPConn
	raw        syscall.RawConn
	read       func() ([]queue.Item, error) // conn's; a test has others
	queue      *queue.Queue
	readBuffer int // of the kernel, in bytes

	dropped, readErrors atomic.Uint64

	mu     sync.Mutex
	kernel kernelMemory
}

// kernelMemory is the state of a receive buffer of the kernel.
type kernelMemory struct {
	known bool   // the kernel reports the others
	held  uint32 // bytes
	last  uint32 // drops modulo 2^32
	drops uint64
}

// bind binds sockets to one port. The first is bound while it does not share the port, so
// that a port that is in use is an error, even if another receiver has several sockets on
// it.
func bind(addr string, o Options) ([]*socket, error) {
	var sockets []*socket
	for range o.Sockets {
		s, err := bindOne(addr, o, len(sockets) > 0)
		if err == nil {
			sockets = append(sockets, s)
			if len(sockets) == 1 && o.Sockets > 1 {
				addr = s.conn.LocalAddr().String() // port 0 has a number now
				err = sharePort(s.raw)
			}
		}
		if err != nil {
			for _, s := range sockets {
				_ = s.conn.Close()
			}
			return nil, fmt.Errorf("receiver: %w", err)
		}
	}
	return sockets, nil
}

// bindOne binds a socket.
func bindOne(addr string, o Options, share bool) (*socket, error) {
	var lc net.ListenConfig
	if share {
		lc.Control = func(_, _ string, raw syscall.RawConn) error { return sharePort(raw) }
	}
	pc, err := lc.ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return nil, err
	}
	conn := pc.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &socket{
		conn:       conn,
		raw:        raw,
		read:       newReader(conn, raw),
		queue:      queue.New(o.QueueLen, o.QueueBytes),
		readBuffer: growBuffer(conn, raw, o.ReadBuffer),
	}, nil
}

// addr returns the local address.
func (s *socket) addr() netip.AddrPort {
	a := s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// memory returns the state of the receive buffer, the last one if the socket is closed.
func (s *socket) memory() kernelMemory {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held, drops, ok := memory(s.raw); ok {
		s.kernel.update(held, drops)
	}
	return s.kernel
}

// update takes over the values of the kernel. Its count of drops wraps at 2^32.
func (k *kernelMemory) update(held, drops uint32) {
	k.known, k.held = true, held
	k.drops += uint64(drops - k.last)
	k.last = drops
}

func (s *socket) close() error {
	s.memory()
	err := s.conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kernel.held = 0
	return err
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

// serve moves datagrams from the socket to its queue until the context ends, the receiver is
// closed, or the socket fails for good.
func (s *socket) serve(ctx context.Context, closed <-chan struct{}) error {
	defer s.queue.Close()
	failures := 0 // in a row
	for {
		items, err := s.read()
		if err == nil {
			s.enqueue(items)
			failures = 0
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if ctx.Err() != nil {
			s.drain()
			return nil
		}
		s.readErrors.Add(1)
		if failures++; failures > maxFailures {
			return fmt.Errorf("receiver: %d failures in a row: %w", failures, err)
		}
		// The first consecutive errors may be about single datagrams (an ICMP
		// message, a datagram too long for Windows); later ones are permanent, and
		// must not cause a busy loop.
		if failures > 8 {
			select {
			case <-time.After(min(time.Duration(failures)*time.Millisecond, maxPause)):
			case <-closed:
			case <-ctx.Done():
			}
		}
	}
}

// drain moves the datagrams in the kernel to the queue.
func (s *socket) drain() {
	end := time.Now().Add(drainMax)
	for idle := 0; idle < drainTries; {
		now := time.Now()
		if now.After(end) {
			return
		}
		_ = s.conn.SetReadDeadline(now.Add(drainIdle))
		items, err := s.read()
		switch {
		case err == nil:
			s.enqueue(items)
			idle = 0
		case errors.Is(err, net.ErrClosed):
			return
		default:
			idle++
		}
	}
}

func (s *socket) enqueue(items []queue.Item) {
	if n := len(items) - s.queue.Offer(items...); n > 0 {
		s.dropped.Add(uint64(n))
	}
}
