package nats

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/subjects"
	"github.com/apmon-go/apmon/internal/testkit"
)

// member is one process that consumes: it keeps what its outputs got.
type member struct {
	*Consumer
	t     testing.TB
	stop  func() // ends Run gracefully and waits
	block chan struct{}
	each  []func(*receiver.Packet)

	mu      sync.Mutex
	last    map[string]int32 // the last value of each series, a node
	put     int
	older   []string // values that came after a later one
	refused int
	from    string
	lost    []int
}

// consume starts a member. A nil channel block lets everything pass; otherwise each datagram
// takes one token. Each is called for each datagram.
func consume(t testing.TB, o ConsumeOptions, block chan struct{}, each ...func(*receiver.Packet)) *member {
	t.Helper()
	m := &member{t: t, block: block, each: each, last: make(map[string]int32)}
	c, err := NewConsumer(o, Handler{
		Put:  m.take,
		Idle: func(ctx context.Context) bool { return ctx.Err() == nil },
		Lost: func(part int) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.lost = append(m.lost, part)
			for node := range m.last {
				if subjects.Partition("C", node, max(1, o.Partitions)) == part {
					delete(m.last, node)
				}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Consumer = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	m.stop = func() { cancel(); <-done }
	t.Cleanup(m.stop)
	return m
}

func (m *member) take(ctx context.Context, p *receiver.Packet) bool {
	if m.block != nil {
		select {
		case <-m.block:
		case <-ctx.Done():
			return false
		}
	}
	for _, f := range m.each {
		f(p)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put++
	m.from = p.From.String()
	if p.Datagram == nil {
		m.refused++
		return true
	}
	node, seq := p.Datagram.Node, p.Datagram.Seq
	if last, ok := m.last[node]; ok && seq <= last {
		m.older = append(m.older, fmt.Sprintf("%s: %d after %d", node, seq, last))
	}
	m.last[string([]byte(node))] = seq
	return true
}

// kill ends the member as if its process were killed: nothing is acknowledged any more.
func (m *member) kill() {
	m.parts[0].nc.Close()
	m.stop()
}

func (m *member) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.put
}

// check fails the test if a value came after a later one of its series.
func (m *member) check() {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.older) > 0 {
		m.t.Errorf("%d values are older than the last: %.3q", len(m.older), m.older)
	}
}

// source publishes datagrams of one sender.
type source struct {
	t   testing.TB
	set interface {
		Put(context.Context, *receiver.Packet) bool
	}
	seq int32
}

func (s *source) send(n int, node func(i int) string) {
	s.t.Helper()
	for i := range n {
		s.seq++
		if !s.set.Put(s.t.Context(), packet(datagram("", 1, s.seq, "C", node(i)))) {
			s.t.Fatal("the output takes nothing")
		}
	}
}

func oneNode(int) string { return "N" }

// TestConsume: a durable consumer starts at the oldest message, puts datagrams in order with
// sender and receive time, refused ones too, and goes on where it ended.
func TestConsume(t *testing.T) {
	t.Parallel()
	s := serve(t)
	set, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}})
	from := &source{t: t, set: set}
	from.send(100, oneNode)
	idle(t, set)
	js := dial(t, s.ClientURL())
	if _, err := js.Publish(t.Context(), "apmon.0.junk", []byte("junk")); err != nil {
		t.Fatal(err)
	}
	o := ConsumeOptions{Server: Server{URL: s.ClientURL()}, Failover: 3 * time.Second}
	a := consume(t, o, nil)
	testkit.Eventually(t, "the first datagrams", func() bool { return a.count() == 101 })
	if a.refused != 1 {
		t.Errorf("%d refused", a.refused)
	}
	from.send(100, oneNode)
	testkit.Eventually(t, "more datagrams", func() bool { return a.count() == 201 })
	a.check()
	if a.from != sender.String() {
		t.Errorf("from %s", a.from)
	}
	if st := a.Stats(); st.Consumed != 201 || st.Active != 1 || st.Missed+st.Redelivered != 0 || st.Pending != 0 {
		t.Errorf("%+v", st)
	}
	a.stop()
	from.send(100, oneNode)
	b := consume(t, o, nil)
	testkit.Eventually(t, "the rest", func() bool { return b.count() == 100 })
	b.check()
	if st := b.Stats(); st.Consumed != 100 || st.Missed+st.Redelivered != 0 {
		t.Errorf("%+v", st)
	}
	other := consume(t, ConsumeOptions{Server: o.Server, Consumer: "other"}, nil)
	testkit.Eventually(t, "all datagrams by another consumer", func() bool { return other.count() == 301 })
}

// TestConsumeBeforeStream: a consumer waits for the server's stream.
func TestConsumeBeforeStream(t *testing.T) {
	t.Parallel()
	s := serve(t)
	m := consume(t, ConsumeOptions{Server: Server{URL: s.ClientURL()}}, nil)
	set, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}})
	(&source{t: t, set: set}).send(1, oneNode)
	testkit.Eventually(t, "the datagram", func() bool { return m.count() == 1 })
}

// TestPausedConsumer: outputs that take nothing pause consumption: the member stays the active
// one although the server delivers again what is not acknowledged, and each datagram is put
// once.
func TestPausedConsumer(t *testing.T) {
	t.Parallel()
	s := serve(t)
	set, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}})
	(&source{t: t, set: set}).send(500, oneNode)
	idle(t, set)
	o := ConsumeOptions{Server: Server{URL: s.ClientURL()}, Failover: 3 * time.Second}
	block := make(chan struct{})
	m := consume(t, o, block)
	block <- struct{}{}
	standby := consume(t, o, nil)
	testkit.Eventually(t, "redelivery", func() bool { return m.Stats().Redelivered >= 499 })
	if n := m.count(); n != 1 {
		t.Errorf("%d datagrams were put", n)
	}
	close(block)
	testkit.Eventually(t, "all datagrams", func() bool { return m.count() == 500 })
	m.check()
	if n := standby.count(); n != 0 {
		t.Errorf("%d datagrams were put at the standby", n)
	}
}

// TestMissed: messages that the stream has dropped are counted.
func TestMissed(t *testing.T) {
	t.Parallel()
	s := serve(t)
	js := dial(t, s.ClientURL())
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "APMON-0", Subjects: []string{"apmon.0.>"}, MaxMsgs: 10})
	if err != nil {
		t.Fatal(err)
	}
	set, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}})
	from := &source{t: t, set: set}
	from.send(10, oneNode)
	idle(t, set)
	o := ConsumeOptions{Server: Server{URL: s.ClientURL()}, Failover: 3 * time.Second}
	m := consume(t, o, nil)
	testkit.Eventually(t, "the first datagrams", func() bool { return m.count() == 10 })
	m.stop()
	from.send(20, oneNode) // the stream keeps 21 to 30
	idle(t, set)
	if err := stream.DeleteMsg(t.Context(), 25); err != nil {
		t.Fatal(err)
	}
	m = consume(t, o, nil)
	testkit.Eventually(t, "the rest", func() bool { return m.count() == 9 })
	m.check()
	if st := m.Stats(); st.Missed != 11 || st.Consumed != 9 {
		t.Errorf("%+v, want 11 missed", st)
	}
}

// TestFailover: a member is killed with messages that it has not acknowledged. The standby
// begins after the last acknowledged one and puts every later one, in order.
func TestFailover(t *testing.T) {
	t.Parallel()
	s := serve(t)
	set, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}})
	from := &source{t: t, set: set}
	from.send(100, oneNode)
	idle(t, set)
	o := ConsumeOptions{Server: Server{URL: s.ClientURL()}, Failover: 3 * time.Second}
	block := make(chan struct{}, 1000)
	a := consume(t, o, block)
	for range 100 {
		block <- struct{}{}
	}
	testkit.Eventually(t, "acknowledgements", func() bool {
		p := a.parts[0]
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.acked == 100
	})
	b := consume(t, o, nil)
	from.send(100, oneNode)
	idle(t, set)
	for range 50 {
		block <- struct{}{}
	}
	testkit.Eventually(t, "half of them", func() bool { return a.count() == 150 })
	a.kill()
	from.send(100, oneNode) // these are delivered to b first
	testkit.Eventually(t, "the standby", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.last["N"] == 300
	})
	b.check()
	want := 300 - a.parts[0].acked // a may have had two batches
	if st := b.Stats(); st.Consumed != want || want < 150 || st.Missed != 0 || st.Active != 1 {
		t.Errorf("%+v, want %d consumed", st, want)
	}
}

// held is an output that handles nothing until it is let go.
type held struct{ taken, let chan struct{} }

func (held) Name() string { return "held" }

func (h held) Run(ctx context.Context, in *output.In) error {
	for in.Take(ctx, 1, 0) {
		select {
		case h.taken <- struct{}{}:
		default:
		}
		select {
		case <-h.let:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// TestAcknowledgesWhatOutputsHandled: messages are acknowledged when every output of the set
// has handled them, not when they are in its queue.
func TestAcknowledgesWhatOutputsHandled(t *testing.T) {
	t.Parallel()
	s := serve(t)
	publishing, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}})
	(&source{t: t, set: publishing}).send(10, oneNode)
	idle(t, publishing)
	h := held{make(chan struct{}, 1), make(chan struct{})}
	var set output.Set
	set.Swap(t.Context(), []output.Output{h}, nil)
	c, err := NewConsumer(ConsumeOptions{Server: Server{URL: s.ClientURL()}, Failover: 3 * time.Second}, Handler{Put: set.Put, Idle: set.Idle})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	<-h.taken
	floor := func() uint64 {
		consumer, err := dial(t, s.ClientURL()).Consumer(t.Context(), "APMON-0", DefaultConsumer)
		if err != nil {
			t.Fatal(err)
		}
		return consumer.CachedInfo().AckFloor.Stream
	}
	testkit.Eventually(t, "all in the queue", func() bool { return set.Stats()[0].Taken == 10 || c.Stats().Redelivered > 0 })
	if n := floor(); n != 0 {
		t.Errorf("%d messages are acknowledged before the output has handled them", n)
	}
	cancel() // what was put is still acknowledged
	close(h.let)
	if err := <-done; err != nil {
		t.Error(err)
	}
	// The server handles acknowledgements in the background.
	testkit.Eventually(t, "the acknowledgements", func() bool { return c.Stats().Consumed > 0 && floor() == c.Stats().Consumed })
	set.Swap(t.Context(), nil, nil)
}

// TestServerRestart: the server is restarted while a slow output takes messages, of which
// some are lost with the connection. All are put, once and in order.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	const total = 3000
	dir := t.TempDir()
	s := serve(t, func(o *server.Options) { o.StoreDir = dir })
	url, port := s.ClientURL(), s.Addr().(*net.TCPAddr).Port
	set, _, _ := start(t, Options{Server: Server{URL: url}, Window: 5 * time.Minute})
	from := &source{t: t, set: set}
	from.send(total/2, oneNode)
	idle(t, set)
	block := make(chan struct{}, total)
	m := consume(t, ConsumeOptions{Server: Server{URL: url}, Failover: 3 * time.Second}, block)
	for range total / 4 {
		block <- struct{}{}
	}
	testkit.Eventually(t, "some datagrams", func() bool { return m.count() == total/4 })
	stop(s)
	for range total / 8 {
		block <- struct{}{}
	}
	serve(t, func(o *server.Options) { o.StoreDir, o.Port = dir, port })
	from.send(total/2, oneNode)
	idle(t, set)
	close(block)
	testkit.Eventually(t, "all datagrams", func() bool { return m.count() >= total })
	m.check()
	if st := m.Stats(); st.Consumed != total || st.Missed != 0 {
		t.Errorf("%+v", st)
	}
}

// TestStreamMadeAnew: the numbers of a stream that was deleted and made again begin again.
func TestStreamMadeAnew(t *testing.T) {
	t.Parallel()
	s := serve(t)
	set, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}})
	from := &source{t: t, set: set}
	from.send(10, oneNode)
	m := consume(t, ConsumeOptions{Server: Server{URL: s.ClientURL()}, Failover: 3 * time.Second}, nil)
	testkit.Eventually(t, "the first datagrams", func() bool { return m.count() == 10 })
	if err := dial(t, s.ClientURL()).DeleteStream(t.Context(), "APMON-0"); err != nil {
		t.Fatal(err)
	}
	from.send(5, oneNode)
	testkit.Eventually(t, "those of the new stream", func() bool { return m.count() == 15 })
	m.check()
	if st := m.Stats(); st.Missed != 0 || st.Redelivered != 0 {
		t.Errorf("%+v", st)
	}
}

// TestLost: when another process becomes the active member, the former one is told, so that
// no series is at both; it puts nothing more.
func TestLost(t *testing.T) {
	t.Parallel()
	s := serve(t)
	set, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}})
	from := &source{t: t, set: set}
	o := ConsumeOptions{Server: Server{URL: s.ClientURL()}, Failover: 3 * time.Second}
	a := consume(t, o, nil)
	from.send(10, oneNode)
	testkit.Eventually(t, "the first member", func() bool { return a.count() == 10 })
	b := consume(t, o, nil)
	stream, err := dial(t, s.ClientURL()).Stream(t.Context(), "APMON-0")
	if err != nil {
		t.Fatal(err)
	}
	latest := func(m *member) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.last["N"] == from.seq
	}
	for !latest(b) { // the server may choose the first again
		if err := stream.UnpinConsumer(t.Context(), DefaultConsumer, group); err != nil {
			t.Fatal(err)
		}
		from.send(1, oneNode)
		testkit.Eventually(t, "the next datagram", func() bool { return latest(a) || latest(b) })
	}
	testkit.Eventually(t, "the loss", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.lost) > 0 && len(a.last) == 0
	})
	if a.Stats().Active != 0 || b.Stats().Active != 1 || a.count()+b.count() < int(from.seq) {
		t.Errorf("%+v %+v of %d", a.Stats(), b.Stats(), from.seq)
	}
	a.check()
	b.check()
}

// TestTwoMembers: two members consume the series of 10 000 nodes in four partitions. One is
// killed. No series is at both, and none has a value older than the last one.
func TestTwoMembers(t *testing.T) {
	t.Parallel()
	const partitions = 4
	nodes := 10000
	if testkit.Race { // it takes ten times as long
		nodes = 1000
	}
	s := serve(t)
	server := Server{URL: s.ClientURL(), Partitions: partitions}
	set, _, _ := start(t, Options{Server: server})
	from := &source{t: t, set: set}
	o := ConsumeOptions{Server: server, Failover: 3 * time.Second}
	a := consume(t, o, nil)
	from.send(nodes, nodeName)
	b := consume(t, o, nil)
	from.send(nodes, nodeName)
	both := func() int { return a.count() + b.count() }
	testkit.Eventually(t, "two rounds", func() bool { return both() >= 2*nodes })
	moved := 0
	testkit.Eventually(t, "each series at one member", func() bool {
		if disjoint(a, b, nodes) {
			return true
		}
		// On a busy machine a member may be silent for longer than the time Failover: its
		// partitions go to the other one, where their series appear with the next round.
		if n := a.losses() + b.losses(); n > moved {
			moved = n
			from.send(nodes, nodeName)
		}
		return false
	})
	a.kill()
	before := from.seq
	from.send(nodes, nodeName)
	testkit.Eventually(t, "the last round at the survivor", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.last) < nodes {
			return false
		}
		for _, seq := range b.last {
			if seq <= before {
				return false
			}
		}
		return true
	})
	a.check()
	b.check()
	if st := b.Stats(); st.Active != partitions || st.Missed != 0 {
		t.Errorf("%+v", st)
	}
}

// disjoint reports whether each series is at one member.
func disjoint(a, b *member, nodes int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for node := range a.last {
		if _, ok := b.last[node]; ok {
			return false
		}
	}
	return len(a.last)+len(b.last) == nodes
}

// losses returns how many partitions the member has lost to another.
func (m *member) losses() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.lost)
}
