// Package packagetest tests the packages, the units and the image of packaging/.
package packagetest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// work is a folder for what tests share.
var work string

func TestMain(m *testing.M) {
	var err error
	if work, err = os.MkdirTemp("", "apmon-packages"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(work)
	os.Exit(code)
}

// version is that of the packages under test, upgraded the one they are upgraded to.
const version, upgraded = "1.2.3", "1.2.4"

// built returns the folder with packages of both versions, for both architectures of the first
// one. APMON_DIST names a folder where they are already.
var built = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("APMON_DIST"); dir != "" {
		return filepath.Abs(dir)
	}
	dir := filepath.Join(work, "dist")
	if err := build("../..", version, dir); err != nil {
		return "", err
	}
	return dir, build("../..", upgraded, dir, "ARCHES="+runtime.GOARCH)
})

// build runs the build.sh of a checkout.
func build(checkout, version, dir string, env ...string) error {
	cmd := exec.Command(filepath.Join(checkout, "packaging/build.sh"), version, dir)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build.sh: %w\n%s", err, out)
	}
	return nil
}

// dist returns the folder of [built]. It skips the test where packages cannot be built.
func dist(t *testing.T) string {
	t.Helper()
	testkit.SkipLong(t)
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skipf("there are no packages for %s", runtime.GOARCH)
	}
	if os.Getenv("APMON_DIST") == "" {
		needs(t, "git", "tar", "gzip", "install")
		if out, err := exec.Command("git", "rev-parse", "HEAD").CombinedOutput(); err != nil {
			t.Skipf("the version of a package comes from git, and this is no checkout: %s", out)
		}
	}
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// needs skips the test if a program is not installed.
func needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// run runs a command, and fails the test if it fails. It returns what the command printed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := try(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try runs a command and returns what it printed. The command has the time of testkit.Patience
// several times.
func try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*testkit.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second // its children may hold the pipe
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, &out)
	}
	return out.String(), nil
}

// packageFile returns the file of a package in a format, for an architecture of Go.
func packageFile(dir, format, version, arch string) string {
	other := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	name := map[string]string{
		"deb":    "apmon_" + version + "_" + arch + ".deb",
		"rpm":    "apmon-" + version + "-1." + other + ".rpm",
		"apk":    "apmon_" + version + "_" + other + ".apk",
		"tar.gz": "apmon-" + version + "-linux-" + arch + ".tar.gz",
	}[format]
	return filepath.Join(dir, cmp.Or(name, format))
}
