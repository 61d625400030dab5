package dashboard

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/apmon-go/apmon/internal/page"
	"github.com/apmon-go/apmon/internal/quantity"
)

// senderRow is a sender as a line of a table.
type senderRow struct {
	Sender
	ID          string // the instance
	RateText    string
	LostText    string
	ClusterLink string
	When, First when
}

// sendersPage lists the senders.
func (d *Dashboard) sendersPage(v *view, q *query) (page.Page, error) {
	pattern, show := q.pattern("q"), q.choice("show", "lossy", "refused")
	by, offset := q.choice("sort", "address", "rate", "lost", "age"), q.number("offset", 0, 0, math.MaxInt32)
	if err := q.done(); err != nil {
		return page.Page{}, err
	}
	data := struct {
		Filter        filterForm
		Shows, Sorts  choices
		Rows          []senderRow
		Pages         pages
		Total         int
		Totals        Totals
		Causes        string
		ReceivesAtAll bool
	}{Totals: v.overview.Totals, Causes: causes(nil, v.overview.Totals.Refusals), ReceivesAtAll: d.c.source.Senders != nil}
	at := func(show, by, o string) string {
		return link(sendersPath, "q", pattern, "show", show, "sort", by, "offset", o)
	}
	all := d.Senders().Senders
	all = slices.DeleteFunc(all, func(s Sender) bool {
		return pattern != "" && !matches(pattern, s.Address) && !matches(pattern, s.Version) && !matches(pattern, s.Cluster)
	})
	keep := map[string]func(*Sender) bool{
		"": func(*Sender) bool { return true }, "lossy": func(s *Sender) bool { return s.Lossy || s.Lost > 0 }, "refused": func(s *Sender) bool { return s.Refused > 0 },
	}
	data.Shows.Label = "Senders"
	for _, c := range []struct{ show, text string }{{"", "all"}, {"lossy", "lost datagrams"}, {"refused", "refused"}} {
		n := 0
		for i := range all {
			if keep[c.show](&all[i]) {
				n++
			}
		}
		data.Shows.Choices = append(data.Shows.Choices, choice{Text: c.text, Link: at(c.show, by, ""), Current: show == c.show, Count: n})
	}
	data.Sorts.Label = "Order"
	for _, s := range []string{"address", "rate", "lost", "age"} {
		data.Sorts.Choices = append(data.Sorts.Choices, choice{Text: s, Link: at(show, s, ""), Current: by == s || by == "" && s == "address", Count: -1})
	}
	all = slices.DeleteFunc(all, func(s Sender) bool { return !keep[show](&s) })
	sortSenders(all, by)
	data.Total = len(all)
	for _, s := range slice(all, offset, pageSize) {
		data.Rows = append(data.Rows, senderRowOf(v, s))
	}
	data.Pages = pagesOf(offset, len(data.Rows), len(all), func(o string) string { return at(show, by, o) })
	data.Filter = filterForm{Action: sendersPath, Query: pattern, Hint: "address, version or cluster, * and ?", Hidden: []field{{"show", show}, {"sort", by}}}
	return page.Page{Title: "Senders", Path: sendersPath, Main: execute("senders.html", data)}, nil
}

// sortSenders sorts senders, which come sorted by address.
func sortSenders(all []Sender, by string) {
	switch by {
	case "rate":
		slices.SortStableFunc(all, func(a, b Sender) int { return cmp.Compare(b.Rate, a.Rate) })
	case "lost":
		slices.SortStableFunc(all, func(a, b Sender) int {
			return cmp.Or(cmp.Compare(b.LostRatio, a.LostRatio), cmp.Compare(b.Lost, a.Lost))
		})
	case "age":
		slices.SortStableFunc(all, func(a, b Sender) int { return b.LastHeard.Compare(a.LastHeard) })
	}
}

func senderRowOf(v *view, s Sender) senderRow {
	r := senderRow{Sender: s, RateText: quantity.String(s.Rate, "1/s"), When: whenOf(s.LastHeard, v.at), First: whenOf(s.FirstHeard, v.at)}
	if s.Instance != nil {
		r.ID = strconv.Itoa(int(*s.Instance))
	}
	r.LostText = strconv.FormatUint(s.Lost, 10)
	if s.Lost > 0 {
		r.LostText = fmt.Sprintf("%d (%s)", s.Lost, percent(ratio(float64(s.Received), float64(s.Lost))))
	}
	if v.byName[s.Cluster] != nil {
		r.ClusterLink = clusterLink(s.Cluster, "")
	}
	return r
}
