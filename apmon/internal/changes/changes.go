// Package changes leaves unchanged parameters out of reports.
package changes

import (
	"fmt"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// ParamLifetime is the time after which MonALISA drops a parameter that is not sent.
const ParamLifetime = 900 * time.Second

// refreshInterval is about the time between two reports of an unchanged parameter.
const refreshInterval = ParamLifetime / 3

// Filter removes parameters that have not changed since the previous report. Every Every-th
// report holds all parameters. It is not safe for concurrent use.
type Filter struct {
	Every int
	since int // reports since the last of all parameters
	last  map[string]xdr.Param
}

// New returns a filter for reports at an interval; every is 0 for a report of all parameters
// each 300 s. The error names a value with which parameters would be dropped.
func New(every int, interval time.Duration) (*Filter, error) {
	interval = max(1, interval) // the caller refuses it
	if every == 0 {
		every = int(max(1, refreshInterval/interval))
	}
	if every < 0 || every > 1 && time.Duration(every) >= (ParamLifetime+interval-1)/interval {
		return nil, fmt.Errorf("a refresh every %d reports of %v, at least one in less than %v", every, interval, ParamLifetime)
	}
	return &Filter{Every: every}, nil
}

// Keep returns the parameters to report, in the same array. All requests all of them.
func (f *Filter) Keep(params []xdr.Param, all bool) []xdr.Param {
	if f.since++; all || f.last == nil || f.since >= f.Every {
		f.since = 0
		f.last = make(map[string]xdr.Param, len(params))
	}
	kept := params[:0]
	for _, param := range params {
		if f.last[param.Name] != param {
			f.last[param.Name] = param
			kept = append(kept, param)
		}
	}
	return kept
}

// Forget makes the next report one of all parameters. Call it when an unknown part of a report
// was sent.
func (f *Filter) Forget() { f.last = nil }
