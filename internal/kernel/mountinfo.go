package kernel

import (
	"bytes"
	"path"
	"strings"
)

// A Mount is a line of /proc/PID/mountinfo.
type Mount struct {
	Parent int    // index of the parent mount, -1 if it is not in the file
	Dev    string // the file system, as major:minor
	Root   string // the directory of the file system that forms the root of the mount
	Point  string // mount point

	Cgroup      int    // version of the cgroup hierarchy, 0 for other file systems
	Controllers string // of cgroup version 1, comma-separated; empty for version 2
}

// ParseMountinfo parses /proc/PID/mountinfo. Paths are unescaped.
//
// See proc_pid_mountinfo(5).
func ParseMountinfo(b []byte) []Mount {
	var mounts []Mount
	var parents []uint64
	index := map[uint64]int{}
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		line, right, _ := bytes.Cut(line, []byte(" - "))
		id, line := NextUint(line)
		parent, line := NextUint(line)
		dev, line := NextField(line)
		root, line := NextField(line)
		point, line := NextField(line)
		if options, _ := NextField(line); !id.OK || !parent.OK || len(options) == 0 || point[0] != '/' {
			continue
		}
		m := Mount{Dev: string(dev), Root: unescapeMount(root), Point: unescapeMount(point)}
		kind, right := NextField(right)
		super, _ := NextField(SkipFields(right, 1))
		switch {
		case string(kind) == "cgroup2":
			m.Cgroup = 2
		case string(kind) == "cgroup" && len(super) > 0:
			m.Cgroup, m.Controllers = 1, string(super)
		}
		index[id.N] = len(mounts)
		mounts = append(mounts, m)
		parents = append(parents, parent.N)
	}
	for i := range mounts {
		if p, ok := index[parents[i]]; ok && p != i {
			mounts[i].Parent = p
		} else {
			mounts[i].Parent = -1
		}
	}
	return mounts
}

// CgroupMounts returns the cgroup hierarchies among mounts.
func CgroupMounts(mounts []Mount) []Mount {
	var cgroups []Mount
	for _, m := range mounts {
		if m.Cgroup != 0 {
			cgroups = append(cgroups, m)
		}
	}
	return cgroups
}

// Below returns the path of a cgroup relative to the mount point. It returns "/" and false if
// the cgroup is not below the mount point: then only a part of the hierarchy is mounted, as
// in a Docker container, or the cgroup is outside of the cgroup namespace of this process.
func (m *Mount) Below(cgroup string) (rel string, ok bool) {
	outside := strings.HasPrefix(cgroup, "/..")
	rel = path.Clean("/" + cgroup)
	if m.Root != "/" {
		rest, below := strings.CutPrefix(rel, m.Root)
		if !below || rest != "" && rest[0] != '/' {
			return "/", false
		}
		rel = path.Clean("/" + rest)
	}
	return rel, !outside
}

// unescapeMount decodes the octal escapes of white space and backslashes.
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
