package packagetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

// checkout is a clone of this repository.
type checkout struct {
	t   *testing.T
	dir string
}

// newCheckout clones this repository with a changelog of one release, and a key that signs.
func newCheckout(t *testing.T) (c checkout, key string) {
	t.Helper()
	needs(t, "bash", "git", "ssh-keygen", "awk")
	if out, err := exec.Command("git", "rev-parse", "HEAD").CombinedOutput(); err != nil {
		t.Skipf("a release comes from a checkout, and this is none: %s", out)
	}
	dir := t.TempDir()
	c, key = checkout{t, filepath.Join(dir, "clone")}, filepath.Join(dir, "key")
	run(t, "git", "clone", "-q", "../..", c.dir)
	c.git("config", "user.name", "Test")
	c.git("config", "user.email", "test@example.org")
	c.git("config", "commit.gpgsign", "false")
	run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
	c.write("packaging/allowed_signers", "releases "+string(read(t, key+".pub")))
	c.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 1.2.3 - 2026-12-31\n\n### Added\n\n- All of it.\n\n## 1.2.2 - 2026-01-01\n\n- Old.\n")
	c.git("add", "-A")
	c.git("commit", "-qm", "release")
	c.git("tag", "v1.2.3")
	return c, key
}

func (c checkout) git(args ...string) {
	c.t.Helper()
	run(c.t, "git", append([]string{"-C", c.dir}, args...)...)
}

func (c checkout) write(name, content string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(content), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// A release is refused before anything is built.
func TestReleaseRefuses(t *testing.T) {
	t.Parallel()
	c, key := newCheckout(t)
	refuses := func(want string, args ...string) {
		t.Helper()
		out, err := try(filepath.Join(c.dir, "packaging/release.sh"), args...)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	out := filepath.Join(t.TempDir(), "dist")
	refuses("is not like v1.2.3", "1.2.3", out, key)
	refuses("cannot be read", "v1.2.3", out, key+" not here")
	refuses("there is no tag v9.9.9", "v9.9.9", out, key)
	run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key+"2")
	refuses("does not name the key", "v1.2.3", out, key+"2")
	c.write("new", "")
	refuses("not committed", "v1.2.3", out, key)
	for _, bad := range []struct{ changelog, want string }{
		{"## Unreleased\n\n- Something.\n\n## 1.2.3 - 2026-12-31\n\n- A\n", "under Unreleased"},
		{"## Unreleased\n\n## 1.2.30 - 2026-12-31\n\n- A\n", `no section "## 1.2.3 - DATE"`},
		{"## 1.2.3\n\n- A\n", `no section "## 1.2.3 - DATE"`},
		{"## Unreleased\n\n## 1.2.3 - 2026-12-31\n\n## 1.2.2 - 2026-01-01\n\n- Old.\n", "is empty"},
	} {
		c.write("CHANGELOG.md", bad.changelog)
		c.git("add", "-A")
		c.git("commit", "-qm", "changelog")
		c.git("tag", "-f", "v1.2.3")
		refuses(bad.want, "v1.2.3", out, key)
	}
	c.git("commit", "-q", "--allow-empty", "-m", "later")
	refuses("is not the commit that is checked out", "v1.2.3", out, key)
	if files, _ := os.ReadDir(out); len(files) > 0 {
		t.Errorf("%v was written", files)
	}
}

// An archive of the source knows its commit, time and version without git.
func TestRevisionInArchive(t *testing.T) {
	t.Parallel()
	needs(t, "tar")
	c, _ := newCheckout(t)
	dir, archive := t.TempDir(), filepath.Join(t.TempDir(), "source.tar")
	c.git("archive", "--output", archive, "HEAD")
	run(t, "tar", "-C", dir, "-xf", archive)
	want := run(t, filepath.Join(c.dir, "packaging/revision.sh"))
	if !strings.HasSuffix(want, " v1.2.3\n") || len(strings.Fields(want)) != 3 {
		t.Errorf("in the checkout: %q", want)
	}
	if got := run(t, filepath.Join(dir, "packaging/revision.sh")); strings.HasSuffix(got, " v0.0.0\n") {
		t.Log("git before 2.35 does not put the version into archives")
	} else if got != want {
		t.Errorf("in the archive: %q, want %q", got, want)
	}
	c.git("commit", "-q", "--allow-empty", "-m", "later")
	if got := run(t, filepath.Join(c.dir, "packaging/revision.sh")); !strings.Contains(got, " v1.2.3-1-g") {
		t.Errorf("after the tag: %q", got)
	}
}

// Without its arguments, each script shows its help and nothing else of it.
func TestScriptsShowHelp(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "sed")
	for _, script := range []string{"build.sh", "compile.sh", "install.sh", "release.sh"} {
		cmd := exec.Command("../" + script)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 64 || !strings.Contains(string(out), "packaging/"+script) || strings.Contains(string(out), "set -e") {
			t.Errorf("%s: %v: %s", script, cmd.ProcessState, out)
		}
	}
}

// A release has packages, source, notes, and checksums whose signature is verified as
// docs/release.md says.
func TestLongRelease(t *testing.T) {
	testkit.SkipLong(t)
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skipf("there are no packages for %s", runtime.GOARCH)
	}
	t.Setenv("ARCHES", runtime.GOARCH)
	c, key := newCheckout(t)
	out := filepath.Join(t.TempDir(), "dist")
	run(t, filepath.Join(c.dir, "packaging/release.sh"), "v1.2.3", out, key)
	if got := string(read(t, filepath.Join(out, "NOTES.md"))); got != "### Added\n\n- All of it.\n" {
		t.Errorf("NOTES.md: %q", got)
	}
	verify := `ssh-keygen -Y verify -f "$0"/packaging/allowed_signers -I releases -n apmon-release -s SHA256SUMS.sig <SHA256SUMS && sha256sum --check --strict SHA256SUMS`
	run(t, "sh", "-ec", `cd "$1"; `+verify, c.dir, out)
	sums := string(read(t, filepath.Join(out, "SHA256SUMS")))
	for _, format := range []string{"deb", "rpm", "apk", "tar.gz", "apmon-1.2.3-source.tar.gz", "apmon-1.2.3-image.tar.gz", "NOTES.md"} {
		if name := filepath.Base(packageFile(out, format, "1.2.3", runtime.GOARCH)); !strings.Contains(sums, "  "+name+"\n") {
			t.Errorf("no checksum of %s: %s", name, sums)
		}
	}
	if err := os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := try("sh", "-ec", `cd "$1"; `+verify, c.dir, out); err == nil {
		t.Error("changed checksums are verified")
	}
}
