package procinfo

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Many functions of gopsutil start processes, which depends on the system. The source of
// those listed here was read, for the systems of each file, and starts none. Before you
// add one, read its source, including files with nocgo in their names.
func TestGopsutilIsUsedWhereItStartsNoProcess(t *testing.T) {
	read := map[string][]string{
		"host_gopsutil.go":   {"cpu.Times", "host.Uptime", "host.KernelArch"},
		"read_unix.go":       {"load.Avg"},
		"read_notfreebsd.go": {"disk.IOCounters", "process.Pids"},
		"read_darwin.go":     {"cpu.Counts", "cpu.Info", "mem.SwapMemory", "mem.VirtualMemory" /* with cgo */},
		"read_freebsd.go": {"cpu.Info", "mem.SwapMemory", "mem.VirtualMemory", "process.Processes",
			"process.Idle", "process.Running", "process.Sleep", "process.Stop", "process.Zombie"},
		"read_windows.go": {"cpu.Counts", "host.PlatformInformation", "mem.SwapDevices", "mem.VirtualMemory",
			"net.Connections", "net.IOCounters"},
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	seen := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		packages := map[string]string{}
		for _, i := range f.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if path == "os/exec" {
				t.Errorf("%s imports os/exec", name)
			}
			if pkg, ok := strings.CutPrefix(path, "github.com/shirou/gopsutil/v3/"); ok {
				if i.Name != nil {
					packages[i.Name.Name] = pkg
				} else {
					packages[pkg] = pkg
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Obj == nil && packages[x.Name] != "" {
					call := packages[x.Name] + "." + s.Sel.Name
					seen[name+" "+call] = true
					if !slices.Contains(read[name], call) {
						t.Errorf("%s: %s: has anyone looked whether it starts a process there?", name, call)
					}
				}
			}
			return true
		})
	}
	for name, calls := range read {
		for _, call := range calls {
			if !seen[name+" "+call] {
				t.Errorf("%s does not use %s any more", name, call)
			}
		}
	}
}
