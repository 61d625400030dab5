package procinfo

import (
	"path/filepath"
	"strings"
)

// FS holds the paths of the kernel's file systems: those of this machine, of a host that are
// mounted into a container, or of a fixture tree.
type FS struct {
	Proc string // proc(5)
	Sys  string // sysfs(5)
	Net  string // the network files of the network namespace to report
	Root string // the root directory, for /etc/os-release and the marks of containers
}

// DefaultFS returns the trees that are set in the environment, or those of this machine:
// HOST_PROC or /proc, and HOST_SYS or /sys. With HOST_PROC, the network files and the root
// directory are those of its process 1, as HOST_PROC/net would be those of this container.
// getenv is a function such as [os.Getenv].
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

// DirFS returns the trees below a directory: proc, sys, and the directory itself as root.
func DirFS(dir string) FS {
	proc := filepath.Join(dir, "proc")
	return FS{Proc: proc, Sys: filepath.Join(dir, "sys"), Net: filepath.Join(proc, "net"), Root: dir}
}

// ProcPath returns the path of a file of proc(5), such as "self/stat".
func (fs FS) ProcPath(name string) string { return filepath.Join(fs.Proc, name) }

// SysPath returns the path of a file of sysfs(5).
func (fs FS) SysPath(name string) string { return filepath.Join(fs.Sys, name) }

// NetPath returns the path of a network file, such as "dev".
func (fs FS) NetPath(name string) string { return filepath.Join(fs.Net, name) }

// RootPath returns the path of a file below the root directory.
func (fs FS) RootPath(name string) string { return filepath.Join(fs.Root, name) }

// CgroupPath returns the path to a mount point of cgroups.
func (fs FS) CgroupPath(point string) string {
	if rest, ok := strings.CutPrefix(point, "/sys/"); ok {
		return fs.SysPath(rest)
	}
	return fs.RootPath(point)
}
