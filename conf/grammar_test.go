package conf

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDirectives: each value either sets its option or is a problem. The
// destination after it is used in both cases.
func TestDirectives(t *testing.T) {
	t.Parallel()
	type tt struct {
		line string
		want Options
		err  string // the problem after "f:2: "
	}
	tests := []tt{
		{line: "xApMon_maxMsgRate = 0.5", want: Options{MaxMsgRate: 0.5}},
		{line: "xApMon_maxMsgRate=1e3", want: Options{MaxMsgRate: 1000}},
		{line: "xApMon_maxMsgRate\t=\t7  ", want: Options{MaxMsgRate: 7}},
		{line: "xApMon_maxMsgRate = 0", err: `xApMon_maxMsgRate: "0" is not a positive number of messages a second`},
		{line: "xApMon_maxMsgRate = -1", err: `xApMon_maxMsgRate: "-1" is not`},
		{line: "xApMon_maxMsgRate = NaN", err: `xApMon_maxMsgRate: "NaN" is not`},
		{line: "xApMon_maxMsgRate = inf", err: `xApMon_maxMsgRate: "inf" is not`},
		{line: "xApMon_maxMsgRate = 1e999", err: `xApMon_maxMsgRate: "1e999" is not`},
		{line: "xApMon_maxMsgRate =", err: `xApMon_maxMsgRate: "" is not`},

		{line: "xApMon_sys_interval = 1.5", want: Options{SysInterval: 1500 * time.Millisecond}},
		{line: "xApMon_job_interval = 3600", want: Options{JobInterval: time.Hour}},
		{line: "xApMon_recheck_interval = 30", want: Options{RecheckInterval: 30 * time.Second}},
		{line: "xApMon_recheck_interval = 29.9", want: Options{RecheckInterval: MinRecheck},
			err: `warning: xApMon_recheck_interval: "29.9" is less than 30, which is used`},
		{line: "xApMon_recheck_interval = 1", want: Options{RecheckInterval: MinRecheck}, err: `warning: `},
		{line: "xApMon_sys_interval = 0", err: `xApMon_sys_interval: "0" is not a positive time`},
		{line: "xApMon_sys_interval = -5", err: `xApMon_sys_interval: "-5"`},
		{line: "xApMon_sys_interval = NaN", err: `xApMon_sys_interval: "NaN"`},
		{line: "xApMon_sys_interval = 1e10", err: `xApMon_sys_interval: "1e10"`},
		{line: "xApMon_sys_interval = 2m", want: Options{SysInterval: 2 * time.Minute}},
		{line: "xApMon_job_interval = 5s", want: Options{JobInterval: 5 * time.Second}},
		{line: "xApMon_sys_interval = often", err: `xApMon_sys_interval: "often" is not a time`},

		// Text after a value, as the older clients read it.
		{line: "xApMon_sys_load1 = off # reason", want: Options{Switches: map[string]ParamSwitch{"sys_load1": {}}},
			err: `warning: xApMon_sys_load1: the text after the value is ignored`},
		{line: "xApMon_sys_interval = 60 # s", want: Options{SysInterval: time.Minute}, err: `warning: xApMon_sys_interval: the text after the value`},
		{line: "xApMon_sys_interval = 60 s", want: Options{SysInterval: time.Minute}, err: `warning: xApMon_sys_interval: the text after the value`},
		{line: "xApMon_maxMsgRate = 20\t#\ta second", want: Options{MaxMsgRate: 20}, err: `warning: xApMon_maxMsgRate: the text after`},
		{line: "xApMon_loglevel = DEBUG for now", want: Options{LogLevel: slog.LevelDebug}, err: `warning: xApMon_loglevel: the text after`},
		{line: "xApMon_self = on off", want: Options{Self: On}, err: `warning: xApMon_self: the text after`},
		{line: "xApMon_recheck_interval = 5 # s", want: Options{RecheckInterval: MinRecheck}, err: `warning: xApMon_recheck_interval: "5" is less than`},
		{line: "xApMon_self = # off", err: `xApMon_self: "" is neither`},
		{line: "xApMon_self = maybe # off", err: `xApMon_self: "maybe" is neither`},
		{line: "xApMon_accesslog_ids = a/b/c", want: Options{}}, // of apmon-bg

		{line: "xApMon_sys_data_sent = 1234567", want: Options{}},
		{line: "xApMon_job_data_sent = x", want: Options{}},
		{line: "xApMon_general_data_sent = 0", want: Options{}},
		{line: "xApMon_new_data_sent = 0", want: Options{}},
		{line: "xApMon_auto_disable = 60", err: `warning: xApMon_auto_disable: is of older clients, and ignored`},
		{line: "xApMon_colour = red", err: `warning: directive "xApMon_colour": unknown, and ignored`},
		{line: "xApMon_ = on", err: `warning: directive "xApMon_": unknown`},
		{line: "xApMon_LOGLEVEL = INFO", err: `warning: directive "xApMon_LOGLEVEL": unknown`},
		{line: "xApMon_sys_load1", err: `directive "xApMon_sys_load1" has no '='`},
		{line: "xApMon_sys_load1 = maybe", err: `xApMon_sys_load1: "maybe" is neither on nor off`},
		{line: "xapmon_self=off", err: `destination "xapmon_self=off": a directive is written xApMon_NAME = VALUE`},
		{line: "xapmon_self =off", err: `destination "xapmon_self": a directive is written`},

		{line: "xApMon_sys_load1 = off", want: Options{Switches: map[string]ParamSwitch{"sys_load1": {}}}},
		{line: "xApMon_sys_blocks_in_R = on", want: Options{Switches: map[string]ParamSwitch{"sys_pages_in": {true, "sys_blocks_in_R"}}}},
		{line: "xApMon_sys_net_socket = on", want: Options{Switches: map[string]ParamSwitch{"sys_net_sockets": {true, "sys_net_socket"}}}},
		{line: "xApMon_job_total_threads=0", want: Options{Switches: map[string]ParamSwitch{"job_threads": {false, "job_total_threads"}}}},
		{line: "xApMon_cpu_MHz=1", want: Options{Switches: map[string]ParamSwitch{"cpu_MHz": {On: true}}}},
		{line: "xApMon_cpu_mhz=1", err: `warning: directive "xApMon_cpu_mhz": unknown`},
	}
	for name, level := range map[string]slog.Level{
		"FATAL": slog.LevelError + 4, "ERROR": slog.LevelError, "SEVERE": slog.LevelError,
		"WARNING": slog.LevelWarn, "warn": slog.LevelWarn, "INFO": 0, "Notice": -1, "CONFIG": -2,
		"DEBUG": slog.LevelDebug, "FINE": slog.LevelDebug, "finer": slog.LevelDebug, "FINEST": slog.LevelDebug, "ALL": slog.LevelDebug,
		"OFF": LevelOff,
	} {
		tests = append(tests, tt{line: "xApMon_loglevel = " + name, want: Options{LogLevel: level}})
	}
	tests = append(tests, tt{line: "xApMon_loglevel = 3", err: `xApMon_loglevel: log level "3" is none of`})
	for _, v := range []string{"on", "ON", "On", "true", "True", "TRUE", "yes", "Yes", "YES", "1"} {
		tests = append(tests, tt{line: "xApMon_job_monitoring = " + v, want: Options{JobMonitoring: On}})
	}
	for _, v := range []string{"off", "OFF", "Off", "false", "False", "FALSE", "no", "No", "NO", "0"} {
		tests = append(tests, tt{line: "xApMon_job_monitoring=" + v, want: Options{JobMonitoring: Off}})
	}
	for name, want := range map[string]Options{
		"conf_recheck": {Recheck: Off}, "sys_monitoring": {SysMonitoring: Off}, "job_monitoring": {JobMonitoring: Off},
		"general_info": {GeneralInfo: Off}, "self": {Self: Off},
	} {
		tests = append(tests, tt{line: "xApMon_" + name + " = off", want: want})
		for _, v := range []string{"", "2", "-1", "o n", "onn", "enabled", "'on'"} {
			tests = append(tests, tt{line: "xApMon_" + name + " = " + v, err: fmt.Sprintf("xApMon_%s: %q is neither on nor off", name, v)})
		}
	}
	for _, tt := range tests {
		c, problems := Parse("f", []byte("first:1\n"+tt.line+"\nlast:1\n"), knownOption)
		if len(c.Destinations) != 2 {
			t.Errorf("%s: destinations %v", tt.line, c.Destinations)
		}
		if !c.Options.Equal(tt.want) {
			t.Errorf("%s: got %+v", tt.line, c.Options)
		}
		switch {
		case tt.err == "" && len(problems) > 0, tt.err != "" && len(problems) != 1:
			t.Errorf("%s: problems %v", tt.line, problems)
		case tt.err != "":
			want := "f:2: " + tt.err
			if got := problems[0].Error(); !strings.HasPrefix(got, want) || problems[0].Warning != strings.HasPrefix(tt.err, "warning") {
				t.Errorf("%s: got %q, want %q", tt.line, got, want)
			}
		}
	}
}

func TestLaterDirectiveCounts(t *testing.T) {
	t.Parallel()
	c, _ := Parse("f", []byte("xApMon_self = off\nxApMon_self = on\nxApMon_sys_load1 = on\nxApMon_sys_load1 = 0"), knownOption)
	if c.Self != On || c.Switches["sys_load1"].On {
		t.Errorf("got %+v", c)
	}
}

// TestRealWorld: files as users have them, and the expected result.
func TestRealWorld(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text   string
		destinations string
		problems     []string // their beginnings
	}{
		{"seed", `# Sample destination file
#
#host:port password

 monalisa.cern.ch:8884
lcfg.rogrid.pub.ro   mypass
xApMon_loglevel = INFO
xApMon_conf_recheck = on
xApMon_recheck_interval = 600
xApMon_auto_disable = 60
xApMon_maxMsgRate = 50
xApMon_sys_monitoring = on
xApMon_sys_interval = 30
xApMon_sys_data_sent = 1092
xApMon_sys_cpu_usr = on
xApMon_sys_blocks_in = off
xApMon_sys_net_socket = on
xApMon_job_monitoring = on
xApMon_job_interval = 30
xApMon_job_total_processes = on
xApMon_general_info = on
xApMon_hostname = on
xApMon_no_CPUs = on
`, "monalisa.cern.ch:8884 lcfg.rogrid.pub.ro:8884=mypass", []string{"f:10: warning: xApMon_auto_disable"}},
		{"CRAB", "cms-dashboard.cern.ch:8884\n\nxApMon_sys_monitoring=0\nxApMon_general_info = 0\n", "cms-dashboard.cern.ch:8884", nil},
		{"EOS", "eos-monitor.cern.ch\n", "eos-monitor.cern.ch:8884", nil},
		{"ROOT", "pcalimonitor.cern.ch:8884 pw", "pcalimonitor.cern.ch:8884=pw", nil},
		{"a servlet's answer", "10.1.2.3:8884 \r\n10.1.2.4:8884 \r\nxApMon_loglevel = WARNING\r\n", "10.1.2.3:8884 10.1.2.4:8884", nil},
		{"byte order mark", "\ufeffa\nb", "a:8884 b:8884", nil},
		{"byte order mark and comment", "\ufeff# a\nb", "b:8884", nil},
		{"only a byte order mark", "\ufeff", "", nil},
		{"no final newline", "a\nb:2 c", "a:8884 b:2=c", nil},
		{"blank lines of all kinds", "\n \n\t\r\n\v\n a \n", "a:8884", nil},
		{"double", "a pw\na:8884\na:8884 other\nb\nb pw\nA\n", "a:8884=pw b:8884=pw A:8884",
			[]string{`f:3: destination "a:8884" is there already, with another password`}},
		{"IPv6", "[2001:db8::1]:1\n[2001:db8::2] p\n2001:db8::3\n", "[2001:db8::1]:1 [2001:db8::2]:8884=p",
			[]string{`f:3: destination "2001:db8::3": an IPv6 address`}},
		{"quoted passwords", "a 'b c'\nd \"e'f\"\ng \"h\" i\nj \"k\nl ''\n", "a:8884=b c d:8884=e'f l:8884",
			[]string{`f:3: destination "g": text after`, `f:4: destination "j": the password's quote`}},
		{"comment after a host", "a # b\nc#d\ne\n", "a:8884 e:8884", []string{`f:2: destination "c#d"`}},
		{"web page", "<html>\n<body>404 not found</body>\n</html>\n", "", []string{`f:1:`, `f:2:`, `f:3:`}},
		{"binary", "\x7fELF\x02\x01\x01\x00\nok\n\x00\xff\xfe\x00\n", "ok:8884", []string{`f:1: destination "\x7fELF`, `f:3:`}},
		{"NUL", "\x00a\nb\n\x00c\n", "b:8884", []string{`f:1: destination "\x00a"`, `f:3: destination "\x00c"`}},
		{"empty", "", "", nil},
	} {
		c, problems := Parse("f", []byte(tt.text), knownOption)
		if got := destinations(c); got != tt.destinations {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.destinations)
		}
		ok := len(problems) == len(tt.problems)
		for i := range problems {
			ok = ok && strings.HasPrefix(problems[i].Error(), tt.problems[i])
		}
		if !ok {
			t.Errorf("%s: problems %v", tt.name, problems)
		}
		roundTrip(t, c)
	}
}

// destinations prints those of a configuration with their passwords.
func destinations(c Config) string {
	var list []string
	for _, d := range c.Destinations {
		s := d.Name()
		if d.Password != "" {
			s += "=" + d.Password
		}
		list = append(list, s)
	}
	return strings.Join(list, " ")
}

// roundTrip asserts that a configuration parses back from its printed form.
func roundTrip(t *testing.T, c Config) {
	t.Helper()
	text := c.Format(true)
	again, problems, _, _ := (&Reader{Source: Text("again", string(text)), Lookup: anyOption, Directives: []Directive{{Name: "accesslog"}, {Name: "accesslog_ids"}}}).Read(t.Context())
	if len(problems) > 0 || !again.Equal(c) || !c.Equal(again) {
		t.Errorf("%+v\nis printed as\n%s\nand read as\n%+v, %v", c, text, again, problems)
	}
}

// anyOption accepts any word, and maps the spellings of knownOption.
func anyOption(name string) (string, bool) {
	if canonical, ok := spellings[name]; ok {
		return canonical, true
	}
	return name, true
}

func TestManyProblems(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte(":\n"), 1<<19)
	c, problems := Parse("f", append(text, "good\n"...), nil)
	if len(c.Destinations) != 1 || len(problems) != maxProblems+1 {
		t.Fatalf("%v, %d problems", c.Destinations, len(problems))
	}
	if got, want := problems[maxProblems].Error(), fmt.Sprintf("f:%d: %d more lines could not be used", 1<<19+1, 1<<19-maxProblems); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, problems = Parse("f", bytes.Repeat([]byte("xApMon_x = 1\n"), maxProblems+2), nil)
	if last := problems[len(problems)-1]; !last.Warning {
		t.Errorf("only warnings, but the last problem is %v", last)
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	c := Config{
		Source:       "/etc/x\nxApMon_self = off",
		Destinations: []Destination{{"a", 0, ""}, {"::1", 5, "hunter2"}, {"b", 6, "hunter 'two"}, {"c", 7, `hunt"er,`}, {"d", 8, `"hunter`}},
		Options: Options{
			LogLevel: LevelOff, MaxMsgRate: 12.5, Recheck: Off, RecheckInterval: 90 * time.Second, SysMonitoring: On, SysInterval: 1500 * time.Millisecond,
			JobMonitoring: Off, JobInterval: time.Second, GeneralInfo: On, Self: Off,
			Switches: map[string]ParamSwitch{"sys_pages_in": {true, "sys_blocks_in"}, "job_rss": {}},
			Settings: []Setting{{Name: "accesslog", Value: "http://u:hunter2@h/log"}, {Name: "accesslog_ids", Value: "a/b/c d/e/f"}},
		},
	}
	want := `# /etc/x?xApMon_self = off
xApMon_loglevel = OFF
xApMon_maxMsgRate = 12.5
xApMon_conf_recheck = off
xApMon_recheck_interval = 90
xApMon_sys_monitoring = on
xApMon_sys_interval = 1.5
xApMon_job_monitoring = off
xApMon_job_interval = 1
xApMon_general_info = on
xApMon_self = off
xApMon_accesslog = http://u:hunter2@h/log
xApMon_accesslog_ids = a/b/c d/e/f
xApMon_job_rss = off
xApMon_sys_blocks_in = on
a:8884
[::1]:5 hunter2
b:6 "hunter 'two"
c:7 "hunt\"er,"
d:8 '"hunter'
`
	want = strings.Replace(want, `"hunt\"er,"`, `'hunt"er,'`, 1)
	if d := cmp.Diff(want, string(c.Format(true))); d != "" {
		t.Error(d)
	}
	roundTrip(t, c)
	roundTrip(t, Config{})
	roundTrip(t, Config{Options: Options{LogLevel: slog.LevelDebug}})

	redacted := string(c.Format(false))
	if strings.Contains(redacted, "hunt") || strings.Count(redacted, " ********\n") != 4 {
		t.Error(redacted)
	}
	if _, problems := Parse("f", []byte(redacted), knownOption); len(problems) > 0 {
		t.Error(problems)
	}
	if got := string(Config{}.Format(true)); !strings.Contains(got, "# xApMon_recheck_interval = 600\n") || !strings.Contains(got, "# xApMon_loglevel = INFO\n") {
		t.Errorf("the defaults are not printed:\n%s", got)
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	base := func() Config {
		return Config{Source: "a", Destinations: []Destination{{"h", 8884, "p"}}, Options: Options{Switches: map[string]ParamSwitch{"job_rss": {On: true}}}}
	}
	for name, tt := range map[string]struct {
		change func(*Config)
		equal  bool
	}{
		"nothing":        {func(*Config) {}, true},
		"source":         {func(c *Config) { c.Source = "b" }, true},
		"default port":   {func(c *Config) { c.Destinations[0].Port = 0 }, true},
		"port":           {func(c *Config) { c.Destinations[0].Port = 1 }, false},
		"password":       {func(c *Config) { c.Destinations[0].Password = "" }, false},
		"one more":       {func(c *Config) { c.AddLine("g") }, false},
		"none":           {func(c *Config) { c.Destinations = nil }, false},
		"rate":           {func(c *Config) { c.MaxMsgRate = 1 }, false},
		"level":          {func(c *Config) { c.LogLevel = 1 }, false},
		"switch":         {func(c *Config) { c.Self = On }, false},
		"interval":       {func(c *Config) { c.JobInterval = 1 }, false},
		"parameter":      {func(c *Config) { c.Switches["job_rss"] = ParamSwitch{} }, false},
		"setting":        {func(c *Config) { c.Settings = []Setting{{Name: "x"}} }, false},
		"spelling":       {func(c *Config) { c.Switches["job_rss"] = ParamSwitch{true, "x"} }, false},
		"no parameter":   {func(c *Config) { c.Switches = nil }, false},
		"more of a kind": {func(c *Config) { c.Switches["job_pss"] = ParamSwitch{} }, false},
	} {
		a, b := base(), base()
		tt.change(&b)
		if a.Equal(b) != tt.equal || b.Equal(a) != tt.equal {
			t.Errorf("%s: equal is not %v", name, tt.equal)
		}
	}
	if !(Options{}).Equal(Options{Switches: map[string]ParamSwitch{}}) {
		t.Error("an empty map differs from none")
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	a, _ := Parse("a", []byte("x:1\ny:2 p\nxApMon_maxMsgRate=50\nxApMon_self=off\nxApMon_sys_load1=on\n"), knownOption)
	b, _ := Parse("b", []byte("y:2 q\nx:1 r\nz:3\nxApMon_maxMsgRate=20\nxApMon_self=on\nxApMon_sys_interval=9\nxApMon_sys_load1=off\nxApMon_job_rss=off\nxApMon_loglevel=DEBUG"), knownOption)
	before, copied := string(a.Format(true)), a
	copied.Merge(b)
	want, _ := Parse("", []byte("x:1 r\ny:2 p\nz:3\nxApMon_maxMsgRate=20\nxApMon_self=off\nxApMon_sys_interval=9\nxApMon_sys_load1=on\nxApMon_job_rss=off\nxApMon_loglevel=DEBUG"), knownOption)
	if !copied.Equal(want) || copied.Source != "a" {
		t.Errorf("got %s", copied.Format(true))
	}
	copied.SetDefaultPassword("d")
	if got := destinations(copied); got != "x:1=r y:2=p z:3=d" {
		t.Errorf("got %s", got)
	}
	if got := string(a.Format(true)); got != before {
		t.Errorf("the original is now %s", got)
	}

	var none Config
	none.Merge(a)
	if !none.Equal(a) {
		t.Errorf("got %s", none.Format(true))
	}
	none.Switches["sys_load5"] = ParamSwitch{}
	if len(a.Switches) != 1 {
		t.Error("the map is shared")
	}
	a.Merge(Config{})
	if got := string(a.Format(true)); got != before {
		t.Errorf("merging nothing made %s", got)
	}
}

func TestAddLine(t *testing.T) {
	t.Parallel()
	var c Config
	for _, line := range []string{"a", "b:1 p", "a:8884 q", "b:1"} {
		if err := c.AddLine(line); err != nil {
			t.Error(err)
		}
	}
	if err := c.AddLine("a b secret"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	if got := destinations(c); got != "a:8884=q b:1=p" {
		t.Errorf("got %s", got)
	}
}

// thousandLines is a file of 1000 lines: destinations, directives, comments.
func thousandLines() []byte {
	var b bytes.Buffer
	for i := range 250 {
		fmt.Fprintf(&b, "# receiver %d\nml%d.example.org:8884\n[2001:db8::%x]:9000 \"a password\"\n", i, i, i)
		if i%2 == 0 {
			b.WriteString("xApMon_sys_monitoring = on\n")
		} else {
			b.WriteString("xApMon_sys_blocks_in_R = off\n")
		}
	}
	return b.Bytes()
}

func BenchmarkParse(b *testing.B) {
	text := thousandLines()
	b.ReportAllocs()
	for b.Loop() {
		if c, problems := Parse("f", text, knownOption); len(c.Destinations) != 500 || len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
