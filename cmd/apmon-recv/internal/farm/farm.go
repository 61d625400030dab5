// Package farm simulates a small batch farm for a demonstration: worker nodes, the jobs on
// them, and a service on three of them. Every value is invented, and the names of the clusters
// say so. The parameters are those that apmon-bg sends.
package farm

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/procinfo"
)

// Interval is the time between two steps.
const Interval = time.Second

// Nodes is the number of worker nodes.
const Nodes = 12

// Clusters of the farm.
const (
	NodeCluster    = "Sim_Nodes"
	JobCluster     = "Sim_Jobs"
	ServiceCluster = "Sim_Disk_Services"
)

const (
	nodeCPUs   = 16
	nodeMemory = 64 << 10 // MiB
	services   = 3        // nodes with the service, the first ones
	twoSlots   = 8        // nodes with two slots, the first ones; the others have one
	firstJob   = 4711
)

// At these times in seconds a node is silent, and a service is down. Both recur, at another
// node each time. The silence is longer than the minute after which it is a problem, and
// begins when the usual interval of the node is known.
const (
	silentFrom, silentTo, silentPeriod = 35, 155, 290
	downFrom, downTo, downPeriod       = 18, 26, 110
)

// Farm is a simulated farm. Its time advances with [Farm.Step] alone. Use [New].
type Farm struct {
	random *rand.Rand
	second int // of the last step
	jobs   int // number of jobs so far
	nodes  [Nodes]node
	params []apmon.Param
}

// node is a worker node.
type node struct {
	name    string
	slots   []slot
	service *service // nil for none
	own     walk     // CPUs in use beside the jobs
	load    [3]float64
	sample  procinfo.System
	general procinfo.General
}

// slot is a place for a job.
type slot struct {
	job  *job // nil if idle
	idle int  // seconds until the next job
}

// New returns a farm that has been at work for hours. Farms of the same seed are alike.
func New(seed uint64) *Farm {
	f := &Farm{random: rand.New(rand.NewPCG(seed, 0))}
	for i := range f.nodes {
		n := &f.nodes[i]
		n.name = fmt.Sprintf("wn%02d.farm.example", i+1)
		n.own = walk{value: .4, mean: .4 + f.random.Float64(), spread: .1}
		n.slots = make([]slot, 1)
		if i < twoSlots {
			n.slots = make([]slot, 2)
		}
		for k := range n.slots {
			n.slots[k].job = f.newJob()
			n.slots[k].job.begunBefore(f.random)
		}
		if i < services {
			n.service = newService(f.random)
		}
		n.sample.Uptime = procinfo.Known(86400 * (3 + 60*f.random.Float64()))
		g := &n.general
		g.Hostname, g.OSType, g.Platform = n.name, "Simulated Linux", "x86_64"
		g.CPU.ModelName = "Simulated CPU"
		g.CPU.Logical, g.TotalMem, g.TotalSwap = procinfo.Known(nodeCPUs), procinfo.Known(nodeMemory), procinfo.Known(0)
		for k := range n.load {
			n.load[k] = n.own.value + n.demand() // as if it had been so for long
		}
	}
	// The first ends are not far.
	well, badly := f.nodes[0].slots[0].job, f.nodes[1].slots[0].job
	well.left, well.grows = 6, 0
	badly.leak(9, f.random)
	return f
}

// newJob returns a job that begins now.
func (f *Farm) newJob() *job {
	f.jobs++
	return newJob(fmt.Sprint(firstJob+f.jobs-1), f.random)
}

// Step advances the farm by [Interval] and calls report with each message that a node sends
// meanwhile. The parameters are valid during the call only.
func (f *Farm) Step(report func(node int, m apmon.Message)) {
	f.second++
	for i := range f.nodes {
		n := &f.nodes[i]
		silent := f.silent(i)
		send := func(cluster, name string, params []apmon.Param) {
			if f.params = params; !silent {
				report(i, apmon.Message{Cluster: cluster, Node: name, Params: params})
			}
		}
		var io rates
		for k := range n.slots {
			s := &n.slots[k]
			if s.job == nil {
				if s.idle--; s.idle > 0 {
					continue
				}
				s.job = f.newJob()
			}
			j := s.job
			j.step(f.random, !silent) // its last report must not get lost
			io.add(j.io)
			// Jobs report every other second, and when they end.
			if j.ended() || (f.second+i)%2 == 0 {
				send(JobCluster, j.name, j.append(f.params[:0]))
			}
			if j.ended() {
				*s = slot{idle: 2 + f.random.IntN(5)}
			}
		}
		if v := n.service; v != nil {
			v.step(f.random, f.down(i))
			if (f.second+i)%2 == 0 {
				send(ServiceCluster, n.name, v.append(f.params[:0]))
			}
		}
		n.step(f.random, io)
		params := n.sample.Append(f.params[:0], nil)
		if f.second%30 == 1 {
			params = n.general.Append(params, nil)
		}
		send(NodeCluster, n.name, params)
	}
}

// silent reports whether a node sends nothing now. Nodes with a service never are.
func (f *Farm) silent(i int) bool {
	at, round := f.second%silentPeriod, f.second/silentPeriod
	return at >= silentFrom && at < silentTo && i == services+(round*4+5)%(Nodes-services)
}

// down reports whether the service of a node is down now.
func (f *Farm) down(i int) bool {
	at, round := f.second%downPeriod, f.second/downPeriod
	return at >= downFrom && at < downTo && i == (round+1)%services
}

// demand returns the number of CPUs that the jobs use.
func (n *node) demand() float64 {
	sum := 0.
	for _, s := range n.slots {
		if s.job != nil {
			sum += s.job.using
		}
	}
	return sum
}

// step sets the sample of a node.
func (n *node) step(r *rand.Rand, io rates) {
	s := &n.sample
	own := n.own.step(r)
	busy := min(own+n.demand(), nodeCPUs)
	for k, minutes := range []float64{1, 5, 15} {
		n.load[k] += (own + n.demand() - n.load[k]) * (1 - math.Exp(-Interval.Seconds()/(60*minutes)))
		s.Load[k] = procinfo.Known(n.load[k])
	}
	const whole = 100. / nodeCPUs // % for one CPU
	wait := min(io.read+io.write, 400) / 400 * 8
	c := &s.CPU
	c.System = procinfo.Known(busy * whole * .06)
	c.User = procinfo.Known(busy*whole - c.System.V)
	c.IOWait = procinfo.Known(min(wait, 100-busy*whole))
	c.Idle = procinfo.Known(100 - busy*whole - c.IOWait.V)
	c.Usage = procinfo.Known(100 - c.Idle.V)

	used, cached := 1400., 9000.
	for _, k := range n.slots {
		if k.job != nil {
			used += k.job.rss / 1024
			cached += k.job.rss / 4096
		}
	}
	m := &s.Memory
	m.Used, m.Usage = procinfo.Known(used), procinfo.Percent(used, nodeMemory)
	m.Cached, m.Free = procinfo.Known(cached), procinfo.Known(nodeMemory-used-cached)
	m.Available = procinfo.Known(nodeMemory - used)
	m.SwapUsed, m.SwapFree, m.SwapUsage = procinfo.Known(0), procinfo.Known(0), procinfo.Known(0)

	const kib = 1024 // in a MiB
	s.DiskRead, s.DiskWrite = procinfo.Known(io.read*kib*.2), procinfo.Known(io.write*kib*.7)
	s.NetIn, s.NetOut = procinfo.Known(io.read*kib*.8+40+20*r.Float64()), procinfo.Known(io.write*kib*.3+15+10*r.Float64())
	s.Processes = procinfo.Known(float64(210 + 14*len(n.slots) + r.IntN(6)))
	s.Uptime.V += Interval.Seconds()
}

// walk is a value that varies around its mean.
type walk struct{ value, mean, spread float64 }

func (w *walk) step(r *rand.Rand) float64 {
	w.value = max(0, w.value+.15*(w.mean-w.value)+w.spread*(r.Float64()-.5))
	return w.value
}

// Run advances the farm every [Interval] until ctx ends, and hands the messages to send.
func (f *Farm) Run(ctx context.Context, send func(node int, m apmon.Message)) {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		f.Step(send)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
