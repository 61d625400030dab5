package procinfo

import (
	"path/filepath"
	"strings"
)

// FS is where the kernel's file systems are: this machine's, those of a host
// mounted into a container, or a fixture tree.
type FS struct {
	Proc string // proc(5)
	Sys  string // sysfs(5)
	Net  string // the network files of the namespace to report
	Root string // the root of /etc/os-release and of the marks of containers
}

// DefaultFS returns the trees that getenv (such as os.Getenv) tells of:
// HOST_PROC, else /proc, and HOST_SYS, else /sys. With HOST_PROC the network
// and the root directory are those of its process 1, as its own would be this
// container's.
func DefaultFS(getenv func(string) string) FS {
	fs := FS{Proc: "/proc", Sys: "/sys", Net: "/proc/net", Root: "/"}
	if s := getenv("HOST_SYS"); s != "" {
		fs.Sys = filepath.Clean(s)
	}
	if p := getenv("HOST_PROC"); p != "" && filepath.Clean(p) != fs.Proc {
		fs.Proc = filepath.Clean(p)
		fs.Net = filepath.Join(fs.Proc, "1", "net")
		fs.Root = filepath.Join(fs.Proc, "1", "root")
	}
	return fs
}

// DirFS returns the trees below one directory: proc, sys, and the directory
// itself as root.
func DirFS(dir string) FS {
	proc := filepath.Join(dir, "proc")
	return FS{Proc: proc, Sys: filepath.Join(dir, "sys"), Net: filepath.Join(proc, "net"), Root: dir}
}

func (fs FS) ProcPath(name string) string { return filepath.Join(fs.Proc, name) }
func (fs FS) SysPath(name string) string  { return filepath.Join(fs.Sys, name) }
func (fs FS) NetPath(name string) string  { return filepath.Join(fs.Net, name) }
func (fs FS) RootPath(name string) string { return filepath.Join(fs.Root, name) }

// CgroupPath returns the path to a mount point of cgroups.
func (fs FS) CgroupPath(point string) string {
	if rest, ok := strings.CutPrefix(point, "/sys/"); ok {
		return fs.SysPath(rest)
	}
	return fs.RootPath(point)
}
