package dashboard

import (
	"cmp"
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/history"
)

// Job is an entry of /api/v1/jobs. A value that the job does not report is null.
type Job struct {
	Node
	RunTime    *float64 `json:"run_time_seconds"`
	CPUTime    *float64 `json:"cpu_time_seconds"`
	CPUUsage   *float64 `json:"cpu_usage_percent"`      // of one CPU
	Efficiency *float64 `json:"cpu_efficiency_percent"` // of the CPUs that it was given
	Memory     *float64 `json:"rss_kb"`
	MaxMemory  *float64 `json:"max_rss_kb"`
	ExitCode   *float64 `json:"exit_code"`   // of a job that has ended
	ExitSignal *float64 `json:"exit_signal"` // instead
}

// JobList is the answer of /api/v1/jobs.
type JobList struct {
	Time    time.Time `json:"time"`
	Total   int       `json:"total"`
	Running int       `json:"running"`
	Failed  int       `json:"failed"`
	Ended   int       `json:"ended"` // well
	Silent  int       `json:"silent"`
	Jobs    []Job     `json:"jobs"` // failed ones first, then silent ones, those that run, and others
}

// jobOrder is the order of the states in a list of jobs.
var jobOrder = map[string]int{Failing: 0, Silent: 1, Live: 2, Ended: 3}

// jobSelection says which jobs are listed.
type jobSelection struct {
	cluster, state, pattern string // empty for all
	offset, limit           int
}

// Jobs returns the listed jobs of a cluster, of all for "", without more than a number of them
// if it is positive. The error wraps [ErrUnknown].
func (d *Dashboard) Jobs(cluster string, limit int) (*JobList, error) {
	return d.jobs(d.c.view(), jobSelection{cluster: cluster, limit: limit})
}

func (d *Dashboard) jobs(v *view, sel jobSelection) (*JobList, error) {
	cluster := ""
	if sel.cluster != "" {
		var ok bool
		if cluster, ok = v.cluster(sel.cluster); !ok {
			return nil, unknown("cluster", sel.cluster)
		}
	}
	list := &JobList{Time: v.at, Jobs: []Job{}}
	var nodes []*Node
	for i, all := 0, v.of(cluster); i < len(all); i++ {
		n := &all[i]
		if n.Kind != KindJob {
			continue
		}
		switch n.State {
		case Live:
			list.Running++
		case Failing:
			list.Failed++
		case Ended:
			list.Ended++
		case Silent:
			list.Silent++
		}
		if (sel.state == "" || sel.state == n.State) && (sel.pattern == "" || matches(sel.pattern, n.Name)) {
			nodes = append(nodes, n)
		}
	}
	list.Total = len(nodes)
	slices.SortStableFunc(nodes, func(a, b *Node) int {
		c := cmp.Compare(jobOrder[a.State], jobOrder[b.State])
		if c == 0 && a.State != Live { // the latest first
			c = b.LastHeard.Compare(a.LastHeard)
		}
		return c
	})
	for _, n := range slice(nodes, sel.offset, sel.limit) {
		list.Jobs = append(list.Jobs, d.job(n))
	}
	return list, nil
}

// job reads the values of a job.
func (d *Dashboard) job(n *Node) Job {
	j := Job{Node: *n}
	var points []history.Point
	for _, f := range []struct {
		param string
		to    **float64
	}{
		{"run_time", &j.RunTime}, {"cpu_time", &j.CPUTime}, {"cpu_usage", &j.CPUUsage}, {"cpu_efficiency", &j.Efficiency},
		{"rss", &j.Memory}, {"max_rss", &j.MaxMemory}, {"exit_code", &j.ExitCode}, {"exit_signal", &j.ExitSignal},
	} {
		points, _ = d.c.source.Windows.Points(points[:0], n.Cluster, n.Name, f.param, n.LastHeard.Add(-gone), d.c.clock())
		if len(points) > 0 {
			if last := &points[len(points)-1].Value; finite(last) {
				v := last.Float()
				*f.to = &v
			}
		}
	}
	if n.State == Live || n.State == Silent { // an earlier job of the same name
		j.ExitCode, j.ExitSignal = nil, nil
	}
	return j
}

// slice returns at most limit elements after the offset, all for limit 0.
func slice[T any](all []T, offset, limit int) []T {
	all = all[min(offset, len(all)):]
	if limit > 0 {
		all = all[:min(limit, len(all))]
	}
	return all
}
