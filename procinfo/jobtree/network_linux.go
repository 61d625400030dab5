package jobtree

import (
	"os"
	"strconv"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/procinfo"
)

// netCounters are bytes and packets received and sent.
type netCounters [4]uint64

// jobNet is the traffic of the network namespace that the first process of a job is in.
type jobNet struct {
	namespace string // a link such as "net:[4026531840]"; empty if it cannot be read
	shared    procinfo.Value
	begun     bool
	last, sum netCounters
}

// sample reads the counters of the interfaces. If no process is left in the namespace, the
// last values stay.
func (n *jobNet) sample(s *forest, t *tree) {
	for _, p := range t.members {
		if !p.alive() {
			continue
		}
		dir := s.fs.ProcPath(strconv.Itoa(p.pid))
		namespace, _ := os.Readlink(dir + "/ns/net")
		if n.begun && namespace != n.namespace {
			continue
		}
		b, err := os.ReadFile(dir + "/net/dev")
		if err != nil {
			continue
		}
		now := sumTraffic(b)
		if !n.begun {
			n.begun, n.namespace, n.last = true, namespace, now
			n.share(s)
		}
		for i, c := range now {
			if c > n.last[i] { // it decreases if an interface is removed
				n.sum[i] += c - n.last[i]
			}
		}
		n.last = now
		return
	}
}

// share finds out whether processes that do not belong to the job may be in the namespace:
// process 1 of the host or container, or this one.
func (n *jobNet) share(s *forest) {
	if n.namespace == "" {
		return
	}
	n.shared = procinfo.Known(0)
	for _, other := range [...]string{"1", "self"} {
		if link, err := os.Readlink(s.fs.ProcPath(other + "/ns/net")); err == nil && link == n.namespace {
			n.shared = procinfo.Known(1)
		}
	}
}

// sumTraffic adds up the interfaces except loopback.
func sumTraffic(b []byte) (sum netCounters) {
	kernel.ParseNetDev(b, func(name []byte, c kernel.NetCounters) {
		if string(name) == "lo" {
			return
		}
		for i, v := range [...]kernel.Count{c.In, c.InPackets, c.Out, c.OutPackets} {
			sum[i] += v.N
		}
	})
	return sum
}

func (n *jobNet) fill(to *procinfo.JobSample) {
	if !n.begun {
		return
	}
	for i, v := range [...]*procinfo.Value{&to.NetRxBytes, &to.NetRxPackets, &to.NetTxBytes, &to.NetTxPackets} {
		*v = procinfo.Known(float64(n.sum[i]))
	}
	to.NetShared = n.shared
}
