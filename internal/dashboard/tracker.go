package dashboard

import (
	"fmt"
	"time"

	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/xdr"
)

const (
	// gone is the time after its last datagram for which a node is listed, as in MonALISA.
	// Failed jobs are listed for as long as the window has their last report.
	gone = 900 * time.Second
	// A node is silent after silentAfter times its usual interval, at least leastSilence. A node
	// that was heard once has no usual interval, and is not silent.
	silentAfter  = 3
	leastSilence = time.Minute
)

type nodeKey struct{ cluster, name string }

// nodeState is what is known of a node beyond its values.
type nodeState struct {
	seen     uint64 // the round in which the node existed last
	received time.Time
	usual    time.Duration // between its reports; 0 if not known

	kind   string
	failed string    // why the node is failing, "" if it is not
	ended  bool      // a job
	since  time.Time // when it failed
	ran    float64   // s, the last run_time of a job that failed
}

// tracker follows the nodes from one round to the next.
type tracker struct {
	windows *history.Windows
	round   uint64
	nodes   map[nodeKey]*nodeState
	points  []history.Point // scratch
}

// update takes in what was received since the last round, and returns the state of each of
// the nodes.
func (t *tracker) update(now time.Time, nodes []history.NodeInfo) []*nodeState {
	t.round++
	states := make([]*nodeState, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		key := nodeKey{n.Cluster, n.Name}
		s := t.nodes[key]
		if s == nil {
			s = &nodeState{}
			t.nodes[key] = s
		}
		s.seen = t.round
		if !s.received.Equal(n.Received) {
			s.heard(n.Received)
			t.readEnd(now, key, s)
		}
		states[i] = s
	}
	if len(t.nodes) > len(nodes) {
		for key, s := range t.nodes {
			if s.seen != t.round {
				delete(t.nodes, key)
			}
		}
	}
	return states
}

// heard notes when the node was heard. The usual interval is the longest of the last ones: a
// longer one counts at once, and shorter ones lower it slowly. So a node that sends each
// report in several datagrams, or now and then a short one, is not silent between them.
func (s *nodeState) heard(at time.Time) {
	if interval := at.Sub(s.received); !s.received.IsZero() && interval >= time.Second {
		s.usual = max(min(interval, gone/silentAfter), s.usual-s.usual/8)
	}
	s.received = at
}

// readEnd reads the parameters that say whether the node is a job or a service, and how it is.
func (t *tracker) readEnd(now time.Time, key nodeKey, s *nodeState) {
	s.kind, s.failed, s.ended, s.since = "", "", false, time.Time{}
	if up, at, ok := t.last(now, key, "up"); ok && !isText(&up) {
		s.kind = KindService
		if up.Float() == 0 {
			s.failed, s.since = "down", t.downSince(at)
		}
		return
	}
	run, ranAt, ran := t.last(now, key, "run_time")
	code, codeAt, exited := t.last(now, key, "exit_code")
	signal, signalAt, killed := t.last(now, key, "exit_signal")
	if !ran && !exited && !killed {
		return
	}
	s.kind, s.ran = KindJob, run.Float()
	at := codeAt
	if killed && signalAt.After(codeAt) {
		at = signalAt
	}
	if at.Before(ranAt) { // a job of the same name has begun since
		return
	}
	switch {
	case killed && !signalAt.Before(codeAt) && signal.Float() != 0:
		s.failed, s.since = fmt.Sprintf("signal %s", plainValue(&signal)), at
	case exited && code.Float() != 0:
		s.failed, s.since = fmt.Sprintf("exit code %s", plainValue(&code)), at
	default:
		s.ended = exited || killed
	}
}

// last returns the last value of a parameter and when it was received. The points of it are in
// t.points.
func (t *tracker) last(now time.Time, key nodeKey, param string) (v xdr.Param, at time.Time, ok bool) {
	t.points, _ = t.windows.Points(t.points[:0], key.cluster, key.name, param, now.Add(-gone), now)
	if len(t.points) == 0 {
		return v, at, false
	}
	p := &t.points[len(t.points)-1]
	return p.Value, p.Time, true
}

// downSince returns when a service went down, of which t.points has the values of up.
func (t *tracker) downSince(at time.Time) time.Time {
	for i := len(t.points) - 1; i >= 0 && t.points[i].Value.Float() == 0; i-- {
		at = t.points[i].Time
	}
	return at
}

// state returns the state of a node, and whether it is listed.
func (s *nodeState) state(now time.Time) (state string, listed bool) {
	silence := now.Sub(s.received)
	switch {
	case s.failed != "" && s.kind == KindJob:
		return Failing, true
	case silence > gone:
		return Silent, false
	case s.ended:
		return Ended, true
	case s.usual > 0 && silence > max(silentAfter*s.usual, leastSilence):
		return Silent, true
	case s.failed != "":
		return Failing, true
	}
	return Live, true
}
