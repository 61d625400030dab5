package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/xdr"
)

// A record is replayed with equal content, and a recorded replay is like the first record.
func TestReplay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "rec.jsonl.gz")
	s := begin(t, nil, "--record", name, "--count", "3", "--for", "1m")
	s.send(datagram(1, xdr.Int("x", 1), xdr.Float("f", 0.25)))
	s.send(nil)
	s.send(datagram(2, xdr.String("s", "a\nb")))
	s.send(datagram(3))
	s.wants(0, "^$", `record .*rec.jsonl.gz: 4 sent, 0 waiting, 0 lost\n`)

	recv := apmontest.New(t)
	var errs bytes.Buffer
	code := run(t.Context(), []string{"apmon-recv", "replay", "-d", recv.Addr() + " other", "--speed", "100", name}, nil, nil, io.Discard, &errs)
	if want := regexp.MustCompile(`^3 datagrams sent to ` + recv.Addr() + "\n1 lines left out: .*\n$"); code != 0 || !want.MatchString(errs.String()) {
		t.Fatalf("exit code %d, %s", code, errs.String())
	}
	var got []string
	recv.Wait(3)
	for _, d := range recv.Datagrams() {
		if d.Password != "other" || d.Instance != 17 || d.Version != "2.2.20_go" || d.Time != 1_700_000_000 {
			t.Errorf("got %+v", d)
		}
		got = append(got, fmt.Sprint(d.Seq, len(d.Params)))
	}
	if want := []string{"1 2", "2 1", "3 0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The pace of the file, of --speed and of --rate.
func TestReplayPace(t *testing.T) {
	t.Parallel()
	at := time.Unix(1763735000, 0)
	times := []time.Time{at, at.Add(time.Second), at.Add(11 * time.Second), at.Add(5 * time.Second), at.Add(12 * time.Second)}
	for _, c := range []struct {
		name  string
		pace  pace
		times []time.Time
		want  []time.Duration // after the start
	}{
		{"of the file", pace{replayOptions: replayOptions{speed: 1}}, times, []time.Duration{0, time.Second, 11 * time.Second, 11 * time.Second, 12 * time.Second}},
		{"ten times", pace{replayOptions: replayOptions{speed: 10}}, times, []time.Duration{0, time.Second / 10, 1100 * time.Millisecond, 1100 * time.Millisecond, 1200 * time.Millisecond}},
		{"a rate", pace{replayOptions: replayOptions{speed: 1, rate: 4}}, times[:3], []time.Duration{0, time.Second / 4, time.Second / 2}},
		{"no times", pace{replayOptions: replayOptions{speed: 1}}, make([]time.Time, 3), []time.Duration{0, 25 * time.Millisecond, 50 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				for i, at := range c.times {
					if !c.pace.wait(t.Context(), at) {
						t.Fatal("ended")
					}
					if got := time.Since(begin); got != c.want[i] {
						t.Errorf("datagram %d after %v, want %v", i, got, c.want[i])
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if c.pace.wait(ctx, at) {
					t.Error("goes on")
				}
			})
		})
	}
}

// A destination that refuses is reported, and does not harm another.
func TestReplayRefused(t *testing.T) {
	t.Parallel()
	r, err := receiver.Listen("127.0.0.1:0", receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gone := r.Addr().String()
	r.Close()
	recv := apmontest.New(t)
	in := strings.Repeat(hex.EncodeToString(datagram(1))+"\n", 20)
	var errs bytes.Buffer
	code := run(t.Context(), []string{"apmon-recv", "replay", "-d", gone, "-d", recv.Addr(), "--rate", "1000", "-"}, nil, strings.NewReader(in), io.Discard, &errs)
	if !regexp.MustCompile(`not sent: .*connection refused\n20 datagrams sent to `+recv.Addr()).MatchString(errs.String()) || code != 0 {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

// A capture of tcpdump on the loopback is decoded, with the gaps in its sequence numbers.
func TestDecodeTcpdump(t *testing.T) {
	t.Parallel()
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs tcpdump and root")
	}
	recv := apmontest.New(t)
	_, port, _ := strings.Cut(recv.Addr(), ":")
	name := filepath.Join(t.TempDir(), "capture.pcap")
	cmd := exec.Command(tcpdump, "-i", "lo", "-c", "3", "-w", name, "udp port "+port)
	messages, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line := make([]byte, 4096)
	if n, err := messages.Read(line); err != nil || !bytes.Contains(line[:n], []byte("listening on")) {
		t.Skipf("tcpdump cannot capture here: %s", line[:n])
	}
	go io.Copy(io.Discard, messages)
	in := fmt.Sprintf("%x\n%x\n%x\n", datagram(1, xdr.Int("x", 1)), datagram(2, xdr.String("long", strings.Repeat("x", 30000))), datagram(7))
	var errs bytes.Buffer
	if code := run(t.Context(), []string{"apmon-recv", "replay", "-d", recv.Addr()}, nil, strings.NewReader(in), io.Discard, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	recv.Wait(3)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	errs.Reset()
	code := run(t.Context(), []string{"apmon-recv", "decode", "--format", "json", "--port", port, name}, nil, nil, &out, &errs)
	if code != 0 || strings.Count(out.String(), "\n") != 3 || !strings.Contains(out.String(), `"127.0.0.1:`) || !strings.Contains(out.String(), `"long","type":"string","value":"xxx`) {
		t.Errorf("exit code %d: %.500s", code, out.String())
	}
	if !regexp.MustCompile(`3 of them to UDP port ` + port + `\nSENDER[^\n]*\n127.0.0.1 +1 +3 +0 +0 +4 +0 +0\n`).MatchString(errs.String()) {
		t.Errorf("standard error: %s", errs.String())
	}
}
