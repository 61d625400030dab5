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
	store := history.New(history.Options{})
	now := time.Now()
	var set Set
	set.Swap(t.Context(), nil, []Sink{LastValues{store}})
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
	want := map[string]string{"timed": "1 1234 true", "untimed": "2 0 true", "bad time": "3 0 true", "cut": "4 0 true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
