package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/internal/commandtest"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"apmon-recv": main})
}

// TestScripts runs testdata/script. "exits CODE COMMAND ARG..." asserts an
// exit code.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			taken, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Defer(func() { taken.Close() })
			env.Setenv("TAKEN", taken.LocalAddr().String())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": commandtest.Exits,
			// repeat FILE N TEXT writes a file.
			"repeat": func(ts *testscript.TestScript, neg bool, args []string) {
				n, err := strconv.Atoi(args[1])
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.Repeat([]byte(args[2]), n), 0o666))
			},
		},
	})
}

// session is a run of apmon-recv that receives.
type session struct {
	t      testing.TB
	conn   net.Conn
	cancel context.CancelFunc // as a signal would
	stdout bytes.Buffer
	stderr testkit.Log // without "listening on"
	code   chan int
}

// begin runs apmon-recv, or "apmon-recv top", on a free port and waits until it listens. Its
// output goes to w if that is not nil, else to stdout.
func begin(t testing.TB, w io.Writer, args ...string) *session {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &session{t: t, cancel: cancel, code: make(chan int, 1)}
	if w == nil {
		w = &s.stdout
	}
	pr, pw := io.Pipe()
	code := 0
	command := []string{"apmon-recv"}
	if len(args) > 0 && args[0] == "top" {
		command, args = append(command, "top"), args[1:]
	}
	go func() {
		defer pw.Close()
		code = run(ctx, slices.Concat(command, []string{"--listen", "127.0.0.1:0"}, args), nil, strings.NewReader(""), w, pw)
	}()
	stderr := bufio.NewReader(pr)
	var addr string
	for {
		line, err := stderr.ReadString('\n')
		if err != nil {
			t.Fatalf("it ends: %v, after %s", err, &s.stderr)
		}
		var ok bool
		if addr, ok = strings.CutPrefix(strings.TrimSpace(line), "listening on "); ok {
			break
		}
		_, _ = s.stderr.Write([]byte(line)) // the log comes first
	}
	var err error
	go func() {
		_, _ = io.Copy(&s.stderr, stderr)
		s.code <- code
	}()
	if s.conn, err = net.Dial("udp", addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close(); cancel() })
	return s
}

func (s *session) send(b []byte) {
	s.t.Helper()
	if _, err := s.conn.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// end waits for the exit code.
func (s *session) end() int {
	s.t.Helper()
	select {
	case code := <-s.code:
		return code
	case <-time.After(30 * time.Second):
		s.t.Fatal("it does not end")
		return -1
	}
}

func (s *session) wants(code int, stdout, stderr string) {
	s.t.Helper()
	if got := s.end(); got != code {
		s.t.Errorf("exit code %d, want %d", got, code)
	}
	for _, c := range []struct{ name, got, want string }{{"output", s.stdout.String(), stdout}, {"standard error", s.stderr.String(), stderr}} {
		if !regexp.MustCompile(c.want).MatchString(c.got) {
			s.t.Errorf("%s:\n%s\ndoes not match %s", c.name, c.got, c.want)
		}
	}
}

func datagram(seq int, params ...xdr.Param) []byte {
	d := xdr.Datagram{
		Version: "2.2.20_go", Password: "secret-A", Instance: 17, Seq: int32(seq),
		Cluster: "C", Node: "N", Params: params, Time: 1_700_000_000, Timed: true,
	}
	return d.Append(nil)
}

func TestReceiveJSON(t *testing.T) {
	s := begin(t, nil, "--format", "json", "--count", "2", "--for", "30s")
	from := s.conn.LocalAddr().String()
	s.send(datagram(1, xdr.Int("x", 1)))
	s.send(nil)
	s.send(datagram(4, xdr.String("s", "a\x1bb")))
	s.send(datagram(5)) // behind the last
	received := `,"received":[0-9]{10}\.[0-9]{6}\}`
	s.wants(0, "^"+strings.ReplaceAll(regexp.QuoteMeta(
		`{"from":"`+from+`","version":"2.2.20_go","instance":17,"seq":1,"cluster":"C","node":"N","time":1700000000,"params":[{"name":"x","type":"int32","value":1}]}
{"from":"`+from+`","error":"header: the datagram ends too early (offset 0)","offset":0}
{"from":"`+from+`","version":"2.2.20_go","instance":17,"seq":4,"cluster":"C","node":"N","time":1700000000,"params":[{"name":"s","type":"string","value":"a\u001bb"}]}
`), "\\}\n", received+"\n")+"$",
		`^SENDER +INSTANCES +RECEIVED +TRUNCATED +REFUSED +LOST +REORDERED +DUPLICATE
127.0.0.1 +1 +2 +0 +1 +2 +0 +0
total +2 +0 +1 +2 +0 +0
$`)
}

// Sixty calls of apmon-send are one row, or with --instances sixty.
func TestSummaryByAddress(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, `^SENDER +INSTANCES .*
127.0.0.1 +60 +60 +0 +1 +0 +0 +0
total +60 +0 +1 +0 +0 +0
$`},
		{[]string{"--instances"}, `^SENDER +INSTANCE .*
127.0.0.1 +- +0 +0 +1 +- +- +-
(127.0.0.1 +\d+ +1 +0 +0 +0 +0 +0
){60}total +60 +0 +1 +0 +0 +0
$`},
	} {
		s := begin(t, nil, c.args...)
		s.send(nil)
		for i := range 60 {
			d := xdr.Datagram{Version: "2.2.20_go", Instance: int32(i), Seq: 1, Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}
			s.send(d.Append(nil))
		}
		s.cancel()
		s.wants(0, "", c.want)
	}
}

// The Java client's system reports are shown with their parameters and the
// error, and counted as truncated, not as lost.
func TestReceiveJavaSystemReports(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "xdr", "testdata", "java_system_reports.hex"))
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]string{
		"json": `^(\{"from":"[^"]*","version":"2.2.9_j","instance":[^{]*"params":\[\{"name":"cpu_nice","type":"string","value":"0.0"\},.*\],"error":"parameter 38: [^"]*","offset":\d+,"truncated":true,"received":[0-9.]+\}\n){2}$`,
		"text": `^(\S+  \S+  ApMon_userSend/localhost\n  cpu_nice="0.0" (.*\n  )+truncated: parameter 38: the datagram ends after a complete parameter: it holds 37, and declares 39 \(offset \d+\)\n){2}$`,
	} {
		s := begin(t, nil, "--format", format, "--count", "2", "--for", "1m")
		for i, line := range strings.Fields(string(data)) {
			b, err := hex.DecodeString(line)
			if err != nil {
				t.Fatal(err)
			}
			b[23] = byte(i) // others were sent between the two that are here
			s.send(b)
		}
		s.wants(0, want, `\n127.0.0.1 +1 +2 +2 +0 +0 +0 +0\ntotal `)

		stdout, stderr, code := decodeString(t, string(data), "--format", format)
		if code != 65 || !strings.Contains(stderr, "2 of 2 datagrams truncated") || !strings.Contains(stdout, "cpu_nice") {
			t.Errorf("decode: exit code %d, %s%s", code, stdout, stderr)
		}
	}
}

func TestReceiveText(t *testing.T) {
	s := begin(t, nil, "--count", "1")
	s.send([]byte("\x1b[2Jgarbage"))
	s.send(datagram(1, xdr.Int("x", 1), xdr.Float("big", 1e6), xdr.String("status", "\x1b[2J"), xdr.Int("a b\n", 2)))
	from := s.conn.LocalAddr().String()
	s.wants(0, `^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ  `+from+`  refused: header: [ -~]*\n`+
		regexp.QuoteMeta(`2023-11-14T22:13:20Z  `+from+`  C/N
  x=1  big=1 M  status="\x1b[2J"  "a b\n"=2
`)+"$", "total +1 +0 +1 +0")
	s = begin(t, nil, "--count", "1", "--exact")
	s.send(datagram(1, xdr.Int("x", 1), xdr.Float("big", 1e6)))
	s.wants(0, `  C/N  x=1  big=1000000\n$`, "total +1")
}

// TestTopOnce prints what was received, as text.
func TestTopOnce(t *testing.T) {
	s := begin(t, nil, "top", "--once", "--count", "2", "--for", "1m")
	s.send(datagram(1, xdr.Float("load1", 4.25), xdr.String("status", "\x1b[2J")))
	s.send(datagram(2, xdr.Float("load1", 5.25)))
	s.wants(0, `^apmon-recv  .* 1 sender  lost 0 % +[0-9:]{8}\n\n▾ C  1/1 +load1  last 10 min +age\n  N +5.25  .*\d+s\n$`, "total +2 +0")
}

func TestStoppedBySignal(t *testing.T) {
	for _, args := range [][]string{nil, {"--count", "5"}, {"--for", "1h"}, {"--count", "5", "--for", "1h"}} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			s := begin(t, nil, args...)
			s.send(datagram(1))
			s.send(datagram(1))
			s.cancel() // what has arrived is shown all the same
			s.wants(0, `^(.* C/N\n){2}$`, `127.0.0.1 +1 +2 +0 +0 +0 +0 +1\n`)
		})
	}
}

func TestNotEnoughInTime(t *testing.T) {
	s := begin(t, nil, "--count", "2", "--for", "1s")
	s.send(datagram(1))
	s.send([]byte("garbage"))
	s.wants(75, " C/N\n", "total +1 +0 +1 +0 +0 +0\napmon-recv: 1 of 2 datagrams within 1s\n$")
}

func TestTimeIsOver(t *testing.T) {
	s := begin(t, nil, "--for", "50ms")
	s.wants(0, "^$", "^nothing received\n$")
}

func TestPasswordFile(t *testing.T) {
	for _, c := range []struct {
		content string
		stdout  string
	}{
		{"secret-A\n", "  C/N  x=1\n"},
		{"secret-A\r\n", "  C/N  x=1\n"},
		{"secret-B", "  refused: wrong password  C/N\n  version=2.2.20_go  instance=17  seq=1\n"},
	} {
		name := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(name, []byte(c.content), 0o666); err != nil {
			t.Fatal(err)
		}
		s := begin(t, nil, "--password-file", name)
		s.send(datagram(1, xdr.Int("x", 1)))
		s.cancel()
		s.wants(0, c.stdout, "RECEIVED")
		if all := s.stdout.String() + s.stderr.String(); strings.Contains(all, "secret-") {
			t.Errorf("a password is shown:\n%s", all)
		}
	}
}

// A datagram is seen at once, not when a buffer is full.
func TestFlushedAsTheyArrive(t *testing.T) {
	pr, pw := io.Pipe()
	s := begin(t, pw, "--format", "json")
	out := bufio.NewReader(pr)
	for i := range 5 {
		s.send(datagram(i))
		line, err := out.ReadString('\n')
		if err != nil || !strings.Contains(line, fmt.Sprintf(`"seq":%d,`, i)) {
			t.Fatalf("line %q, error %v", line, err)
		}
	}
	s.cancel()
	s.wants(0, "", "total +5 ")
}

func TestOutputFails(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   int
		stderr string
	}{
		{&os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}, 0, "^SENDER[^\n]*\n.*\ntotal +1 [^\n]*\n$"},
		{&os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}, 74, "total +1 [^\n]*\napmon-recv: standard output: .*no space left on device\n$"},
	} {
		s := begin(t, failing{c.err})
		s.send(datagram(1))
		s.wants(c.code, "", c.stderr)
		// Also after the last datagram that counts, when the socket is closed.
		late := failingLate{c.err, make(chan struct{})}
		s = begin(t, late, "--count", "1")
		s.send(datagram(1))
		testkit.Eventually(t, "the end of the socket", func() bool {
			_, err := s.conn.Write(datagram(2))
			return err != nil
		})
		close(late.gate)
		s.wants(c.code, "", c.stderr)
	}
}

// failingLate is a writer that fails when its gate is open.
type failingLate struct {
	err  error
	gate chan struct{}
}

func (f failingLate) Write([]byte) (int, error) {
	<-f.gate
	return 0, f.err
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A burst must not be lost while each datagram is printed. Where the kernel
// does not grant the buffer asked for, every loss must be in the summary.
func TestBurst(t *testing.T) {
	const n = 20_000
	for _, format := range printFormats {
		t.Run(format, func(t *testing.T) {
			s := begin(t, nil, "--format", format)
			params := []xdr.Param{xdr.Int("events", 1200), xdr.Float("cpu_eff", 0.93), xdr.String("status", "RUNNING")}
			for i := range n {
				s.send(datagram(i, params...))
			}
			s.cancel()
			code, stderr := s.end(), s.stderr.String()
			got, want := bytes.Count(s.stdout.Bytes(), []byte("events")), n
			if m := regexp.MustCompile(`(\d+) datagrams dropped by the kernel: the receive buffer it gave has (\d+) bytes`).FindStringSubmatch(stderr); m != nil {
				drops, _ := strconv.Atoi(m[1])
				buffer, _ := strconv.Atoi(m[2])
				if buffer < receiver.DefaultReadBuffer {
					t.Logf("the kernel gives a buffer of only %d bytes, and dropped %d", buffer, drops)
					want -= drops
				}
			}
			if code != 0 || got != want {
				t.Errorf("%d of %d datagrams, want %d; exit code %d, summary:\n%s", got, n, want, code, stderr)
			}
		})
	}
}

// TestProcess tests signals and pipes, which need a separate process.
func TestProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals to send on Windows")
	}
	start := func(t *testing.T, stdout io.Writer) (*exec.Cmd, net.Conn, *bufio.Reader) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "apmon-recv", "--listen", "127.0.0.1:0")
		cmd.Stdout = stdout
		pipe, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stderr := bufio.NewReader(pipe)
		line, err := stderr.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("udp", strings.TrimSpace(strings.TrimPrefix(line, "listening on ")))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return cmd, conn, stderr
	}
	finish := func(t *testing.T, cmd *exec.Cmd, stderr *bufio.Reader) {
		t.Helper()
		summary, _ := io.ReadAll(stderr)
		if err := cmd.Wait(); err != nil || !strings.Contains(string(summary), "total ") {
			t.Errorf("%v, summary:\n%s", err, summary)
		}
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			var stdout bytes.Buffer
			cmd, conn, stderr := start(t, &stdout)
			if _, err := conn.Write(datagram(1)); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			finish(t, cmd, stderr)
			if !strings.HasSuffix(stdout.String(), " C/N\n") {
				t.Errorf("output %q", stdout.String())
			}
		})
	}
	t.Run("nobody reads", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd, conn, stderr := start(t, w)
		w.Close()
		r.Close()
		if _, err := conn.Write(datagram(1)); err != nil {
			t.Fatal(err)
		}
		finish(t, cmd, stderr)
	})
	t.Run("disk full", func(t *testing.T) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		defer full.Close()
		cmd, conn, stderr := start(t, full)
		if _, err := conn.Write(datagram(1)); err != nil {
			t.Fatal(err)
		}
		summary, _ := io.ReadAll(stderr)
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 74 || !strings.Contains(string(summary), "no space left") {
			t.Errorf("%v, standard error:\n%s", cmd.ProcessState, summary)
		}
	})
}

func decodeString(t *testing.T, input string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"apmon-recv", "decode"}, args...), nil, strings.NewReader(input), &out, &errs)
	return out.String(), errs.String(), code
}

// Whatever the captured datagrams of all clients and the hostile ones hold, a
// line (of text the first, of CSV one or more) comes out for each that goes in, and it is
// valid, or safe to print.
func TestDecodeVectors(t *testing.T) {
	var input strings.Builder
	n := 0
	for _, name := range []string{"clients.jsonl", "hostile.jsonl"} {
		f, err := os.Open(filepath.Join("..", "..", "xdr", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for dec := json.NewDecoder(f); ; n++ {
			var v struct{ Hex string }
			if err := dec.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			input.WriteString(v.Hex + "\n")
		}
	}
	for _, format := range printFormats {
		stdout, stderr, code := decodeString(t, input.String(), "--format", format)
		lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
		got := len(lines)
		switch format {
		case "text":
			got -= strings.Count(stdout, "\n  ")
		case "csv":
			rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
			if err != nil || len(rows) <= n {
				t.Errorf("%d rows of CSV, %v", len(rows), err)
			}
			got = n
		}
		if got != n || code != 65 || !strings.Contains(stderr, fmt.Sprintf("of %d datagrams refused", n)) {
			t.Errorf("%s: %d lines for %d, exit code %d, %s", format, len(lines), n, code, stderr)
		}
		for i, line := range lines {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
				t.Errorf("%s: line %d holds control characters: %q", format, i+1, line)
			}
			if (format == "json" || format == "flat") && !json.Valid([]byte(line)) {
				t.Errorf("%s: line %d is not JSON: %s", format, i+1, line)
			}
		}
	}
}

// maxBytes is the length of the longest datagram that UDP can carry.
const maxBytes = 65535

// The lines around one of many megabytes are decoded all the same.
func TestDecodeLongLines(t *testing.T) {
	good := hex.EncodeToString(datagram(1))
	for _, long := range []int{2*maxBytes + 255, 2*maxBytes + 256, 2*maxBytes + 257, 1<<20 + 1, 8 << 20} {
		stdout, _, code := decodeString(t, good+"\n"+strings.Repeat("00", long/2)+strings.Repeat("0", long%2)+"\r\n"+good)
		lines := strings.Split(stdout, "\n")
		if code != 65 || len(lines) != 4 || lines[0] != lines[2] || !strings.Contains(lines[1], `"error"`) {
			t.Errorf("%d digits: exit code %d, output %.500s", long, code, stdout)
		}
	}
	// The longest datagram there is.
	d := xdr.Datagram{Cluster: strings.Repeat("c", 32767), Node: strings.Repeat("n", 32752)}
	b := d.Append(nil)
	if len(b) > maxBytes || len(b) < maxBytes-3 {
		t.Fatalf("%d bytes", len(b))
	}
	if _, stderr, code := decodeString(t, "  \t"+hex.EncodeToString(b)+" \r\n"); code != 0 {
		t.Errorf("the longest datagram: exit code %d, %s", code, stderr)
	}
}

// A line is printed before the next one arrives.
func TestDecodeFlushes(t *testing.T) {
	inr, inw := io.Pipe()
	outr, outw := io.Pipe()
	code := make(chan int)
	go func() {
		code <- run(t.Context(), []string{"apmon-recv", "decode"}, nil, inr, outw, io.Discard)
	}()
	out := bufio.NewReader(outr)
	for i := range 3 {
		fmt.Fprintf(inw, "%x\n00", datagram(i)) // and the beginning of the next
		line, err := out.ReadString('\n')
		if err != nil || !strings.Contains(line, `"`) {
			t.Fatalf("line %q, error %v", line, err)
		}
		fmt.Fprintln(inw)
		if _, err := out.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	inw.Close()
	if c := <-code; c != 65 {
		t.Errorf("exit code %d", c)
	}
}

func TestDecodeInputFails(t *testing.T) {
	good := hex.EncodeToString(datagram(1)) + "\n"
	for _, c := range []struct {
		input string
		code  int
	}{{"", 66}, {good, 74}} {
		var out, errs bytes.Buffer
		in := io.MultiReader(strings.NewReader(c.input), broken{})
		code := run(t.Context(), []string{"apmon-recv", "decode", "-"}, nil, in, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), "input/output error") || strings.Count(out.String(), "\n") != strings.Count(c.input, "\n") {
			t.Errorf("exit code %d, want %d; %s%s", code, c.code, out.String(), errs.String())
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, syscall.EIO }

func TestDecodeOutputFails(t *testing.T) {
	good := hex.EncodeToString(datagram(1)) + "\n"
	for err, want := range map[error]int{syscall.EPIPE: 0, syscall.ENOSPC: 74} {
		var errs bytes.Buffer
		code := run(t.Context(), []string{"apmon-recv", "decode"}, nil, strings.NewReader(good), failing{err}, &errs)
		if code != want || (want == 0) != (errs.Len() == 0) {
			t.Errorf("%v: exit code %d, want %d; %s", err, code, want, errs.String())
		}
	}
}

// BenchmarkReceive sends as fast as one socket can, and reports how many
// datagrams per second are printed, and how many are not.
func BenchmarkReceive(b *testing.B) {
	for _, format := range []string{"text", "json"} {
		b.Run(format, func(b *testing.B) {
			out := new(lineCounter)
			s := begin(b, out, "--format", format)
			raw := datagram(1, xdr.Int("events", 1200), xdr.Float("cpu_eff", 0.93), xdr.String("status", "RUNNING"))
			b.ResetTimer()
			for range b.N {
				s.send(raw)
			}
			s.cancel()
			if code := s.end(); code != 0 {
				b.Errorf("exit code %d", code)
			}
			b.ReportMetric(float64(out.n)/b.Elapsed().Seconds(), "printed/s")
			b.ReportMetric(float64(b.N-out.n), "lost")
		})
	}
}

type lineCounter struct{ n int }

func (c *lineCounter) Write(b []byte) (int, error) {
	c.n += bytes.Count(b, []byte("events"))
	return len(b), nil
}

func BenchmarkPrint(b *testing.B) {
	var d xdr.Datagram
	if err := d.Decode(datagram(1, xdr.Int("events", 1200), xdr.Float("cpu_eff", 0.93), xdr.String("status", "RUNNING"))); err != nil {
		b.Fatal(err)
	}
	for _, format := range printFormats {
		b.Run(format, func(b *testing.B) {
			p := newPrinter(io.Discard, printOptions{format: format})
			b.ReportAllocs()
			for b.Loop() {
				p.print(time.Time{}, "127.0.0.1:4242", &d, nil)
			}
		})
	}
}

// The manual page in packaging/ is made from the command's own flags:
// go test ./cmd/apmon-recv -run TestManPage -update
func TestManPage(t *testing.T) { commandtest.ManPage(t, newApp(nil, nil, nil)) }

func TestHelp(t *testing.T) {
	commandtest.Help(t, func(args ...string) (string, int) {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"apmon-recv"}, args...), nil, nil, &out, io.Discard)
		return out.String(), code
	})
}
