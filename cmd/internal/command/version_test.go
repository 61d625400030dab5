package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

func TestReadBuild(t *testing.T) {
	t.Parallel()
	platform := runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")"
	checkout := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.4-0.20260102030405-0123456789ab"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "false"},
	}}
	for _, c := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, "(devel) ("},
		{&debug.BuildInfo{}, "(devel) ("},
		{&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3 ("}, // go install …@v1.2.3
		{checkout, "v1.2.4-0.20260102030405-0123456789ab (commit 0123456789abcdef, 2026-01-02T03:04:05Z, "},
	} {
		if got := readBuild(c.info, c.info != nil).String(); got != c.want+platform {
			t.Errorf("%+v: %q, want %q", c.info, got, c.want+platform)
		}
	}
}

// All commands print version, commit, date and the version of Go of a release, in one line.
func TestLongReleaseVersion(t *testing.T) {
	testkit.SkipLong(t)
	t.Parallel()
	const own = "github.com/apmon-go/apmon/cmd/internal/command."
	dir := t.TempDir()
	for _, name := range []string{"apmon-send", "apmon-bg", "apmon-recv"} {
		bin := filepath.Join(dir, name)
		if runtime.GOOS == "windows" {
			bin += ".exe"
		}
		build := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "-ldflags", "-X "+own+"version=v7.8.9 -X "+own+"commit=abcdef -X "+own+"date=2026-01-02T03:04:05Z", "github.com/apmon-go/apmon/cmd/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out, err := exec.Command(bin, "--version").CombinedOutput()
		want := name + " version v7.8.9 (commit abcdef, 2026-01-02T03:04:05Z, " + runtime.Version() + ", "
		if err != nil || !strings.HasPrefix(string(out), want) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%v, %q, want %q", err, out, want)
		}
	}
}
