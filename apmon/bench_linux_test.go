//go:build linux && !386 && !s390x

package apmon

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/apmon-go/apmon/internal/testkit"
)

// BenchmarkSendOverSyscall compares Send with its floor, one system call with
// the same bytes on a connected socket, and with a write through package net.
// The three run in turn, in short blocks, and the medians of the blocks are
// compared. On a busy machine this is more precise than separate benchmarks,
// which differ by more than the values to be compared.
func BenchmarkSendOverSyscall(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(fmt.Sprint("params=", n), func(b *testing.B) {
			l := testkit.Listen(b)
			c := client(b, config(b, l.Name()), Options{RatePolicy: RateOff})
			params := mixed(n)
			buf := sentBytes(b, l, c, params)
			fd := connected(b, l)
			conn, err := net.Dial("udp", l.Name())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()

			kinds := []struct {
				name string
				send func()
				took []time.Duration
			}{
				{name: "Send", send: func() {
					if err := c.Send("MySite_Jobs", "123456", params...); err != nil {
						b.Fatal(err)
					}
				}},
				{name: "syscall", send: func() {
					if errno := rawSendto(fd, buf); errno != 0 {
						b.Fatal(errno)
					}
				}},
				{name: "net", send: func() {
					if _, err := conn.Write(buf); err != nil {
						b.Fatal(err)
					}
				}},
			}
			const block = 50
			for b.Loop() {
				for i := range kinds {
					start := time.Now()
					for range block {
						kinds[i].send()
					}
					kinds[i].took = append(kinds[i].took, time.Since(start)/block)
				}
			}
			for i := range kinds {
				slices.Sort(kinds[i].took)
			}
			median := func(i int) float64 { return float64(kinds[i].took[len(kinds[i].took)/2]) }
			b.ReportMetric(0, "ns/op") // of blocks, not of sends
			for i, k := range kinds {
				b.ReportMetric(median(i), "ns/"+k.name)
			}
			b.ReportMetric(median(0)/median(1), "Send/syscall")
			b.ReportMetric(median(0)/median(2), "Send/net")
		})
	}
}

// BenchmarkRawSyscall is the floor of BenchmarkSend: one system call with the
// same bytes.
func BenchmarkRawSyscall(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(fmt.Sprint("params=", n), func(b *testing.B) {
			l := testkit.Listen(b)
			buf := sentBytes(b, l, client(b, config(b, l.Name())), mixed(n))
			fd := connected(b, l)
			b.ReportAllocs()
			for b.Loop() {
				if errno := rawSendto(fd, buf); errno != 0 {
					b.Fatal(errno)
				}
			}
			b.ReportMetric(float64(len(buf)), "B/datagram")
		})
	}
}

// rawSendto writes to a connected socket with a single system call.
func rawSendto(fd int, b []byte) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	return errno
}

// connected returns a socket that is connected to a listener.
func connected(b *testing.B, l *testkit.Listener) (fd int) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { syscall.Close(fd) })
	addr := l.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		b.Fatal(err)
	}
	return fd
}
