package apmon

import (
	"maps"
	"slices"
	"sync"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
)

// group stands for the destinations whose sources ask for the same reports, so that
// one collection serves them all. Reloads keep groups whose options do not change.
type group struct {
	opts   conf.Options
	source string // the first with these options
	tag    tag    // of its destinations
}

// groups are the groups of one configuration.
type groups struct {
	all    []*group // one for each source; sources may share one
	wanted []*group // those with a destination or a tap, each once
	last   tag      // the highest tag that has been given
}

// newGroups returns the groups of sources with the given options. It keeps a group
// of the old configuration if the options are the same.
func newGroups(configs []conf.Config, options []conf.Options, old *groups) *groups {
	gs := &groups{last: old.last}
	for i, o := range options {
		o = o.ForReports()
		same := func(g *group) bool { return g.opts.Equal(o) }
		if j := slices.IndexFunc(gs.all, same); j >= 0 {
			gs.all = append(gs.all, gs.all[j])
		} else if j := slices.IndexFunc(old.all, same); j >= 0 {
			gs.all = append(gs.all, old.all[j])
		} else {
			gs.last++
			gs.all = append(gs.all, &group{o, configs[i].Source, gs.last})
		}
	}
	return gs
}

// monitoring returns the options of each source after AdjustSource and
// WithoutHost.
func (s *settings) monitoring(configs []conf.Config) ([]conf.Options, error) {
	var all []conf.Options
	for _, cfg := range configs {
		o := cfg.Options
		if s.AdjustSource != nil {
			o.Switches = maps.Clone(o.Switches)
			s.AdjustSource(&o)
			if err := checkOptions(o); err != nil {
				return nil, err
			}
		}
		if s.WithoutHost {
			o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off
		}
		all = append(all, o)
	}
	return all, nil
}

// want keeps the groups that pass ok as the wanted ones.
func (gs *groups) want(ok func(*group) bool) {
	for _, g := range gs.all {
		if ok(g) && !slices.Contains(gs.wanted, g) {
			gs.wanted = append(gs.wanted, g)
		}
	}
}

// optIn holds the options that are off unless a configuration switches them on.
var optIn = sync.OnceValue(func() map[string]bool {
	off := map[string]bool{}
	for _, m := range procinfo.Metrics() {
		if m.OptIn {
			off[m.Option] = true
		}
	}
	return off
})

// choose is the [procinfo.Choice] of the group's options, the default one if g is
// nil.
func (g *group) choose(option string) (on bool, spelled string) {
	if g != nil {
		if p, ok := g.opts.Switches[option]; ok {
			return p.On, p.Name
		}
	}
	return !optIn()[option], ""
}

// host reports whether the group wants reports on the host.
func (g *group) host() bool {
	return g.opts.SysMonitoring.Or(true) || g.opts.GeneralInfo.Or(true)
}

// jobs reports whether the group wants reports on jobs.
func (g *group) jobs() bool { return g.opts.JobMonitoring.Or(true) }
