package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// write writes a file of a test and returns its name.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// check names the file and the culprit of what cannot be used.
func TestCheckCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	token := write(t, dir, "token", "s3cret\n")
	for i, c := range []struct {
		config string
		code   int
		want   string // on standard error; empty for a file that can be used
	}{
		{"", 0, ""},
		{"listen: ':0'\nsockets: 2\nflood-limit: 50\ncluster: ['C*', '!D']\nformat: json\nrecord:\n- {file: x.jsonl.gz, size: 1MiB, keep: 3}\ninflux:\n- {url: 'http://u:s3cret@h/write?db=D', token-file: " + token + ", gzip: true}\nrelay:\n- {to: 'h:1', regroup: 2s}\n", 0, ""},
		{"lisen: x\n", 78, "line 1: field lisen not found"},
		{"listen: x\n", 78, "listen: address x: missing port"},
		{"sockets: -1\n", 78, "sockets: -1"},
		{"sockets: many\n", 78, "line 1: cannot unmarshal !!str `many` into int"},
		{"node: ['']\n", 78, "node: the pattern is empty"},
		{"record: [{file: a}, {file: a}]\n", 78, "record: number 2 goes where another one does"},
		{"record: [{file: a, size: x}]\n", 78, `"x" is not a size`},
		{"influx: [{url: 'http://u:s3cret@h'}]\n", 78, "influx: url: http://h has no path"},
		{"influx: [{url: 'http://h/write?db=D', token-file: /nowhere}]\n", 66, "influx: token-file: open /nowhere: no such file"},
		{"relay: [{to: 'h s3cret'}]\n", 78, "relay: to: h:8884 has a password"},
		{"access: /nowhere\n", 66, "open /nowhere: no such file"},
		{"password-file: /nowhere\n", 66, "open /nowhere: no such file"},
		{"a: b: c\n", 78, "yaml: "},
		// The library would need minutes, or all memory.
		{strings.Repeat("a: 1\n", 200_000), 78, "line 1: more than 1000 keys"},
		{"relay: [{" + strings.Repeat("a: 1, ", 200_000) + "}]\n", 78, "line 1: more than 1000 keys"},
		{strings.Repeat("[", 1<<20), 78, "yaml: exceeded max depth"},
		{"---\nlisten: ':0'\n---\nlisten: ':1'\n", 78, "more than one document"},
	} {
		name := write(t, dir, fmt.Sprintf("%d.yaml", i), c.config)
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"apmon-recv", "check", "--config", name}, nil, nil, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.want) || strings.Contains(errs.String(), "s3cret") || (c.want == "") != (out.String() == name+": ok\n") {
			t.Errorf("%.200s: exit code %d\n%s%s", c.config, code, out.String(), errs.String())
		}
	}
}

func TestCheckAccess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := write(t, dir, "good", "Password = s3cret\n127.0.0.1 allow\ndefault_ip_policy = deny\n")
	bad := write(t, dir, "bad", "Password = s3cret\n127.0.0.300 allow\nnonsense\n")
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"apmon-recv", "check", "--access", good}, nil, nil, &out, &errs); code != 0 || out.String() != good+": ok\n" || !strings.Contains(errs.String(), "level=INFO") {
		t.Errorf("exit code %d, %s%s", code, out.String(), errs.String())
	}
	errs.Reset()
	if code := run(t.Context(), []string{"apmon-recv", "check", "--access", bad}, nil, nil, &out, &errs); code != 78 || !strings.Contains(errs.String(), bad+":2:") || !strings.Contains(errs.String(), bad+":3:") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
	if s := out.String() + errs.String(); strings.Contains(s, "s3cret") {
		t.Error(s)
	}
}

// Flags come before the file, and add to its lists.
func TestConfigAndFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rec := filepath.Join(dir, "rec.jsonl")
	config := write(t, dir, "c.yaml", "listen: 'nowhere:1'\nformat: text\nparam: ['!secret*']\nrecord: [{file: "+rec+"}]\n")
	recv := apmontest.New(t)
	s := begin(t, nil, "--config", config, "--format", "json", "--relay", recv.Addr(), "--count", "1", "--for", "1m")
	s.send(datagram(1, xdr.Int("x", 1), xdr.Int("secret_x", 2)))
	s.wants(0, `^\{.*"params":\[\{"name":"x","type":"int32","value":1\}\],"received":`, `record .*rec.jsonl: 1 sent, .*\nrelay `+recv.Addr()+`: 1 sent`)
	if d := recv.Wait(1)[0]; len(d.Params) != 1 || d.Password != "secret-A" || d.Instance != 17 || d.Seq != 1 {
		t.Errorf("relayed %+v", d)
	}
	if b, err := os.ReadFile(rec); err != nil || strings.Contains(string(b), "secret") {
		t.Errorf("%s, %v", b, err)
	}
}

// A changed file is put in force on SIGHUP: outputs come and go, and no datagram is lost to
// those that stay. One that cannot be used changes nothing.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.jsonl"), filepath.Join(dir, "second.jsonl")
	access := write(t, dir, "access", "* allow\n")
	config := write(t, dir, "c.yaml", "access: "+access+"\nrecord: [{file: "+first+"}]\n")
	s := begin(t, nil, "--config", config)
	log := &s.stderr
	lines := func(name string) int {
		b, _ := os.ReadFile(name)
		return strings.Count(string(b), "\n")
	}
	hangup := func(want string) {
		t.Helper()
		before := strings.Count(log.String(), want)
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, want, func() bool { return strings.Count(log.String(), want) > before })
	}
	s.send(datagram(1, xdr.Int("x", 1)))
	testkit.Eventually(t, "a line", func() bool { return lines(first) == 1 })
	write(t, dir, "c.yaml", "access: "+access+"\nrecord: [{file: "+first+"}, {file: "+second+"}]\nflood-limit: 100\n")
	hangup("configuration in force")
	hangup("configuration in force")
	if strings.Count(log.String(), "setting=flood-limit") != 2 { // also if it was in the file before
		t.Errorf("no word about the setting that changes with a restart: %s", log)
	}
	s.send(datagram(2, xdr.Int("x", 1)))
	testkit.Eventually(t, "two more lines", func() bool { return lines(first)+lines(second) == 2 }) // the first was rotated
	write(t, dir, "c.yaml", "lisen: x\n")
	hangup("the last one stays in force")
	write(t, dir, "c.yaml", "access: "+access+"\nrecord: [{file: "+second+"}]\n")
	write(t, dir, "access", "* deny\n")
	hangup("configuration in force")
	s.send(datagram(3, xdr.Int("x", 1)))
	write(t, dir, "access", "*\n")
	hangup("the last one stays in force")
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the state", func() bool {
		return strings.Contains(log.String(), "refused=1") && strings.Contains(log.String(), "record "+second+": ")
	})
	s.cancel()
	if code := s.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, log)
	}
}

func TestDefaultSockets(t *testing.T) {
	t.Parallel()
	for sockets, want := range map[int]int{0: receiver.DefaultSockets(), 3: 3} {
		if o, err := receiverOptions(settings{Sockets: sockets}, nil); err != nil || o.Sockets != want {
			t.Errorf("%d sockets: %d, %v", sockets, o.Sockets, err)
		}
	}
}

// blocked is standard output that nobody reads: a write does not return until the test ends.
type blocked struct{ end context.Context }

func (b blocked) Write([]byte) (int, error) {
	<-b.end.Done()
	return 0, io.ErrClosedPipe
}

// If standard output blocks, one signal ends the program in time.
func TestEndsWhileStandardOutputBlocks(t *testing.T) {
	t.Parallel()
	rec := filepath.Join(t.TempDir(), "rec.jsonl")
	s := begin(t, blocked{t.Context()}, "--format", "json", "--record", rec)
	s.send(datagram(1, xdr.Int("x", 1)))
	testkit.Eventually(t, "a line", func() bool {
		b, _ := os.ReadFile(rec)
		return len(b) > 0
	})
	s.cancel()
	s.wants(0, "^$", `output="standard output" lost=1\n(?s:.*)record .*: 1 sent, 0 waiting, 0 lost`)
}
