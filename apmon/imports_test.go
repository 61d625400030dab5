package apmon

import (
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
		"internal/safetext":  {},
		"internal/backoff":   {},
		"internal/httperr":   {},
		"internal/queue":     {},
		"internal/histogram": {},
		"internal/glob":      {},
		"internal/history":   {"xdr"},
		"internal/quantity":  {},
		"internal/graph":     {"internal/quantity"},
		"internal/kernel":    {},
		"internal/causes":    {},
		"internal/process":   {"internal/kernel"},

		"internal/page":       {"internal/graph"},
		"internal/page/guard": {},
		"internal/dashboard":  {"xdr", "internal/glob", "internal/graph", "internal/history", "internal/page", "internal/quantity", "internal/safetext"},
		"internal/webserver":  {"internal/page/guard"},

		"xdr":      {"internal/safetext"},
		"conf":     {"internal/backoff", "internal/httperr", "internal/safetext"},
		"procinfo": {"xdr", "internal/causes", "internal/kernel", "internal/process"},
		"apmon":    {"xdr", "conf", "procinfo", "procinfo/jobrecord", "procinfo/jobtree", "procinfo/workdir", "apmon/internal/changes", "apmon/internal/schedule", "internal/backoff", "internal/safetext"},

		"procinfo/jobrecord": {"procinfo"},

		"procinfo/jobtree": {"procinfo", "internal/causes", "internal/kernel", "internal/process"},
		"procinfo/workdir": {"procinfo", "internal/causes", "internal/kernel", "internal/process"},

		"apmon/internal/changes":  {"xdr"},
		"apmon/internal/schedule": {},

		"apmon/httpstats": {"xdr", "internal/histogram", "internal/safetext"},
		"apmon/metrics":   {"apmon", "apmon/internal/changes", "xdr", "procinfo", "internal/histogram", "internal/safetext"},
		"apmon/statusz":   {"apmon", "apmon/metrics", "apmon/httpstats", "apmon/internal/loopback", "internal/graph", "internal/page", "internal/page/guard", "internal/quantity", "xdr", "procinfo"},
		"apmon/profiler":  {"apmon/internal/loopback", "internal/backoff", "internal/page/guard"},
		"apmon/accesslog": {"apmon", "xdr", "procinfo", "internal/backoff", "internal/histogram", "internal/httperr", "internal/safetext"},
		"apmon/receiver":  {"xdr", "internal/queue", "internal/safetext"},
		"apmon/apmontest": {"apmon/receiver", "xdr"},

		"apmon/internal/loopback": {"internal/page/guard"},
	}
	// Packages at the top and helpers of tests may import anything. A folder that
	// is in neither list is an error.
	free := []string{"cmd/", "examples/", "internal/burner", "internal/testkit", "packaging/completions", "packaging/bom"}
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

// The picture of docs/architecture.md has every package once, above those that it imports, and
// its table has every package once.
func TestArchitecture(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, picture, _ := strings.Cut(string(doc), "```\n")
	picture, rest, _ := strings.Cut(picture, "```\n")
	table, _, _ := strings.Cut(rest, "\nTests share")
	name := regexp.MustCompile(`(cmd|apmon|internal|procinfo|conf|xdr)(/[a-z*-]+)*`)
	floor := map[string]int{} // from top to bottom
	for i, line := range strings.Split(picture, "\n") {
		if len(line) < 16 {
			continue
		}
		for _, p := range name.FindAllString(line[16:], -1) { // after the name of the floor
			if floor[p] > 0 {
				t.Errorf("%s is in the picture twice", p)
			}
			floor[p] = i + 1
		}
	}
	rows := map[string]int{}
	for line := range strings.Lines(table) {
		column, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z/-]+)(?:\\{([a-z,-]+)\\})?`").FindAllStringSubmatch(column, -1) {
			for _, part := range strings.Split(m[2], ",") {
				rows[m[1]+part]++
			}
		}
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}:{{join .Imports " "}}`, "../...").Output()
	if err != nil {
		t.Skip("go list: ", err)
	}
	const module = "github.com/apmon-go/apmon/"
	room := func(p string) string {
		if strings.HasPrefix(p, "cmd/apmon-recv/internal/") {
			return "cmd/apmon-recv/internal/*"
		}
		return p
	}
	found := 0
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
		p := strings.TrimPrefix(path, module)
		if slices.ContainsFunc([]string{"docs", "examples/", "packaging/", "internal/burner", "internal/testkit", "cmd/internal/commandtest"}, func(free string) bool { return strings.HasPrefix(p, free) }) {
			continue
		}
		found++
		if floor[room(p)] == 0 || rows[p] != 1 {
			t.Errorf("%s: floor %d of the picture, %d rows of the table", p, floor[room(p)], rows[p])
		}
		for _, i := range strings.Fields(imports) {
			i, own := strings.CutPrefix(i, module)
			if own && i != "packaging/completions" && room(i) != room(p) && floor[room(i)] <= floor[room(p)] {
				t.Errorf("%s imports %s, which is not below it", p, i)
			}
		}
	}
	if found != len(rows) || found < 30 {
		t.Errorf("%d packages, %d in the table", found, len(rows))
	}
}
