package apmon

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Imports point one way: cmd → apmon → {procinfo, conf} → xdr → standard
// library. What is below apmon does not know it, procinfo and conf do not know
// each other, and apmon knows none of its own sub-packages.
func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	const module = "github.com/apmon-go/apmon/"
	may := map[string][]string{
		"xdr":      {},
		"conf":     {"xdr"},
		"procinfo": {"xdr"},
		"apmon":    {"xdr", "conf", "procinfo"},
	}
	// Beyond the standard library; other systems' packages stand behind build
	// tags in files of their own.
	others := []string{"golang.org/x/sys/"}
	checked := 0
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(filepath.ToSlash(path), "../")))
		allowed, ok := may[dir]
		if !ok {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		checked++
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
				t.Errorf("%s imports %s", path, name)
			}
		}
		return nil
	})
	if err != nil || checked < 10 {
		t.Errorf("%d files checked, %v", checked, err)
	}
}
