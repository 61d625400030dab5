package prom

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		regex         bool
		want          []string // nil for no match
	}{
		{"", "anything", false, []string{}},
		{"load1", "load1", false, []string{}},
		{"load1", "load15", false, nil},
		{"*", "", false, []string{""}},
		{"*", "a\nb", false, []string{"a\nb"}},
		{"*_in", "eth0_in", false, []string{"eth0"}},
		{"*_in", "_in", false, []string{""}},
		{"*_in", "in", false, nil},
		{"a*a", "a", false, nil},
		{"a*a", "aa", false, []string{""}},
		{"*_*", "a_b_c", false, []string{"a", "b_c"}},
		{"*_*_c", "a_b_c", false, []string{"a", "b"}},
		{"*-*-*", "a-b", false, nil},
		{"x**", "xy", false, []string{"", "y"}},
		{"[a].?", "[a].?", false, []string{}},
		{"eth[0-9]+_in", "eth0_in", true, []string{}},
		{"eth[0-9]+_in", "eth0_in2", true, nil},
		{"a|b", "ab", true, nil},
		{"(a)|(b)", "b", true, []string{"", "b"}},
		{"(.*)", "a\nb", true, []string{"a\nb"}},
	} {
		p, err := newPattern(c.pattern, c.regex)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := p.match(c.text, []string{})
		if ok != (c.want != nil) || ok && cmp.Diff(c.want, got) != "" {
			t.Errorf("%q with %q: %v %q, want %q", c.pattern, c.text, ok, got, c.want)
		}
		if ok && len(got) != p.captures() {
			t.Errorf("%q captures %d, says %d", c.pattern, len(got), p.captures())
		}
	}
}

// ruleCase is a set of rules for Check.
type ruleCase struct {
	name  string
	rules []Rule
	want  string // in the error, "" for none
}

var load = Rule{Param: "load1", Name: "apmon_load1"}

func TestCheck(t *testing.T) {
	t.Parallel()
	checkRules(t, []ruleCase{
		{"nothing", nil, ""},
		{"one", []Rule{load}, ""},
		{"all", []Rule{{Name: "everything", Labels: map[string]string{"param": "$param"}}}, ""},
		{"captures", []Rule{{Cluster: "*_Nodes", Param: "*_in", Name: "x", Labels: map[string]string{"site": "$1", "dev": "${2}_"}}}, ""},
		{"regex", []Rule{{MatchType: "regex", Param: "(eth|wlan)([0-9]+)", Name: "x", Labels: map[string]string{"a": "$1", "b": "$2"}}}, ""},
		{"name of captures", []Rule{{Param: "*_R", Name: "app_${1}_per_second"}}, ""},
		{"several, same metric", []Rule{
			{Param: "mem_free", Name: "mem_bytes", Help: "Memory.", Labels: map[string]string{"kind": "free"}},
			{Param: "mem_used", Name: "mem_bytes", Labels: map[string]string{"kind": "used"}},
		}, ""},
		{"drop", []Rule{{Cluster: "*_Test", Drop: true}, load}, ""},
		{"covered in part", []Rule{{Cluster: "a*", Param: "load1", Name: "x"}, load}, ""},
		{"special before general", []Rule{load, {Param: "load*", Name: "x"}}, ""},
		{"counter", []Rule{{Param: "a", Name: "a_total", Type: "counter"}}, ""},
		{"info", []Rule{{Param: "os_type", Name: "os_info", Type: "info", ValueLabel: "os"}}, ""},

		{"no name", []Rule{{Param: "load1"}}, `name "": letters`},
		{"bad name", []Rule{{Name: "a-b"}}, `name "a-b": letters`},
		{"colon", []Rule{{Name: "a:b"}}, `name "a:b": letters`},
		{"digit first", []Rule{{Name: "1a"}}, `name "1a": letters`},
		{"own name", []Rule{{Name: "apmon_recv_series"}}, "receiver's own"},
		{"own name of Go", []Rule{{Name: "go_goroutines"}}, "receiver's own"},
		{"default name", []Rule{{Name: "apmon_param"}}, "receiver's own"},
		{"last seen", []Rule{{Name: lastSeenMetric}}, "receiver's own"},
		{"type", []Rule{{Name: "a", Type: "histogram"}}, `type "histogram": use`},
		{"counter without _total", []Rule{{Name: "a", Type: "counter"}}, "ends in _total"},
		{"gauge with _total", []Rule{{Name: "a_total"}}, "ends in _total"},
		{"info without _info", []Rule{{Name: "a", Type: "info"}}, "ends in _info"},
		{"gauge with _info", []Rule{{Name: "a_info"}}, "ends in _info"},
		{"two types", []Rule{{Param: "a", Name: "x"}, {Param: "b", Name: "x_total", Type: "counter"}}, `"x_total": it is a counter, and "x" is a gauge`},
		{"counter and info", []Rule{{Param: "a", Name: "x_info", Type: "info"}, {Param: "b", Name: "x_total", Type: "counter"}}, "it is a counter, and"},
		{"two label sets", []Rule{{Param: "a", Name: "x"}, {Param: "b", Name: "x", Labels: map[string]string{"l": "1"}}}, `labels "l" here, "" in an earlier rule`},
		{"two help texts", []Rule{{Param: "a", Name: "x", Help: "A."}, {Param: "b", Name: "x", Help: "B."}}, "another help text"},
		{"help is not UTF-8", []Rule{{Name: "x", Help: "\xff"}}, "not UTF-8"},
		{"label name", []Rule{{Name: "x", Labels: map[string]string{"a-b": ""}}}, `label "a-b"`},
		{"reserved label name", []Rule{{Name: "x", Labels: map[string]string{"__a": ""}}}, `label "__a"`},
		{"label node", []Rule{{Name: "x", Labels: map[string]string{"node": "n"}}}, `label "node": the metric has it already`},
		{"value label twice", []Rule{{Name: "x_info", Type: "info", ValueLabel: "a", Labels: map[string]string{"a": "b"}}}, `label "a": the metric has it already`},
		{"value label of a gauge", []Rule{{Name: "x", ValueLabel: "a"}}, "only an info metric"},
		{"no such capture", []Rule{{Param: "a*", Name: "x", Labels: map[string]string{"l": "$2"}}}, "$2: the patterns capture 1 texts"},
		{"capture 0", []Rule{{Param: "a*", Name: "x", Labels: map[string]string{"l": "$0"}}}, "$0: the patterns"},
		{"capture runs on", []Rule{{Param: "a*", Name: "x_$1_y"}}, "$1_y: the patterns"},
		{"lone dollar", []Rule{{Param: "a*", Name: "x", Labels: map[string]string{"l": "a$"}}}, "a dollar is written $$"},
		{"scale", []Rule{{Name: "x_total", Type: "counter", Scale: -1}}, "scale -1"},
		{"scale of an info", []Rule{{Name: "x_info", Type: "info", Scale: 2}}, "scale 2"},
		{"expire", []Rule{{Name: "x", Expire: time.Millisecond}}, "expire 1ms"},
		{"match type", []Rule{{Name: "x", MatchType: "re"}}, `match-type "re"`},
		{"bad regex", []Rule{{Name: "x", MatchType: "regex", Node: "a("}}, "node: \"a(\": error parsing"},
		{"regex that closes our group", []Rule{{Name: "x", MatchType: "regex", Node: "a)|(b"}}, "error parsing"},
		{"drop with name", []Rule{{Name: "x", Drop: true}}, "drop:"},
	})
}

func TestRulesThatCanNeverMatch(t *testing.T) {
	t.Parallel()
	checkRules(t, []ruleCase{
		{"twice", []Rule{load, {Param: "load1", Name: "other"}}, `rule 2 (param "load1"): it can never match: rule 1 (param "load1") matches first`},
		{"after all", []Rule{{Name: "all", Labels: map[string]string{"p": "$param"}}, load}, "can never match: rule 1 (all parameters)"},
		{"after a star", []Rule{{Param: "*", Name: "all"}, load}, "can never match"},
		{"after a glob", []Rule{{Param: "load*", Name: "x"}, load}, "can never match"},
		{"glob after a glob", []Rule{{Param: "*_in", Name: "x"}, {Param: "eth*_in", Name: "y"}}, "can never match"},
		{"cluster after a glob", []Rule{{Param: "a", Cluster: "*_Nodes", Name: "x"}, {Param: "a", Cluster: "A_Nodes", Name: "y"}}, "can never match"},
		{"literal after a regex", []Rule{{Param: "load[0-9]+", MatchType: "regex", Name: "x"}, load}, "can never match"},
		{"same regex", []Rule{{Param: "a+", MatchType: "regex", Name: "x"}, {Param: "a+", MatchType: "regex", Name: "y"}}, "can never match"},
		{"literal regex", []Rule{load, {Param: "load1", MatchType: "regex", Name: "y"}}, "can never match"},
		{"after drop", []Rule{{Param: "load*", Drop: true}, load}, "can never match"},
		{"any glob after .*", []Rule{{Param: ".*", MatchType: "regex", Name: "x"}, {Param: "a*", Name: "y"}}, "can never match"},
	})
}

func checkRules(t *testing.T, cases []ruleCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := Options{Metrics: c.rules}.Check()
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			case err != nil && !strings.HasPrefix(err.Error(), "metrics: rule "):
				t.Errorf("the error names no rule: %v", err)
			}
		})
	}
}

func TestOptionsEqual(t *testing.T) {
	t.Parallel()
	a := func() Options {
		return Options{Metrics: []Rule{{Name: "x", Labels: map[string]string{"a": "b"}}}}
	}
	b := a()
	if !b.Equal(a()) {
		t.Error("different")
	}
	b.Metrics[0].Labels["a"] = "c"
	if b.Equal(a()) {
		t.Error("equal")
	}
}

// FuzzRules: any rule is refused, or writes a valid exposition.
func FuzzRules(f *testing.F) {
	f.Add("a*", "$1", "x_$1", "l", false, "ab")
	f.Add("(a)(.*)", "${2}", "x", "l", true, "ab")
	f.Fuzz(func(t *testing.T, pattern, value, name, label string, regex bool, param string) {
		r := Rule{Param: pattern, Name: name, Labels: map[string]string{label: value}}
		if regex {
			r.MatchType = "regex"
		}
		o := Options{Metrics: []Rule{r}}
		if o.Check() != nil {
			return
		}
		s := newTestStore(t, o)
		s.offer("C", "N", number(param, 1))
		s.offer("C\xff", "N\n", number(param, 1))
		s.parse(t, s.scrape(t, plainText), plainText)
		s.parse(t, s.scrape(t, openMetrics), openMetrics)
	})
}
