package dashboard

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/quantity"
)

// Kinds of a [Problem].
const (
	JobFailed   = "job_failed"
	ServiceDown = "service_down"
	NodesSilent = "nodes_silent"
	SenderLossy = "sender_lossy"
	Refused     = "refused"
	OutputDown  = "output_down"
	HistoryFull = "history_full"
	Dropped     = "dropped"
)

const (
	bad  = "bad"
	warn = "warn"
	// maxOfKind is the most problems of one kind in one cluster, and of senders; the others are
	// counted in one more.
	maxOfKind = 10
	// maxDetail is the length in runes at which an error is cut.
	maxDetail = 200
)

// troubles remembers since when something that has no time of its own goes wrong.
type troubles struct{ since map[string]time.Time }

// of returns since when a trouble is there.
func (t *troubles) of(kind string, is bool, now time.Time) (since time.Time) {
	if t.since == nil {
		t.since = make(map[string]time.Time)
	}
	since, known := t.since[kind]
	switch {
	case !is:
		delete(t.since, kind)
	case !known:
		since = now
		t.since[kind] = now
	}
	return since
}

// problems returns what needs attention, the worst first.
func (c *collector) problems(v *view, o *Overview) []Problem {
	all := v.failureProblems()
	all = append(all, v.silentProblems()...)
	all = append(all, outputProblems(o.Outputs)...)
	all = append(all, c.senderProblems()...)
	all = append(all, c.countProblems(o)...)
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Level, b.Level), b.Since.Compare(a.Since)) // bad before warn
	})
	all = slices.Clip(all[:min(len(all), maxProblems)])
	if all == nil {
		all = []Problem{}
	}
	return all
}

// failureProblems returns failed jobs and services that are down, the latest of each cluster.
func (v *view) failureProblems() []Problem {
	failures := slices.Clone(v.failures)
	slices.SortStableFunc(failures, func(a, b failure) int { return b.since.Compare(a.since) })
	type group struct{ cluster, kind string }
	counts := make(map[group]int)
	var all []Problem
	for _, f := range failures {
		n := f.node
		g := group{n.Cluster, JobFailed}
		if n.Kind == KindService {
			g.kind = ServiceDown
		}
		counts[g]++
		if counts[g] > maxOfKind {
			continue
		}
		p := Problem{Kind: g.kind, Level: bad, Cluster: n.Cluster, Node: n.Name, Subject: n.Cluster + "/" + n.Name, Count: 1, Since: f.since}
		p.Text = p.Subject + " is down"
		if n.Kind == KindJob {
			p.Text = p.Subject + " ended with " + n.Reason
			if f.ran > 0 {
				p.Text += " after " + quantity.Age(time.Duration(f.ran*float64(time.Second)))
			}
		}
		all = append(all, p)
	}
	for g, n := range counts {
		if more := n - maxOfKind; more > 0 {
			p := Problem{Kind: g.kind, Level: bad, Cluster: g.cluster, Subject: g.cluster, Count: more, Since: oldest(failures, g.cluster)}
			p.Text = fmt.Sprintf("%s has %d more failed jobs", g.cluster, more)
			if g.kind == ServiceDown {
				p.Text = fmt.Sprintf("%s has %d more services that are down", g.cluster, more)
			}
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b Problem) int { return cmp.Compare(a.Subject, b.Subject) }) // the order of a map is random
	return all
}

// oldest returns when the first of the failures of a cluster was.
func oldest(failures []failure, cluster string) (since time.Time) {
	for i := range failures {
		if failures[i].node.Cluster == cluster {
			since = failures[i].since // the latest are first
		}
	}
	return since
}

// silentProblems returns one problem for each cluster with silent nodes.
func (v *view) silentProblems() []Problem {
	const named = 3
	var all []Problem
	for i := range v.clusters {
		c := &v.clusters[i]
		if c.Silent == 0 {
			continue
		}
		p := Problem{Kind: NodesSilent, Level: warn, Cluster: c.Name, Subject: c.Name, Count: c.Silent}
		var names []string
		for _, n := range v.of(c.Name) {
			if n.State != Silent {
				continue
			}
			if len(names) < named {
				names = append(names, shown(n.Name))
			}
			if p.Since.IsZero() || n.LastHeard.Before(p.Since) {
				p.Since = n.LastHeard
			}
			if c.Silent == 1 {
				p.Node = n.Name
			}
		}
		p.Text = fmt.Sprintf("%s: %d of %d silent", c.Name, c.Silent, c.Nodes)
		p.Detail = strings.Join(names, ", ")
		if c.Silent > named {
			p.Detail += ", …"
		}
		if c.Silent == c.Nodes {
			p.Level = bad
		}
		all = append(all, p)
	}
	return all
}

// outputProblems returns the outputs that do not work.
func outputProblems(outputs []Output) []Problem {
	var all []Problem
	for _, o := range outputs {
		if o.Error == "" {
			continue
		}
		p := Problem{Kind: OutputDown, Level: bad, Subject: o.Name, Text: o.Name + " does not work", Detail: cut(o.Error, maxDetail), Count: 1}
		if o.Since != nil {
			p.Since = *o.Since
		}
		all = append(all, p)
	}
	return all
}

// senderProblems returns the senders that lose the most.
func (c *collector) senderProblems() []Problem {
	var lossy []*Sender
	for i := range c.listed {
		if c.listed[i].Lossy {
			lossy = append(lossy, &c.listed[i])
		}
	}
	slices.SortStableFunc(lossy, func(a, b *Sender) int { return cmp.Compare(b.LostRatio, a.LostRatio) })
	var all []Problem
	for _, s := range lossy[:min(len(lossy), maxOfKind)] {
		p := Problem{Kind: SenderLossy, Level: warn, Subject: s.Address, Cluster: s.Cluster, Count: 1, Since: c.senders.lossy[keyOf(s)]}
		p.Text = fmt.Sprintf("%s lost %s of its datagrams", s.Address, percent(s.LostRatio))
		if s.Instance != nil {
			p.Detail = fmt.Sprintf("instance %d", *s.Instance)
		}
		all = append(all, p)
	}
	if more := len(lossy) - maxOfKind; more > 0 {
		all = append(all, Problem{
			Kind: SenderLossy, Level: warn, Subject: fmt.Sprint(more, " more senders"), Text: fmt.Sprint(more, " more senders lost datagrams"),
			Count: more, Since: c.samples.now().at,
		})
	}
	return all
}

// countProblems returns what follows from the counts of the last minutes.
func (c *collector) countProblems(o *Overview) []Problem {
	now, before := c.samples.now(), c.samples.before(recently)
	var all []Problem
	add := func(p Problem, about string, count float64) {
		p.Level, p.Count, p.Since = warn, int(count), c.troubles.of(p.Kind+about, count > 0, now.at)
		if count > 0 {
			p.Text = p.Subject + p.Text
			all = append(all, p)
		}
	}
	n := grown(before.totals.Refused, now.totals.Refused)
	add(Problem{Kind: Refused, Subject: plural(n, "datagram"), Text: " refused in the last 5 min", Detail: c.refusals(before, now)}, "", n)
	n = grown(before.totals.Dropped, now.totals.Dropped)
	add(Problem{Kind: Dropped, Subject: plural(n, "datagram"), Text: " dropped in the last 5 min", Detail: "they arrive faster than they are handled"}, "", n)
	for i := range o.Outputs {
		out := &o.Outputs[i]
		n := grown(before.dropped[out.Name], now.dropped[out.Name])
		add(Problem{Kind: Dropped, Subject: out.Name, Text: " dropped " + plural(n, "datagram") + " in the last 5 min", Detail: causes(nil, out.Dropped)}, " "+out.Name, n)
	}
	n = grown(before.droppedSeries, now.droppedSeries)
	full := Problem{Kind: HistoryFull, Subject: "The history", Text: " has no room for " + plural(n, "series")}
	if n == 0 {
		n = grown(before.droppedPoints, now.droppedPoints)
		full.Text = " drops its oldest values early"
	}
	full.Detail = fmt.Sprintf("%s of %s are used: raise --history-memory", quantity.String(float64(o.History.Bytes), "B"), quantity.String(float64(o.History.MaxBytes), "B"))
	add(full, "", n)
	return all
}

// refusals says why datagrams were refused, and who sent most of them.
func (c *collector) refusals(before, now *sample) string {
	detail := causes(before.totals.Refusals, now.totals.Refusals)
	var worst *Sender
	most := 0.0
	for i := range c.listed {
		s := &c.listed[i]
		if s.Refusal == "" {
			continue
		}
		if _, old := c.senders.of(keyOf(s), now.at, recently); grown(old.refused, s.Refused) > most {
			worst, most = s, grown(old.refused, s.Refused)
		}
	}
	if worst != nil {
		detail += fmt.Sprintf("; most from %s: %s", worst.Address, cut(worst.Refusal, maxDetail))
	}
	return detail
}

// causes lists by how much counts grew: "3 by password, 1 by flood".
func causes(before, now map[string]uint64) string {
	var parts []string
	for _, cause := range slices.Sorted(maps.Keys(now)) {
		if n := grown(before[cause], now[cause]); n > 0 {
			parts = append(parts, fmt.Sprintf("%.0f by %s", n, strings.ReplaceAll(cause, "_", " ")))
		}
	}
	return strings.Join(parts, ", ")
}

func plural(n float64, of string) string {
	if n == 1 || strings.HasSuffix(of, "s") {
		return fmt.Sprintf("%.0f %s", n, of)
	}
	return fmt.Sprintf("%.0f %ss", n, of)
}

// percent returns a part of 1 as text.
func percent(part float64) string { return quantity.String(100*part, "%") }
