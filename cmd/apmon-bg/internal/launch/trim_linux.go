package launch

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// Trim gives back the code of this program that was needed for its start only, which is
// resident memory. The kernel maps again, from its cache, what runs later. Read-only data is
// left alone: in a position-independent program it is changed when the program is loaded.
func Trim() {
	maps, _ := process.ReadFile("/proc/self/maps")
	pc, _, _, _ := runtime.Caller(0)
	kernel.ParseMaps(maps, func(m kernel.Mapping) {
		if string(m.Perms) == "r-xp" && m.Start <= uint64(pc) && uint64(pc) < m.End {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, uintptr(m.Start), uintptr(m.End-m.Start), unix.MADV_DONTNEED)
		}
	})
}
