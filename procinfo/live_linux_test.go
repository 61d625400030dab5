package procinfo

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

func rawOpen(path []byte) int {
	fd, _, errno := syscall.Syscall6(syscall.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(&path[0])), syscall.O_RDONLY|syscall.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return -1
	}
	return int(fd)
}

func live(t testing.TB) *Host {
	h := NewHost(DefaultFS(func(string) string { return "" }))
	t.Cleanup(func() { h.Close() })
	return h
}

func sample(t testing.TB, h *Host) *System {
	t.Helper()
	if err := h.Sample(nil); err != nil {
		t.Fatal(err)
	}
	return &h.System
}

// sysinfo is sysinfo(2), which does not read /proc, and its unit in MiB.
func sysinfo(t testing.TB) (i syscall.Sysinfo_t, mib float64) {
	t.Helper()
	if err := syscall.Sysinfo(&i); err != nil {
		t.Fatal(err)
	}
	return i, float64(i.Unit) / (1 << 20)
}

// The processes of the machine change these values between two readings.
func TestLiveAgreesWithSysinfo(t *testing.T) {
	testkit.Retry(t, func(t testing.TB) {
		s := sample(t, live(t))
		i, mib := sysinfo(t)
		testkit.Near(t, "mem_free", s.Memory.Free, float64(i.Freeram)*mib, 512)
		testkit.Near(t, "mem_buffers", s.Memory.Buffers, float64(i.Bufferram)*mib, 64)
		testkit.Near(t, "swap_free", s.Memory.SwapFree, float64(i.Freeswap)*mib, 64)
		testkit.Near(t, "uptime", s.Uptime, float64(i.Uptime), 2)
		for n := range s.Load {
			testkit.Near(t, "load", s.Load[n], float64(i.Loads[n])/65536, .5)
		}
	})
}

func TestLiveGeneral(t *testing.T) {
	i, mib := sysinfo(t)
	g, err := live(t).General()
	if err != nil {
		t.Error(err)
	}
	testkit.Near(t, "total_mem", g.TotalMem, float64(i.Totalram)*mib, 1)
	testkit.Near(t, "total_swap", g.TotalSwap, float64(i.Totalswap)*mib, 1)
	if g.CPUsAllowed.V > float64(runtime.NumCPU()) || g.CPU.Logical.V < float64(runtime.NumCPU()) {
		t.Errorf("CPUs: allowed %v, logical %v, of %d", g.CPUsAllowed, g.CPU.Logical, runtime.NumCPU())
	}
	if g.Hostname != Hostname() && Hostname() != "localhost" {
		t.Errorf("host name %q, want %q", g.Hostname, Hostname())
	}
	if g.KernelVersion == "" || g.Platform == "" {
		t.Errorf("kernel %q on %q", g.KernelVersion, g.Platform)
	}
	for _, a := range g.Addresses {
		ifi, err := net.InterfaceByName(a.Interface)
		if err != nil {
			t.Fatal(err)
		}
		addrs, _ := ifi.Addrs()
		all := ""
		for _, x := range addrs {
			all += " " + x.String()
		}
		for _, ip := range []string{a.IPv4, a.IPv6} {
			if !strings.Contains(all+" ", " "+ip) {
				t.Errorf("%s of %s is not among%s", ip, a.Interface, all)
			}
		}
	}
}

// The machine starts and ends other processes between two readings.
func TestLiveProcesses(t *testing.T) {
	testkit.Retry(t, func(t testing.TB) {
		h := live(t)
		s := sample(t, h)
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		testkit.Near(t, "processes", s.Processes, float64(len(dirs)), 30)
		sum := 0.
		for _, v := range s.ProcessStates {
			sum += v.V
		}
		testkit.Near(t, "sum of states", s.Processes, sum, 5)
	})
}

// The machine starts and ends other processes meanwhile, but rarely 50 at once.
func TestLiveProcessesStartedAndStopped(t *testing.T) {
	testkit.Retry(t, func(t testing.TB) {
		h := live(t)
		before := *sample(t, h)
		const n = 100
		var all []*exec.Cmd
		for range n {
			c := exec.Command("sleep", "60")
			if err := c.Start(); err != nil {
				t.Skip(err)
			}
			defer c.Wait()
			defer c.Process.Kill()
			all = append(all, c)
		}
		testkit.Near(t, "started", sample(t, h).Processes, before.Processes.V+n, n/2)
		for _, c := range all {
			c.Process.Kill()
			c.Wait()
		}
		testkit.Near(t, "stopped", sample(t, h).Processes, before.Processes.V, n/2)
	})
}

// Other processes of the machine open and close sockets meanwhile: other tests, say.
func TestLiveSockets(t *testing.T) { testkit.Retry(t, liveSockets) }

func liveSockets(t testing.TB) {
	h := live(t)
	before := *sample(t, h)
	const n = 100 // other tests on this machine open sockets too, but not so many
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conns := make([]net.Conn, 0, 2*n)
	for range n {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		more, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer more.Close()
		conns = append(conns, c, a)
	}
	after := *sample(t, h)
	diff := func(name string, a, b Value, want, tolerance float64) {
		t.Helper()
		if !a.OK || !b.OK {
			t.Errorf("%s: unknown", name)
			return
		}
		testkit.Near(t, name, Known(b.V-a.V), want, tolerance)
	}
	if h.diagRefused {
		t.Log("sock_diag is refused here")
		return
	}
	diff("ESTABLISHED", before.Sockets.TCPStates[1], after.Sockets.TCPStates[1], 2*n, n/2)
	diff("LISTEN", before.Sockets.TCPStates[10], after.Sockets.TCPStates[10], n, n/3)
	diff("UDP", before.Sockets.UDP, after.Sockets.UDP, n, n/2)

	// Half-closed: the clients' sockets wait in FIN_WAIT1 or 2, the servers' in CLOSE_WAIT.
	for i := 0; i < len(conns); i += 2 {
		conns[i].(*net.TCPConn).CloseWrite()
		io.ReadAll(conns[i+1])
	}
	half := *sample(t, h)
	diff("CLOSE_WAIT", after.Sockets.TCPStates[8], half.Sockets.TCPStates[8], n, n/3)
	wait := func(s *System) Value { return plus(s.Sockets.TCPStates[4], s.Sockets.TCPStates[5]) } // 1 until it is acknowledged
	diff("FIN_WAIT", wait(&after), wait(&half), n, n/2)

	// /proc/net/tcp gives the same counts.
	h.diagRefused = true
	slow := *sample(t, h)
	diff("tcp by /proc/net", half.Sockets.TCP, slow.Sockets.TCP, 0, n/2)
	diff("CLOSE_WAIT by /proc/net", half.Sockets.TCPStates[8], slow.Sockets.TCPStates[8], 0, n/3)
	if again := sample(t, h); again.Sockets.TCP.OK {
		t.Fatal("counted from /proc/net twice in a row")
	}
	for _, c := range conns {
		c.Close()
	}
}

// The loopback interface is not physical; this test marks it as physical.
func TestLiveBytes(t *testing.T) {
	tree := t.TempDir()
	if err := os.MkdirAll(filepath.Join(tree, "class/net/lo/device"), 0o755); err != nil {
		t.Fatal(err)
	}
	fs := DefaultFS(func(string) string { return "" })
	fs.Sys = tree
	h := NewHost(fs)
	defer h.Close()
	start := time.Now() // before the first sample: the rate is over a shorter time
	sample(t, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const size = 256 << 20
	buf := make([]byte, 1<<20)
	for range size / len(buf) {
		if _, err := c.Write(buf); err != nil {
			t.Fatal(err)
		}
	}
	c.(*net.TCPConn).CloseWrite()
	io.ReadAll(c) // until the other side has it all
	c.Close()
	s := sample(t, h)
	kib := s.NetOut.V * time.Since(start).Seconds()
	// Other programs may use the loopback interface, too.
	if kib < size/1024*.9 || s.NetIn.V < s.NetOut.V*.9 {
		t.Errorf("%v KiB of %v went out at %v, in at %v", kib, size/1024, s.NetOut, s.NetIn)
	}
	if len(s.Interfaces) != 1 || s.Interfaces[0].Name != "lo" {
		t.Errorf("interfaces: %+v", s.Interfaces)
	}
}

func TestLiveCPU(t *testing.T) {
	h := live(t)
	own := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := time.Now()
	sample(t, h)
	before := own()
	used := time.Duration(0)
	for used < 200*time.Millisecond {
		used = own() - before
	}
	s := sample(t, h)
	c := s.CPU
	// Other programs may have taken a part of the time, and this one may be nice.
	least := float64(used) / float64(time.Since(start)) / float64(runtime.NumCPU()) * 100
	if got := c.User.V + c.Nice.V + c.System.V; got < least*.8 {
		t.Errorf("%v %% of %d CPUs busy, this program alone took %v %%: %+v", got, runtime.NumCPU(), least, c)
	}
	sum := 0.
	for _, v := range []Value{c.User, c.Nice, c.System, c.Idle, c.IOWait, c.IRQ, c.SoftIRQ, c.Steal} {
		sum += v.V
	}
	testkit.Near(t, "sum of shares", Known(sum), 100, 1e-6)
	if !s.Interrupts.OK || !s.ContextSwitches.OK || s.ContextSwitches.V <= 0 {
		t.Errorf("interrupts %v, switches %v", s.Interrupts, s.ContextSwitches)
	}
}

func TestEverythingLiveCanTravel(t *testing.T) {
	h := live(t)
	sample(t, h)
	g, err := h.General()
	if err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for _, p := range g.Append(sample(t, h).Append(nil, nil), nil) {
		if err := p.Check(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if p.Type() != xdr.TypeReal64 && p.Type() != xdr.TypeString {
			t.Errorf("%s is %v", p.Name, p.Type())
		}
		if seen[p.Name] {
			t.Errorf("%s is sent twice", p.Name)
		}
		seen[p.Name] = true
	}
}
