package nats

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
)

// nodes is the number of nodes whose datagrams the benchmarks publish.
const nodes = 100

// BenchmarkPublish publishes datagrams of ten parameters to one embedded server, through
// the queue of an output, until all are acknowledged; and, in turns of equal size, the same
// payloads by a bare loop of PublishMsgAsync to a stream with the same settings. It reports
// both rates, their ratio, and the ratio of the CPU time of client and server.
func BenchmarkPublish(b *testing.B) {
	s := serve(b)
	o, err := New(Options{Server: Server{URL: s.ClientURL()}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	set := output.Set{Log: slog.New(slog.NewTextHandler(b.Output(), nil))}
	set.Swap(b.Context(), []output.Output{o}, nil)
	defer set.Swap(context.Background(), nil, nil)
	js, subject := bareStream(b, s.ClientURL())
	var packets [nodes]*receiver.Packet
	for i := range packets {
		packets[i] = packet(datagram("", int32(i), 0, "MySite_Nodes", nodeName(i)))
	}
	seq := int32(0)
	ours := func(n int) {
		for i := range n {
			p := packets[i%nodes]
			seq++
			renumber(p, seq)
			p.Received = time.Now()
			if !set.Put(b.Context(), p) {
				b.Fatal("not taken")
			}
		}
		set.Idle(b.Context())
	}
	var headers [nodes]slot
	number := 0
	bare := func(n int, headed bool) {
		for i := range n {
			m := &nats.Msg{Subject: subject[i%nodes], Data: packets[i%nodes].Raw}
			if headed {
				number++
				m.Header = headers[i%nodes].header
				m.Header[jetstream.MsgIDHeader][0] = strconv.Itoa(number) + "-0123456789012345678"
			}
			_, err := js.PublishMsgAsync(m)
			for errors.Is(err, jetstream.ErrTooManyStalledMsgs) {
				_, err = js.PublishMsgAsync(m)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
	}
	ours(nodes) // makes the stream
	for i := range headers {
		headers[i].fill(packets[i], time.Now(), 1, new(stamp))
	}
	const turn = 10000
	var wall, cpu [3]time.Duration
	measure := func(i, n int, publish func(int)) {
		c, w := cpuTime(b), time.Now()
		publish(n)
		wall[i] += time.Since(w)
		cpu[i] += cpuTime(b) - c
	}
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn {
		n := min(left, turn)
		measure(0, n, ours)
		measure(1, n, func(n int) { bare(n, false) })
		measure(2, n, func(n int) { bare(n, true) })
	}
	b.StopTimer()
	if st := set.Stats()[0]; st.Sent != uint64(b.N+nodes) {
		b.Fatalf("%d datagrams sent: %v", b.N, st)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.N)/wall[0].Seconds(), "datagrams/s")
	b.ReportMetric(float64(b.N)/wall[1].Seconds(), "bare/s")
	b.ReportMetric(wall[1].Seconds()/wall[0].Seconds(), "of-bare")
	b.ReportMetric(cpu[1].Seconds()/cpu[0].Seconds(), "of-bare-CPU")
	b.ReportMetric(wall[2].Seconds()/wall[0].Seconds(), "of-headed")
	b.ReportMetric(cpu[2].Seconds()/cpu[0].Seconds(), "of-headed-CPU")
	b.ReportMetric(cpu[0].Seconds()*1e6/float64(b.N), "CPU-us/datagram")
}

// bareStream makes a stream with the default settings and returns a client, and a subject of
// the same length as the output's for each node.
func bareStream(b *testing.B, url string) (jetstream.JetStream, []string) {
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxPending),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) { b.Error(err) }))
	if err != nil {
		b.Fatal(err)
	}
	var o Options
	o.defaults()
	_, err = js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name: "BARE-0", Subjects: []string{"naked.0.>"},
		Duplicates: o.Window, MaxAge: o.MaxAge, MaxBytes: o.MaxBytes, Replicas: o.Replicas,
	})
	if err != nil {
		b.Fatal(err)
	}
	var subjects []string
	for i := range nodes {
		subject, _ := Subject(0, "MySite_Nodes", nodeName(i))
		subjects = append(subjects, "naked"+subject[len(root):])
	}
	return js, subjects
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
