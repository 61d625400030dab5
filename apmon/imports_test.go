package apmon

import (
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImportsPointOneWay: imports go cmd → apmon → {procinfo, conf} → xdr →
// standard library. Packages below apmon do not import it, procinfo and conf do
// not import each other, and apmon imports none of its public sub-packages, which may
// import apmon and the packages below it.
func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	const module = "github.com/apmon-go/apmon/"
	may := map[string][]string{
		"internal/safetext": {},
		"internal/backoff":  {},
		"internal/queue":    {},
		"internal/glob":     {},
		"internal/history":  {"xdr"},
		"internal/quantity": {},
		"internal/graph":    {"internal/quantity"},
		"internal/kernel":   {},
		"internal/causes":   {},
		"internal/process":  {"internal/kernel"},

		"internal/page":       {"internal/graph"},
		"internal/page/guard": {},
		"internal/dashboard":  {"xdr", "internal/glob", "internal/graph", "internal/history", "internal/page", "internal/quantity", "internal/safetext"},

		"xdr":      {"internal/safetext"},
		"conf":     {"xdr", "internal/backoff", "internal/safetext"},
		"procinfo": {"xdr", "internal/causes", "internal/kernel", "internal/process"},
		"apmon":    {"xdr", "conf", "procinfo", "procinfo/jobtree", "procinfo/workdir", "apmon/internal/schedule", "internal/backoff", "internal/safetext"},

		"procinfo/jobtree": {"procinfo", "internal/causes", "internal/kernel", "internal/process"},
		"procinfo/workdir": {"procinfo", "internal/causes", "internal/kernel", "internal/process"},

		"apmon/internal/schedule": {},

		"apmon/httpstats": {"xdr", "internal/safetext"},
		"apmon/metrics":   {"apmon", "xdr", "procinfo", "internal/safetext"},
		"apmon/statusz":   {"apmon", "apmon/metrics", "apmon/internal/loopback", "xdr", "procinfo"},
		"apmon/profiler":  {"apmon/internal/loopback"},
		"apmon/accesslog": {"apmon", "xdr", "procinfo", "internal/safetext"},
		"apmon/receiver":  {"xdr", "internal/queue", "internal/safetext"},
		"apmon/apmontest": {"apmon/receiver", "xdr"},

		"apmon/internal/loopback": {"internal/page/guard"},
	}
	// Packages at the top and helpers of tests may import anything. A folder that
	// is in neither list is an error.
	free := []string{"cmd/", "examples/", "internal/burner", "internal/testkit", "packaging/completions"}
	// Modules other than the standard library. Those of other systems are in files
	// with build tags.
	others := []string{"golang.org/x/sys/"}
	const gopsutil = "github.com/shirou/gopsutil/v3/" // only in procinfo, not on Linux
	linux := build.Default
	linux.GOOS = "linux"
	checked := 0
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(filepath.ToSlash(path), "../")))
		allowed, ok := may[dir]
		if !ok {
			if !slices.ContainsFunc(free, func(f string) bool { return strings.HasPrefix(dir+"/", strings.TrimSuffix(f, "/")+"/") }) {
				t.Errorf("%s: no rule for the imports of %s", path, dir)
			}
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		checked++
		onLinux, err := linux.MatchFile(filepath.Split(path))
		if err != nil {
			return err
		}
	imports:
		for _, spec := range f.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if own, ok := strings.CutPrefix(name, module); ok {
				for _, a := range allowed {
					if own == a {
						continue imports
					}
				}
				t.Errorf("%s imports %s", path, name)
			} else if first, _, _ := strings.Cut(name, "/"); strings.Contains(first, ".") {
				for _, o := range others {
					if strings.HasPrefix(name, o) {
						continue imports
					}
				}
				if dir == "procinfo" && !onLinux && strings.HasPrefix(name, gopsutil) {
					continue
				}
				t.Errorf("%s imports %s", path, name)
			}
		}
		return nil
	})
	if err != nil || checked < 10 {
		t.Errorf("%d files checked, %v", checked, err)
	}
}

// TestLinuxBinaryHasNoGopsutil lists all packages of a build for Linux.
func TestLinuxBinaryHasNoGopsutil(t *testing.T) {
	t.Parallel()
	deps := func(goos string, packages ...string) string {
		cmd := exec.Command("go", append([]string{"list", "-deps"}, packages...)...)
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Skipf("go list for %s: %v: %s", goos, err, stderr.String())
		}
		if !strings.Contains(string(out), "github.com/apmon-go/apmon/procinfo\n") {
			t.Errorf("go list for %s: %s", goos, out)
		}
		return string(out)
	}
	for dep := range strings.Lines(deps("linux", "./apmon", "./procinfo", "./cmd/...")) {
		if strings.Contains(dep, "gopsutil") || strings.Contains(dep, "go-m1cpu") {
			t.Errorf("on Linux: %s", dep)
		}
	}
	for _, goos := range []string{"darwin", "freebsd", "windows"} {
		if !strings.Contains(deps(goos, "./procinfo"), "gopsutil") {
			t.Errorf("%s without gopsutil", goos)
		}
	}
	if strings.Contains(deps("openbsd", "./procinfo"), "gopsutil") {
		t.Error("openbsd with gopsutil")
	}
}
