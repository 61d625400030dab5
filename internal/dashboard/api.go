// Package dashboard has the pages and the JSON API that show what was received: an overview,
// nodes and their parameters, graphs, jobs and senders. apmon-recv and apmon-bg serve it, and
// the terminal view of apmon-recv reads the same API.
package dashboard

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/apmon-go/apmon/internal/history"
)

// Source is what a dashboard shows.
type Source struct {
	Windows *history.Windows
	// Senders returns the senders that are heard; nil if the program receives nothing.
	Senders func() []Sender
	// Totals returns counts since the start.
	Totals func() Totals
	// Outputs returns the outputs; nil if there are none.
	Outputs func() []Output
	// Units returns the unit and the meaning of a parameter, empty if they are not known; nil
	// for no units.
	Units   func(param string) (unit, meaning string)
	Name    string // of the program, as "apmon-recv"
	Version string
	Host    string // the name of this host
}

// Totals are counts since the start of the program.
type Totals struct {
	Datagrams  uint64 `json:"datagrams"`  // accepted
	Parameters uint64 `json:"parameters"` // of them
	Lost       uint64 `json:"lost"`       // gaps in sequence numbers
	Refused    uint64 `json:"refused"`
	// Refusals are those of Refused by cause: "password", "access", "flood", "malformed".
	Refusals map[string]uint64 `json:"refusals,omitempty"`
	Dropped  uint64            `json:"dropped"` // by the kernel or the queue
	Senders  int               `json:"senders"` // heard within 900 s
}

// Sender is a client: an address and an instance id.
type Sender struct {
	Address    string    `json:"address"`
	Instance   *int32    `json:"instance"` // null before version 2.2
	Version    string    `json:"version"`
	Received   uint64    `json:"received"`
	Lost       uint64    `json:"lost"`
	Reordered  uint64    `json:"reordered"`
	Duplicate  uint64    `json:"duplicate"`
	Refused    uint64    `json:"refused"`
	Refusal    string    `json:"refusal,omitempty"` // the last reason
	Restarts   uint64    `json:"restarts"`
	FirstHeard time.Time `json:"first_heard"`
	LastHeard  time.Time `json:"last_heard"`
	// Cluster and Node are names that it sent, empty if they are not known or very long.
	Cluster string `json:"cluster,omitempty"`
	Node    string `json:"node,omitempty"`
	// The dashboard fills these in. Rate is that of the last minute or two; LostRatio is the part
	// that was lost of what was sent in the last 5 minutes; a sender is lossy if it is more
	// than a hundredth, and at least 2 datagrams.
	Rate      float64 `json:"datagrams_per_second"`
	LostRatio float64 `json:"lost_ratio"`
	Lossy     bool    `json:"lossy"`
}

// Output is where datagrams are passed on to.
type Output struct {
	Name    string            `json:"name"`
	Queued  int               `json:"queued"` // datagrams
	Sent    uint64            `json:"sent"`
	Dropped map[string]uint64 `json:"dropped,omitempty"` // by cause
	Error   string            `json:"error,omitempty"`   // why it does not work now
	Since   *time.Time        `json:"since,omitempty"`   // since when
}

// Overview is the answer of /api/v1/overview.
type Overview struct {
	Time                time.Time `json:"time"`
	Host                string    `json:"host"`
	Program             string    `json:"program"`
	Version             string    `json:"version"`
	DatagramsPerSecond  float64   `json:"datagrams_per_second"`
	ParametersPerSecond float64   `json:"parameters_per_second"`
	LostRatio           float64   `json:"lost_ratio"` // of the last minute
	Totals              Totals    `json:"totals"`
	RefusedPerMinute    float64   `json:"refused_per_minute"`
	Outputs             []Output  `json:"outputs"`
	ClusterCount        int       `json:"cluster_count"`
	NodeCount           int       `json:"node_count"`
	Clusters            []Cluster `json:"clusters"` // those in trouble first, at most 1000
	Problems            []Problem `json:"problems"` // the worst first, at most 100
	History             History   `json:"history"`
}

// History is the state of the window of values.
type History struct {
	SpanSeconds   float64 `json:"span_seconds"`
	Series        int     `json:"series"`
	Points        int     `json:"points"`
	Bytes         int64   `json:"bytes"`
	MaxBytes      int64   `json:"max_bytes"`
	DroppedPoints uint64  `json:"dropped_points"`
	DroppedSeries uint64  `json:"dropped_series"`
}

// Problem is something that needs attention.
type Problem struct {
	// Kind is "job_failed", "service_down", "nodes_silent", "sender_lossy", "refused",
	// "output_down", "history_full", "dropped".
	Kind    string    `json:"kind"`
	Level   string    `json:"level"`   // "bad" or "warn"
	Subject string    `json:"subject"` // a name, with which Text begins
	Text    string    `json:"text"`    // a whole sentence
	Detail  string    `json:"detail,omitempty"`
	Count   int       `json:"count"` // of nodes, senders or datagrams that it is about
	Cluster string    `json:"cluster,omitempty"`
	Node    string    `json:"node,omitempty"`
	Since   time.Time `json:"since"`
}

// States of a [Node].
const (
	Live    = "live"
	Silent  = "silent"  // not heard for longer than three times its usual interval, and 60 s
	Failing = "failing" // a job that failed, or a service that is down
	Ended   = "ended"   // a job that ended well
)

// Kinds of a [Node]. Others have none.
const (
	KindJob     = "job"     // it reports run_time, exit_code or exit_signal
	KindService = "service" // it reports up
)

// Cluster is an entry of /api/v1/clusters.
type Cluster struct {
	Name      string    `json:"name"`
	Nodes     int       `json:"nodes"`
	Live      int       `json:"live"`    // heard in time
	Silent    int       `json:"silent"`  // not heard for longer than they used to
	Failing   int       `json:"failing"` // failed jobs, services that are down
	Ended     int       `json:"ended"`   // jobs that ended well
	Lossy     int       `json:"lossy"`   // senders that lose datagrams
	Jobs      int       `json:"jobs"`    // nodes that are jobs
	Series    int       `json:"series"`
	LastHeard time.Time `json:"last_heard"`
}

// Node is an entry of /api/v1/nodes.
type Node struct {
	Cluster   string    `json:"cluster"`
	Name      string    `json:"name"`
	State     string    `json:"state"`            // "live", "silent", "failing" or "ended"
	Kind      string    `json:"kind,omitempty"`   // "job" or "service"
	Reason    string    `json:"reason,omitempty"` // why it is failing: "exit code 3", "signal 9", "down"
	Series    int       `json:"series"`
	LastHeard time.Time `json:"last_heard"`
	// Interval is the usual time in seconds between its reports, 0 if it is not known.
	Interval float64 `json:"interval_seconds"`
}

// Value is a value of a parameter: a number with all its digits, a string, or one of the
// strings "NaN", "+Inf" and "-Inf".
type Value = json.RawMessage

// Param is an entry of /api/v1/params.
type Param struct {
	Cluster   string     `json:"cluster"`
	Node      string     `json:"node"`
	Name      string     `json:"name"`
	Type      string     `json:"type"` // int32, int64, real32, real64 or string
	Value     Value      `json:"value"`
	Unit      string     `json:"unit,omitempty"`
	Meaning   string     `json:"meaning,omitempty"`
	LastHeard time.Time  `json:"last_heard"`
	Sent      *time.Time `json:"sent,omitempty"` // the time that the datagram carries
	Points    int        `json:"points"`         // values in the window
}

// Series is an entry of /api/v1/series.
type Series struct {
	Cluster string   `json:"cluster"`
	Node    string   `json:"node"`
	Name    string   `json:"name"`
	Unit    string   `json:"unit,omitempty"`
	Meaning string   `json:"meaning,omitempty"`
	From    float64  `json:"from"` // Unix seconds
	To      float64  `json:"to"`
	Points  []Sample `json:"points"` // oldest first
	Min     *float64 `json:"min"`    // null without numbers, so the others
	Mean    *float64 `json:"mean"`
	Max     *float64 `json:"max"`
}

// Sample is a value at a time: [Unix seconds, value] in JSON.
type Sample struct {
	Time  time.Time
	Value Value
}

// MarshalJSON implements [json.Marshaler].
func (s Sample) MarshalJSON() ([]byte, error) {
	b := strconv.AppendFloat([]byte{'['}, float64(s.Time.UnixMilli())/1000, 'f', -1, 64)
	return append(append(append(b, ','), s.Value...), ']'), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Sample) UnmarshalJSON(b []byte) error {
	var pair [2]json.RawMessage
	var seconds float64
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if err := json.Unmarshal(pair[0], &seconds); err != nil {
		return err
	}
	s.Time, s.Value = time.UnixMilli(int64(math.Round(seconds*1000))).UTC(), pair[1]
	return nil
}

// ClusterList is the answer of /api/v1/clusters. Total counts the entries without limit and
// offset, as in the other lists.
type ClusterList struct {
	Time     time.Time `json:"time"`
	Total    int       `json:"total"`
	Clusters []Cluster `json:"clusters"` // those in trouble first
}

// NodeList is the answer of /api/v1/nodes.
type NodeList struct {
	Time  time.Time `json:"time"`
	Total int       `json:"total"`
	Nodes []Node    `json:"nodes"` // sorted by cluster, and by name as people do
}

// ParamList is the answer of /api/v1/params.
type ParamList struct {
	Time   time.Time `json:"time"`
	Total  int       `json:"total"`
	Params []Param   `json:"params"` // sorted by node and name
}

// SeriesList is the answer of /api/v1/series.
type SeriesList struct {
	Time   time.Time `json:"time"`
	Series []Series  `json:"series"` // in the order of the nodes that were asked for
}

// SenderList is the answer of /api/v1/senders.
type SenderList struct {
	Time    time.Time `json:"time"`
	Total   int       `json:"total"`
	Senders []Sender  `json:"senders"` // sorted by address and instance
}

// Error is the answer to a request that cannot be answered.
type Error struct {
	Error     string `json:"error"`
	Parameter string `json:"parameter,omitempty"` // that is wrong
}
