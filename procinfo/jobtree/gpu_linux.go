package jobtree

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/procinfo"
)

// maxGPUClients bounds the clients that are remembered after their end.
const maxGPUClients = 4096

// jobGPU is the use of GPUs by a job, as DRM drivers report it.
type jobGPU struct {
	clients map[gpuClient]map[string]*gpuEngine // by the class of engines
	clocks  map[gpuClock]*gpuReading
	devices map[string]bool
	memory  uint64 // KiB
}

// gpuClient identifies a process, or several, that use a device through one open file.
type gpuClient struct {
	device string
	id     uint64
}

// gpuEngine is what a client has used of a class of engines.
type gpuEngine struct{ busy, cycles uint64 }

// gpuClock identifies the clock of a class of engines: some drivers report cycles of
// unknown length, and how many have passed.
type gpuClock struct{ device, engine string }

// gpuReading is a clock at its first and last reading.
type gpuReading struct {
	at, last       time.Time
	cycles, latest uint64
}

// gpus reports whether the host has a device of a DRM driver. Without one, no descriptor is
// looked at.
func (s *forest) gpus() bool {
	if !s.gpuKnown {
		entries, _ := os.ReadDir(s.fs.RootPath("dev/dri"))
		s.gpuKnown, s.gpuFound = true, len(entries) > 0
	}
	return s.gpuFound
}

// sample reads the descriptors of the job's processes that are of a GPU.
func (g *jobGPU) sample(s *forest, t *tree, now time.Time) {
	if !s.gpus() {
		return
	}
	g.memory = 0
	seen := map[gpuClient]bool{}
	for _, p := range t.members {
		dir := s.fs.ProcPath(strconv.Itoa(p.pid))
		fds, _ := os.ReadDir(dir + "/fd")
		for _, fd := range fds {
			target, err := os.Readlink(dir + "/fd/" + fd.Name())
			if err != nil || !strings.HasPrefix(target, "/dev/dri/") {
				continue
			}
			if u := kernel.ParseFDInfo(readSmall(dir + "/fdinfo/" + fd.Name())); u.Client.OK {
				g.add(&u, seen, now)
			}
		}
	}
}

// add adds a client of a device, once.
func (g *jobGPU) add(u *kernel.DRMUsage, seen map[gpuClient]bool, now time.Time) {
	id := gpuClient{string(u.Device), u.Client.N}
	if seen[id] {
		return
	}
	seen[id] = true
	if g.clients == nil {
		g.clients, g.clocks, g.devices = map[gpuClient]map[string]*gpuEngine{}, map[gpuClock]*gpuReading{}, map[string]bool{}
	}
	g.devices[id.device] = true
	g.memory += u.Memory.N
	engines := g.clients[id]
	if engines == nil {
		if len(g.clients) >= maxGPUClients {
			return
		}
		engines = map[string]*gpuEngine{}
		g.clients[id] = engines
	}
	for _, x := range u.Engines {
		e := engines[string(x.Name)]
		if e == nil {
			e = new(gpuEngine)
			engines[string(x.Name)] = e
		}
		e.busy, e.cycles = max(e.busy, x.Busy.N), max(e.cycles, x.Cycles.N)
		if x.CyclesOver.OK {
			id := gpuClock{id.device, string(x.Name)}
			c := g.clocks[id]
			if c == nil {
				c = &gpuReading{at: now, cycles: x.CyclesOver.N}
				g.clocks[id] = c
			}
			c.last, c.latest = now, x.CyclesOver.N
		}
	}
}

// busy returns the busy time of all engines in seconds. It is unknown until the length of a
// cycle is known, from two samples.
func (g *jobGPU) busy() procinfo.Value {
	sum := 0.
	for client, engines := range g.clients {
		for name, e := range engines {
			sum += float64(e.busy) / 1e9
			if e.cycles == 0 {
				continue
			}
			c := g.clocks[gpuClock{client.device, name}]
			if c == nil || c.latest <= c.cycles || !c.last.After(c.at) {
				return procinfo.Value{}
			}
			sum += float64(e.cycles) * c.last.Sub(c.at).Seconds() / float64(c.latest-c.cycles)
		}
	}
	return procinfo.Known(sum)
}

// fill fills in the values of a job that has used a GPU.
func (g *jobGPU) fill(to *procinfo.JobSample) {
	if len(g.devices) == 0 {
		return
	}
	to.GPUs, to.GPUTime = procinfo.Known(float64(len(g.devices))), g.busy()
	if !to.Ended {
		to.GPUMem = procinfo.Known(float64(g.memory))
	}
}
