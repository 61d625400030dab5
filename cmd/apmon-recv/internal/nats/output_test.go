package nats

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/subjects"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// start starts an output of its own set, which is stopped at the end of the test.
func start(t testing.TB, o Options) (*output.Set, *Output, *testkit.Log) {
	t.Helper()
	log := new(testkit.Log)
	logger := slog.New(slog.NewTextHandler(log, nil))
	out, err := New(o, logger)
	if err != nil {
		t.Fatal(err)
	}
	set := &output.Set{Log: logger, Failed: func(_ output.Output, err error) { t.Error(err) }}
	set.Swap(t.Context(), []output.Output{out}, nil)
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		set.Swap(ended, nil, nil)
	})
	return set, out, log
}

// idle waits until the outputs have handled everything.
func idle(t testing.TB, set *output.Set) output.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	if !set.Idle(ctx) {
		t.Fatalf("the output does not end: %v", set.Stats())
	}
	return set.Stats()[0]
}

// message returns one of a stream.
func message(t testing.TB, js jetstream.JetStream, stream string, seq uint64) *jetstream.RawStreamMsg {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), seq)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestPublish: each accepted datagram is one message, with subject, headers and payload.
func TestPublish(t *testing.T) {
	t.Parallel()
	s := serve(t)
	set, _, log := start(t, Options{Server: Server{URL: s.ClientURL()}})
	long := strings.Repeat("\n", 20000)
	old := (&xdr.Datagram{Cluster: "C", Node: "old", Params: []xdr.Param{xdr.Int("x", 1)}}).Append(nil)
	raws := [][]byte{
		datagram("secret", 17, 1, "MySite", "n.1"),
		old,
		datagram("", 17, 2, "C", long),
		datagram("", 17, 3, "C", "N")[:150], // refused
	}
	for _, raw := range raws {
		set.Offer(packet(raw))
	}
	if st := idle(t, set); st.Sent != 3 || len(st.Dropped) > 0 || st.Error != "" {
		t.Fatalf("%v\n%v", st, log)
	}
	js := dial(t, s.ClientURL())
	first, second, third := message(t, js, "APMON-0", 1), message(t, js, "APMON-0", 2), message(t, js, "APMON-0", 3)
	if first.Subject != "apmon.0.MySite.n%2E1" || string(first.Data) != string(raws[0]) ||
		first.Header.Get(fromHeader) != "192.0.2.7:4242" || !strings.HasPrefix(first.Header.Get(jetstream.MsgIDHeader), "17-1-") ||
		len(first.Header.Get(receivedHeader)) < 20 || len(first.Header) != 3 {
		t.Errorf("%+v", first)
	}
	if id, ok := second.Header[jetstream.MsgIDHeader]; ok || second.Subject != "apmon.0.C.old" {
		t.Errorf("a datagram without sequence number has the id %v and the subject %s", id, second.Subject)
	}
	if cluster, _ := subjects.ParseToken(third.Header.Get(clusterHeader)); cluster != "C" {
		t.Errorf("cluster %q", cluster)
	}
	if node, _ := subjects.ParseToken(third.Header.Get(nodeHeader)); node != long {
		t.Errorf("node of %d bytes", len(node))
	}
}

// TestStreamSettings: missing streams are made with the options, one for each partition; one
// that exists stays as it is, and the log says how it differs.
func TestStreamSettings(t *testing.T) {
	t.Parallel()
	s := serve(t)
	js := dial(t, s.ClientURL())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "X-1", Subjects: []string{"apmon.1.>"}, MaxAge: time.Minute, Duplicates: 20 * time.Second, MaxMsgSize: 600, MaxBytes: 1 << 21,
	}); err != nil {
		t.Fatal(err)
	}
	set, _, log := start(t, Options{Server: Server{URL: s.ClientURL(), Stream: "X", Partitions: 2}, MaxAge: 2 * time.Hour, MaxBytes: 1 << 21, Window: 10 * time.Second})
	cluster := strings.Repeat("c", 400) // too long for the stream
	for part := range 2 {
		for seq := int32(1); ; seq++ {
			if subjects.Partition(cluster, nodeName(int(seq)), 2) == part {
				set.Offer(packet(datagram("", 1, seq, cluster, nodeName(int(seq)))))
				break
			}
		}
	}
	if st := idle(t, set); st.Sent != 1 || st.Dropped[output.Rejected] != 1 {
		t.Errorf("%v\n%v", st, log)
	}
	for part, want := range []jetstream.StreamConfig{
		{MaxAge: 2 * time.Hour, Duplicates: 10 * time.Second, MaxBytes: 1 << 21},
		{MaxAge: time.Minute, Duplicates: 20 * time.Second, MaxBytes: 1 << 21},
	} {
		stream, err := js.Stream(t.Context(), Server{Stream: "X"}.partition(part))
		if err != nil {
			t.Fatal(err)
		}
		c := stream.CachedInfo().Config
		if c.MaxAge != want.MaxAge || c.Duplicates != want.Duplicates || c.MaxBytes != want.MaxBytes || c.Replicas != 1 {
			t.Errorf("partition %d: %+v", part, c)
		}
	}
	if log.Count("stream differs") != 1 || log.Count(`window="20s instead of 10s" max-age="1m0s instead of 2h0m0s"`) != 1 {
		t.Error(log)
	}
}

// TestStoredOnce: a client sends the same datagrams to two receivers, which have different
// passwords. Those that they have counted alike are stored once.
func TestStoredOnce(t *testing.T) {
	t.Parallel()
	s := serve(t)
	a, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}})
	b, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}})
	for seq := int32(1); seq <= 1000; seq++ {
		a.Offer(packet(datagram("one", 17, seq, "C", "N")))
		b.Offer(packet(datagram("another", 17, seq, "C", "N")))
	}
	b.Offer(packet(datagram("another", 17, 1002, "C", "N"))) // counted differently
	a.Offer(packet(datagram("another", 17, 1001, "C", "N")))
	sa, sb := idle(t, a), idle(t, b)
	if sa.Sent != 1001 || sb.Sent != 1001 || sa.Duplicate+sb.Duplicate != 1000 {
		t.Errorf("%v; %v", sa, sb)
	}
	if st := stored(t, dial(t, s.ClientURL()), "APMON-0"); st.Msgs != 1002 {
		t.Errorf("%d messages are stored", st.Msgs)
	}
}

// TestServerComesLate: the output starts without a server, and works when there is one; it
// recovers when the server is restarted, and when somebody deletes the stream.
func TestServerComesLate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, func(o *server.Options) { o.StoreDir = dir })
	url, port := s.ClientURL(), s.Addr().(*net.TCPAddr).Port
	again := func(o *server.Options) { o.StoreDir, o.Port = dir, port }
	stop(s)
	set, _, log := start(t, Options{Server: Server{URL: url}, Window: 10 * time.Minute})
	set.Offer(packet(datagram("", 17, 1, "C", "N")))
	testkit.Eventually(t, "a failure", func() bool { return set.Stats()[0].Error != "" })
	s = serve(t, again)
	if st := idle(t, set); st.Sent != 1 || st.Error != "" {
		t.Fatalf("%v\n%v", st, log)
	}
	stop(s)
	set.Offer(packet(datagram("", 17, 2, "C", "N")))
	testkit.Eventually(t, "another failure", func() bool { return set.Stats()[0].Error != "" })
	serve(t, again)
	if st := idle(t, set); st.Sent != 2 || st.Error != "" {
		t.Fatalf("%v\n%v", st, log)
	}
	js := dial(t, url)
	if st := stored(t, js, "APMON-0"); st.Msgs != 2 {
		t.Errorf("%d messages are stored", st.Msgs)
	}
	if err := js.DeleteStream(t.Context(), "APMON-0"); err != nil {
		t.Fatal(err)
	}
	set.Offer(packet(datagram("", 17, 3, "C", "N")))
	if st := idle(t, set); st.Sent != 3 || len(st.Dropped) > 0 {
		t.Fatalf("%v\n%v", st, log)
	}
	if st := stored(t, js, "APMON-0"); st.Msgs != 1 {
		t.Errorf("%d messages are stored in the new stream", st.Msgs)
	}
}

// TestTooOld: a datagram older than the window is dropped with a count, whether it waited in
// the queue or could not be published. One that was consumed from a stream has no such age.
func TestTooOld(t *testing.T) {
	t.Parallel()
	s := serve(t)
	set, _, _ := start(t, Options{Server: Server{URL: s.ClientURL()}, Window: 20 * time.Second})
	old := packet(datagram("", 17, 1, "C", "N"))
	old.Received = old.Received.Add(-17 * time.Second)
	consumed := packet(datagram("", 17, 2, "C", "N"))
	consumed.Received = time.Now().Add(-time.Hour).Round(0)
	set.Offer(old)
	set.Offer(consumed)
	if st := idle(t, set); st.Sent != 1 || st.Dropped[output.TooOld] != 1 {
		t.Errorf("%v", st)
	}
	down, _, _ := start(t, Options{Server: Server{URL: "nats://" + testkit.Refusing(t)}, Window: 2 * time.Second})
	down.Offer(packet(datagram("", 17, 1, "C", "N")))
	if st := idle(t, down); st.Sent != 0 || st.Dropped[output.TooOld] != 1 {
		t.Errorf("%v", st)
	}
}

// TestStop: an output that is stopped while its server is away counts all that it holds.
func TestStop(t *testing.T) {
	t.Parallel()
	set, _, log := start(t, Options{Server: Server{URL: "nats://" + testkit.Refusing(t)}})
	for seq := int32(1); seq <= 100; seq++ {
		set.Offer(packet(datagram("", 17, seq, "C", "N")))
	}
	testkit.Eventually(t, "a failure", func() bool { return set.Stats()[0].Error != "" })
	set.Offer(packet(datagram("", 17, 101, "C", "N")))
	in := set.Stats()[0]
	if in.Queued != 101 {
		t.Errorf("%v", in)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	set.Swap(ended, nil, nil)
	if !strings.Contains(log.String(), "lost=") {
		t.Errorf("%v", log)
	}
}

// TestAnswers: answers of a stream that differ from the usual form.
func TestAnswers(t *testing.T) {
	t.Parallel()
	var api *jetstream.APIError
	for _, test := range []struct {
		data      string
		duplicate bool
		failure   any // of errors.As or errors.Is
	}{
		{`{"stream":"A","seq":1}`, false, nil},
		{`{"stream":"A","seq":1,"duplicate": true}`, true, nil},
		{`{"type":"x","stream":"A","duplicate":true}`, true, nil},
		{`{"error":{"code":503,"err_code":10077,"description":"full"},"stream":"A","seq":0}`, false, &api},
		{`{}`, false, jetstream.ErrInvalidJSAck},
		{`-ERR`, false, jetstream.ErrInvalidJSAck},
	} {
		duplicate, err := parseAnswer(&nats.Msg{Data: []byte(test.data)})
		ok := err == nil
		switch want := test.failure.(type) {
		case error:
			ok = errors.Is(err, want)
		case **jetstream.APIError:
			ok = errors.As(err, want)
		}
		if !ok || duplicate != test.duplicate {
			t.Errorf("%s: %v, %v", test.data, duplicate, err)
		}
	}
	if _, err := parseAnswer(&nats.Msg{Header: nats.Header{"Status": {"503"}}}); !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Errorf("no responders: %v", err)
	}
}
