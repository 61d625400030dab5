package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
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
		{"http: 0\nhistory: 90m\nhistory-memory: 1GiB\n", 0, ""},
		{"http: 0\nhttp-host: [monitor.example.org, other]\n", 0, ""},
		{"http: 0\nhttp-host: ['http://a/']\n", 78, "http-host \"http://a/\": use the name of a host"},
		{"http-host: [a]\n", 78, "http-host: it does nothing without http"},
		{"history: -1s\n", 78, "history: -1s is negative"},
		{"history-memory: much\n", 78, `"much" is not a size`},
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
