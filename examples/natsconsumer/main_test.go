package main

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
)

// serve starts a NATS server and returns its URL.
func serve(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	s.Start()
	if !s.ReadyForConnections(testkit.Patience) {
		t.Fatal("the NATS server does not start")
	}
	return s.ClientURL()
}

// receive starts an apmon-recv that stores what it receives in two partitions, and returns its
// address.
func receive(t *testing.T, url string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "apmon-recv.exe")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", exe, "../../cmd/apmon-recv").CombinedOutput(); err != nil {
		t.Skipf("cannot build apmon-recv: %v\n%s", err, out)
	}
	cmd := exec.Command(exe, "--listen", "127.0.0.1:0", "--nats", url, "--nats-partitions", "2", "--nats-replicas", "1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if _, addr, ok := strings.Cut(lines.Text(), "listening on "); ok {
			go func() {
				defer close(read)
				_, _ = io.Copy(io.Discard, stderr)
			}()
			return addr
		}
		t.Log(lines.Text())
	}
	close(read)
	t.Fatal("apmon-recv does not listen")
	return ""
}

// Datagrams that a client sends to apmon-recv come out of the streams, once.
func TestConsumer(t *testing.T) {
	t.Parallel()
	url := serve(t)
	var cfg conf.Config
	if err := cfg.AddLine(receive(t, url)); err != nil {
		t.Fatal(err)
	}
	client, err := apmon.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	send := func(node string) {
		t.Helper()
		if err := client.Send("MySite_Jobs", node, apmon.Int("events", 1200)); err != nil {
			t.Fatal(err)
		}
	}
	var all testkit.Log // of both runs
	for _, nodes := range [][]string{{"1", "2", "3"}, {"4"}} {
		for _, node := range nodes {
			send(node)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		ended := make(chan error, 1)
		testkit.Eventually(t, "the streams", func() bool {
			nc, err := nats.Connect(url)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			js, _ := nc.JetStream()
			n := 0
			for range js.StreamNames() {
				n++
			}
			return n == 2
		})
		go func() { ended <- run(ctx, []string{"-nats", url}, &all, io.Discard) }()
		for _, node := range nodes {
			testkit.Eventually(t, "the datagram of node "+node, func() bool {
				return all.Count(`"cluster":"MySite_Jobs","node":"`+node+`"`) > 0
			})
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if got := all.String(); strings.Count(got, "\n") != 4 || strings.Count(got, `"from":"127.0.0.1:`) != 4 {
		t.Errorf("read\n%s", got)
	}
}

func TestNoStreams(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), []string{"-nats", serve(t)}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "no stream") {
		t.Errorf("error %v", err)
	}
}
