package procinfo

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
)

func TestTicks(t *testing.T) {
	for s, want := range map[float64]kernel.Count{0: kernel.Known(0), 1.5: kernel.Known(1500000), 1e9: kernel.Known(1e15),
		-1: {}, math.Inf(1): {}, math.NaN(): {}, 1e300: {}} {
		if got := microseconds(s); got != want {
			t.Errorf("%v: %v, want %v", s, got, want)
		}
	}
}

// times returns CPU times, given in seconds, of a system that has no others.
func times(user, system, idle float64) (c [kernel.CPUColumns]kernel.Count) {
	c[kernel.CPUUser], c[kernel.CPUSystem], c[kernel.CPUIdle] = microseconds(user), microseconds(system), microseconds(idle)
	return c
}

func TestSharesOfTheColumnsASystemHas(t *testing.T) {
	var s System
	s.setCPU(times(10, 20, 30), times(11, 22, 37))
	if c := s.CPU; c.User != Known(10) || c.System != Known(20) || c.Idle != Known(70) || c.Usage != Known(30) {
		t.Errorf("%+v", c)
	}
	if c := s.CPU; c.Nice.OK || c.IOWait.OK || c.IRQ.OK || c.SoftIRQ.OK || c.Steal.OK || c.Guest.OK {
		t.Errorf("shares of what the system does not tell: %+v", c)
	}
}

func TestCPUCountersThatStartAgain(t *testing.T) {
	const wrap = (1 << 32) / 100.
	for _, tt := range []struct {
		name     string
		old, now [kernel.CPUColumns]kernel.Count
		want     bool
	}{
		{"first sample", [kernel.CPUColumns]kernel.Count{}, times(1, 2, 3), false},
		{"nothing changed", times(1, 2, 3), times(1, 2, 3), false},
		{"a little back, of one", times(1, 2, 3), times(2, 1.9, 4), false},
		{"32 bits are full", times(1, 2, wrap-1), times(2, 3, 60), true},
	} {
		if got := fellBack(tt.old, tt.now); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestUsedWithoutPageCache(t *testing.T) {
	for _, tt := range []struct {
		total, available kernel.Count
		used, usage      Value
	}{
		{inKiB(8 << 30), inKiB(2 << 30), Known(6144), Known(75)},
		{inKiB(1 << 30), inKiB(2 << 30), Known(0), Known(0)},
		{kernel.Count{}, inKiB(2 << 30), Value{}, Value{}},
		{inKiB(1 << 30), kernel.Count{}, Value{}, Value{}},
		{inKiB(0), inKiB(0), Known(0), Value{}},
	} {
		var s System
		m := kernel.Meminfo{Total: tt.total, Available: tt.available}
		s.setMemory(m)
		s.setUsed(m)
		if s.Memory.Used != tt.used || s.Memory.Usage != tt.usage {
			t.Errorf("%v, %v: %v, %v", tt.total, tt.available, s.Memory.Used, s.Memory.Usage)
		}
		if s.Memory.Free.OK || s.Memory.Cached.OK || s.Memory.ActualFree.OK || s.Memory.SwapUsed.OK {
			t.Errorf("%+v", s.Memory)
		}
	}
}

func TestTrafficOfInterfaces(t *testing.T) {
	var s System
	en0, en1 := &netIf{named: named{name: "en0"}}, &netIf{named: named{name: "en1"}}
	both := []*netIf{en0, en1}
	set := func(in0, in1 uint64, at time.Duration) {
		en0.counters = kernel.NetCounters{In: kernel.Known(in0), Out: kernel.Known(0), Errs: kernel.Known(3)}
		en1.counters = kernel.NetCounters{In: kernel.Known(in1), Out: kernel.Known(0)}
		s = System{}
		s.setNet(both, at)
	}
	set(1024, 1024, time.Second)
	if s.NetIn.OK || s.Interfaces[0].In.OK || s.Interfaces[0].Errs != Known(3) || s.Interfaces[1].Errs.OK {
		t.Errorf("first: %+v", s)
	}
	set(3072, 5120, 3*time.Second)
	if s.Interfaces[0].In != Known(1) || s.Interfaces[1].In != Known(2) || s.NetIn != Known(3) || s.NetOut != Known(0) {
		t.Errorf("second: %+v", s)
	}
	set(10, 7168, 4*time.Second)
	if s.Interfaces[0].In.OK || s.Interfaces[1].In != Known(2) || s.NetIn.OK || s.NetOut != Known(0) {
		t.Errorf("reset: %+v", s)
	}
}

func TestUptimeOfAClockBeforeTheBoot(t *testing.T) {
	if got := knownUptime(90); got != Known(90) {
		t.Error(got)
	}
	before := uint64(0)
	if got := knownUptime(before - 5); got.OK {
		t.Error(got)
	}
}

func TestTCPStatesOfWindows(t *testing.T) {
	for name, want := range map[string]string{
		"CLOSED": "CLOSED", "LISTEN": "LISTEN", "SYN_SENT": "SYN_SENT", "SYN_RECEIVED": "SYN_RECV", "ESTABLISHED": "ESTABLISHED",
		"FIN_WAIT_1": "FIN_WAIT1", "FIN_WAIT_2": "FIN_WAIT2", "CLOSE_WAIT": "CLOSE_WAIT", "CLOSING": "CLOSING",
		"LAST_ACK": "LAST_ACK", "TIME_WAIT": "TIME_WAIT", "DELETE": "UNKNOWN", "": "UNKNOWN",
	} {
		if got := kernel.TCPStateNames[tcpState(name)]; got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func TestFirstAddresses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		all    []string
		v4, v6 string
	}{
		{"none", nil, "", ""},
		{"the first", []string{"10.0.0.1", "10.0.0.2"}, "10.0.0.1", ""},
		{"in 16 bytes", []string{"::ffff:10.0.0.1"}, "10.0.0.1", ""},
		{"link-local", []string{"fe80::1%en0"}, "", ""},
		{"public before unique local", []string{"fe80::1", "fd00::1", "2001:db8::1", "2001:db8::2"}, "", "2001:db8::1"},
		{"unique local", []string{"fd00::1", "fd00::2", "192.0.2.1"}, "192.0.2.1", "fd00::1"},
	} {
		var ips []netip.Addr
		for _, s := range tt.all {
			ips = append(ips, netip.MustParseAddr(s))
		}
		if got, want := firstAddresses("en0", ips), (Address{"en0", tt.v4, tt.v6}); got != want {
			t.Errorf("%s: %v, want %v", tt.name, got, want)
		}
	}
}

func TestProcessors(t *testing.T) {
	for s, want := range map[string]string{"6": "6", "0x8e ": "142", "0": "", "": "", "x": "", "-1": ""} {
		if got := decimalID(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string][2]string{
		"Intel64 Family 6 Model 158 Stepping 10":     {"6", "158"},
		"ARMv8 (64-bit) Family 8 Model D0C Revision": {"8", "D0C"},
		"": {}, "Family": {}, "Model 1 Family": {"", "1"},
	} {
		if family, model := parseIdentifier(s); [2]string{family, model} != want {
			t.Errorf("%q: %q %q", s, family, model)
		}
	}
	for _, tt := range []struct{ logical, cores, want Value }{
		{Known(8), Known(4), Known(1)}, {Known(8), Known(8), Known(0)}, {Known(8), Value{}, Value{}}, {Value{}, Known(8), Value{}},
	} {
		if got := knownSMT(tt.logical, tt.cores); got != tt.want {
			t.Errorf("%v, %v: %v", tt.logical, tt.cores, got)
		}
	}
	if positive(0).OK || positive(math.NaN()).OK || positive(2600) != Known(2600) {
		t.Error("positive")
	}
}
