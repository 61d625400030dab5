package conf

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/google/go-cmp/cmp"
)

func TestParseDestination(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		line string
		want Destination
		err  string // part of the error
	}{
		{line: "ml.example.org", want: Destination{"ml.example.org", 8884, ""}},
		{line: " ml.example.org:9000\t secret ", want: Destination{"ml.example.org", 9000, "secret"}},
		{line: "10.0.0.1 p", want: Destination{"10.0.0.1", 8884, "p"}},
		{line: "my_host-1.site.", want: Destination{"my_host-1.site.", 8884, ""}},
		{line: "[::1]", want: Destination{"::1", 8884, ""}},
		{line: "[fe80::1%eth0]:1 'a  b'", want: Destination{"fe80::1%eth0", 1, "a  b"}},
		{line: `h "it's"`, want: Destination{"h", 8884, "it's"}},
		{line: "[fe80::1%br-lan.7_a]:1", want: Destination{"fe80::1%br-lan.7_a", 1, ""}},

		// As the C, C++, Java, Perl and Python clients read them.
		{line: "h:1 pw # comment", want: Destination{"h", 1, "pw"}},
		{line: "h:1 # comment", want: Destination{"h", 1, ""}},
		{line: "h:1\t#\tcomment # and more", want: Destination{"h", 1, ""}},
		{line: "h:1 'a # b' # comment", want: Destination{"h", 1, "a # b"}},
		{line: "h:1 #secret", want: Destination{"h", 1, "#secret"}},
		{line: "h:1 pw# # comment", want: Destination{"h", 1, "pw#"}},
		{line: "h:1 #", want: Destination{"h", 1, "#"}},
		{line: "h :9000", want: Destination{"h", 9000, ""}},
		{line: "h: 9000", want: Destination{"h", 9000, ""}},
		{line: "h : 9000 pw", want: Destination{"h", 9000, "pw"}},
		{line: "h :9000 pw # comment", want: Destination{"h", 9000, "pw"}},
		{line: "[::1]\t:\t9000", want: Destination{"::1", 9000, ""}},
		{line: "h:1 :9000", want: Destination{"h", 1, ":9000"}},
		{line: "h :pw", want: Destination{"h", 8884, ":pw"}},
		{line: "h ':9000'", want: Destination{"h", 8884, ":9000"}},
		{line: `h pa#ss"word`, want: Destination{"h", 8884, `pa#ss"word`}},
		{line: "h:65535", want: Destination{"h", 65535, ""}},

		{line: "", err: "empty destination"},
		{line: "h:99999", err: `"h:99999": port "99999"`},
		{line: "h:0", err: "1 to 65535"},
		{line: "h:-1", err: `"h:...": the port is not a number`},
		{line: "h:+1", err: `"h:...": the port is not a number`},
		{line: "h:", err: `port ""`},
		{line: "h:secret", err: `"h:...": the port is not a number`},
		{line: "h:123456", err: `"h:...": the port is not a number`},
		{line: "h:99999 p", err: `"h:99999": port "99999"`},
		{line: ":8884", err: "no host"},
		{line: "::1", err: "[address]:port"},
		{line: "2001:db8::1:8884", err: "[address]:port"},
		{line: "h:8884:secret", err: `"h:8884:..."`},
		{line: "-h", err: "not a host name"},
		{line: "[::1", err: "no ']'"},
		{line: "[::1]secret", err: `"[::1]...": ':' and a port`},
		{line: "[::1]:secret", err: `"[::1]:...": the port is not a number`},
		{line: "[1.2.3.4]:5", err: "not an IPv6 address"},
		{line: "[nonsense]:5", err: "not an IPv6 address"},
		{line: "300.1.1.1", err: "neither an IPv4 address nor a host name"},
		{line: "1.2.3", err: "neither"},
		{line: "8884", err: "neither"},
		{line: "a..b", err: "not a host name"},
		{line: strings.Repeat("a", 64), err: "not a host name"},
		{line: strings.Repeat("a.", 200) + "b", err: "at most 253"},
		{line: "udp://h:1", err: `"udp:...": a destination is no URL`},
		{line: "http://secret@h:1", err: `"...": a destination is no URL`},
		{line: "secret@h", err: `"...": "@" in the host name`},
		{line: strings.Repeat("secret", 12) + "@h", err: `"...": "@" in the host name`},
		{line: "'secret'", err: `"...": "'" in the host name`},
		{line: `h"secret"`, err: `"h...": "\"" in the host name`},
		{line: "h;secret", err: `"h...": ";" in the host name`},
		{line: "h|secret", err: `"h...": "|" in the host name`},
		{line: "h:secret@h", err: `"...": the port is not a number`},
		{line: "[secret@::1]", err: `"...": not an IPv6 address`},
		{line: "[fe80::1%\x1b[2J]:1", err: `"\x1b" in the zone`},
		{line: "[fe80::1%a b]:1", err: "no ']'"},
		{line: "[fe80::1%é]:1", err: `"é" in the zone`},
		{line: "[fe80::1%]:1", err: "not an IPv6 address"},
		{line: "h/x", err: `"/" in the host name`},
		{line: "h\x00", err: `"\x00" in the host name`},
		{line: "hé:1", err: `"é" in the host name`},
		{line: "h secret more", err: `"h": more than a password`},
		{line: "h 'secret", err: "quote is not closed"},
		{line: "h : 99999 secret", err: `port "99999"`},
		{line: "h : 1234567 secret", err: `"h:...": the port`},
		{line: "h : secret", err: `"h": more than a password`},
		{line: "h: secret", err: `port ""`},
		{line: "h secret #comment", err: `"h": more than a password`},
		{line: "h 'secret'# comment", err: "after the quoted password"},
		{line: "h 'secret'more", err: "after the quoted password"},
		{line: "h " + strings.Repeat("s", 513), err: "at most 512"},
	} {
		got, err := ParseDestination(tt.line)
		if tt.err == "" {
			if err != nil || got != tt.want {
				t.Errorf("%q: got %s %q, %v", tt.line, got, got.Password, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got error %v, want one with %s", tt.line, err, tt.err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || len(err.Error()) > 250) {
			t.Errorf("%q: the error shows too much: %v", tt.line, err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	got, problems := Parse("f.conf", []byte("\ufeff# comment\r\n"+
		"\r\n"+
		"  xApMon_maxMsgRate = 25\r\n"+
		"xApMon_loglevel=warning\n"+
		"xApMon_sys_monitoring = on\n"+
		"ml.example.org:8884 secret\n"+
		"bad host line here\n"+
		"ml.example.org\n"+ // once is enough
		"h:99999\n"+
		"xApMon_maxMsgRate = lots\n"+
		"xApMon_loglevel\n"+
		"xApMon_loglevel = LOUD\n"+
		"other"), nil)
	want := Config{
		Source:       "f.conf",
		Destinations: []Destination{{"ml.example.org", 8884, "secret"}, {"other", 8884, ""}},
		Options:      Options{MaxMsgRate: 25, LogLevel: slog.LevelWarn, SysMonitoring: On},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.Error())
	}
	wantProblems := []string{
		`f.conf:7: destination "bad": more than a password after it (quote a password with blanks)`,
		`f.conf:9: destination "h:99999": port "99999" is not a number from 1 to 65535`,
		`f.conf:10: xApMon_maxMsgRate: "lots" is not a positive number of messages a second`,
		`f.conf:11: directive "xApMon_loglevel" has no '='`,
		`f.conf:12: xApMon_loglevel: log level "LOUD" is none of FATAL ERROR WARNING INFO NOTICE DEBUG OFF`,
	}
	if d := cmp.Diff(wantProblems, lines); d != "" {
		t.Error(d)
	}
}

func TestParseList(t *testing.T) {
	t.Parallel()
	got, problems := ParseList("APMON_CONFIG", ` a:1 , b:2 'p,q',, c:x, d secret,`)
	want := []Destination{{"a", 1, ""}, {"b", 2, "p,q"}, {"d", 8884, "secret"}}
	if d := cmp.Diff(want, got.Destinations); d != "" {
		t.Error(d)
	}
	if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), `APMON_CONFIG: destination "c:..."`) {
		t.Errorf("got %v", problems)
	}
}

// TestListWithCommaInPassword: the text after the comma is neither shown nor
// looked up.
func TestListWithCommaInPassword(t *testing.T) {
	t.Parallel()
	const entry = ": a name without a dot after a password (quote a password with commas)"
	for list, want := range map[string]string{
		"h p,HUNTER2":           "h:8884=p; entry 2" + entry,
		"h p,HUNTER2,HUNTER3":   "h:8884=p; entry 2" + entry + "; entry 3" + entry,
		"h p,HUN TER2,g.x":      "h:8884=p g.x:8884; entry 2" + entry,
		"g,h :9000 p, HUNTER2 ": "g:8884 h:9000=p; entry 3" + entry,
		"h p,g.x,k":             "h:8884=p g.x:8884 k:8884",
		"h p,g:1,[::1],k":       "h:8884=p g:1 [::1]:8884 k:8884",
		"h p,g :1":              "h:8884=p g:1",
		"h 'p','HUNTER2'":       "h:8884=p; destination \"...\": \"'\" in the host name",
		"h 'p,HUNTER2',k":       "h:8884=p,HUNTER2 k:8884",
		"h # comment,k":         "h:8884 k:8884",
		"h,k":                   "h:8884 k:8884",
	} {
		c, problems := ParseList("V", list)
		got := destinations(c)
		for _, p := range problems {
			got += "; " + strings.TrimPrefix(p.Error(), "V: ")
		}
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", list, got, want)
		}
	}
}

// TestTwoPasswords: of two passwords of a destination the first is used, the second
// is reported, and neither is shown.
func TestTwoPasswords(t *testing.T) {
	t.Parallel()
	c, problems := Parse("f", []byte("h one\nh:8884\nh one\nh:8884 two\nh:1 two\n"), nil)
	if got := destinations(c); got != "h:8884=one h:1=two" {
		t.Errorf("got %s", got)
	}
	if len(problems) != 1 || problems[0].Error() != `f:4: destination "h:8884" is there already, with another password, which is used` {
		t.Errorf("got %v", problems)
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{
		"1": time.Second, "1.5": 1500 * time.Millisecond, "5s": 5 * time.Second, "1h30m": 90 * time.Minute, "0": 0, "-2": -2 * time.Second,
		"-2m": -2 * time.Minute, "1e9": 1e9 * time.Second, "250ms": 250 * time.Millisecond,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "s", "often", "NaN", "inf", "1e10", "1e999", "-1e999", "2562047h", "5 s", "1d"} {
		if got, err := ParseDuration(s); err == nil || !strings.HasPrefix(err.Error(), safetext.Quote(s)) {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
}

func TestReadPassword(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"secret\n": "secret", " two words \r\n": "two words", strings.Repeat("p", 512) + "\n": strings.Repeat("p", 512),
		"": "", "\n": "", "a\nb\n": "", strings.Repeat("p", 513): "",
	} {
		path := filepath.Join(t.TempDir(), "pw")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadPassword(path)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ReadPassword("/dev/zero"); err == nil { // bounded
		t.Error("/dev/zero is a password")
	}
}

func TestPasswordIsNotPrinted(t *testing.T) {
	t.Parallel()
	d := Destination{"h", 1, "hunter2"}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "d", d)
	fmt.Fprintf(&b, "%v %+v %#v %s %q", d, d, d, d, d)
	fmt.Fprintf(&b, "%v %+v %#v", Config{Destinations: []Destination{d}}, []Destination{d}, &d)
	if strings.Contains(b.String(), "hunter") {
		t.Error(b.String())
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "h", "h:1 p", "[::1]:2 'a b'", "# c", "xApMon_loglevel = INFO\nx:y", "a\x00b", "xApMon_maxMsgRate=NaN", "\ufeffh\r\n", "h 'a\"b'\nh 'c",
		"xApMon_sys_blocks_in = on\nxApMon_recheck_interval = 1\nxApMon_sys_interval = 0.0015\nxApMon_auto_disable=1", Sample,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, problems := Parse("fuzz", text, knownOption)
		seen := map[string]bool{}
		for _, d := range c.Destinations {
			if err := d.Check(); err != nil || seen[d.Name()] || d.Port == 0 {
				t.Errorf("destination %q: %v", d.Name(), err)
			}
			seen[d.Name()] = true
		}
		if c.MaxMsgRate < 0 || c.MaxMsgRate != c.MaxMsgRate {
			t.Errorf("rate %v", c.MaxMsgRate)
		}
		if c.RecheckInterval != 0 && c.RecheckInterval < MinRecheck || c.SysInterval < 0 || c.JobInterval < 0 {
			t.Errorf("intervals %v %v %v", c.RecheckInterval, c.SysInterval, c.JobInterval)
		}
		roundTrip(t, c) // an accepted configuration reads back as the same
		if _, problems := Parse("redacted", c.Format(false), knownOption); len(problems) > 0 {
			t.Error(problems)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > strings.Count(string(text), "\n")+1 || strings.ContainsAny(p.Error(), "\r\n") {
				t.Errorf("problem %q of line %d", p, p.Line)
			}
		}
	})
}

func FuzzParseList(f *testing.F) {
	for _, s := range []string{"", "a,b:1 p", "[::1]:2 'a, b',c", "a ',b", `a "p'q,"`, ",,\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		c, problems := ParseList("fuzz", list)
		roundTrip(t, c)
		if !c.Options.Equal(Options{}) || len(c.Destinations)+len(problems) > strings.Count(list, ",")+1 {
			t.Errorf("got %+v, %v", c, problems)
		}
		for _, p := range problems {
			if strings.ContainsAny(p.Error(), "\r\n") {
				t.Errorf("problem %q", p)
			}
		}
	})
}
