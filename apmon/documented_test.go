package apmon

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every public package has an Example, which go doc and pkg.go.dev show.
func TestEveryPublicPackageHasAnExample(t *testing.T) {
	t.Parallel()
	examples := map[string]bool{} // by folder with Go files
	for _, root := range []string{"../xdr", "../conf", "../procinfo", "../apmon"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if e.IsDir() && (e.Name() == "internal" || e.Name() == "testdata") {
				return filepath.SkipDir
			}
			if strings.HasSuffix(path, ".go") {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				dir := filepath.Dir(path)
				examples[dir] = examples[dir] || strings.HasSuffix(path, "_test.go") && strings.Contains(string(b), "\nfunc Example")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for dir, has := range examples {
		if !has {
			t.Errorf("%s has no Example", dir)
		}
	}
	if len(examples) < 12 {
		t.Errorf("%d packages", len(examples))
	}
}

// Each program and script of examples is in the index, and has a test.
func TestExamplesAreListedAndTested(t *testing.T) {
	t.Parallel()
	index, err := os.ReadFile("../examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs, err := filepath.Glob("../examples/*/*.go")
	if err != nil || len(programs) == 0 {
		t.Fatalf("%d programs, %v", len(programs), err)
	}
	for _, file := range programs {
		dir := filepath.Dir(file)
		if tests, _ := filepath.Glob(filepath.Join(dir, "*_test.go")); len(tests) == 0 {
			t.Errorf("%s has no test", dir)
		}
		if !strings.Contains(string(index), "]("+filepath.Base(dir)+"/") {
			t.Errorf("%s is not in the index", dir)
		}
	}
	tests, err := os.ReadFile("../cmd/apmon-bg/examples_linux_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("../examples/*/*")
	scripts := 0
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "#!") {
			continue
		}
		scripts++
		name := strings.TrimPrefix(filepath.ToSlash(file), "../examples/")
		if !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("%s is not in the index", name)
		}
		if !strings.Contains(string(tests), `"`+name+`"`) {
			t.Errorf("%s has no test", name)
		}
	}
	if scripts < 7 {
		t.Errorf("%d scripts", scripts)
	}
}
