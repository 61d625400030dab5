package prom

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Options say how parameters become metrics.
type Options struct {
	// Timestamps writes the time of the datagram, else that of its receipt, with each value:
	// see [Rule.Timestamps].
	Timestamps bool `yaml:"timestamps"`
	// Metrics are the mapping rules. The first that matches a parameter decides.
	Metrics []Rule `yaml:"metrics"`
}

// Equal reports whether both mean the same.
func (o Options) Equal(other Options) bool { return reflect.DeepEqual(o, other) }

// Rule maps parameters to a metric. Its labels are cluster, node, and those of the rule.
type Rule struct {
	// Cluster, Node and Param are patterns for the whole names; one that is not given
	// matches all. In a glob, which is the default, a star matches any text and captures
	// it. MatchType regex makes them regular expressions (RE2), whose groups capture.
	Cluster   string `yaml:"cluster"`
	Node      string `yaml:"node"`
	Param     string `yaml:"param"`
	MatchType string `yaml:"match-type"` // glob or regex
	// Drop leaves the parameters out. Nothing below is then given.
	Drop bool `yaml:"drop"`
	// Name is the name of the metric, and Labels are the values of its labels by name. Both
	// can refer to captures ($1 or ${1}; those of Cluster come first, then Node, Param) and
	// to $cluster, $node and $param. In a name, invalid characters become "_".
	Name   string            `yaml:"name"`
	Labels map[string]string `yaml:"labels"`
	Help   string            `yaml:"help"`
	// Type is gauge, which is the default, counter, whose name ends in _total, or info,
	// whose name ends in _info: the value is 1, and a label has the text, or number, of the
	// parameter. Texts are exported in no other way.
	Type       string `yaml:"type"`
	ValueLabel string `yaml:"value-label"` // of an info metric: "value" if empty
	// Scale is what values are multiplied by; 0 is 1.
	Scale float64 `yaml:"scale"`
	// Expire is the time without a value after which the series ends; 0 is that of the
	// store.
	Expire time.Duration `yaml:"expire"`
	// Timestamps writes the time of the datagram, else that of its receipt, with each value.
	// Prometheus then does not notice that a series has ended: the last value stays for five
	// minutes. It refuses values older than its newest block (about an hour), and in
	// Prometheus before 2.39 all that are out of order.
	Timestamps bool `yaml:"timestamps"`
}

// Types of metrics.
const (
	gauge   = "gauge"
	counter = "counter"
	info    = "info"
	untyped = "untyped"
)

// Names of the metrics that need no rule.
const (
	paramMetric    = "apmon_param"
	lastSeenMetric = "apmon_node_last_seen_timestamp_seconds"
)

// Beginnings of the names of our own metrics.
var ownMetrics = []string{"apmon_recv_", "go_", "process_"}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	notInName  = regexp.MustCompile(`[^a-zA-Z0-9_]`)
)

// rule is a rule that is ready for use.
type rule struct {
	Rule
	patterns [3]pattern // of cluster, node, param
	name     template
	labels   []label // in the order of their names
	// key has the names of the labels, for comparison.
	key    string
	family *family // nil if a capture determines its name
	// static is the mark of all series if neither name nor labels refer to a capture.
	static *mark
}

type label struct {
	name  string
	value template
}

// String names the rule in an error.
func (r *rule) String() string {
	var s []string
	for i, kind := range []string{"cluster", "node", "param"} {
		if text := r.patterns[i].text; text != "" {
			s = append(s, fmt.Sprintf("%s %q", kind, text))
		}
	}
	return cmp.Or(strings.Join(s, ", "), "all parameters")
}

// compile checks a rule.
func compile(c Rule) (*rule, error) {
	r := &rule{Rule: c}
	r.Type, r.Scale = cmp.Or(c.Type, gauge), cmp.Or(c.Scale, 1)
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.MatchType != "" && c.MatchType != "glob" && c.MatchType != "regex" {
		fail("match-type %q: use glob or regex", c.MatchType)
	}
	captures := 0
	for i, text := range []string{c.Cluster, c.Node, c.Param} {
		p, err := newPattern(text, c.MatchType == "regex")
		if err != nil {
			fail("%s: %w", []string{"cluster", "node", "param"}[i], err)
		}
		r.patterns[i] = p
		captures += p.captures()
	}
	if c.Expire != 0 && c.Expire < time.Second {
		fail("expire %v: at least 1s", c.Expire)
	}
	if c.Drop {
		if c.Name != "" || c.Help != "" || c.Type != "" || len(c.Labels) > 0 || c.ValueLabel != "" || c.Scale != 0 || c.Timestamps {
			fail("drop: a rule that drops has nothing but patterns")
		}
		return r, errors.Join(errs...)
	}
	errs = append(errs, r.checkName(captures), r.checkLabels(captures))
	if !utf8.ValidString(c.Help) {
		fail("help %q: it is not UTF-8", c.Help)
	}
	if math.IsNaN(c.Scale) || math.IsInf(c.Scale, 0) || c.Scale < 0 && r.Type == counter || c.Scale != 0 && r.Type == info {
		fail("scale %v: not for a %s", c.Scale, r.Type)
	}
	return r, errors.Join(errs...)
}

// suffixes are the ends of names, by type. OpenMetrics has them in the names of samples only.
var suffixes = map[string]string{counter: "_total", info: "_info"}

// reserved reports whether a name is one of our own metrics.
func reserved(name string) bool {
	return name == paramMetric || name == lastSeenMetric ||
		slices.ContainsFunc(ownMetrics, func(own string) bool { return strings.HasPrefix(name, own) })
}

func (r *rule) checkName(captures int) error {
	var err error
	if r.name, err = newTemplate(r.Name, captures); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	sample := "" // a capture can be any text
	for _, p := range r.name {
		sample += cmp.Or(p.text, "x")
	}
	if !metricName.MatchString(sample) {
		return fmt.Errorf("name %q: letters, digits and underscores, not beginning with a digit", r.Name)
	}
	if reserved(r.Name) {
		return fmt.Errorf("name %q: it is the receiver's own, as are those that begin with %s", r.Name, strings.Join(ownMetrics, ", "))
	}
	if r.Type != gauge && r.Type != counter && r.Type != info {
		return fmt.Errorf("type %q: use gauge, counter or info", r.Type)
	}
	for typ, suffix := range suffixes {
		if strings.HasSuffix(r.Name, suffix) != (typ == r.Type) {
			return fmt.Errorf("name %q: the name of every %s, and of nothing else, ends in %s", r.Name, typ, suffix)
		}
	}
	return nil
}

func (r *rule) checkLabels(captures int) error {
	var errs []error
	used := map[string]bool{"cluster": true, "node": true}
	check := func(name string) {
		switch {
		case !metricName.MatchString(name) || strings.HasPrefix(name, "__"):
			errs = append(errs, fmt.Errorf("label %q: letters, digits and underscores, not beginning with a digit or two underscores", name))
		case used[name]:
			errs = append(errs, fmt.Errorf("label %q: the metric has it already", name))
		}
		used[name] = true
	}
	keys := slices.Sorted(maps.Keys(r.Labels))
	for _, name := range keys {
		check(name)
		t, err := newTemplate(r.Labels[name], captures)
		if err != nil {
			errs = append(errs, fmt.Errorf("label %s: %w", name, err))
		}
		r.labels = append(r.labels, label{name, t})
	}
	if r.Type == info {
		r.ValueLabel = cmp.Or(r.ValueLabel, "value")
		check(r.ValueLabel)
		keys = append(keys, r.ValueLabel)
		slices.Sort(keys)
	} else if r.ValueLabel != "" {
		errs = append(errs, fmt.Errorf("value-label %q: only an info metric has one", r.ValueLabel))
	}
	r.key = strings.Join(keys, ",")
	return errors.Join(errs...)
}

// Check returns an error for each rule that is wrong, or that can never match.
func (o Options) Check() error {
	_, err := newRules(o)
	return err
}

// familyName returns the name of a metric without its suffix: OpenMetrics must not have two
// of one name.
func familyName(name, typ string) string { return strings.TrimSuffix(name, suffixes[typ]) }

// newRules makes rules ready for use.
func newRules(o Options) (*rules, error) {
	rs := &rules{
		byParam:  make(map[string][]int),
		families: make(map[string]*family),
		taken:    make(map[claimed]struct{}),
	}
	rs.unmapped = &mark{rules: rs, rule: &rule{Rule: Rule{Timestamps: o.Timestamps, Scale: 1}}, family: rs.addFamily(paramMetric, untyped, "Last value of an ApMon parameter that no rule maps.", "param")}
	rs.dropped, rs.conflict = &mark{rules: rs}, &mark{rules: rs}
	rs.lastSeen = rs.addFamily(lastSeenMetric, gauge, "When the last datagram of the node was received.", "")
	var errs []error
	for i, c := range o.Metrics {
		r, err := compile(c)
		if err == nil {
			r.Timestamps = r.Timestamps || o.Timestamps
			err = rs.add(i, r)
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				errs = append(errs, fmt.Errorf("metrics: rule %d (%v): %s", i+1, r, strings.TrimSpace(line)))
			}
		}
		rs.list = append(rs.list, r) // a wrong one keeps the numbers right
	}
	return rs, errors.Join(errs...)
}

// add adds a rule unless it conflicts with an earlier one.
func (rs *rules) add(i int, r *rule) error {
	for j, e := range rs.list {
		if e.patterns[0].covers(&r.patterns[0]) && e.patterns[1].covers(&r.patterns[1]) && e.patterns[2].covers(&r.patterns[2]) {
			return fmt.Errorf("it can never match: rule %d (%v) matches first", j+1, e)
		}
	}
	if param, ok := r.patterns[2].literal(); ok {
		rs.byParam[param] = append(rs.byParam[param], i)
	} else {
		rs.others = append(rs.others, i)
	}
	if r.Drop {
		r.static = rs.dropped
		return nil
	}
	name, ok := r.name.static()
	if !ok {
		return nil
	}
	r.family = rs.families[familyName(name, r.Type)]
	if r.family == nil {
		r.family = rs.addFamily(name, r.Type, r.Help, r.key)
	}
	if err := r.family.differs(name, r); err != nil {
		return err
	}
	if r.Help != "" && r.family.help != "" && r.Help != r.family.help {
		return fmt.Errorf("name %q: another help text than in an earlier rule; give it once", name)
	}
	r.family.help = cmp.Or(r.family.help, r.Help)
	for _, l := range r.labels {
		if _, ok := l.value.static(); !ok {
			return nil
		}
	}
	r.static = &mark{rules: rs, rule: r, family: r.family, labels: string(r.appendLabels(nil, &names{}))}
	return nil
}

// differs returns an error if a rule needs a metric of another type, or with other labels.
func (f *family) differs(name string, r *rule) error {
	switch {
	case f.typ != r.Type || f.name != name:
		return fmt.Errorf("name %q: it is a %s, and %q is a %s", name, r.Type, f.name, f.typ)
	case f.key != r.key:
		return fmt.Errorf("name %q: labels %q here, %q in an earlier rule", name, r.key, f.key)
	}
	return nil
}

func (rs *rules) addFamily(name, typ, help, key string) *family {
	f := &family{name: name, typ: typ, help: help, key: key, first: none, last: none}
	rs.families[familyName(name, typ)] = f
	rs.order = append(rs.order, f)
	rs.unsorted = true
	return f
}
