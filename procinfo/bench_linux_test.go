package procinfo

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/xdr"
)

func BenchmarkHostSample(b *testing.B) {
	h := NewHost(DefaultFS(func(string) string { return "" }))
	defer h.Close()
	var params []xdr.Param
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Sample(nil); err != nil {
			b.Fatal(err)
		}
		params = h.System.Append(params[:0], nil)
	}
}

// BenchmarkHostFloor reads the same files into one buffer, without parsing them.
func BenchmarkHostFloor(b *testing.B) {
	buf := make([]byte, 64<<10)
	open := func(path string) int {
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return -1
		}
		b.Cleanup(func() { syscall.Close(fd) })
		return fd
	}
	var files []int
	for _, name := range []string{"loadavg", "stat", "meminfo", "vmstat", "uptime", "diskstats", "net/dev", "net/sockstat", "net/sockstat6",
		"net/protocols", "pressure/cpu", "pressure/memory", "pressure/io"} {
		if fd := open("/proc/" + name); fd >= 0 {
			files = append(files, fd)
		}
	}
	proc := open("/proc")
	var diag sockDiag
	defer diag.close()
	if _, err := diag.tcp(); err != nil {
		b.Logf("sock_diag: %v", err)
	}
	path := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		for _, fd := range files {
			for off := int64(0); ; {
				n, _ := syscall.Pread(fd, buf, off)
				if n <= 0 {
					break
				}
				off += int64(n)
			}
		}
		if diag.fd != 0 {
			diag.send()
			for {
				n, err := syscall.Read(diag.fd-1, buf)
				if err != nil || n < 16 || buf[4] == syscall.NLMSG_DONE {
					break
				}
			}
		}
		syscall.Seek(proc, 0, 0)
		for {
			n, _ := syscall.ReadDirent(proc, buf[:32<<10])
			if n <= 0 {
				break
			}
			for name, e := process.NextDirent(buf[:n]); name != nil; name, e = process.NextDirent(e) {
				i := 0
				for name[i] >= '0' && name[i] <= '9' {
					i++
				}
				if i == 0 {
					continue
				}
				path = append(append(append(path[:0], "/proc/"...), name[:i]...), "/stat\x00"...)
				fd := rawOpen(path)
				if fd >= 0 {
					syscall.Read(fd, buf[32<<10:])
					syscall.Close(fd)
				}
			}
		}
	}
}

// A sample allocates at most 20 times, and starts no process.
func TestSampleAllocates(t *testing.T) {
	h := live(t)
	var params []xdr.Param
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &before); err != nil {
		t.Fatal(err)
	}
	sample := func() {
		if err := h.Sample(nil); err != nil {
			t.Error(err)
		}
		params = h.System.Append(params[:0], nil)
	}
	sample()
	sample()
	if n := testing.AllocsPerRun(20, sample); n > 20 {
		t.Errorf("%v allocations", n)
	}
	if b, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(syscall.Getpid()) + "/children"); err == nil && len(b) > 0 {
		t.Errorf("children: %s", b)
	}
	if _, err := h.General(); err != nil {
		t.Error(err)
	}
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &after); err != nil || after.Minflt != before.Minflt {
		t.Errorf("%d page faults of children, error %v", after.Minflt-before.Minflt, err)
	}
}
