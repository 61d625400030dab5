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

// directives are those of configurations that only apmon-bg uses. Each does what a
// flag does. To add one, add it here, to machine or accessLogSettings, and to
// the names that package conf reserves for commands.
func directives() []conf.Directive {
	list := []conf.Directive{
		{Name: "cluster", Check: orNone(xdr.CheckName)},
		{Name: "node", Check: orNone(xdr.CheckName)},
		{Name: "host_group", Check: orNone(xdr.CheckName)},
		{Name: "service", Local: true, Check: orNone(func(v string) error { _, err := parseService(v); return err })},
		{Name: "watch_job", Local: true, Check: orNone(func(v string) error { _, err := parseJob(v); return err })},
		{Name: "watch_cgroup", Local: true, Check: orNone(func(v string) error { _, err := newCgroupGlob(v); return err })},
	}
	for _, f := range (&accessLogSettings{}).fields() {
		// Their values depend on each other: accessLog.open checks them together.
		list = append(list, conf.Directive{Name: f.directive, Local: true})
	}
	return list
}

// none is the default of directives, as the sample file shows it.
const none = "none"

func orNone(check func(string) error) func(string) error {
	return func(v string) error {
		if v == none {
			return nil
		}
		return check(v)
	}
}

// machine holds the directives of configurations about this machine.
type machine struct {
	cluster, node, group string // the first of several values
	services             []*watchedService
	jobs                 []apmon.Job
	cgroups              []string       // patterns
	ignored              []conf.Setting // settings that contradict an earlier one
}

// describe collects the settings of all sources. Their values have been checked.
func describe(settings []conf.Setting) machine {
	var d machine
	counts := map[string]string{} // the first value of each setting that can have only one
	for _, s := range settings {
		if s.Value == none {
			continue
		}
		first := func(key string) bool {
			value, taken := counts[key]
			if !taken {
				counts[key] = s.Value
			} else if value != s.Value {
				d.ignored = append(d.ignored, s)
			}
			return !taken
		}
		switch s.Name {
		case "cluster":
			if first(s.Name) {
				d.cluster = s.Value
			}
		case "node":
			if first(s.Name) {
				d.node = s.Value
			}
		case "host_group":
			if first(s.Name) {
				d.group = s.Value
			}
		case "service":
			if sv, err := parseService(s.Value); err == nil && first("service "+sv.name) {
				d.services = append(d.services, sv)
			}
		case "watch_job":
			if j, err := parseJob(s.Value); err == nil {
				d.jobs = append(d.jobs, j)
			}
		case "watch_cgroup":
			d.cgroups = append(d.cgroups, s.Value)
		}
	}
	return d
}

// accessLogSettings are the flags or directives of an access log as written; empty for
// the default.
type accessLogSettings struct {
	Input, Match, IDs, Window, Status, Format, Cluster, Node string
}

type accessLogField struct {
	directive string
	byDefault string // a value that means the default
	value     *string
}

func (s *accessLogSettings) fields() []accessLogField {
	return []accessLogField{
		{"accesslog", none, &s.Input},
		{"accesslog_match", "", &s.Match},
		{"accesslog_ids", "all", &s.IDs},
		{"accesslog_window", "", &s.Window},
		{"accesslog_status", "", &s.Status},
		{"accesslog_format", "", &s.Format},
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
