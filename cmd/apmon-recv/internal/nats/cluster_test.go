package nats

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/internal/testkit"
)

// cluster is three servers that keep streams together.
type cluster struct {
	servers []*server.Server
	url     string
}

// serveCluster starts a cluster. Its ports for routes must be known in advance: they are
// reserved, and a clash with another program is retried.
func serveCluster(t testing.TB) *cluster {
	t.Helper()
	for range 10 {
		if c := tryCluster(t); c != nil {
			return c
		}
	}
	t.Fatal("no cluster in 10 attempts")
	return nil
}

func tryCluster(t testing.TB) *cluster {
	var routes []*url.URL
	var held []net.Listener
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
	}
	for _, l := range held {
		l.Close()
	}
	c := new(cluster)
	var urls []string
	for i := range routes {
		port := held[i].Addr().(*net.TCPAddr).Port
		s := serve(t, func(o *server.Options) {
			o.ServerName = fmt.Sprintf("s%d", i)
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port}
			o.Routes = routes
		})
		c.servers = append(c.servers, s)
		urls = append(urls, s.ClientURL())
	}
	c.url = strings.Join(urls, ",")
	for end := time.Now().Add(testkit.Patience); c.leads() == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return nil
		}
	}
	return c
}

// leads returns the server that leads the cluster, once all servers have joined it.
func (c *cluster) leads() *server.Server {
	for _, s := range c.servers {
		if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(c.servers) {
			return s
		}
	}
	return nil
}

// leader returns the server that leads a stream.
func (c *cluster) leader(t testing.TB, js jetstream.JetStream, stream string) *server.Server {
	t.Helper()
	var leader *server.Server
	testkit.Eventually(t, "a leader", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
		defer cancel()
		s, err := js.Stream(ctx, stream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		for _, one := range c.servers {
			if one.Name() == s.CachedInfo().Cluster.Leader {
				leader = one
			}
		}
		return leader != nil
	})
	return leader
}

// TestCluster: two receivers get the same datagrams. The leader of the stream is killed and
// one receiver is restarted in mid-stream. Each datagram is stored once, and put once.
func TestCluster(t *testing.T) {
	t.Parallel()
	testCluster(t, 20_000)
}

// TestLongCluster is TestCluster with 100 000 datagrams.
func TestLongCluster(t *testing.T) {
	testkit.SkipLong(t)
	testCluster(t, 100_000)
}

func testCluster(t *testing.T, total int) {
	c := serveCluster(t)
	// A long window: a busy machine may need longer than 30 s to choose a leader.
	o := Options{Server: Server{URL: c.url}, Replicas: 3, Window: 5 * time.Minute}
	first, _, log := start(t, o)
	second, _, _ := start(t, o)
	from := sends{first: first, second: second}
	from.send(t, 1, 1) // makes the stream
	idle(t, first)
	js := dial(t, c.url)
	got := make(map[int32]int)
	var mu sync.Mutex
	m := consume(t, ConsumeOptions{Server: o.Server}, nil, func(p *receiver.Packet) {
		mu.Lock()
		defer mu.Unlock()
		got[p.Datagram.Seq]++
	})
	from.send(t, 2, total*3/10)
	leader := c.leader(t, js, "APMON-0")
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		stop(leader)
	}()
	from.send(t, total*3/10+1, total*6/10)
	<-killed
	// The second receiver handles what it has, and is started again.
	second.Swap(t.Context(), nil, nil)
	from.second = nil
	from.send(t, total*6/10+1, total*7/10)
	third, _, _ := start(t, o)
	from.second = third
	from.send(t, total*7/10+1, total)
	for _, set := range []*output.Set{first, third} {
		if st := idleFor(t, set, 5*testkit.Patience); len(st.Dropped) > 0 || st.Sent != st.Taken {
			t.Errorf("%v\n%v", st, log)
		}
	}
	t.Logf("%v; %v", first.Stats(), third.Stats())
	if st := stored(t, js, "APMON-0"); st.Msgs != uint64(total) || st.LastSeq-st.FirstSeq+1 != st.Msgs {
		t.Errorf("%d messages from %d to %d are stored, want %d", st.Msgs, st.FirstSeq, st.LastSeq, total)
	}
	testkit.Eventually(t, "all datagrams", func() bool { return m.count() >= total })
	mu.Lock()
	defer mu.Unlock()
	for seq := int32(1); seq <= int32(total); seq++ {
		if got[seq] != 1 {
			t.Fatalf("datagram %d was put %d times; %+v", seq, got[seq], m.Stats())
		}
	}
	if st := m.Stats(); st.Missed != 0 || st.Consumed != uint64(total) {
		t.Errorf("%+v", st)
	}
}

// sends sends the same datagrams to two receivers.
type sends struct{ first, second *output.Set }

func (s *sends) send(t *testing.T, from, to int) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		raw := datagram("", 17, int32(seq), "C", nodeName(seq%100))
		if !s.first.Put(t.Context(), packet(raw)) || s.second != nil && !s.second.Put(t.Context(), packet(raw)) {
			t.Fatal("not taken")
		}
	}
}

func idleFor(t testing.TB, set *output.Set, d time.Duration) output.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if !set.Idle(ctx) {
		t.Fatalf("the output does not end: %v", set.Stats())
	}
	return set.Stats()[0]
}
