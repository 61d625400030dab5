package receiver

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/xdr"
)

// underWay returns how many datagrams may be under way in a receive buffer.
func underWay(readBuffer int) int { return min(max(readBuffer/2048, 64), 2048) }

// benchDatagrams returns datagrams of 10 parameters of so many senders.
func benchDatagrams(senders int) [][]byte {
	all := make([][]byte, senders)
	for i := range all {
		d := xdr.Datagram{Version: xdr.Version, Instance: int32(i), Cluster: "MySite_Jobs", Node: fmt.Sprintf("node%04d", i)}
		for i := range 10 {
			d.Params = append(d.Params, xdr.Float(fmt.Sprintf("parameter_%d", i), float64(i)))
		}
		all[i] = d.Append(nil)
	}
	return all
}

// cpu returns the CPU time of the process, or of the calling thread.
func cpu(who int) time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sendAll sends n datagrams from one socket, in turn for each sender and with sequence
// numbers, and waits until they are received. It returns the CPU time of the process without
// that of the sending thread.
func sendAll(t testing.TB, to string, n, senders, window int, received *atomic.Int64) time.Duration {
	conn, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	f, err := conn.(*net.UDPConn).File() // it blocks
	conn.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	all := benchDatagrams(senders)
	// The sequence number follows header and instance id.
	number := 4 + (len("v:"+xdr.Version+"p:")+3)&^3 + 4
	done := make(chan time.Duration)
	begin := cpu(unix.RUSAGE_SELF)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		begin := cpu(unix.RUSAGE_THREAD)
		pause := unix.NsecToTimespec(int64(100 * time.Microsecond))
		for i := 0; i < n; {
			if int64(i)-received.Load() >= int64(window) {
				_ = unix.Nanosleep(&pause, nil)
				continue
			}
			for range min(window/4, n-i) {
				b := all[i%senders]
				seq := 1 + i/senders
				b[number], b[number+1], b[number+2], b[number+3] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
				if _, err := unix.Write(fd, b); err != nil {
					t.Error(err)
				}
				i++
			}
		}
		end := time.Now().Add(10 * time.Second)
		for received.Load() < int64(n) && time.Now().Before(end) {
			_ = unix.Nanosleep(&pause, nil)
		}
		done <- cpu(unix.RUSAGE_THREAD) - begin
	}()
	sending := <-done
	return cpu(unix.RUSAGE_SELF) - begin - sending
}

// rawReceive counts datagrams with a bare loop of recvmmsg, until the socket is shut down.
func rawReceive(fd int, received *atomic.Int64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var (
		messages [batch]message
		vectors  [batch]unix.Iovec
		names    [batch][unix.SizeofSockaddrInet6]byte
		buffer   = make([]byte, batch*maxDatagram)
	)
	for i := range messages {
		vectors[i].Base = &buffer[i*maxDatagram]
		vectors[i].SetLen(maxDatagram)
		h := &messages[i].header
		h.Name, h.Namelen, h.Iov = &names[i][0], uint32(len(names[i])), &vectors[i]
		h.SetIovlen(1)
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages)), batch, unix.MSG_WAITFORONE, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 || messages[0].length == 0 {
			return
		}
		received.Add(int64(n))
		for i := range int(n) {
			messages[i].header.Namelen = uint32(len(names[i]))
		}
	}
}

// measureRaw returns the CPU time in which a bare loop receives n datagrams.
func measureRaw(t testing.TB, n, senders int) time.Duration {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn := pc.(*net.UDPConn)
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	buffer := growBuffer(conn, raw, DefaultReadBuffer)
	f, err := conn.File() // it blocks
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	var received atomic.Int64
	done := make(chan struct{})
	go func() { defer close(done); rawReceive(fd, &received) }()
	took := sendAll(t, conn.LocalAddr().String(), n, senders, underWay(buffer), &received)
	if got := received.Load(); got != int64(n) {
		t.Errorf("the bare loop received %d of %d", got, n)
	}
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	send(t, dialTo(t, conn.LocalAddr().String()), nil) // if it was not woken
	<-done
	return took
}

func dialTo(t testing.TB, to string) net.Conn {
	c, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// measure returns the CPU time in which a receiver handles n datagrams.
func measure(t testing.TB, n, senders int, o Options, handle func(*Packet)) time.Duration {
	r := listen(t, "127.0.0.1:0", o)
	var received atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		done <- r.Serve(ctx, func(p *Packet) {
			handle(p)
			received.Add(1)
		})
	}()
	took := sendAll(t, r.Addr().String(), n, senders, underWay(r.sockets[0].readBuffer), &received)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := r.Stats(); s.Received != uint64(n) || s.Lost > 0 || s.Duplicate > 0 {
		t.Errorf("of %d: %+v", n, s)
	}
	return took
}

// BenchmarkRawReceive is the floor of BenchmarkReceive: a bare loop of recvmmsg over the same
// datagrams. Both report the CPU time of the process without the sending thread.
func BenchmarkRawReceive(b *testing.B) {
	for _, senders := range []int{1, 1000} {
		b.Run(fmt.Sprint("senders=", senders), func(b *testing.B) {
			report(b, measureRaw(b, b.N, senders))
		})
	}
}

// BenchmarkReceive decodes and accounts. What a handler adds is measured with it, see
// TestLongReceiveCost.
func BenchmarkReceive(b *testing.B) {
	for _, senders := range []int{1, 1000} {
		b.Run(fmt.Sprint("senders=", senders), func(b *testing.B) {
			report(b, measure(b, b.N, senders, Options{}, func(*Packet) {}))
		})
	}
}

func report(b *testing.B, took time.Duration) {
	b.ReportMetric(float64(took)/float64(b.N), "cpu-ns/datagram")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "datagrams/s")
	b.ReportMetric(0, "ns/op")
}
