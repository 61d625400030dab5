package procinfo

import (
	"bytes"
	"errors"
	"os"

	"github.com/apmon-go/apmon/internal/kernel"
)

// OwnCgroup returns the directory of this process's cgroup of version 2. The
// error says why there is none to be had: no version 2, or the root of what is
// mounted, which is nobody's own.
func OwnCgroup(fs FS) (dir string, err error) {
	text, err := os.ReadFile(fs.ProcPath("self/cgroup"))
	if err != nil {
		return "", err
	}
	mountinfo, err := os.ReadFile(fs.ProcPath("self/mountinfo"))
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(text) {
		path, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte("0::"))
		if !ok {
			continue
		}
		for _, m := range kernel.CgroupMounts(kernel.ParseMountinfo(mountinfo)) {
			if m.Controllers != "" {
				continue
			}
			if rel, ok := m.Below(string(path)); ok && rel != "/" {
				return fs.CgroupPath(m.Point) + rel, nil
			}
			return "", errors.New("it is at the root of what is mounted of cgroup v2")
		}
	}
	return "", errors.New("there is no cgroup v2")
}
