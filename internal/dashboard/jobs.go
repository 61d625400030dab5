package dashboard

import (
	"cmp"
	"html/template"
	"math"
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/graph"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/quantity"
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
	all := v.nodes
	if sel.cluster != "" {
		cluster, ok := v.cluster(sel.cluster)
		if !ok {
			return nil, unknown("cluster", sel.cluster)
		}
		all = v.of(cluster)
	}
	list := &JobList{Time: v.at, Jobs: []Job{}}
	var nodes []*Node
	for i := range all {
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

// jobRow is a job as a line of a table.
type jobRow struct {
	Job
	Link                       string
	When                       when
	Run, CPU, Usage, Mem, Peak quant
	Bar                        template.HTML
	Exit                       string
}

// jobsPage lists the jobs.
func (d *Dashboard) jobsPage(v *view, q *query) (page.Page, error) {
	sel := jobSelection{cluster: q.text("cluster"), pattern: q.pattern("q"), state: q.choice("state", Live, Silent, Failing, Ended), offset: q.number("offset", 0, 0, math.MaxInt32), limit: pageSize}
	if err := q.done(); err != nil {
		return page.Page{}, err
	}
	list, err := d.jobs(v, sel)
	if err != nil {
		return page.Page{}, err
	}
	data := struct {
		Cluster   string
		States    choices
		Filter    filterForm
		Rows      []jobRow
		Pages     pages
		Total     int
		AllTotal  int
		WithNames bool // of clusters
		API       string
	}{Total: list.Total, AllTotal: list.Running + list.Failed + list.Silent + list.Ended, WithNames: sel.cluster == ""}
	if !data.WithNames {
		data.Cluster, _ = v.cluster(sel.cluster)
		sel.cluster = Ref(data.Cluster)
	}
	at := func(state, o string) string {
		return link(jobsPath, "cluster", sel.cluster, "state", state, "q", sel.pattern, "offset", o)
	}
	data.API = link(apiPath+"jobs", "cluster", sel.cluster, "state", sel.state, "q", sel.pattern)
	data.States.Label = "State"
	for _, c := range []struct {
		state, text string
		n           int
	}{{"", "all", data.AllTotal}, {Failing, "failed", list.Failed}, {Silent, "silent", list.Silent}, {Live, "running", list.Running}, {Ended, "ended well", list.Ended}} {
		data.States.Choices = append(data.States.Choices, choice{Text: c.text, Link: at(c.state, ""), Current: c.state == sel.state, Count: c.n})
	}
	for _, j := range list.Jobs {
		data.Rows = append(data.Rows, jobRowOf(v, j))
	}
	data.Pages = pagesOf(sel.offset, len(data.Rows), list.Total, func(o string) string { return at(sel.state, o) })
	data.Filter = filterForm{Action: jobsPath, Query: sel.pattern, Hint: "jobs, * and ?", Hidden: []field{{"cluster", sel.cluster}, {"state", sel.state}}}
	return page.Page{Title: "Jobs", Path: jobsPath, Main: execute("jobs.html", data)}, nil
}

func jobRowOf(v *view, j Job) jobRow {
	r := jobRow{Job: j, Link: nodeLink(j.Cluster, j.Name), When: whenOf(j.LastHeard, v.at)}
	set := func(to *quant, value *float64, unit string) {
		if value != nil {
			*to = quantOf(*value, unit)
		}
	}
	set(&r.Run, j.RunTime, "s")
	set(&r.CPU, j.CPUTime, "s")
	set(&r.Mem, j.Memory, "KB")
	set(&r.Peak, j.MaxMemory, "KB")
	if use := j.Efficiency; use != nil || j.CPUUsage != nil {
		if use == nil {
			use = j.CPUUsage
		}
		set(&r.Usage, use, "%")
		r.Bar = graph.Bar(*use/100, quantity.Join(r.Usage.Text, r.Usage.Unit))
	}
	switch {
	case j.State == Failing:
		r.Exit = j.Reason
	case j.State == Ended:
		r.Exit = "0"
	}
	return r
}
