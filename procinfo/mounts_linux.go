package procinfo

import (
	"bytes"
	"strings"
)

// mountPoint is a mount.
type mountPoint struct {
	parent int    // what it is mounted on, by index; -1 where that is out of sight
	dev    string // the file system, as major:minor
	path   string
}

// parseMounts reads /proc/PID/mountinfo.
// See https://docs.kernel.org/filesystems/proc.html, 3.5.
func parseMounts(b []byte) []mountPoint {
	var mounts []mountPoint
	var parents []uint64
	index := map[uint64]int{}
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		id, line := nextUint(line)
		parent, line := nextUint(line)
		dev, line := nextField(line)
		path, line := nextField(skipFields(line, 1))
		if options, _ := nextField(line); !id.ok || !parent.ok || len(options) == 0 || path[0] != '/' {
			continue
		}
		index[id.n] = len(mounts)
		mounts = append(mounts, mountPoint{dev: string(dev), path: unescapeMount(path)})
		parents = append(parents, parent.n)
	}
	for i := range mounts {
		if p, ok := index[parents[i]]; ok && p != i {
			mounts[i].parent = p
		} else {
			mounts[i].parent = -1
		}
	}
	return mounts
}

// unescapeMount decodes the octal numbers that stand for spaces and the like.
func unescapeMount(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	var s []byte
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) && b[i+1]-'0' < 4 && b[i+2]-'0' < 8 && b[i+3]-'0' < 8 {
			s = append(s, (b[i+1]-'0')<<6|(b[i+2]-'0')<<3|(b[i+3]-'0'))
			i += 3
		} else {
			s = append(s, b[i])
		}
	}
	return string(s)
}

// mountOf returns the file system that an absolute path leads to, where it is
// mounted, and what of the path is below that, as far as can be told without
// touching it: up to the first "..", and as if nothing were a symbolic link
// (above a mount nothing is). It goes down from mount to mount, so that one
// hidden by a later one does not count.
func mountOf(mounts []mountPoint, path string) (dev, point, rest string) {
	m, at := -1, "/"
	point, rest = "/", path
	for tail := path; ; {
		for range mounts { // one may be mounted on the other
			next := len(mounts) - 1
			for next >= 0 && (mounts[next].parent != m || mounts[next].path != at) {
				next--
			}
			if next < 0 {
				break
			}
			m, dev, point, rest = next, mounts[next].dev, at, tail
		}
		var name string
		name, tail = cutName(tail)
		if name == "" || name == ".." {
			return dev, point, rest
		}
		at = strings.TrimSuffix(at, "/") + "/" + name
	}
}

// cutName cuts the first name off a path, empty at its end.
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
