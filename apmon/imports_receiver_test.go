package apmon

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestOnlyTheReceiverHasItsLibraries: the libraries of the outputs are imported by
// cmd/apmon-recv alone, and by the example that consumes one of them.
func TestOnlyTheReceiverHasItsLibraries(t *testing.T) {
	t.Parallel()
	list := func(args ...string) []string {
		cmd := exec.Command("go", append([]string{"list"}, args...)...)
		cmd.Dir = ".."
		out, err := cmd.Output()
		if err != nil {
			t.Skipf("go list: %v", err)
		}
		return strings.Fields(string(out))
	}
	others := slices.DeleteFunc(list("./..."), func(p string) bool {
		return strings.Contains(p+"/", "/cmd/apmon-recv/") || strings.HasSuffix(p, "/examples/natsconsumer")
	})
	if len(others) < 20 {
		t.Fatalf("%d packages", len(others))
	}
	libraries := []string{"github.com/prometheus/", "nats-io", "yaml", "klauspost", "protobuf", "golang.org/x/crypto", "golang.org/x/net", "charm.land", "charmbracelet"}
	for _, dep := range list(append([]string{"-deps"}, others...)...) {
		if slices.ContainsFunc(libraries, func(l string) bool { return strings.Contains(dep, l) }) && !strings.HasPrefix(dep, "vendor/") {
			t.Errorf("%s is imported", dep)
		}
	}
	// The libraries of tests are in no binary, and in no program that imports a package.
	for _, dep := range list("-deps", "./apmon/...", "./cmd/...", "./conf", "./examples/...", "./internal/page/...", "./procinfo/...", "./xdr") {
		if strings.Contains(dep, "chromedp") || strings.Contains(dep, "go-cmp") || strings.Contains(dep, "goleak") {
			t.Errorf("%s is imported", dep)
		}
	}
}
