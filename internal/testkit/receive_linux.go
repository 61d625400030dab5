package testkit

import (
	"fmt"
	"math"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/xdr"
)

// UnderWay returns how many datagrams of 10 parameters may be under way to a receive buffer
// of which the kernel reports that size in bytes.
func UnderWay(readBuffer int) int { return min(max(readBuffer/2048, 64), 2048) }

// jobDatagrams returns datagrams of 10 parameters of so many senders.
func jobDatagrams(senders int) [][]byte {
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

// CPU returns the CPU time of the process.
func CPU() time.Duration { return cpu(unix.RUSAGE_SELF) }

// cpu returns the CPU time of the process, or of the calling thread.
func cpu(who int) time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Gate holds a receiver back until a burst of [SendAll] waits in its receive buffer, so that
// the cost of receiving does not depend on the speed of the sender. A nil Gate is open.
type Gate struct {
	sent  atomic.Int64
	moved chan struct{} // holds a token after sent has changed
}

// NewGate returns a gate that is closed until the first burst.
func NewGate() *Gate { return &Gate{moved: make(chan struct{}, 1)} }

// Wait waits until more than n datagrams were sent, or there will be no more.
func (g *Gate) Wait(n int64) {
	for g != nil && g.sent.Load() <= n {
		<-g.moved
	}
}

func (g *Gate) set(sent int64) {
	if g == nil {
		return
	}
	g.sent.Store(sent)
	select {
	case g.moved <- struct{}{}:
	default:
	}
}

// SendAll sends n datagrams of 10 parameters from one socket, in turn for each of the senders
// and with sequence numbers, and waits until received says that they are. At most underWay
// are under way, so that none is lost; with a gate they are sent in bursts of that size. It
// returns the CPU time of the process without that of the sending thread: the cost of
// receiving.
func SendAll(t testing.TB, to string, n, senders, underWay int, received *atomic.Int64, gate *Gate) time.Duration {
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
	all := jobDatagrams(senders)
	// The sequence number follows header and instance id.
	number := 4 + (len("v:"+xdr.Version+"p:")+3)&^3 + 4
	done := make(chan time.Duration)
	begin := CPU()
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		begin := cpu(unix.RUSAGE_THREAD)
		pause := unix.NsecToTimespec(int64(100 * time.Microsecond))
		burst := underWay / 4
		if gate != nil {
			burst = underWay
		}
		for i := 0; i < n; {
			if i-int(received.Load()) > underWay-burst {
				_ = unix.Nanosleep(&pause, nil)
				continue
			}
			for range min(burst, n-i) {
				b := all[i%senders]
				seq := 1 + i/senders
				b[number], b[number+1], b[number+2], b[number+3] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
				if _, err := unix.Write(fd, b); err != nil {
					t.Error(err)
				}
				i++
			}
			gate.set(int64(i))
		}
		end := time.Now().Add(Patience)
		for received.Load() < int64(n) && time.Now().Before(end) {
			_ = unix.Nanosleep(&pause, nil)
		}
		gate.set(math.MaxInt64)
		done <- cpu(unix.RUSAGE_THREAD) - begin
	}()
	sending := <-done
	return CPU() - begin - sending
}

// message is struct mmsghdr of recvmmsg(2).
type message struct {
	header unix.Msghdr
	length uint32
}

// rawBatch is the most datagrams that one system call reads.
const rawBatch = 32

// rawReceive counts datagrams with a bare loop of recvmmsg, until the socket is shut down.
func rawReceive(fd int, received *atomic.Int64, gate *Gate) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var (
		messages [rawBatch]message
		vectors  [rawBatch]unix.Iovec
		names    [rawBatch][unix.SizeofSockaddrInet6]byte
		buffer   = make([]byte, rawBatch*65536)
	)
	for i := range messages {
		vectors[i].Base = &buffer[i*65536]
		vectors[i].SetLen(65536)
		h := &messages[i].header
		h.Name, h.Namelen, h.Iov = &names[i][0], uint32(len(names[i])), &vectors[i]
		h.SetIovlen(1)
	}
	for {
		gate.Wait(received.Load())
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages)), rawBatch, unix.MSG_WAITFORONE, 0, 0)
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

// RawReceive returns the CPU time in which a bare loop of recvmmsg receives n datagrams that
// [SendAll] sends: the floor of every receiver.
func RawReceive(t testing.TB, n, senders int, gate *Gate) time.Duration {
	l := Listen(t)
	f, err := l.File() // it blocks
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	const size = 16 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	}
	granted, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		t.Fatal(err)
	}
	var received atomic.Int64
	done := make(chan struct{})
	go func() { defer close(done); rawReceive(fd, &received, gate) }()
	took := SendAll(t, l.Name(), n, senders, UnderWay(granted), &received, gate)
	if got := received.Load(); got != int64(n) {
		t.Errorf("the bare loop received %d of %d", got, n)
	}
	_ = unix.Shutdown(fd, unix.SHUT_RDWR) // ends the loop
	<-done
	return took
}

// CompareReceive asserts that a receiver handles at least a share of the datagrams that a bare
// loop receives in the same CPU time. Own receives n datagrams that [SendAll] sends, and returns
// the CPU time. The median of pairs counts, since other processes disturb. It takes long, and
// is skipped under the race detector.
func CompareReceive(t *testing.T, share float64, own func(t testing.TB, n, senders int, gate *Gate) time.Duration) {
	t.Helper()
	SkipLong(t)
	if Race {
		t.Skip("the race detector costs more than the receiver")
	}
	Retry(t, func(t testing.TB) {
		const n, senders = 50_000, 1000
		var ratios []float64
		for range 9 {
			raw := RawReceive(t, n, senders, NewGate())
			ratios = append(ratios, float64(raw)/float64(own(t, n, senders, NewGate())))
		}
		slices.Sort(ratios)
		t.Logf("of a bare loop: %.2f", ratios)
		if ratio := ratios[len(ratios)/2]; ratio < share {
			t.Errorf("the median is %.2f of %.2f", ratio, ratios)
		}
	})
}
