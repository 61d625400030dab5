package nats

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// serve starts a NATS server with JetStream on a free port of loopback. The options are
// changed by the given functions.
func serve(t testing.TB, change ...func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(),
		NoLog: true, NoSigs: true,
	}
	for _, f := range change {
		f(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(s) })
	s.Start()
	if !s.ReadyForConnections(testkit.Patience) {
		t.Fatal("the NATS server does not start")
	}
	return s
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// dial returns a client of a server.
func dial(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// datagram returns one with ten parameters.
func datagram(password string, instance, seq int32, cluster, node string) []byte {
	d := xdr.Datagram{Version: xdr.Version, Password: password, Instance: instance, Seq: seq, Cluster: cluster, Node: node}
	for _, name := range []string{"cpu_usr", "cpu_sys", "cpu_idle", "load1", "load5", "load15", "mem_free", "mem_used", "processes"} {
		d.Params = append(d.Params, xdr.Float(name, float64(seq)))
	}
	d.Params = append(d.Params, xdr.Int("seq", seq))
	return d.Append(nil)
}

var sender = netip.MustParseAddrPort("192.0.2.7:4242")

// packet returns a datagram as the receiver hands it out.
func packet(raw []byte) *receiver.Packet {
	p := &receiver.Packet{From: sender, Received: time.Now(), Raw: raw}
	p.Decode(new(xdr.Datagram), nil)
	return p
}

// stored returns of the stream of a partition.
func stored(t testing.TB, js jetstream.JetStream, name string) jetstream.StreamState {
	t.Helper()
	var st jetstream.StreamState
	testkit.Eventually(t, "the state of "+name, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
		defer cancel()
		s, err := js.Stream(ctx, name)
		if err != nil {
			return false
		}
		st = s.CachedInfo().State
		return true
	})
	return st
}

func nodeName(i int) string { return fmt.Sprintf("lxb%04d.example.org", i) }

// renumber changes the sequence number of a datagram in place.
func renumber(p *receiver.Packet, seq int32) {
	header := 4 + (int(binary.BigEndian.Uint32(p.Raw))+3)&^3
	binary.BigEndian.PutUint32(p.Raw[header+4:], uint32(seq))
	p.Datagram.Seq = seq
}
