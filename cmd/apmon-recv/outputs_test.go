package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/relay"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// get returns the body of a page. After an error, which fails the test, it is empty; any goroutine
// may call it.
func get(t testing.TB, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", url, resp.Status, err)
		return ""
	}
	return string(b)
}

// url returns the address of the HTTP server.
func (s *session) url() (url string) {
	s.t.Helper()
	testkit.Eventually(s.t, "the address", func() bool {
		m := regexp.MustCompile(`metrics at (http://\S+)/metrics`).FindStringSubmatch(s.stderr.String())
		if m != nil {
			url = m[1]
		}
		return m != nil
	})
	return url
}

// hasMetrics waits until /metrics has all of these lines, and returns it.
func (s *session) hasMetrics(want ...string) (page string) {
	s.t.Helper()
	url, missing := s.url(), ""
	defer func() {
		if missing != "" {
			s.t.Logf("no %s in\n%s", missing, page)
		}
	}()
	testkit.Eventually(s.t, "all values", func() bool {
		page, missing = get(s.t, url+"/metrics"), ""
		for _, line := range want {
			if !strings.Contains(page, line+"\n") {
				missing = line
			}
		}
		return missing == ""
	})
	return page
}

// The values of parameters are at /metrics, mapped by the packaged rules, with the state of
// the receiver and its outputs; a reload changes the rules.
func TestHTTP(t *testing.T) {
	t.Parallel()
	rec := filepath.Join(t.TempDir(), "rec.jsonl")
	s := begin(t, nil, "--http", "0", "--history", "90m", "--history-memory", "1MiB", "--config", "../../packaging/receiver.yaml", "--record", rec, "--access", write(t, t.TempDir(), "access", "deny NodeNames = bad\n"))
	for i, node := range []string{"n1", "bad", "n\"2\n"} {
		d := xdr.Datagram{Version: "2.2.20", Instance: 9, Seq: int32(i + 1), Cluster: "T_Jobs", Node: node, Params: []xdr.Param{xdr.Float("cpu_time", 12.5), xdr.Int("odd", 3)}}
		s.send(d.Append(nil))
	}
	want := []string{
		`apmon_job_cpu_seconds_total{cluster="T_Jobs",node="n1"} 12.5`,
		`apmon_param{cluster="T_Jobs",node="n\"2\n",param="odd"} 3`,
		`apmon_recv_datagrams_refused_total{cause="access"} 1`,
		`apmon_recv_datagrams_lost 1`,
		`apmon_recv_output_datagrams_sent_total{output="record ` + rec + `"} 3`,
		`apmon_recv_config_last_reload_successful 1`,
		`apmon_recv_history_span_seconds 5400`,
		`apmon_recv_history_memory_limit_bytes 1.048576e+06`,
		`apmon_recv_history_dropped_points_total 0`,
	}
	page := s.hasMetrics(want...)
	if strings.Contains(page, `node="bad"`) {
		t.Error("a refused node is there")
	}
	if got := get(t, s.url()+"/healthz"); got != "ok\n" {
		t.Errorf("health %q", got)
	}
	s.cancel()
	s.wants(0, "^$", `record .*: 3 sent, 0 waiting, 0 lost`)
}

// Recent values are kept with --http, and a reload changes for how long and in how much memory.
func TestHistorySettings(t *testing.T) {
	t.Parallel()
	b := newBridge(io.Discard, slog.New(slog.DiscardHandler))
	s := settings{HistoryMemory: 1 << 20}
	s.HTTP.Listen = "127.0.0.1:0"
	var err error
	if b.web, err = newWeb(s, nil, b); err != nil {
		t.Fatal(err)
	}
	defer b.web.server.Close()
	if err := b.apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b.offer(&receiver.Packet{Received: now, Datagram: &xdr.Datagram{Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}})
	if got, _ := b.web.windows.Points(nil, "C", "N", "x", now.Add(-time.Second), now); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if st := b.web.windows.Stats(); st.Span != history.DefaultSpan || st.MaxBytes != 1<<20 || st.Points != 1 {
		t.Errorf("%+v", st)
	}
	s.History, s.HistoryMemory = 90*time.Minute, 0
	if err := b.apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if st := b.web.windows.Stats(); st.Span != 90*time.Minute || st.MaxBytes != history.DefaultWindowBytes || st.Points != 1 {
		t.Errorf("after a reload: %+v", st)
	}
	if _, err := b.close(); err != nil {
		t.Error(err)
	}
}

// A datagram that goes round between two receivers is noticed by the numbers that come again.
func TestCircling(t *testing.T) {
	t.Parallel()
	var all [2]*receiver.Receiver
	var bridges [2]*bridge
	for i := range all {
		var err error
		if all[i], err = receiver.Listen("127.0.0.1:0", receiver.Options{}); err != nil {
			t.Fatal(err)
		}
		bridges[i] = newBridge(io.Discard, slog.New(slog.DiscardHandler))
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, len(all))
	for i, r := range all {
		to := relay.Options{To: all[1-i].Addr().String()}
		if err := bridges[i].apply(ctx, settings{Relay: []relay.Options{to}}); err != nil {
			t.Fatal(err)
		}
		go func() { served <- r.Serve(ctx, bridges[i].offer) }()
	}
	conn, err := net.Dial("udp", all[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := all[0].Stats().Counts
	if _, err := conn.Write(datagram(1, xdr.Int("x", 1))); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "duplicates", func() bool { return circling(before, all[0].Stats().Counts) })
	cancel()
	for i := range all {
		if err := <-served; err != nil {
			t.Error(err)
		}
		bridges[i].close()
		all[i].Close()
	}
	for _, c := range []struct {
		now  receiver.Counts
		want bool
	}{
		{receiver.Counts{Received: 100_000, Duplicate: 90_000}, true},
		{receiver.Counts{Received: 100_000, Duplicate: 50_000}, false}, // each sent twice
		{receiver.Counts{Received: 100, Duplicate: 99}, false},
	} {
		if circling(receiver.Counts{}, c.now) != c.want {
			t.Errorf("%+v: not %v", c.now, c.want)
		}
	}
}

// Datagrams go from a receiver through streams of NATS to a consumer, which ends with
// --count and opens no UDP socket.
func TestNATS(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	}()
	if !srv.ReadyForConnections(testkit.Patience) {
		t.Fatal("the server does not start")
	}
	s := begin(t, nil, "--nats", srv.ClientURL(), "--nats-partitions", "2", "--stream", "T", "--http", "0", "--param", "!hidden")
	for i := range 3 {
		d := xdr.Datagram{Version: "2.2.20", Instance: 9, Seq: int32(i + 1), Cluster: "C", Node: "n", Params: []xdr.Param{xdr.Int("i", i), xdr.Int("hidden", 1)}}
		s.send(d.Append(nil))
		s.send(d.Append(nil)) // stored once
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"apmon-recv", "--from-nats", srv.ClientURL(), "--nats-partitions", "2", "--stream", "T", "--format", "json", "--count", "3", "--for", "5m"}, nil, nil, &out, &errs)
	if code != 0 || strings.Count(out.String(), "\n") != 3 || !strings.Contains(errs.String(), ": 3 consumed, 0 redelivered, 0 missed") {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	for i := range 3 {
		if want := fmt.Sprintf(`"seq":%d,"cluster":"C","node":"n"`, i+1); strings.Count(out.String(), want) != 1 {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
	// Nothing more: the datagrams have been acknowledged.
	out.Reset()
	code = run(t.Context(), []string{"apmon-recv", "--from-nats", srv.ClientURL(), "--nats-partitions", "2", "--stream", "T", "--format", "json", "--for", "1s"}, nil, nil, &out, &errs)
	if code != 0 || out.Len() != 0 {
		t.Errorf("exit code %d, %s", code, out.String())
	}
	// Another durable consumer begins with the oldest datagram.
	in := begin(t, nil, "--from-nats", srv.ClientURL(), "--nats-partitions", "2", "--stream", "T", "--nats-consumer", "other", "--http", "0")
	name := srv.ClientURL() + " T"
	for _, c := range []struct {
		of   *session
		want []string
	}{
		{s, []string{
			`apmon_recv_output_datagrams_duplicate_total{output="nats ` + name + `"} 3`,
			`apmon_recv_filtered_params_total 6`, `apmon_recv_filtered_datagrams_total 0`,
		}},
		{in, []string{
			`apmon_recv_input_datagrams_consumed_total{input="from-nats ` + name + `"} 3`,
			`apmon_recv_input_datagrams_redelivered_total{input="from-nats ` + name + `"} 0`,
			`apmon_recv_input_datagrams_missed_total{input="from-nats ` + name + `"} 0`,
			`apmon_recv_input_active_partitions{input="from-nats ` + name + `"} 1`, // the other has no datagrams
			`apmon_recv_input_pending_datagrams{input="from-nats ` + name + `"} 0`,
		}},
	} {
		c.of.hasMetrics(c.want...)
	}
	in.cancel()
	in.wants(0, "^$", `3 consumed, 0 redelivered, 0 missed`)
	s.cancel()
	s.wants(0, "^$", `nats .*: 6 sent.*; 3 stored before`)
}
