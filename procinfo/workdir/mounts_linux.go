package workdir

import (
	"strings"

	"github.com/apmon-go/apmon/internal/kernel"
)

// mountOf returns the file system to which an absolute path leads, its mount point, and the
// rest of the path below that. It touches no file: it stops at the first "..", and takes
// no element for a symbolic link (no element of a mount point is one). It goes down from
// mount to mount, so that a mount hidden by a later one does not count.
func mountOf(mounts []kernel.Mount, path string) (dev, point, rest string) {
	m, at := -1, "/"
	point, rest = "/", path
	for tail := path; ; {
		for range mounts { // one may be mounted on the other
			next := len(mounts) - 1
			for next >= 0 && (mounts[next].Parent != m || mounts[next].Point != at) {
				next--
			}
			if next < 0 {
				break
			}
			m, dev, point, rest = next, mounts[next].Dev, at, tail
		}
		var name string
		name, tail = cutName(tail)
		if name == "" || name == ".." {
			return dev, point, rest
		}
		at = strings.TrimSuffix(at, "/") + "/" + name
	}
}

// cutName cuts the first name off a path. The name is empty at the end of the path.
func cutName(path string) (name, rest string) {
	for {
		path = strings.TrimLeft(path, "/")
		name, rest, _ = strings.Cut(path, "/")
		if name != "." {
			return name, rest
		}
		path = rest
	}
}
