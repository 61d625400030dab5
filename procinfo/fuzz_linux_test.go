package procinfo

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzParsers gives every parser the same bytes.
func FuzzParsers(f *testing.F) {
	for _, tree := range []string{"x86", "arm", "container"} {
		filepath.WalkDir(filepath.Join("testdata", tree), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				b, _ := os.ReadFile(path)
				f.Add(b)
			}
			return nil
		})
	}
	f.Add([]byte{20, 0, 0, 0, 18, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 10, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		keep := string(b)
		var s tcpStates
		var sys System
		parseLoadavg(b)
		parseUptime(b)
		st := parseStat(b)
		sys.setCPU([cpuColumns]count{}, st.cpu)
		sys.setCPU(st.cpu, st.cpu)
		sys.setMemory(parseMeminfo(b))
		parseVmstat(b)
		parsePressure(b)
		parseNetDev(b, func([]byte, netCounters) {})
		parseRoute(b, func([]byte) {})
		parseIPv6Route(b, func([]byte) {})
		parseDiskstats(b, func([]byte, count, count) {})
		parseSockstat(b)
		parseProtocols(b)
		parseNetUnix(b)
		parseNetTCP(b, &s)
		parseDiag(b, &s)
		parseProcState(b)
		parseCPUList(b)
		parseCPUInfo(b)
		parseOSRelease(b)
		parseCacheSize(b)
		parseIfInet6(b)
		parseMountinfo(b)
		parseCgroup(b, "memory")
		parseStatusCPUs(b)
		for _, p := range sys.Append(nil, nil) {
			if err := p.Check(); err != nil {
				t.Error(err)
			}
		}
		if string(b) != keep {
			t.Error("a parser changed its input")
		}
	})
}
