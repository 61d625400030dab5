package kernel

import (
	"bytes"
	"slices"
)

// DRMUsage is what a DRM driver reports of one of its clients: a process that opened a
// GPU. Descriptors that were duplicated or inherited belong to the same client.
type DRMUsage struct {
	Driver, Device []byte // Device is the PCI address
	Client         Count
	Engines        []DRMEngine
	Memory         Count // KiB, resident on the device; of a device without memory, in that of the host
}

// DRMEngine is the use of a class of engines: the busy time, or cycles of busy time and
// those that the device has run.
type DRMEngine struct {
	Name               []byte
	Busy               Count // ns
	Cycles, CyclesOver Count
}

// ParseFDInfo parses /proc/PID/fdinfo/FD. The result has no client if the file is not of a
// DRM device, or if its driver reports nothing. The slices in the result are parts of b.
//
// See https://docs.kernel.org/gpu/drm-usage-stats.html.
func ParseFDInfo(b []byte) (u DRMUsage) {
	var device, host, deviceOld, hostOld Count // resident, and what older drivers call memory
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		key, value, ok := bytes.Cut(line, []byte{':'})
		key, isDRM := bytes.CutPrefix(key, []byte("drm-"))
		if value = bytes.TrimSpace(value); !ok || !isDRM {
			continue
		}
		kind, name, _ := bytes.Cut(key, []byte{'-'})
		n, unit := NextUint(value)
		switch string(kind) {
		case "driver":
			u.Driver = value
		case "pdev":
			u.Device = value
		case "client":
			u.Client = n
		case "engine":
			if !bytes.HasPrefix(name, []byte("capacity-")) {
				u.engine(name).Busy = n
			}
		case "cycles":
			u.engine(name).Cycles = n
		case "total":
			if engine, ok := bytes.CutPrefix(name, []byte("cycles-")); ok {
				u.engine(engine).CyclesOver = n
			}
		case "resident", "memory":
			to := [2]*Count{&host, &hostOld}
			if bytes.HasPrefix(name, []byte("vram")) || bytes.HasPrefix(name, []byte("local")) {
				to = [2]*Count{&device, &deviceOld}
			}
			c := to[0]
			if kind[0] == 'm' {
				c = to[1]
			}
			if n = inKiB(n, bytes.TrimSpace(unit)); n.OK {
				*c = Known(c.N + n.N)
			}
		}
	}
	for _, c := range [...]Count{device, deviceOld, host, hostOld} {
		if c.OK {
			u.Memory = c
			break
		}
	}
	return u
}

// engine returns the class of engines of this name.
func (u *DRMUsage) engine(name []byte) *DRMEngine {
	i := slices.IndexFunc(u.Engines, func(e DRMEngine) bool { return bytes.Equal(e.Name, name) })
	if i < 0 {
		i = len(u.Engines)
		u.Engines = append(u.Engines, DRMEngine{Name: name})
	}
	return &u.Engines[i]
}

// inKiB converts a size; without a unit it is in bytes.
func inKiB(n Count, unit []byte) Count {
	if n.N > 1<<40 {
		return Count{}
	}
	switch string(unit) {
	case "":
		n.N /= 1024
	case "KiB":
	case "MiB":
		n.N <<= 10
	case "GiB":
		n.N <<= 20
	default:
		return Count{}
	}
	return n
}
