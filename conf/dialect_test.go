package conf

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// describe prints sources: their kind, and the content of texts.
func describe(sources []Source) string {
	var list []string
	for _, s := range sources {
		switch s.kind {
		case remote:
			list = append(list, "url "+s.at)
		case file:
			list = append(list, "file "+s.at)
		default:
			r := Reader{Source: s, Lookup: knownOption}
			c, problems, _, _ := r.Read(context.Background())
			text := "text " + destinations(c)
			for line := range strings.Lines(string(c.Format(true))) {
				if strings.HasPrefix(line, prefix) {
					text += " " + strings.ReplaceAll(strings.TrimSpace(line[len(prefix):]), " ", "")
				}
			}
			if len(problems) > 0 {
				text += fmt.Sprintf(" %v", problems)
			}
			list = append(list, text)
		}
	}
	return strings.Join(list, "; ")
}

func TestSources(t *testing.T) {
	t.Parallel()
	there := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"one destination", "ml.example.org", "text ml.example.org:8884"},
		{"with port and password", " h:1 pw ", "text h:1=pw"},
		{"list", "a:1,b:2 p , c.d", "text a:1 b:2=p c.d:8884"},
		{"list, password with a slash", "a p/w,b.c", "text a:8884=p/w b.c:8884"},
		{"list, path only after a comma", "a,/etc/x", `text a:8884 [V: destination "/etc/x": "/" in the host name]`},
		{"IPv6 is not Perl", "[::1]:8884", "text [::1]:8884"},
		{"IPv6 list", "[::1]:8884,[2001:db8::1] p", "text [::1]:8884 [2001:db8::1]:8884=p"},
		{"quoted password with a comma", "a 'p,q',b", "text a:8884=p,q b:8884"},
		{"file", "/etc/apmon.conf", "file /etc/apmon.conf"},
		{"relative file", "./x y", "file ./x y"},
		{"file that is there", there, "file " + there},
		{"http", "http://h/x?app=a,b c", "url http://h/x?app=a,b c"},
		{"https", "HTTPS://h:1/x", "url HTTPS://h:1/x"},
		{"other scheme is refused later", "ftp://u:p@h/x", "url ftp://u:p@h/x"},

		{"Perl string", `"h:1"`, "text h:1"},
		{"Perl string with password", `'h:1 pw'`, "text h:1=pw"},
		{"Perl URL", `"http://h/x?a=b";`, "url http://h/x?a=b"},
		{"Perl file", `'/etc/x'`, "file /etc/x"},
		{"Perl list", `['h:1', "h2"]`, "text h:1 h2:8884"},
		{"Perl list, trailing comma and comments", "[ # ours\n'h:1', # one\n\"h2\",\n]; # done", "text h:1 h2:8884"},
		{"Perl list, nested", `[['a'],[["b"]],{c=>{}}]`, "text a:8884 b:8884; text c:8884"},
		{"Perl list of all kinds", `['h','http://a/b','/etc/x','g p']`, "text h:8884 g:8884=p; url http://a/b; file /etc/x"},
		{"Perl list, undef and empty", `[undef, '', 'h']`, "text h:8884"},
		{"Perl list, quoted password", `['h "a, b"']`, "text h:8884=a, b"},
		{"Perl list, password with comma", `['h a,b']`, "text h:8884=a,b"},
		{"Perl list, words", `['h', g.example.org:7]`, "text h:8884 g.example.org:7"},
		{"Perl list, bad one", `['h', 'x:y']`, `text h:8884 [V:2: destination "x:...": the port is not a number from 1 to 65535 (a password follows a blank)]`},
		{"Perl hash", `{'h' => {loglevel => 'NOTICE'}}`, "text h:8884 loglevel=NOTICE"},
		{"Perl hash, several", `{'h:1 p' => {sys_monitoring=>0, "general_info"=>'off'}, g => {job_rss, 1}}`,
			"text h:1=p sys_monitoring=off general_info=off; text g:8884 job_rss=on"},
		{"Perl hash, full names of options", `{h=>{xApMon_self=>0}}`, "text h:8884 self=off"},
		{"Perl hash, unknown option", `{h=>{colour=>red}}`, `text h:8884 [V:1: warning: directive "xApMon_colour": unknown, and ignored]`},
		{"Perl hash, password", `{h=>'p',g=>undef,f=>"a b"}`, "text h:8884=p; text g:8884; text f:8884=a b"},
		{"Perl hash, password with quotes", `{h=>'p"q',g=>'a \'b\''}`, "text h:8884=p\"q; text g:8884=a 'b'"},
		{"Perl escapes", `["h a\"b\\c\$d\@e", 'g a\b\\c\'d']`, `text h:8884=a"b\c$d@e g:8884=a\b\c'd`},
		{"Perl, not a variable", `["h a\$", "g c\@", "f 1$", 'e $x @y']`,
			`text h:8884=a$ g:8884=c@ f:8884=1$ [V:4: destination "e": more than a password after it (quote a password with blanks)]`},
		{"servMon.sh", `['ml.example.org:8884'] `, "text ml.example.org:8884"},
		{"sendToML.sh", ` {'ml.example.org:8884' => {loglevel => 'NOTICE', sys_monitoring => 0, general_info => 0, job_monitoring => 1}}`,
			"text ml.example.org:8884 loglevel=NOTICE sys_monitoring=off job_monitoring=on general_info=off"},
	} {
		sources, err := ParseSource("V", tt.in)
		if got := describe(sources); err != nil || got != tt.want {
			t.Errorf("%s: %s\ngot  %s, %v\nwant %s", tt.name, tt.in, got, err, tt.want)
		}
	}
}

// TestSourceByForm: the form of a name decides first, then the existence of a file
// with that name. It changes the working directory, so it is not parallel.
func TestSourceByForm(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"127.0.0.1:39997", "[::1]:1", "h:1 p", "a:1,b", "h : 1", "file", "h p", "x:y"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Skip(err) // Windows has no such names
		}
	}
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"destinations.conf":       "file destinations.conf", // does not exist
		".conf":                   "file .conf",
		"a/b":                     "file a/b",
		"folder":                  "file folder",
		"folder/":                 "file folder/",
		"file":                    "file file",
		"h p":                     "file h p",
		"x:y":                     "file x:y",
		"127.0.0.1:39997":         "text 127.0.0.1:39997",
		"[::1]:1":                 "text [::1]:1",
		"h:1 p":                   "text h:1=p",
		"h : 1":                   "text h:1",
		"a:1,b":                   "text a:1 b:8884",
		"ml.example.org":          "text ml.example.org:8884",
		"nofile":                  "text nofile:8884",
		"h pass.conf":             "text h:8884=pass.conf",
		"'destinations.conf'":     "file destinations.conf",
		"['destinations.conf']":   "file destinations.conf",
		"['127.0.0.1:39997','a']": "text 127.0.0.1:39997 a:8884",
	} {
		sources, err := ParseSource("V", in)
		if got := describe(sources); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestSourcesRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, err string }{
		{"empty", " ", "empty"},
		{"unclosed list", `['h'`, "no ',' or ']' at character 5"},
		{"list that ends after a comma", `['h',`, "it ends too early"},
		{"unclosed hash", `{'h'=>{a=>1}`, "no ',' or '}'"},
		{"unclosed string", `['h]`, "no closing quote"},
		{"ends in a backslash", `"h\`, "no closing quote"},
		{"hash without value", `{'h'}`, "no '=>'"},
		{"hash without end", `{`, "ends too early"},
		{"wrong bracket", `['h'}`, "no ',' or ']'"},
		{"nothing in it", `[]`, "nothing in the literal"},
		{"nothing but undef", `[undef,[''],{}]`, "nothing in the literal"},
		{"text after it", `['h'] ['g']`, "text after the literal"},
		{"code after it", `['h']; system("x")`, "text after the literal"},
		{"code in it", `[system("x")]`, ""},
		{"function", `['h', system("secret")]`, "no ',' or ']'"},
		{"backticks", "['h', `secret`]", "no string, word or number"},
		{"concatenation", `['h' . 'secret']`, "no ',' or ']'"},
		{"scalar", `["$secret"]`, "a variable"},
		{"braces", `["${secret}"]`, "a variable"},
		{"special", `["h $$"]`, "a variable"},
		{"array", `["@secret"]`, "a variable"},
		{"code in a string", `["@{[ secret ]}"]`, "a variable"},
		{"in a URL", `"http://u:secret@host/"`, "a variable"},
		{"escape", `["h \x41"]`, "an escape"},
		{"line end as escape", `["h\nsecret"]`, "an escape"},
		{"deep", strings.Repeat("[", 1e5) + "'h'", "too many brackets"},
		{"deep hash", strings.Repeat("{a=>", 1e5), "too many brackets"},
		{"password in the port's place", "{'h:secret'=>[]}", `options of "h:..."`},
		{"token before the host", "{'secret@h'=>[]}", `options of "..."`},
		{"line in an element", "['h secret\nxApMon_self = off']", `"h" is not a destination`},
		{"line in a key", "{'h secret\nxApMon_self = off'=>{}}", `"h" is not a destination`},
		{"line in a password", "{'h'=>'secret\nxApMon_self=off'}", `"h" is not a destination`},
		{"CR in a password", "{'h'=>'secret\rxApMon_self=off'}", `"h" is not a destination`},
		{"line in an option", "{'h secret'=>{'a\nb'=>1}}", `option "a\nb" of "h"`},
		{"line in a value", "{'h secret'=>{a=>'1\nsecret'}}", `option "a" of "h"`},
		{"hash as a value", "{'h secret'=>{a=>{}}}", `option "a" of "h"`},
		{"list as options", "{'h secret'=>[]}", `options of "h"`},
		{"directive as an element", "['xApMon_self = off']", "is not a destination"},
		{"comment as a key", "{'#h'=>{}}", "is not a destination"},
		{"empty key", "{''=>'secret'}", "empty destination"},
	} {
		sources, err := ParseSource("VAR", tt.in)
		if tt.name == "code in it" { // a list with a bad IPv6 address; it is not evaluated
			c, _, _, err := (&Reader{Source: sources[0]}).Read(t.Context())
			if len(c.Destinations) > 0 || err == nil {
				t.Errorf("%s: got %v", tt.name, c.Destinations)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), "VAR: ") || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %s, error %v, want one with %s", tt.name, describe(sources), err, tt.err)
		} else if strings.Contains(err.Error(), "secret") || len(err.Error()) > 200 {
			t.Errorf("%s: the error shows too much: %v", tt.name, err)
		}
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	system := filepath.Join(t.TempDir(), "destinations.conf")
	if err := os.WriteFile(system, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, config, host, eos, system, want, err string
	}{
		{name: "APMON_CONFIG comes first", config: "a", host: "b", eos: "c", system: system, want: "APMON_CONFIG: text a:8884"},
		{name: "then MONALISA_HOST", config: " \t", host: "b:1", eos: "c", system: system, want: "MONALISA_HOST: text b:1"},
		{name: "then MONALISAHOST", eos: "c", system: system, want: "MONALISAHOST: text c:8884"},
		{name: "then the system's file", system: system, want: system + ": file " + system},
		{name: "then this host", system: system + "no", want: "default: text 127.0.0.1:8884"},
		{name: "a file that cannot be looked at", system: system + "/x", want: system + "/x: file " + system + "/x"},
		{name: "Perl", config: "['a','b']", want: "APMON_CONFIG: text a:8884 b:8884"},
		{name: "bad Perl", config: "['a", want: "", err: "APMON_CONFIG: not a Perl literal"},
	} {
		env := map[string]string{"APMON_CONFIG": tt.config, "MONALISA_HOST": tt.host, "MONALISAHOST": tt.eos}
		sources, err := FromEnv(func(name string) string { return env[name] }, tt.system)
		if tt.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || len(sources) != 1 {
			t.Errorf("%s: got %v, %v", tt.name, sources, err)
			continue
		}
		if got := sources[0].Name + ": " + describe(sources); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"http://h/x?a=b":               "http://h/x?a=b",
		"http://u@h/x":                 "http://xxxxx@h/x",
		"http://u:hunter@h/x":          "http://xxxxx@h/x",
		"http://hunter@h/x":            "http://xxxxx@h/x",
		"http://hunter:@h/x":           "http://xxxxx@h/x",
		"http://hunter:oauth@h/x":      "http://xxxxx@h/x",
		"http://u:hun%zzter@h/x":       "http://xxxxx@h/x",
		"http://u:hun ter@h/x":         "http://xxxxx@h/x",
		"http://u:hunter/hunter@h/x":   "http://xxxxx@h/x",
		"http://u:hunter@hunter@h:x/":  "http://xxxxx@h:x/",
		"http:u:hunter@h":              "xxxxx@h",
		"u:hunter@h/x":                 "xxxxx@h/x",
		"http://u:hunter\n@h":          "http://xxxxx@h",
		"http://u:hunter#hunter@h/x":   "http://xxxxx@h/x",
		"http://u:hunter@h/%zz?":       "http://xxxxx@h/%zz?",
		"http://u:hunter://hunter@h/x": "http://xxxxx@h/x",
		"":                             "",
	} {
		got := URL(in)
		if got.Name != want {
			t.Errorf("%q: got %q, want %q", in, got.Name, want)
		}
		_, _, _, err := (&Reader{Source: got, Transport: noTransport{}}).Read(t.Context())
		if s := fmt.Sprintf("%v %+v %#v %s", got, got, got, err); strings.Contains(s, "hunter") || strings.Contains(s, "zzter") {
			t.Errorf("%q: %s", in, s)
		}
	}
}

func FuzzSources(f *testing.F) {
	for _, s := range []string{
		"h:1 p,g", "[::1]:8884", "http://u:p@h/x", "/etc/x", `"h"`, `['h:p', "h2",]`, `{'h' => {loglevel => 'NOTICE', 'a' => undef}}`,
		"[ # c\n'h\\'', \"a\\\"b\"];", `{h=>'p q',"g"=>"p"}`, `["$x"]`, "{'h'=>'a\nxApMon_self=off'}", "[[[[[[[[[[", `{a=>[]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		one, err := ParseSource("V", s)
		two, err2 := ParseSource("V", s)
		if fmt.Sprint(err) != fmt.Sprint(err2) || len(one) != len(two) || (err == nil) != (len(one) > 0) {
			t.Fatalf("not the same twice: %v %v, %v %v", one, two, err, err2)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "V: ") || strings.ContainsAny(err.Error(), "\r\n")) {
			t.Errorf("error %q", err)
		}
		for i, src := range one {
			if src != two[i] {
				t.Errorf("not the same twice: %q %q", src.at, two[i].at)
			}
			if !src.Static() {
				continue
			}
			r := Reader{Source: src, Lookup: anyOption}
			c, problems, changed, err := r.Read(t.Context())
			if !changed || (err == nil) != (len(c.Destinations) > 0) {
				t.Errorf("%q: changed %v, %v", src.at, changed, err)
			}
			for _, p := range problems {
				if p.Source != "V" || p.Err == nil {
					t.Errorf("problem %v", p)
				}
			}
			if again, _, changed, _ := r.Read(t.Context()); changed || !again.Equal(c) {
				t.Errorf("%q: not the same when read again", src.at)
			}
			// Only a hash holds directives.
			if !strings.Contains(s, "{") && !c.Options.Equal(Options{}) {
				t.Errorf("%q sets %+v", s, c.Options)
			}
			roundTrip(t, Config{Destinations: c.Destinations})
		}
	})
}
