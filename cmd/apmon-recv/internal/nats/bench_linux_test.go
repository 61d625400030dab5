package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/subjects"
	"github.com/apmon-go/apmon/internal/testkit"
)

// nodes is the number of nodes whose datagrams the benchmarks publish.
const nodes = 100

// BenchmarkPublish publishes datagrams of ten parameters to one embedded server, through
// the queue of an output, until all are acknowledged; and, in turns of equal size, by bare
// loops of PublishMsgAsync to a stream with the same settings: the same payloads alone, and
// the same messages with their headers. It reports the rate, the rates of the loops, and its
// share of both. CPU-us/datagram is the CPU time of client and server.
func BenchmarkPublish(b *testing.B) {
	s := serve(b)
	o, err := New(Options{Server: Server{URL: s.ClientURL()}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	set := output.Set{Log: slog.New(slog.NewTextHandler(b.Output(), nil))}
	set.Swap(b.Context(), []output.Output{o}, nil)
	defer set.Swap(context.Background(), nil, nil)
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
	ours(nodes) // makes the stream
	loop := newBareLoop(b, s.ClientURL(), packets[:])
	const turn = 10000
	var wall [3]time.Duration
	var cpu time.Duration
	b.ResetTimer()
	for left := b.N; left > 0; left -= turn {
		n := min(left, turn)
		c := testkit.CPU()
		for i, publish := range []func(int){ours, loop.payloads, loop.messages} {
			w := time.Now()
			publish(n)
			wall[i] += time.Since(w)
			if i == 0 {
				cpu += testkit.CPU() - c
			}
		}
	}
	b.StopTimer()
	if st := set.Stats()[0]; st.Sent != uint64(b.N+nodes) {
		b.Fatalf("%d datagrams sent: %v", b.N, st)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.N)/wall[0].Seconds(), "datagrams/s")
	b.ReportMetric(float64(b.N)/wall[1].Seconds(), "bare/s")
	b.ReportMetric(float64(b.N)/wall[2].Seconds(), "bare-with-headers/s")
	b.ReportMetric(wall[1].Seconds()/wall[0].Seconds(), "of-bare")
	b.ReportMetric(wall[2].Seconds()/wall[0].Seconds(), "of-bare-with-headers")
	b.ReportMetric(cpu.Seconds()*1e6/float64(b.N), "CPU-us/datagram")
}

// bareLoop publishes with PublishMsgAsync and nothing else.
type bareLoop struct {
	b        *testing.B
	js       jetstream.JetStream
	subjects []string
	packets  []*receiver.Packet
	slots    [nodes]slot
	number   int
}

// payloads publishes datagrams without headers.
func (l *bareLoop) payloads(n int) {
	for i := range n {
		l.publish(&nats.Msg{Subject: l.subjects[i%nodes], Data: l.packets[i%nodes].Raw})
	}
	<-l.js.PublishAsyncComplete()
}

// messages publishes datagrams with headers of the same lengths as the output's, which are
// ready but for the message id.
func (l *bareLoop) messages(n int) {
	for i := range n {
		l.number++
		h := l.slots[i%nodes].header
		h[jetstream.MsgIDHeader][0] = fmt.Sprintf("%020d", l.number)
		l.publish(&nats.Msg{Subject: l.subjects[i%nodes], Data: l.packets[i%nodes].Raw, Header: h})
	}
	<-l.js.PublishAsyncComplete()
}

func (l *bareLoop) publish(m *nats.Msg) {
	_, err := l.js.PublishMsgAsync(m)
	for errors.Is(err, jetstream.ErrTooManyStalledMsgs) {
		_, err = l.js.PublishMsgAsync(m)
	}
	if err != nil {
		l.b.Fatal(err)
	}
}

// newBareLoop makes a stream with the default settings, and subjects of the same length as the
// output's.
func newBareLoop(b *testing.B, url string, packets []*receiver.Packet) *bareLoop {
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
		Duplicates: o.Window, MaxAge: o.MaxAge, MaxBytes: int64(o.MaxBytes), Replicas: o.Replicas,
	})
	if err != nil {
		b.Fatal(err)
	}
	l := &bareLoop{b: b, js: js, packets: packets}
	for i := range l.slots {
		l.slots[i].fill(packets[i], time.Now(), 1, new(stamp))
		l.subjects = append(l.subjects, "naked"+l.slots[i].subject[len(subjects.Root):])
	}
	return l
}
