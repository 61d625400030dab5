package procinfo

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/apmon-go/apmon/internal/kernel"
)

// FuzzSystem makes samples from the results of parsers for the same bytes.
func FuzzSystem(f *testing.F) {
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
		var s kernel.TCPStates
		var sys System
		st := kernel.ParseStat(b)
		sys.setCPU([kernel.CPUColumns]kernel.Count{}, st.CPU)
		sys.setCPU(st.CPU, st.CPU)
		sys.setMemory(kernel.ParseMeminfo(b))
		parseDiag(b, &s)
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
