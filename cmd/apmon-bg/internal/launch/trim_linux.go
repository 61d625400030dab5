package launch

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// Trim gives back the memory that was needed for the start only: the code and the read-only
// data of this program, and free memory of the heap. The kernel maps again, from its cache,
// what is used later. The heap grows less before it is collected from now on.
func Trim() {
	debug.SetGCPercent(gcPercent)
	debug.FreeOSMemory()
	pc, _, _, _ := runtime.Caller(0)
	smaps, _ := process.ReadFile("/proc/self/smaps")
	for _, m := range unchanged(smaps) {
		for _, used := range [...]uintptr{pc, uintptr(unsafe.Pointer(unsafe.StringData(constant)))} {
			if m[0] <= used && used < m[1] {
				_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m[0], m[1]-m[0], unix.MADV_DONTNEED)
			}
		}
	}
}

// gcPercent makes the least heap that is collected 1 MiB instead of 4 MiB. A sample
// allocates some KiB.
const gcPercent = 25

// constant is part of the read-only data.
const constant = "read-only data"

// unchanged returns the addresses of the mappings of smaps that are a part of a file and
// not writable, and have no page of their own. In a position-independent program, the pages
// with relocated addresses are its own: they must not be given back.
func unchanged(smaps []byte) (all [][2]uintptr) {
	var m [2]uintptr
	for line := range bytes.Lines(smaps) {
		kernel.ParseMaps(line, func(x kernel.Mapping) {
			m = [2]uintptr{}
			if x.Inode != 0 && x.Perms[0] == 'r' && x.Perms[1] == '-' && x.Perms[3] == 'p' {
				m = [2]uintptr{uintptr(x.Start), uintptr(x.End)}
			}
		})
		key, value, _ := bytes.Cut(line, []byte(":"))
		if string(key) == "Anonymous" && string(bytes.TrimSpace(value)) == "0 kB" && m[1] != 0 {
			all = append(all, m)
		}
	}
	return all
}
