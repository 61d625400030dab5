//go:build darwin || windows || (freebsd && (386 || amd64 || arm || arm64))

package procinfo

import (
	"errors"
	"math"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
)

// machless reports whether this is macOS without cgo.
func machless() bool {
	_, err := cpu.Times(false)
	return err != nil && err.Error() == notImplemented
}

// twoSamples takes a sample, and a second one as soon as CPU time has passed.
func twoSamples(t *testing.T) *Host {
	h := NewHost(FS{})
	t.Cleanup(func() { h.Close() })
	if err := h.Sample(nil); err != nil {
		t.Fatal(err)
	}
	if h.System.CPU.Idle.OK || h.System.NetIn.OK || h.System.DiskRead.OK {
		t.Errorf("shares and rates in the first sample: %+v", h.System)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
		}
		if err := h.Sample(nil); err != nil {
			t.Fatal(err)
		}
		if h.System.CPU.Idle.OK || machless() {
			return h
		}
	}
	t.Fatal("no CPU time passes")
	return nil
}

func TestLiveSample(t *testing.T) {
	h := twoSamples(t)
	s := &h.System
	if c := s.CPU; c.Idle.OK && math.Abs(c.User.V+c.Nice.V+c.System.V+c.IRQ.V+c.Idle.V-100) > 1e-6 {
		t.Errorf("shares do not add up to 100: %+v", c)
	}
	if !s.Uptime.OK || s.Uptime.V <= 0 || !s.Processes.OK || s.Processes.V < 2 {
		t.Errorf("uptime %v, processes %v", s.Uptime, s.Processes)
	}
	if s.Load[0].OK != (runtime.GOOS != "windows") {
		t.Errorf("load %v", s.Load)
	}
	if m := s.Memory; !machless() && (!m.Used.OK || m.Used.V <= 0 || m.Usage.V > 100 || !m.Available.OK) {
		t.Errorf("memory %+v", m)
	}
	if len(s.Append(nil, nil)) < 5 {
		t.Errorf("%+v", s)
	}
}

func TestLiveGeneral(t *testing.T) {
	h := NewHost(FS{})
	h.Factors.DB12 = Known(12)
	defer h.Close()
	g, err := h.General()
	if err != nil {
		t.Error(err)
	}
	if g.Hostname == "" || g.KernelVersion == "" || g.Platform == "" || g.OSType == "" || g.Factors.DB12 != Known(12) {
		t.Errorf("%+v", g)
	}
	if !g.CPU.Logical.OK || !g.TotalMem.OK || g.TotalMem.V < 16 || !g.TotalSwap.OK {
		t.Errorf("%+v", g)
	}
}

func TestLiveListeningSocketIsCounted(t *testing.T) {
	if runtime.GOOS != "windows" {
		t.Skip("sockets are known only on Windows")
	}
	h := NewHost(FS{})
	defer h.Close()
	const listen = 10
	count := func() float64 {
		if err := h.Sample(nil); err != nil {
			t.Fatal(err)
		}
		return h.System.Sockets.TCPStates[listen].V
	}
	before := count()
	const n = 200 // others come and go
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	if after := count(); math.Abs(after-before-n) > n/2 {
		t.Errorf("%v, then %v", before, after)
	}
}

func TestAnErrorIsReturnedOnceAndAPanicIsOne(t *testing.T) {
	h := NewHost(FS{})
	bad := errors.New("bad")
	h.ask("x", func() error { return bad })
	h.ask("x", func() error { return bad })
	h.ask("y", func() error { var none []int; return errors.New(string(rune(none[0]))) })
	h.ask("z", func() error { return errors.New(notImplemented) })
	err := h.errs.Take()
	if !errors.Is(err, bad) || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), "procinfo: y: panic: ") {
		t.Errorf("%q, want one error of x and one of y", err)
	}
}

func TestOnlyWhatIsChosen(t *testing.T) {
	h := NewHost(FS{})
	defer h.Close()
	if err := h.Sample(func(option string) (bool, string) { return option == "sys_uptime", "" }); err != nil {
		t.Fatal(err)
	}
	if s := h.System; !s.Uptime.OK || s.Processes.OK || s.Load[0].OK || s.Memory.Available.OK || s.Memory.SwapFree.OK {
		t.Errorf("%+v", s)
	}
}
