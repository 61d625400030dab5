package apmon

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// BenchmarkSend sends a message through a client; BenchmarkRawWrite writes the
// same bytes to a connected UDP socket through package net. In both, the receiver's
// socket is bound and never read, and each message is one datagram.
func BenchmarkSend(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(fmt.Sprint("params=", n), func(b *testing.B) {
			l := testkit.Listen(b)
			c := client(b, config(b, l.Name()), Options{RatePolicy: RateOff})
			params := mixed(n)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Send("MySite_Jobs", "123456", params...); err != nil {
					b.Fatal(err)
				}
			}
			s := c.Stats().Destinations[0]
			if s.Sent != uint64(b.N) || s.Refused > 0 || s.Bytes/s.Sent > xdr.DefaultLimit {
				b.Fatalf("a message is not one datagram, or was not sent: %+v", s)
			}
			b.ReportMetric(float64(s.Bytes/s.Sent), "B/datagram")
		})
	}
}

func BenchmarkRawWrite(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(fmt.Sprint("params=", n), func(b *testing.B) {
			l := testkit.Listen(b)
			buf := sentBytes(b, l, client(b, config(b, l.Name())), mixed(n))
			conn, err := net.Dial("udp", l.Name())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(buf)), "B/datagram")
		})
	}
}

// sentBytes sends a message to a listener and returns the datagram.
func sentBytes(b *testing.B, l *testkit.Listener, c *Client, params []Param) []byte {
	if err := c.Send("MySite_Jobs", "123456", params...); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 65536)
	n, err := l.Read(buf)
	if err != nil {
		b.Fatal(err)
	}
	return buf[:n]
}

// BenchmarkSendDuringReload is BenchmarkSend while the client fetches its
// configuration from a server that does not answer.
func BenchmarkSendDuringReload(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(fmt.Sprint("params=", n), func(b *testing.B) {
			l := testkit.Listen(b)
			w := &web{}
			w.set(u1, l.Name())
			c, err := OpenSources(context.Background(), conf.ParseSources(u1), WithTransport(w), Options{RatePolicy: RateOff})
			if err != nil {
				b.Fatal(err)
			}
			w.hang(true)
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				for ctx.Err() == nil { // a fetch ends after 5 s
					c.Reload(ctx)
				}
				close(done)
			}()
			params := mixed(n)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Send("MySite_Jobs", "123456", params...); err != nil {
					b.Fatal(err)
				}
			}
			stop()
			<-done
			c.Close()
		})
	}
}
