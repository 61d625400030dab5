package procinfo

import (
	"errors"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
)

// OwnCgroup returns the directory of this process's cgroup of version 2. It returns an error
// if version 2 is not mounted, or if the cgroup is the root of the mounted hierarchy, which
// all processes share.
func OwnCgroup(fs FS) (dir string, err error) {
	text, err := process.ReadFile(fs.ProcPath("self/cgroup"))
	if err != nil {
		return "", err
	}
	mountinfo, err := process.ReadFile(fs.ProcPath("self/mountinfo"))
	if err != nil {
		return "", err
	}
	path, ok := kernel.ParseCgroup(text, "")
	for _, m := range kernel.CgroupMounts(kernel.ParseMountinfo(mountinfo)) {
		if !ok || m.Controllers != "" {
			continue
		}
		if rel, ok := m.Below(path); ok && rel != "/" {
			return fs.CgroupPath(m.Point) + rel, nil
		}
		return "", errors.New("it is the root of the mounted cgroup v2")
	}
	return "", errors.New("cgroup v2 is not mounted")
}
