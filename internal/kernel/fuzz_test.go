package kernel

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzParsers calls every parser with the same bytes.
func FuzzParsers(f *testing.F) {
	for _, tree := range []string{"x86", "arm", "container"} {
		err := filepath.WalkDir(filepath.Join("../../procinfo/testdata", tree), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				b, _ := os.ReadFile(path)
				f.Add(b)
			}
			return err
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add([]byte("17 (a) R (b) S 1 17 17 0 -1 4194560 100 0 0 0 250 125 0 0 20 0 9 0 1000 8192 3 0\n"))
	f.Add([]byte("c000000000-c000400000 rw-p 00000000 00:00 0   [anon: Go: heap]\n"))
	f.Add([]byte("drm-driver:\txe\ndrm-client-id:\t3\ndrm-resident-vram0:\t16 MiB\ndrm-cycles-rcs:\t28\ndrm-total-cycles-rcs:\t765\n"))
	f.Add([]byte("/bin/sh\x00-c\x00\x00"))
	f.Add([]byte("25 24 0:33 / /a\\040b rw - tmpfs none rw\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		keep := string(b)
		var states TCPStates
		ParseLoadavg(b)
		ParseUptime(b)
		ParseStat(b)
		ParseMeminfo(b)
		ParseVmstat(b)
		ParsePressure(b)
		ParseNetDev(b, func([]byte, NetCounters) {})
		ParseRoute(b, func([]byte) {})
		ParseIPv6Route(b, func([]byte) {})
		ParseDiskstats(b, func([]byte, Count, Count) {})
		ParseSockstat(b)
		ParseProtocols(b)
		ParseNetUnix(b)
		ParseNetTCP(b, &states)
		ParsePIDState(b)
		ParsePIDStat(b)
		ParseExitStatus(b)
		ParsePIDIO(b)
		ParseStatus(b)
		ParseSmapsRollup(b)
		ParseFDInfo(b)
		ParseCPUList(b)
		ParseCPUInfo(b)
		ParseOSRelease(b)
		ParseCacheSize(b)
		ParseIfInet6(b)
		ParseCgroup(b, "memory")
		ParseKeyed(b, "usage_usec")
		ParseNumber(b)
		ParseCmdline(b)
		ParseChildren(b, func(pid int) {
			if pid < 0 {
				t.Errorf("child %d", pid)
			}
		})
		ParseMaps(b, func(m Mapping) {
			if m.Start > m.End || len(m.Perms) != 4 {
				t.Errorf("mapping %+v", m)
			}
		})
		ParsePIDs(b, func(pid int) bool { return pid >= 0 })
		mounts := ParseMountinfo(b)
		for i, m := range mounts {
			if m.Parent < -1 || m.Parent >= len(mounts) || m.Parent == i {
				t.Errorf("mount %d has parent %d of %d", i, m.Parent, len(mounts))
			}
		}
		if string(b) != keep {
			t.Error("a parser changed its input")
		}
	})
}
