package apmon

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each direct dependency has its purpose behind it in go.mod: .ci/deps lists them, and fails if
// one has none.
func TestDependenciesHaveAPurpose(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	if out, err := exec.Command(bash, "../.ci/deps").CombinedOutput(); err != nil || !strings.Contains(string(out), "golang.org/x/sys ") {
		t.Errorf("%v\n%s", err, out)
	}
	for text, want := range map[string]bool{
		"require (\n\texample.org/a v1.0.0 // a thing\n\texample.org/b v1.0.0 // indirect\n)\n": true,
		"require (\n\texample.org/a v1.0.0 // a thing\n\texample.org/b v1.0.0\n)\n":             false,
		"require example.org/a v1.0.0\n":     false,
		"tool example.org/a // a thing\n":    true,
		"tool (\n\texample.org/a\n)\n":       false,
		"exclude example.org/a v1.0.0\n":     true,
		"replace example.org/a => ../else\n": true,
	} {
		file := filepath.Join(t.TempDir(), "go.mod")
		if err := os.WriteFile(file, []byte("module m\n\ngo 1.26.0\n\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(bash, "../.ci/deps", file).CombinedOutput(); (err == nil) != want {
			t.Errorf("%s\n%v\n%s", text, err, out)
		}
	}
}
