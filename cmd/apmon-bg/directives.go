package main

import (
	"cmp"
	"slices"
	"sync"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// directives returns the directives of configurations that only apmon-bg uses. Each
// corresponds to a flag. To add one, add a field to machine and a line to
// machineDirectives, or likewise to accessLogSettings and its fields, and document it in
// conf/destinations.conf.
func directives() []conf.Directive {
	var list []conf.Directive
	for _, m := range machineDirectives() {
		list = append(list, conf.Directive{Name: m.name, Local: m.local, Check: func(v string) error {
			if v == none {
				return nil
			}
			return m.add(&machine{}, conf.Setting{Name: m.name, Value: v})
		}})
	}
	for _, f := range (&accessLogSettings{}).fields() {
		// Their values depend on each other: accessLog.open checks them together.
		list = append(list, conf.Directive{Name: f.directive, Local: true})
	}
	return list
}

// none is the default of directives, as the sample file shows it.
const none = "none"

// machine holds the directives of configurations about this machine.
type machine struct {
	cluster, node, group string // the first of several values
	services             []*watchedService
	jobs                 []apmon.Job
	cgroups              []string          // patterns
	ignored              []conf.Setting    // settings that contradict an earlier one
	values               map[string]string // of the settings that can have only one value
}

// machineDirective is a line of the table of directives about this machine.
type machineDirective struct {
	name  string
	local bool                                   // see conf.Directive
	add   func(d *machine, s conf.Setting) error // adds a value, or returns why it cannot be used
}

func machineDirectives() []machineDirective {
	name := func(field func(*machine) *string) func(*machine, conf.Setting) error {
		return func(d *machine, s conf.Setting) error {
			err := xdr.CheckName(s.Value)
			if err == nil && d.first(s.Name, s) {
				*field(d) = s.Value
			}
			return err
		}
	}
	return []machineDirective{
		{"cluster", false, name(func(d *machine) *string { return &d.cluster })},
		{"node", false, name(func(d *machine) *string { return &d.node })},
		{"host_group", false, name(func(d *machine) *string { return &d.group })},
		{"service", true, func(d *machine, s conf.Setting) error {
			sv, err := parseService(s.Value)
			if err == nil && d.first("service "+sv.name, s) {
				d.services = append(d.services, sv)
			}
			return err
		}},
		{"watch_job", true, func(d *machine, s conf.Setting) error {
			j, err := parseJob(s.Value)
			if err == nil {
				d.jobs = append(d.jobs, j)
			}
			return err
		}},
		{"watch_cgroup", true, func(d *machine, s conf.Setting) error {
			_, err := newCgroupGlob(s.Value)
			if err == nil {
				d.cgroups = append(d.cgroups, s.Value)
			}
			return err
		}},
	}
}

// first reports whether a setting is the first one of a key. A later one with another
// value is recorded as ignored.
func (d *machine) first(key string, s conf.Setting) bool {
	if d.values == nil {
		d.values = map[string]string{}
	}
	value, taken := d.values[key]
	if !taken {
		d.values[key] = s.Value
	} else if value != s.Value {
		d.ignored = append(d.ignored, s)
	}
	return !taken
}

// describe collects the settings of all sources.
func describe(settings []conf.Setting) (d machine) {
	table := machineDirectives()
	for _, s := range settings {
		for _, m := range table {
			if m.name == s.Name && s.Value != none {
				_ = m.add(&d, s) // the value has been checked
			}
		}
	}
	return d
}

// accessLogSettings are the flags or directives of an access log as written; empty for
// the default.
type accessLogSettings struct {
	Input, Match, Preset, IDs, Window, Status, Format, Top, Tags, Cluster, Node string
}

type accessLogField struct {
	directive string
	byDefault string // a value that means the default
	value     *string
}

func (s *accessLogSettings) fields() []accessLogField {
	return []accessLogField{
		{"accesslog", none, &s.Input},
		{"accesslog_match", none, &s.Match},
		{"accesslog_preset", none, &s.Preset},
		{"accesslog_ids", "all", &s.IDs},
		{"accesslog_window", "", &s.Window},
		{"accesslog_status", "", &s.Status},
		{"accesslog_format", "", &s.Format},
		{"accesslog_top", "0", &s.Top},
		{"accesslog_tag", none, &s.Tags},
		{"accesslog_cluster", "", &s.Cluster},
		{"accesslog_node", "", &s.Node},
	}
}

// accessLogOf returns the settings of the first source that names a log. Settings of
// other sources are ignored.
func accessLogOf(settings []conf.Setting) accessLogSettings {
	for len(settings) > 0 {
		n := slices.IndexFunc(settings, func(s conf.Setting) bool { return s.Source != settings[0].Source })
		if n < 0 {
			n = len(settings)
		}
		var of accessLogSettings
		fields := of.fields()
		for _, s := range settings[:n] {
			for _, f := range fields {
				if f.directive != s.Name {
					continue
				}
				if *f.value = s.Value; s.Value == f.byDefault {
					*f.value = ""
				}
			}
		}
		if of.Input != "" {
			return of
		}
		settings = settings[n:]
	}
	return accessLogSettings{}
}

// names are the names of the reports on the host and on jobs; empty for the default.
type names struct{ cluster, node, jobCluster string }

// names returns the names that flags and configurations set. A host group determines the
// names that neither of them sets.
func (f *jobFlags) names(d machine) names {
	n, group := f.given, f.group
	if group == "" {
		if n.cluster == "" && n.node == "" {
			group = d.group
		}
		n.cluster, n.node = cmp.Or(n.cluster, d.cluster), cmp.Or(n.node, d.node)
	}
	if group != "" {
		n.cluster, n.node = cmp.Or(n.cluster, group+"_Nodes"), cmp.Or(n.node, procinfo.Hostname())
		n.jobCluster = cmp.Or(n.jobCluster, group+"_Jobs")
	}
	return n
}

// latest passes the newest value to one goroutine.
type latest[T any] struct {
	mu      sync.Mutex
	value   T
	changed chan struct{} // receives after a change
}

func newLatest[T any]() *latest[T] { return &latest[T]{changed: make(chan struct{}, 1)} }

func (l *latest[T]) set(v T) {
	l.mu.Lock()
	l.value = v
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default: // a wake-up is already pending
	}
}

func (l *latest[T]) get() T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value
}
