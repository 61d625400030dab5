// Package dashboard has the pages and the JSON API that show what was received: an overview,
// nodes and their parameters, graphs, jobs and senders. apmon-recv and apmon-bg serve it, and
// the terminal view of apmon-recv reads the same API.
package dashboard

import (
	"encoding/json"
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
	Rate       float64   `json:"datagrams_per_second"` // over the last minute, filled in by the dashboard
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
	Outputs             []Output  `json:"outputs"`
	Clusters            []Cluster `json:"clusters"` // those in trouble first
	Problems            []Problem `json:"problems"` // the worst first
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
	Level   string    `json:"level"` // "bad" or "warn"
	Text    string    `json:"text"`
	Detail  string    `json:"detail,omitempty"`
	Cluster string    `json:"cluster,omitempty"`
	Node    string    `json:"node,omitempty"`
	Since   time.Time `json:"since"`
}

// Cluster is an entry of /api/v1/clusters.
type Cluster struct {
	Name      string    `json:"name"`
	Nodes     int       `json:"nodes"`
	Live      int       `json:"live"`    // heard in time
	Silent    int       `json:"silent"`  // not heard for longer than they used to
	Failing   int       `json:"failing"` // failed jobs, services that are down
	Series    int       `json:"series"`
	LastHeard time.Time `json:"last_heard"`
}

// Node is an entry of /api/v1/nodes.
type Node struct {
	Cluster   string    `json:"cluster"`
	Name      string    `json:"name"`
	State     string    `json:"state"` // "live", "silent", "failing"
	Series    int       `json:"series"`
	LastHeard time.Time `json:"last_heard"`
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

// Series is the answer of /api/v1/series.
type Series struct {
	Cluster string   `json:"cluster"`
	Node    string   `json:"node"`
	Name    string   `json:"name"`
	Unit    string   `json:"unit,omitempty"`
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
func (s Sample) MarshalJSON() ([]byte, error) { return json.Marshal([]any{float64(s.Time.UnixMilli()) / 1000, s.Value}) }
