package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/apmon-go/apmon/cmd/internal/commandtest"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"apmon-send": main, pollerCommand: mainAndPoller})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": commandtest.Exits,
		},
	})
}

// result is the result of one run of the command.
type result struct {
	code           int
	stdout, stderr string
}

// send runs the command with an environment and standard input.
func send(env map[string]string, stdin string, args ...string) result {
	running.Lock()
	defer running.Unlock()
	var out, errs bytes.Buffer
	code := run(context.Background(), append([]string{"apmon-send"}, args...),
		func(k string) string { return env[k] }, strings.NewReader(stdin), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// running is locked while the command runs: the library writes to its global flags for
// help and version.
var running sync.Mutex

// show renders names and parameters as "C/N a=1(int32) b=x(string)".
func show(d *xdr.Datagram) string {
	s := d.Cluster + "/" + d.Node
	for _, p := range d.Params {
		v := p.Text()
		if p.Type() != xdr.TypeString {
			v = strings.TrimSuffix(strings.TrimSuffix(string(xdrFloat(p.Float())), "0"), ".")
		}
		s += " " + p.Name + "=" + v + "(" + p.Type().String() + ")"
	}
	return s
}

func xdrFloat(v float64) []byte {
	d := xdr.Datagram{Params: []xdr.Param{xdr.Float("v", v)}}
	b := d.AppendJSON(nil, "")
	i := bytes.Index(b, []byte(`"value":`)) + len(`"value":`)
	b = b[i : len(b)-3]
	if !bytes.ContainsRune(b, '.') {
		b = append(b, ".0"...)
	}
	return b
}

func TestArrives(t *testing.T) {
	t.Parallel()
	l, m := testkit.Listen(t), testkit.Listen(t)
	for _, tt := range []struct {
		name  string
		env   map[string]string
		stdin string
		args  []string
		want  []string
	}{
		{"types are found", nil, "", []string{"-c", "C", "-n", "N", "a=1", "b=1.5", "c=007", "d=2147483648", "e=x=y z"},
			[]string{"C/N a=1(int32) b=1.5(real64) c=007(string) d=2147483648(real64) e=x=y z(string)"}},
		{"types are forced", nil, "", []string{"-c", "C", "-n", "N", "--int", "a=007", "--float", "b=1", "--string", "c=5", "d=1"},
			[]string{"C/N a=7(int32) b=1(real64) c=5(string) d=1(int32)"}},
		{"commas stay", nil, "", []string{"-c", "C", "-n", "N", "--string", "a=1,2,3"}, []string{"C/N a=1,2,3(string)"}},
		{"names from the environment", map[string]string{"APMON_CLUSTER": "EC", "APMON_NODE": "EN"}, "", []string{"a=1"}, []string{"EC/EN a=1(int32)"}},
		{"parameters called help and h", nil, "", []string{"-c", "C", "-n", "N", "help=1", "h=2"}, []string{"C/N help=1(int32) h=2(int32)"}},
		{"older scripts", nil, "", []string{"-cluster", "C", "-node", "N", "-param", "P", "-value", "-5", "-param", "Q", "-value=-.5"},
			[]string{"C/N P=-5(int32) Q=-0.5(real64)"}},
		{"pairs", nil, "", []string{"--pairs", "C", "N", "a=b", "-1", "c", "text"}, []string{"C/N a=b=-1(int32) c=text(string)"}},
		{"names that begin with a dash", nil, "", []string{"-c", "C", "-n", "N", "--", "-a=1"}, []string{"C/N -a=1(int32)"}},
		{"kv", nil, "a 1\n\n b\t two words \r\n", []string{"-c", "C", "-n", "N", "--stdin", "kv"}, []string{"C/N a=1(int32) b=two words(string)"}},
		{"line", nil, "A/B/C x 1\nD/E y z w 2", []string{"--stdin", "line"}, []string{"A/B/C x=1(int32)", "D/E y=z(string) w=2(int32)"}},
		{"json", nil, `{"cluster":"A","node":"B","params":{"z":1,"a":1.5,"s":"7"}}` + "\n" + `{"params":{"x":1e3}}`,
			[]string{"-c", "C", "-n", "N", "--stdin", "json"}, []string{"A/B z=1(int32) a=1.5(real64) s=7(string)", "C/N x=1000(real64)"}},
		{"json booleans", nil, `{"params":{"a":true,"b":false}}` + "\n" + `{"params":[{"name":"c","type":"int32","value":true},{"name":"d","type":"real64","value":false}]}`,
			[]string{"-c", "C", "-n", "N", "--stdin", "json"}, []string{"C/N a=1(int32) b=0(int32)", "C/N c=1(int32) d=0(real64)"}},
		{"json as apmon-recv prints it", nil, `{"from":"127.0.0.1:4242","version":"2.2.20_go","instance":17,"seq":1,"cluster":"C","node":"N","time":null,"params":[{"name":"x","type":"int32","value":1},{"name":"y","type":"real64","value":1}]}`,
			[]string{"--stdin", "json"}, []string{"C/N x=1(int32) y=1(real64)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Both spellings of the flag in one call.
			r := send(tt.env, tt.stdin, append([]string{"-d", l.Name(), "-dest", m.Name() + " pw"}, tt.args...)...)
			if r.code != 0 || r.stdout != "" || r.stderr != "" {
				t.Errorf("got %+v", r)
			}
			for _, want := range tt.want {
				for _, l := range []*testkit.Listener{l, m} {
					if got := show(l.Next()); got != want {
						t.Errorf("got  %s\nwant %s", got, want)
					}
				}
			}
		})
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	for arg, want := range map[string]int32{"1700000000": 1700000000, "2023-11-14T22:13:20Z": 1700000000, "2023-11-14T23:13:20+01:00": 1700000000} {
		send(nil, "", "-d", l.Name(), "-t", arg, "x=1")
		if d := l.Next(); !d.Timed || d.Time != want {
			t.Errorf("%s: got %d", arg, d.Time)
		}
	}
	for _, tt := range []struct {
		args  []string
		stdin string
	}{
		{[]string{"-t", "1700000001", "--stdin", "json"}, `{"params":{"x":1}}`},
		{[]string{"--stdin", "json"}, `{"time":"2023-11-14T22:13:21Z","params":{"x":1}}`},
		{[]string{"-t", "5", "--stdin", "json"}, `{"time":1700000001,"params":{"x":1}}`},
	} {
		send(nil, tt.stdin, append([]string{"-d", l.Name()}, tt.args...)...)
		if d := l.Next(); d.Time != 1700000001 {
			t.Errorf("%v: got %d", tt, d.Time)
		}
	}
}

// An error names the bad input, the exit code is that of sysexits, and no part of that
// message is sent.
func TestBadInput(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	big := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name  string
		code  int
		says  string
		stdin string
		args  []string
	}{
		{"nothing", 64, "NAME=VALUE", "", nil},
		{"no equals sign", 64, `"load"`, "", []string{"x=1", "load"}},
		{"flag behind", 64, `"-c"`, "", []string{"x=1", "-c", "C"}},
		{"long flag behind", 64, `"--soft=1"`, "", []string{"x=1", "--soft=1"}},
		{"unknown flag", 64, "-nope", "", []string{"-nope", "x=1"}},
		{"value without param", 64, `"5"`, "", []string{"-value", "5"}},
		{"param without value", 64, `"p"`, "", []string{"-param", "p", "x=1"}},
		{"two policies", 64, "--drop", "", []string{"--wait", "--drop", "x=1"}},
		{"rate", 64, `"0"`, "", []string{"--rate", "0", "x=1"}},
		{"rate", 64, `"NaN"`, "", []string{"--rate", "NaN", "x=1"}},
		{"pairs", 64, "CLUSTER NODE", "", []string{"--pairs", "C", "N", "x"}},
		{"stdin and arguments", 64, "--stdin", "", []string{"--stdin", "kv", "x=1"}},
		{"stdin format", 64, `"xml"`, "", []string{"--stdin", "xml"}},
		{"forced type without name", 64, "NAME=VALUE", "", []string{"--int", "5"}},

		{"empty value", 65, `"x"`, "", []string{"y=1", "x="}},
		{"blank value", 65, `"x"`, "", []string{"y=1", "x= "}},
		{"empty name", 65, `""`, "", []string{"y=1", "=5"}},
		{"overflow", 65, `"1e999"`, "", []string{"y=1", "x=1e999"}},
		{"not an integer", 65, `"1.5"`, "", []string{"--float", "y=1", "--int", "x=1.5"}},
		{"integer overflow", 65, `"9223372036854775808"`, "", []string{"--int", "x=9223372036854775808"}},
		{"not a float", 65, `"0x1p4"`, "", []string{"--float", "x=0x1p4"}},
		{"NaN", 65, `"nan"`, "", []string{"--float", "x=nan"}},
		{"old scripts", 65, `"p"`, "", []string{"-param", "p", "-value", ""}},
		{"megabyte", 65, `"x"`, "", []string{"y=1", "x=" + big}},
		{"long name", 65, "40000 bytes", "", []string{"y=1", strings.Repeat("n", 40000) + "=1"}},
		{"too large for a datagram", 65, `"x"`, "", []string{"y=1", "x=" + big[:9000]}},
		{"long cluster", 65, "cluster", "", []string{"-c", big[:40000], "x=1"}},
		{"large cluster", 65, "cluster", "", []string{"-c", big[:9000], "x=1"}},
		{"blank node", 65, "node", "", []string{"-n", " ", "x=1"}},
		{"empty cluster", 65, "cluster", "", []string{"-c", "", "x=1"}},
		{"empty node", 65, "node", "", []string{"-n", "", "x=1"}},
		{"empty names of pairs", 65, "cluster", "", []string{"--pairs", "", "", "x", "1"}},
		{"empty cluster of a line", 65, "cluster", "/N x 1", []string{"--stdin", "line"}},
		{"empty node of a line", 65, "node", "C/ x 1", []string{"--stdin", "line"}},
		{"empty cluster in json", 65, "cluster", `{"cluster":"","params":{"x":1}}`, []string{"--stdin", "json"}},
		{"json that is not UTF-8", 65, "UTF-8", "{\"params\":{\"x\":\"\xff\"}}", []string{"--stdin", "json"}},
		{"time", 65, `"noon"`, "", []string{"-t", "noon", "x=1"}},
		{"time after 2038", 65, "2038", "", []string{"-t", "2147483648", "x=1"}},
		{"time after 2038", 65, "2038", "", []string{"-t", "2040-01-01T00:00:00Z", "x=1"}},
		{"time 0", 65, `"0"`, "", []string{"-t", "0", "x=1"}},
		{"kv", 65, "line 2", "\nb\n", []string{"--stdin", "kv"}},
		{"json syntax", 65, "line 1", "{", []string{"--stdin", "json"}},
		{"json unknown key", 65, `"parms"`, `{"parms":{}}`, []string{"--stdin", "json"}},
		{"json no params", 65, "params", `{"cluster":"C"}`, []string{"--stdin", "json"}},
		{"json bad value", 65, `"x"`, `{"params":{"y":1,"x":null}}`, []string{"--stdin", "json"}},
		{"json nested", 65, `"x"`, `{"params":{"y":1,"x":{"z":1}}}`, []string{"--stdin", "json"}},
		{"json two objects", 65, "more than one", `{"params":{"x":1}} {}`, []string{"--stdin", "json"}},
		{"json overflow", 65, `"1e999"`, `{"params":{"x":1e999}}`, []string{"--stdin", "json"}},
		{"line without slash", 65, `"C"`, "C x 1", []string{"--stdin", "line"}},
		{"line with odd words", 65, "pairs", "C/N x", []string{"--stdin", "line"}},
		{"very long line", 65, "line 1: more than", strings.Repeat(big, 5), []string{"--stdin", "line"}},

		{"empty stdin", 66, "standard input", "\n\n", []string{"--stdin", "kv"}},
		{"empty stdin", 66, "standard input", "", []string{"--stdin", "json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := send(nil, tt.stdin, append([]string{"-d", l.Name()}, tt.args...)...)
			if r.code != tt.code || !strings.Contains(r.stderr, tt.says) || !strings.HasPrefix(r.stderr, "apmon-send: ") || r.stdout != "" {
				t.Errorf("got %d, %s", r.code, r.stderr)
			}
			if len(r.stderr) > 500 {
				t.Errorf("%d bytes on standard error", len(r.stderr))
			}
			l.None()
			if r := send(nil, tt.stdin, append([]string{"--soft", "-d", l.Name()}, tt.args...)...); r.code != 0 || r.stderr == "" {
				t.Errorf("--soft: %+v", r)
			}
			l.None()
		})
	}
}

// A bad line of standard input does not affect other lines.
func TestGoodLinesGo(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	r := send(nil, "A/B x 1\nbad\nC/D y 2\n"+strings.Repeat("z", 5<<20)+"\nE/F z 3", "-d", l.Name(), "--stdin", "line")
	if r.code != 65 || !strings.Contains(r.stderr, "line 2") || !strings.Contains(r.stderr, "line 4") {
		t.Errorf("got %+v", r)
	}
	for _, want := range []string{"A/B x=1(int32)", "C/D y=2(int32)", "E/F z=3(int32)"} {
		if got := show(l.Next()); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// With kv, all lines are one message, and the good ones are sent too.
func TestGoodLinesOfKVGo(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	r := send(nil, "x 1\nbad\ny 2\n"+strings.Repeat("z", 5<<20)+"\nz 1e999\nz 3", "-d", l.Name(), "-c", "C", "-n", "N", "--stdin", "kv")
	if r.code != 65 || !strings.Contains(r.stderr, "line 2") || !strings.Contains(r.stderr, "line 4") || !strings.Contains(r.stderr, "line 5") {
		t.Errorf("got %+v", r)
	}
	if got := show(l.Next()); got != "C/N x=1(int32) y=2(int32) z=3(int32)" {
		t.Errorf("got %s", got)
	}
	l.None()
}

// Bad lines are reported at once and in order, up to a limit.
func TestManyBadLines(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	r := send(nil, strings.Repeat("bad\n", 1000), "-d", l.Name(), "--stdin", "line")
	if r.code != 65 || strings.Count(r.stderr, "\n") != maxReported+1 || !strings.HasPrefix(r.stderr, "apmon-send: standard input, line 1:") ||
		!strings.HasSuffix(r.stderr, "and 980 more were not sent\n") {
		t.Errorf("got %+v", r)
	}
}

// A message is sent if it fits one datagram with its real names and password.
func TestLargeText(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	text := strings.Repeat("x", 8192-100)
	if r := send(nil, "", "-d", l.Name(), "-c", "C", "-n", "N", "x="+text); r.code != 0 {
		t.Errorf("got %+v", r)
	}
	if d := l.Next(); d.Params[0].Text() != text {
		t.Error("another text arrived")
	}
	names := strings.Repeat("n", 4000)
	if r := send(nil, "", "-d", l.Name(), "-c", names, "-n", names, "x=1", "y="+text[:200]); r.code != 65 {
		t.Errorf("got %+v", r)
	}
	l.None()
}

// Completion never sends anything.
func TestCompletionSendsNothing(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	for _, args := range [][]string{{"x=1"}, {"--", "x=1"}, {"--pairs", "--", "C", "N", "x", "1", "y"}, {"--stdin", "kv"}, {}} {
		args = append([]string{"-d", l.Name()}, args...)
		if r := send(nil, "x 1", append(args, "--generate-bash-completion")...); r.code != 0 {
			t.Errorf("got %+v", r)
		}
	}
	l.None()
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("bad file descriptor") }

func TestUnreadableInput(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	for _, format := range []string{"kv", "json", "line"} {
		var errs bytes.Buffer
		running.Lock()
		code := run(context.Background(), []string{"apmon-send", "-d", l.Name(), "--stdin", format},
			func(string) string { return "" }, brokenReader{}, io.Discard, &errs)
		running.Unlock()
		if code != 66 || !strings.Contains(errs.String(), "bad file descriptor") {
			t.Errorf("%s: %d, %s", format, code, errs.String())
		}
	}
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestFullDisk(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	running.Lock()
	code := run(context.Background(), []string{"apmon-send", "--dry-run", "x=1"},
		func(string) string { return "" }, strings.NewReader(""), fullWriter{}, &errs)
	running.Unlock()
	if code != 74 || !strings.Contains(errs.String(), "no space left") {
		t.Errorf("%d, %s", code, errs.String())
	}
}

func TestDestinations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	l, m := testkit.Listen(t), testkit.Listen(t)
	file := write("f.conf", "# two\nnonsense line here\n"+l.Name()+"\n"+m.Name()+" own\n")
	t.Run("file, a bad line is reported", func(t *testing.T) {
		r := send(map[string]string{"APMON_PASSWORD_FILE": write("pw", "common\n")}, "", "-f", file, "x=1")
		if r.code != 0 || !strings.Contains(r.stderr, file+":2:") {
			t.Errorf("got %+v", r)
		}
		if p := l.Next().Password; p != "common" {
			t.Errorf("password %q", p)
		}
		if p := m.Next().Password; p != "own" {
			t.Errorf("password %q", p)
		}
	})
	t.Run("APMON_CONFIG", func(t *testing.T) {
		for _, v := range []string{file, l.Name() + "," + m.Name()} {
			if r := send(map[string]string{"APMON_CONFIG": v}, "", "x=1"); r.code != 0 {
				t.Errorf("got %+v", r)
			}
			l.Next()
			m.Next()
		}
	})
	t.Run("a bad destination does not stop the good one", func(t *testing.T) {
		r := send(nil, "", "-d", "h:99999", "-d", l.Name(), "x=1")
		if r.code != 0 || !strings.Contains(r.stderr, `"h:99999"`) {
			t.Errorf("got %+v", r)
		}
		l.Next()
	})
	closed := testkit.Refusing(t)
	t.Run("one refuses", func(t *testing.T) {
		if r := send(nil, "", "-d", closed, "-d", l.Name(), "x=1"); r.code != 0 {
			t.Errorf("got %+v", r)
		}
		l.Next()
	})
	for _, tt := range []struct {
		name string
		code int
		says string
		env  map[string]string
		args []string
	}{
		{"all refuse", 69, closed, nil, []string{"-d", closed}},
		{"name does not resolve", 68, "nosuch.invalid:8884", nil, []string{"-d", "nosuch.invalid"}},
		{"bad port", 78, `"99999"`, nil, []string{"-d", "h:99999"}},
		{"no such file", 78, dir + "/none", nil, []string{"-f", dir + "/none"}},
		{"empty directory", 78, "no usable destination", nil, []string{"-f", t.TempDir()}},
		{"URL of a dead server", 78, "connection refused", nil, []string{"-f", "http://u:hunter2@" + deadServer(t) + "/x"}},
		{"nothing usable in the file", 78, "empty.conf", nil, []string{"-f", write("empty.conf", "a b c\n")}},
		{"no such file in APMON_CONFIG", 78, dir + "/none", map[string]string{"APMON_CONFIG": dir + "/none"}, nil},
		{"password file", 78, dir + "/none", map[string]string{"APMON_PASSWORD_FILE": dir + "/none"}, []string{"-d", l.Name()}},
		{"level", 78, `"LOUD"`, map[string]string{"APMON_DEBUG_LEVEL": "LOUD"}, []string{"-d", l.Name()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := send(tt.env, "", append(tt.args, "x=1")...)
			if r.code != tt.code || !strings.Contains(r.stderr, tt.says) || strings.Contains(r.stderr, "hunter2") {
				t.Errorf("got %+v", r)
			}
		})
	}
	l.None()
}

// deadServer returns an address without a web server.
func deadServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

func TestURL(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "app=prod" {
			http.Error(w, "which application?", http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, l.Name())
	}))
	defer server.Close()
	if r := send(nil, "", "-f", server.URL+"/conf?app=prod", "x=1"); r.code != 0 || r.stderr != "" {
		t.Errorf("got %+v", r)
	}
	l.Next()
	if r := send(nil, "", "-f", "http://"+deadServer(t), "-f", server.URL+"/conf?app=prod", "--fallback", "x=1"); r.code != 0 {
		t.Errorf("got %+v", r)
	}
	l.Next()
	if r := send(map[string]string{"APMON_CONFIG": server.URL + "/conf?app=prod"}, "", "x=1"); r.code != 0 {
		t.Errorf("got %+v", r)
	}
	l.Next()
}

// TestPasswordOverHTTP: destinations that a plain-http source names do not get the
// password of the environment.
func TestPasswordOverHTTP(t *testing.T) {
	t.Parallel()
	l, m := testkit.Listen(t), testkit.Listen(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s\n%s\n", l.Name(), m.Name())
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := strings.Replace(server.URL, "://", "://TOKEN@", 1)
	for _, args := range [][]string{{"x=1"}, {"--stdin", "line"}} {
		r := send(map[string]string{"APMON_PASSWORD_FILE": file}, "C/N x 1", append([]string{"-f", token, "-d", m.Name()}, args...)...)
		if r.code != 0 || !strings.Contains(r.stderr, "level=WARN") || !strings.Contains(r.stderr, "source=http://xxxxx@127.0.0.1") || strings.Contains(r.stderr, "hunter2") {
			t.Errorf("got %+v", r)
		}
		if a, b := l.Next().Password, m.Next().Password; a != "" || b != "hunter2" {
			t.Errorf("got passwords %q and %q", a, b)
		}
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	lines := strings.Repeat("C/N x 1\n", 40)
	r := send(nil, lines, "-d", l.Name(), "--rate", "2", "--drop", "--stdin", "line")
	if r.code != 75 || !strings.Contains(r.stderr, "rate limit") {
		t.Errorf("got %+v", r)
	}
	start := time.Now()
	if r := send(nil, lines, "-d", l.Name(), "--rate", "20", "--stdin", "line"); r.code != 0 || time.Since(start) > 5*time.Second {
		t.Errorf("got %+v", r)
	}
}

// The hexadecimal form of a dry run is the datagram, except for the password.
func TestDryRun(t *testing.T) {
	t.Parallel()
	l := testkit.Listen(t)
	r := send(nil, "", "--dry-run", "-d", l.Name()+" hunter2", "-d", "nosuch.invalid", "-c", "C", "-n", "N", "-t", "5", "x=1", "s=é")
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	if r.code != 0 || len(lines) != 2 || strings.Contains(r.stdout, "hunter") || strings.Contains(r.stdout, "68756e746572") {
		t.Fatalf("got %+v", r)
	}
	for _, want := range []string{`"cluster":"C","node":"N","time":5,"params":[{"name":"x","type":"int32","value":1},{"name":"s","type":"string","value":"é"}]`,
		`"to":"` + l.Name() + `"`, `"from":null,"version":"2.2.20_go"`, `"seq":1,`, `"hex":"00000014763a322e322e32305f676f703a2a2a2a2a2a2a2a`} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("no %s in\n%s", want, lines[0])
		}
	}
	l.None()
	// The output of a dry run can be sent.
	if r := send(nil, r.stdout, "-d", l.Name(), "--stdin", "json"); r.code != 0 {
		t.Errorf("got %+v", r)
	}
	if d := l.Next(); show(d) != "C/N x=1(int32) s=é(string)" || d.Time != 5 {
		t.Errorf("got %s", show(d))
	}
}

func TestHelpNamesEverything(t *testing.T) {
	t.Parallel()
	r := send(nil, "", "--help")
	if r.code != 0 || r.stderr != "" {
		t.Errorf("got %+v", r)
	}
	for _, word := range []string{"--dest", "-d DEST", "-f FILE", "--cluster", "-c", "-n", "-t", "--int", "--float", "--string", "--stdin", "--pairs",
		"--dry-run", "--wait", "--drop", "--rate", "--soft", "--version", "-v", "APMON_CONFIG", "APMON_PASSWORD_FILE", "MONALISA_HOST", "EXIT STATUS", "All users can see"} {
		if !strings.Contains(r.stdout, word) {
			t.Errorf("no %q in the help", word)
		}
	}
	for _, flag := range []string{"-v", "--version"} {
		if r := send(nil, "", flag); r.code != 0 || !slices.Contains(strings.Fields(r.stdout), "apmon-send") {
			t.Errorf("%s: got %+v", flag, r)
		}
	}
}

// TestManPage compares the manual page with the flags of the command. To update it:
// go test ./cmd/apmon-send -run TestManPage -update
func TestManPage(t *testing.T) { commandtest.ManPage(t, (&sendCommand{}).app()) }

func TestHelp(t *testing.T) {
	t.Parallel()
	commandtest.Help(t, func(args ...string) (string, int) {
		r := send(nil, "", args...)
		return r.stdout, r.code
	})
	// These words are subcommands only as the first argument.
	if r := send(nil, "", "--dry-run", "--pairs", "help", "version", "completion", "1"); r.code != 0 || !strings.Contains(r.stdout, `"cluster":"help","node":"version"`) {
		t.Errorf("got %+v", r)
	}
}
