package command_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/xdr"
)

// evil is text that steers terminals, in 7 and in 8 bits, and reverses the direction of
// text.
const evil = "e\x1b[2J\x07\u009b31m\u202e\x7f\x9b\r"

// steers returns the first character that could steer a terminal.
func steers(b []byte) (rune, bool) {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Bidi_Control) {
			return rune(b[0]), true
		}
		b = b[n:]
	}
	return 0, false
}

// TestEscape asserts that control characters are escaped and other text is not, for
// writes of all sizes.
func TestEscape(t *testing.T) {
	t.Parallel()
	const good = "a\té…😀\n"
	for size := 1; size <= len(evil+good); size++ {
		var b bytes.Buffer
		w := command.Escape(&b)
		for text := evil + good; text != ""; {
			n := min(size, len(text))
			if got, err := w.Write([]byte(text[:n])); got != n || err != nil {
				t.Fatal(got, err)
			}
			text = text[n:]
		}
		if got := b.String(); got != `e\u001b[2J\u0007\u009b31m\u202e\u007f\x9b\u000d`+good {
			t.Errorf("by %d: got %q", size, got)
		}
	}
}

// BenchmarkEscape writes lines like those of apmon-recv.
func BenchmarkEscape(b *testing.B) {
	text := bytes.Repeat([]byte(`{"from":"127.0.0.1:4242","params":[{"name":"x","type":"int32","value":1}]}`+"\n"), 800)
	w := command.Escape(io.Discard)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNothingSteersTheTerminal passes hostile text to every command and output.
func TestNothingSteersTheTerminal(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such file names")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir+"/", "../../apmon-send", "../../apmon-bg", "../../apmon-recv").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	file := filepath.Join(dir, evil+".conf")
	text := "127.0.0.1:9\n" + evil + "\n[fe80::1%" + evil + "]:1\nxApMon_" + evil + " = 1\nxApMon_self = " + evil +
		"\nxApMon_accesslog = /x" + evil + "\nxApMon_accesslog_match = (" + evil + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := xdr.Datagram{Version: xdr.Version, Cluster: evil, Node: evil, Params: []xdr.Param{xdr.String(evil, evil)}}
	datagram := d.Append(nil)
	captured := hex.EncodeToString(datagram) + "\n" + hex.EncodeToString(datagram[:len(datagram)-3]) + "\n" + evil + "\n"
	for _, tt := range []struct {
		env, stdin string
		args       []string
	}{
		{"", "", []string{"apmon-send", "-d", evil, "x=1"}},
		{"", "", []string{"apmon-send", "-d", "127.0.0.1:9", "--" + evil}},
		{"", "", []string{"apmon-send", "-d", "127.0.0.1:9", evil}},
		{"", "", []string{"apmon-send", "-f", file, "--dry-run", "-c", evil, "-n", evil, evil + "=" + evil}},
		{"", "", []string{"apmon-send", "--dry-run", "-c", "\u009b1", "-n", "\u202e", "\u202e\x7f=\u202e"}},
		{"", "", []string{"apmon-send", "-f", file, "--print-config"}},
		{"", "", []string{"apmon-send", "-f", evil, "x=1"}},
		{"", "", []string{"apmon-send", "-f", "http://" + evil, "x=1"}},
		{"", evil + "\n" + evil + " " + evil + "\n", []string{"apmon-send", "-d", "127.0.0.1:9", "--stdin", "kv"}},
		{"", "{\"" + evil + "\n{\"params\":{\"\u202e\":null}}", []string{"apmon-send", "-d", "127.0.0.1:9", "--stdin", "json"}},
		{"", evil + "/x " + evil, []string{"apmon-send", "-d", "127.0.0.1:9", "--stdin", "line"}},
		{"APMON_CONFIG=" + evil, "", []string{"apmon-send", "x=1"}},
		{"APMON_PASSWORD_FILE=/" + evil, "", []string{"apmon-send", "x=1"}},
		{"APMON_DEBUG_LEVEL=" + evil, "", []string{"apmon-send", "x=1"}},
		{"", "", []string{"apmon-bg", "check", "--no-resolve", file, dir, evil, "/" + evil, "http://h/" + evil}},
		{"", "", []string{"apmon-bg", evil}},
		{"", "", []string{"apmon-bg", "params", "--format", evil}},
		{"", "", []string{"apmon-bg", "--once", "--print", "-f", file, "-c", "\u202e", "-n", "\u009b1"}},
		{"", "", []string{"apmon-bg", "--once", "-d", evil, "--service", evil}},
		{"APMON_INTERVAL=" + evil, "", []string{"apmon-bg", "--once"}},
		{"", "", []string{"apmon-bg", "exec", "-f", file, "-c", evil, "--summary", dir + "/no/" + evil, "--", "/" + evil}},
		{"", captured, []string{"apmon-recv", "decode", "--format", "text"}},
		{"", captured, []string{"apmon-recv", "decode", "--format", "json"}},
		{"", "", []string{"apmon-recv", "decode", evil}},
		{"", "", []string{"apmon-recv", "--listen", evil}},
		{"", "", []string{"apmon-recv", "--password-file", evil}},
		{"", "", []string{"apmon-recv", "--format", evil}},
	} {
		cmd := exec.Command(filepath.Join(dir, tt.args[0]), tt.args[1:]...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(tt.stdin)
		cmd.Env = []string{tt.env}
		out, err := cmd.CombinedOutput()
		if len(out) == 0 {
			t.Errorf("%q says nothing (%v)", tt.args, err)
		}
		if r, ok := steers(out); ok {
			t.Errorf("%q: %q reaches the terminal:\n%q", tt.args, r, out)
		}
	}
}

// Eight bytes at a time are looked at as one by one.
func TestEscapeEveryByteAtEveryPlace(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for place := range 17 {
			text := bytes.Repeat([]byte("~ "), 12)[:20]
			text[place] = byte(c)
			var b bytes.Buffer
			w := command.Escape(&b)
			if _, err := w.Write(append(text, "\n"...)); err != nil {
				t.Fatal(err)
			}
			want := string(text[:place]) + escaped(byte(c)) + string(text[place+1:]) + "\n"
			if b.String() != want {
				t.Fatalf("byte %#x at %d: %q, want %q", c, place, b.String(), want)
			}
		}
	}
}

// escaped returns a single byte as Escape writes it.
func escaped(c byte) string {
	switch {
	case c >= utf8.RuneSelf:
		return fmt.Sprintf(`\x%02x`, c)
	case c == '\n' || c == '\t' || c >= ' ' && c <= '~':
		return string(rune(c))
	}
	return fmt.Sprintf(`\u%04x`, c)
}
