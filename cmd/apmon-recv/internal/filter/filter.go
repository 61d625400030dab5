// Package filter leaves out clusters, nodes and parameters before the outputs.
package filter

import (
	"fmt"
	"sync/atomic"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/glob"
)

// Options are patterns of names, as [glob.List] has them. Empty lists take everything.
type Options struct {
	Cluster glob.List `yaml:"cluster"`
	Node    glob.List `yaml:"node"`
	Param   glob.List `yaml:"param"`
}

// Check returns an error for a pattern that cannot match a name.
func (o Options) Check() error {
	for _, l := range []struct {
		name string
		list glob.List
	}{{"cluster", o.Cluster}, {"node", o.Node}, {"param", o.Param}} {
		for _, pattern := range l.list {
			if pattern == "" || pattern == "!" {
				return fmt.Errorf("%s: the pattern is empty", l.name)
			}
		}
	}
	return nil
}

// Filter applies options. Its methods are safe for concurrent use.
type Filter struct {
	options Options
	*counts
}

type counts struct{ datagrams, params atomic.Uint64 }

// New returns a filter.
func New(o Options) *Filter { return &Filter{o, new(counts)} }

// With returns a filter with other options that continues the counts of f.
func (f *Filter) With(o Options) *Filter { return &Filter{o, f.counts} }

// Filtered returns the number of accepted datagrams of which nothing was left, and the
// number of parameters left out of others.
func (f *Filter) Filtered() (datagrams, params uint64) {
	return f.datagrams.Load(), f.params.Load()
}

// Apply removes the parameters that the filter leaves out, and reports whether anything is
// left. If it removes some, it encodes the datagram once more into a new p.Raw, with its header,
// time and password as they were. A refused datagram passes if no filter is set, or if it
// could be read as far as its names and they match.
func (f *Filter) Apply(p *receiver.Packet) bool {
	o := &f.options
	if p.Datagram == nil {
		return len(o.Cluster)+len(o.Node)+len(o.Param) == 0 ||
			p.Refused != nil && p.Refused.Cluster != "" && o.Cluster.Match(p.Refused.Cluster) && o.Node.Match(p.Refused.Node)
	}
	d := p.Datagram
	if len(o.Cluster) > 0 && !o.Cluster.Match(d.Cluster) || len(o.Node) > 0 && !o.Node.Match(d.Node) {
		f.datagrams.Add(1)
		return false
	}
	if len(o.Param) == 0 {
		return true
	}
	kept := d.Params[:0]
	for i := range d.Params {
		if o.Param.Match(d.Params[i].Name) {
			kept = append(kept, d.Params[i])
		}
	}
	left := len(d.Params) - len(kept)
	d.Params = kept
	switch {
	case len(kept) == 0:
		f.datagrams.Add(1)
		return false
	case left > 0:
		f.params.Add(uint64(left))
		p.Raw = d.Append(nil)
	}
	return true
}
