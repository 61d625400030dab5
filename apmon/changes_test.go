package apmon

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/apmon/internal/changes"
)

// A source with ChangesOnly sends what has changed, and everything often enough for MonALISA.
func TestChangesOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, n := monitored(t, noHost)
		s := &ticker{}
		s.collect = func(_ context.Context, p []Param) ([]Param, error) {
			p = append(p, Int("same", 7), String("state", "IDLE"))
			if k := len(s.times); k != 4 && k != 5 {
				p = append(p, Int("count", k))
			}
			return p, nil
		}
		add(t, c, s, ReportOptions{Cluster: "C", Interval: time.Minute, ChangesOnly: true}) // all each 300 s
		if err := c.Monitor(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Minute)
		synctest.Wait()
		var got []string
		for _, d := range n.reports(here, "C") {
			var names []string
			for _, p := range d.Params {
				names = append(names, p.Name)
			}
			got = append(got, strings.Join(names, " "))
		}
		const all = "same state count" // reports 4 and 5 have no change
		if want := []string{all, "count", "count", all, "count", "count", "count", "count"}; len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("%q", got)
		}
		for _, o := range []ReportOptions{{RefreshEvery: -1}, {RefreshEvery: 8}, {RefreshEvery: math.MaxInt}} { // of 120 s
			o.ChangesOnly = true
			if _, err := c.AddSource(s, o); err == nil || !strings.Contains(err.Error(), "refresh every") {
				t.Errorf("%+v: %v", o, err)
			}
		}
		add(t, c, s, ReportOptions{ChangesOnly: true, RefreshEvery: 7}).Remove()
		if _, err := c.AddMessenger(&collected{source: s}, ReportOptions{ChangesOnly: true}); err == nil {
			t.Error("a messenger with ChangesOnly")
		}
	})
}

// A report that was not sent is made up for by one of all parameters.
func TestChangesOnlyAfterAnError(t *testing.T) {
	t.Parallel()
	m := &collected{source: &ticker{collect: func(_ context.Context, p []Param) ([]Param, error) { return append(p, Int("same", 1)), nil }}, filter: &changes.Filter{Every: 100}}
	var got []int
	for _, e := range []error{nil, nil, errors.New("not sent"), nil} {
		_ = m.Messages(t.Context(), func(msg Message) error { got = append(got, len(msg.Params)); return e })
	}
	if !slices.Equal(got, []int{1, 0, 0, 1}) {
		t.Error(got)
	}
}
