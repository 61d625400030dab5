package output

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/xdr"
)

func TestLastValues(t *testing.T) {
	t.Parallel()
	store, windows := history.New(history.Options{}), history.NewWindows(history.WindowOptions{})
	now := time.Now()
	var set Set
	set.Swap(t.Context(), nil, []Sink{LastValues{Store: store}, LastValues{Windows: windows}})
	for _, d := range []*xdr.Datagram{
		{Cluster: "C", Node: "timed", Params: []xdr.Param{xdr.Int("a", 1)}, Time: 1234, Timed: true},
		{Cluster: "C", Node: "untimed", Params: []xdr.Param{xdr.Int("a", 2)}, Time: 1234},
		{Cluster: "C", Node: "bad time", Params: []xdr.Param{xdr.Int("a", 3)}, Time: -5, Timed: true},
		nil,
	} {
		set.Offer(&receiver.Packet{Received: now, Datagram: d})
	}
	set.Offer(&receiver.Packet{Received: now, Datagram: &xdr.Datagram{Cluster: "C", Node: "cut", Params: []xdr.Param{xdr.Int("a", 4)}}, Err: xdr.ErrTruncated})
	got := map[string]string{}
	store.Each(now, func(n *history.Node) {
		for s := range n.Series() {
			got[n.Name] = strings.TrimSpace(fmt.Sprintln(s.Value, s.Time, s.Received == now.UnixNano()))
		}
	})
	window := map[string]string{}
	windows.EachSeries(now, func(s *history.SeriesInfo) {
		sent := int64(0)
		if !s.Sent.IsZero() {
			sent = s.Sent.Unix()
		}
		window[s.Node] = strings.TrimSpace(fmt.Sprintln(s.Last.Float(), sent, s.Received.Equal(now)))
	})
	want := map[string]string{"timed": "1 1234 true", "untimed": "2 0 true", "bad time": "3 0 true", "cut": "4 0 true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want, window); diff != "" {
		t.Errorf("windows: -want +got:\n%s", diff)
	}
}
