package history

import (
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// Defaults of [WindowOptions].
const (
	DefaultSpan = time.Hour
	// DefaultWindowBytes holds an hour of 10 000 series with a value each 15 s.
	DefaultWindowBytes = 64 << 20
)

// WindowOptions are the settings of [Windows].
type WindowOptions struct {
	Span     time.Duration // how long values are kept; DefaultSpan if not positive
	MaxBytes int64         // the most memory, in bytes; DefaultWindowBytes if not positive
}

// Windows keeps the values that were received of each parameter within a time. Use
// [NewWindows]. Its methods are safe for concurrent use.
//
// If the memory does not suffice, the oldest values are dropped first, and then the series
// that have been silent longest. Both are counted.
type Windows struct{}

// NewWindows returns empty windows.
func NewWindows(o WindowOptions) *Windows { return &Windows{} }

// Configure changes the settings.
func (w *Windows) Configure(o WindowOptions) {}

// Offer adds the values of one datagram. The time is the one that the datagram carries, in
// Unix seconds; 0 is none.
func (w *Windows) Offer(cluster, node string, params []xdr.Param, received time.Time, sent int32) {}

// Forget removes the nodes for which gone is true.
func (w *Windows) Forget(gone func(cluster, node string) bool) {}

// ClusterInfo describes a cluster.
type ClusterInfo struct {
	Name     string
	Nodes    []NodeInfo // sorted by name; only if asked for
	Params   int        // series of all nodes
	Received time.Time  // when the last datagram was received
}

// NodeInfo describes a node of a cluster.
type NodeInfo struct {
	Cluster, Name string
	Params        int       // series
	Received      time.Time // when the last datagram was received
}

// SeriesInfo is the last value of a parameter.
type SeriesInfo struct {
	Cluster, Node string
	Last          xdr.Param // name and exact value; a copy
	Received      time.Time // when it was received
	Sent          time.Time // the time that the datagram carries, zero if none
	Points        int       // values in the window, for a text its changes
}

// Point is a value of a series.
type Point struct {
	Time  time.Time // when it was received, with a resolution of 1 ms
	Value xdr.Param // the name is empty
}

// Nodes returns the nodes of all clusters with a value in the window, sorted by cluster and
// name. A cluster that is not empty restricts them to one cluster.
func (w *Windows) Nodes(now time.Time, cluster string) []NodeInfo { return nil }

// Series returns the series of a node, in the order in which they were first received.
func (w *Windows) Series(now time.Time, cluster, node string) []SeriesInfo { return nil }

// EachSeries calls f for the series of every node. The info is valid during the call only;
// meanwhile values for a part of the nodes wait.
func (w *Windows) EachSeries(now time.Time, f func(*SeriesInfo)) {}

// Points appends the values of a series from one time to another, both included, oldest
// first. Of a text these are its changes. It returns false if there is no such series.
func (w *Windows) Points(to []Point, cluster, node, param string, from, until time.Time) ([]Point, bool) {
	return to, false
}

// WindowStats are the counts of [Windows].
type WindowStats struct {
	Nodes, Series, Points int           // kept now
	Bytes, MaxBytes       int64         // of memory
	Span                  time.Duration // see [WindowOptions]
	// DroppedPoints counts the values, and DroppedSeries the series, that were dropped as the
	// memory did not suffice.
	DroppedPoints, DroppedSeries uint64
}

// Stats returns the counts.
func (w *Windows) Stats() WindowStats { return WindowStats{} }
