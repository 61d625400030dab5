package packagetest

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

var commands = []string{"apmon-send", "apmon-bg", "apmon-recv"}

// want lists the files of a deb, below /usr if it is not /etc, and whether they are executable.
func wanted() map[string]bool {
	names := map[string]bool{
		"/etc/apmon/destinations.conf": false, "/etc/apmon/receiver.yaml": false,
		"/usr/lib/systemd/system/apmon-bg.service": false, "/usr/lib/systemd/system/apmon-recv.service": false, "/usr/lib/sysusers.d/apmon.conf": false,
		"/usr/share/zsh/vendor-completions/_apmon": false,
	}
	for _, name := range []string{"README.md", "CHANGELOG.md", "LICENSE", "copyright", "apmon.spdx.json", "other-users.conf",
		"dashboard-hosts.json", "dashboard-jobs.json", "dashboard-receiver.json", "dashboard-web.json", "alerts.yaml"} {
		names["/usr/share/doc/apmon/"+name] = false
	}
	for _, c := range commands {
		names["/usr/bin/"+c] = true
		names["/usr/share/man/man1/"+c+".1.gz"] = false
		names["/usr/share/bash-completion/completions/"+c] = false
		names["/usr/share/fish/vendor_completions.d/"+c+".fish"] = false
	}
	return names
}

// A deb has what it should have, with owners and modes, and rpm, apk and tar.gz have the same.
func TestLongPackageContents(t *testing.T) {
	dir := dist(t)
	for _, arch := range []string{"amd64", "arm64"} {
		deb, contents := readDeb(t, packageFile(dir, "deb", version, arch))
		regular := map[string]file{}
		want := wanted()
		for name, f := range deb {
			if f.mode.IsDir() {
				if f.mode.Perm() != 0o755 || f.owner != "root" || f.group != "root" {
					t.Errorf("deb: %s: %+v", name, f)
				}
				continue
			}
			regular[name] = f
			executable, ok := want[name]
			expect := file{0o644, "root", "root", f.sum, false}
			if executable {
				expect.mode = 0o755
			}
			if strings.HasPrefix(name, "/etc/") {
				expect = file{0o640, "root", "apmon", f.sum, true}
			}
			if !ok || f != expect {
				t.Errorf("deb: %s: %+v, want %+v", name, f, expect)
			}
			delete(want, name)
		}
		if len(want) > 0 {
			t.Errorf("deb: missing: %v", slices.Sorted(maps.Keys(want)))
		}
		compare(t, "rpm", regular, readRPM(t, packageFile(dir, "rpm", version, arch)))
		apk, _ := readTar(t, read(t, packageFile(dir, "apk", version, arch)))
		delete(apk, "/.PKGINFO")
		compare(t, "apk", regular, apk)
		compareTar(t, contents, packageFile(dir, "tar.gz", version, arch), "/apmon-"+version+"-linux-"+arch)
		for _, c := range commands {
			checkBinary(t, arch, contents["/usr/bin/"+c])
		}
		checkList(t, contents)
	}
}

// compare compares the files of a deb with those of a package in another format.
func compare(t *testing.T, format string, deb, other map[string]file) {
	t.Helper()
	maps.DeleteFunc(other, func(_ string, f file) bool { return f.mode.IsDir() })
	for name, f := range deb {
		// Debian's zsh has a folder of its own, and apk keeps all below /etc.
		theirs := strings.Replace(name, "/zsh/vendor-completions/", "/zsh/site-functions/", 1)
		o := other[theirs]
		if format == "apk" {
			o.config = f.config
		}
		if o != f {
			t.Errorf("%s: %s is %+v, in the deb %+v", format, theirs, o, f)
		}
		delete(other, theirs)
	}
	if len(other) > 0 {
		t.Errorf("%s: not in the deb: %v", format, slices.Sorted(maps.Keys(other)))
	}
}

// compareTar compares the tar.gz, which is for a prefix other than /usr.
func compareTar(t *testing.T, deb map[string][]byte, name, folder string) {
	t.Helper()
	_, other := readTar(t, read(t, name))
	maps.DeleteFunc(other, func(_ string, b []byte) bool { return len(b) == 0 })
	for name, b := range deb {
		if len(b) == 0 {
			continue
		}
		theirs := folder + strings.Replace(strings.TrimPrefix(name, "/usr"), "/zsh/vendor-completions/", "/zsh/site-functions/", 1)
		if strings.HasSuffix(name, ".service") {
			b = bytes.ReplaceAll(b, []byte("=/usr/bin/"), []byte("=/usr/local/bin/"))
			b = bytes.ReplaceAll(b, []byte("/bin/apmon-bg\n"), []byte("/bin/apmon-bg -f /usr/local/etc/apmon/destinations.conf\n"))
			b = bytes.ReplaceAll(b, []byte("config /etc/apmon"), []byte("config /usr/local/etc/apmon"))
			b = bytes.ReplaceAll(b, []byte("=-/etc/apmon"), []byte("=-/usr/local/etc/apmon"))
		}
		if !bytes.Equal(other[theirs], b) {
			t.Errorf("tar.gz: %s differs from the deb: %d and %d bytes", theirs, len(other[theirs]), len(b))
		}
		delete(other, theirs)
	}
	if len(other) > 0 {
		t.Errorf("tar.gz: not in the deb: %v", slices.Sorted(maps.Keys(other)))
	}
}

// checkBinary checks that a command is static, for its architecture, and without paths of the
// machine that built it.
func checkBinary(t *testing.T, arch string, b []byte) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
		t.Errorf("%v, want %v", f.Machine, want)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("not static: %v", p.Type)
		}
	}
	here, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(here+"/")) || bytes.Contains(b, []byte(strings.TrimSpace(run(t, "go", "env", "GOROOT"))+"/src")) {
		t.Error("the binary has paths of this machine")
	}
	if runtime.GOARCH != arch {
		return
	}
	name := filepath.Join(t.TempDir(), "command")
	if err := os.WriteFile(name, b, 0o755); err != nil {
		t.Fatal(err)
	}
	out := run(t, name, "--version")
	commit := strings.TrimSpace(run(t, "git", "rev-parse", "HEAD"))
	for _, s := range []string{" version v" + version + " (commit ", runtime.Version()} {
		if !strings.Contains(out, s) {
			t.Errorf("%s: no %q", out, s)
		}
	}
	if os.Getenv("APMON_DIST") == "" && !strings.Contains(out, commit) {
		t.Errorf("%s: no commit %s", out, commit)
	}
}

// checkList compares the SPDX list of a package with the modules in its commands, and looks for
// the licence of each in the file copyright.
func checkList(t *testing.T, contents map[string][]byte) {
	t.Helper()
	var list struct {
		SPDXVersion   string `json:"spdxVersion"`
		Packages      []struct{ SPDXID, Name, VersionInfo, LicenseConcluded string }
		Relationships []struct{ RelatedSPDXElement string }
	}
	if err := json.Unmarshal(contents["/usr/share/doc/apmon/apmon.spdx.json"], &list); err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, p := range list.Packages {
		listed[p.Name] = p.VersionInfo
		if p.LicenseConcluded == "" || p.SPDXID == "" {
			t.Errorf("%+v", p)
		}
		if !strings.Contains(string(contents["/usr/share/doc/apmon/copyright"]), "\n"+p.Name+" "+p.VersionInfo+": LICEN") &&
			!strings.Contains(string(contents["/usr/share/doc/apmon/copyright"]), "\n"+p.Name+" "+p.VersionInfo+": COPYING") {
			t.Errorf("no licence of %s", p.Name)
		}
	}
	if list.SPDXVersion != "SPDX-2.3" || len(list.Relationships) != len(list.Packages) {
		t.Errorf("%s, %d relationships of %d packages", list.SPDXVersion, len(list.Relationships), len(list.Packages))
	}
	linked := map[string]string{"github.com/apmon-go/apmon": "v" + version}
	for _, c := range commands {
		info, err := buildinfo.Read(bytes.NewReader(contents["/usr/bin/"+c]))
		if err != nil {
			t.Fatal(err)
		}
		linked["std"] = strings.TrimPrefix(info.GoVersion, "go")
		for _, d := range info.Deps {
			linked[d.Path] = d.Version
		}
	}
	if !reflect.DeepEqual(listed, linked) {
		t.Errorf("the list has %v, the commands %v", listed, linked)
	}
}

// Two builds, in different folders and with different settings of the user, give the same bytes.
func TestLongReproducible(t *testing.T) {
	dir := dist(t)
	if os.Getenv("APMON_DIST") != "" {
		t.Skip("the packages come from APMON_DIST, perhaps of another commit")
	}
	if out := run(t, "git", "status", "--porcelain", "../.."); out != "" {
		t.Skipf("the checkout has changes, which a clone has not:\n%s", out)
	}
	clone := filepath.Join(t.TempDir(), "another", "folder")
	run(t, "git", "clone", "-q", "../..", clone)
	again := t.TempDir() // of the version that was built last: the image is that one
	if err := build(clone, "v"+upgraded, again, "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "GOFLAGS=-trimpath=false", "USER=nobody", "ARCHES="+runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	same := 0
	err := filepath.WalkDir(again, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(again, name)
		if err != nil {
			return err
		}
		if sha256.Sum256(read(t, name)) != sha256.Sum256(read(t, filepath.Join(dir, rel))) {
			t.Errorf("%s differs", rel)
		}
		same++
		return nil
	})
	if err != nil || same < 14 {
		t.Errorf("%v, %d files", err, same)
	}
}

// make install, without the compilation, puts files below any prefix, keeps a configuration that
// was edited, and adapts the units.
func TestInstall(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "install", "gzip")
	bin, dest := fakeCommands(t), t.TempDir()
	for _, c := range []struct{ prefix, etc, agent string }{
		{"/usr/local", "/etc/apmon", "/usr/local/bin/apmon-bg"},
		{"/opt/apmon", "/opt/apmon/etc/apmon", "/opt/apmon/bin/apmon-bg -f /opt/apmon/etc/apmon/destinations.conf"},
	} {
		prefix, etc := c.prefix, c.etc
		run(t, "../install.sh", bin, prefix, dest)
		config := filepath.Join(dest, etc, "destinations.conf")
		if err := os.WriteFile(config, []byte("ml.example.org secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "../install.sh", bin, prefix, dest)
		if got := string(read(t, config)); got != "ml.example.org secret\n" {
			t.Errorf("%s: %q", config, got)
		}
		for name := range wanted() {
			switch base := filepath.Base(name); base {
			case "copyright", "apmon.spdx.json": // made by build.sh
				continue
			}
			name = strings.Replace(strings.Replace(name, "/etc/apmon", etc, 1), "/zsh/vendor-completions/", "/zsh/site-functions/", 1)
			if rest, ok := strings.CutPrefix(name, "/usr/"); ok {
				name = prefix + "/" + rest
			}
			if _, err := os.Stat(filepath.Join(dest, name)); err != nil {
				t.Error(err)
			}
		}
		for name, start := range map[string]string{"apmon-bg": c.agent, "apmon-recv": prefix + "/bin/apmon-recv --config " + etc + "/receiver.yaml"} {
			unit := string(read(t, filepath.Join(dest, prefix, "lib/systemd/system", name+".service")))
			if !strings.Contains(unit, "\nExecStart="+start+"\n") {
				t.Errorf("%s: %s", prefix, unit)
			}
		}
	}
}

// A relative DESTDIR is below the current folder, blanks in it do no harm, and a PREFIX that units
// cannot name is refused before anything is written.
func TestInstallPaths(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "install", "gzip")
	script, err := filepath.Abs("../install.sh")
	if err != nil {
		t.Fatal(err)
	}
	bin, dir := fakeCommands(t), t.TempDir()
	install := func(prefix string) (string, error) {
		cmd := exec.Command(script, bin, prefix, "a stage")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, prefix := range []string{"usr", "./usr", "/a b", "/a|b", "/a&b", "/a%b", `/a\b`, `/a"b`, "/a$b"} {
		if out, err := install(prefix); err == nil || !strings.Contains(out, "PREFIX "+prefix+" ") {
			t.Errorf("%s: %v, %s", prefix, err, out)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("%v was written", files)
	}
	// A DESTDIR that cannot be made is never left out.
	prefix, file := filepath.Join(dir, "prefix"), filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dest := range []string{file, file + "/below"} {
		if out, err := exec.Command(script, bin, prefix, dest).CombinedOutput(); err == nil {
			t.Errorf("DESTDIR %s: %s", dest, out)
		}
	}
	if _, err := os.Stat(prefix); err == nil {
		t.Error("installed outside of DESTDIR")
	}
	if out, err := install("/usr"); err != nil {
		t.Error(out)
	}
	for _, name := range []string{"usr/bin/apmon-bg", "etc/apmon/destinations.conf"} {
		if _, err := os.Stat(filepath.Join(dir, "a stage", name)); err != nil {
			t.Error(err)
		}
	}
}

// make install builds the commands and installs them, without root.
func TestLongMakeInstall(t *testing.T) {
	testkit.SkipLong(t)
	needs(t, "make", "git", "install", "gzip")
	if out, err := exec.Command("git", "rev-parse", "HEAD").CombinedOutput(); err != nil {
		t.Skipf("the commit comes from git, and this is no checkout: %s", out)
	}
	prefix := filepath.Join(t.TempDir(), "local")
	run(t, "make", "-C", "../..", "install", "PREFIX="+prefix, "BUILD="+t.TempDir(), "VERSION=1.2.3")
	for _, c := range commands {
		if out := run(t, filepath.Join(prefix, "bin", c), "--version"); !strings.HasPrefix(out, c+" version v1.2.3 (commit ") {
			t.Error(out)
		}
	}
	if _, err := os.Stat(filepath.Join(prefix, "etc/apmon/destinations.conf")); err != nil {
		t.Error(err)
	}
}

// fakeCommands returns a folder with commands that do nothing.
func fakeCommands(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, c := range commands {
		if err := os.WriteFile(filepath.Join(dir, c), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The image has the static commands and what they need, and runs the agent as a user without
// rights. Where podman runs, so does the image.
func TestLongImage(t *testing.T) {
	dir := dist(t)
	folder := filepath.Join(dir, "image", runtime.GOARCH)
	_, contents := readDeb(t, packageFile(dir, "deb", upgraded, runtime.GOARCH)) // built last
	for _, c := range commands {
		if !bytes.Equal(read(t, filepath.Join(folder, "usr/bin", c)), contents["/usr/bin/"+c]) {
			t.Errorf("image: %s differs from the deb", c)
		}
	}
	if passwd := string(read(t, filepath.Join(folder, "etc/passwd"))); !strings.HasPrefix(passwd, "apmon:x:65532:65532:") {
		t.Error(passwd)
	}
	text := string(read(t, filepath.Join(dir, "image/Containerfile")))
	for _, line := range []string{"\nFROM scratch\n", "\nARG TARGETARCH\n", "\nUSER 65532:65532\n", "\nENTRYPOINT [\"/usr/bin/apmon-bg\"]\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("Containerfile: no %q", line)
		}
	}
	runImage(t, dir)
}

// runImage builds the image with podman and runs it.
func runImage(t *testing.T, dir string) {
	t.Helper()
	needs(t, "podman")
	store := []string{"--root", filepath.Join(work, "images"), "--runroot", filepath.Join(work, "containers"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"}
	podman := func(args ...string) (string, error) {
		args = slices.Concat([]string{"podman"}, store, args)
		if os.Getuid() == 0 { // podman refuses a host that mixes both versions of cgroups
			args = slices.Concat([]string{"unshare", "--mount", "sh", "-ec", `mount -t cgroup2 none /sys/fs/cgroup && exec "$@"`, "sh"}, args)
		}
		return try(args[0], args[1:]...)
	}
	if out, err := podman("build", "--isolation", "chroot", "--tag", "apmon-test", filepath.Join(dir, "image")); err != nil {
		t.Skipf("podman builds no image here; its folder was checked: %v %s", err, out)
	}
	out, err := podman("image", "inspect", "--format", "{{.Config.User}} {{.Config.Entrypoint}} {{len .RootFS.Layers}}", "apmon-test")
	if err != nil || strings.TrimSpace(out) != "65532:65532 [/usr/bin/apmon-bg] 1" {
		t.Errorf("%v, %q", err, out)
	}
	recv := testkit.Listen(t)
	// The limits are those that need no rights.
	runs := []string{"run", "--rm", "--network", "host", "--cgroups", "disabled", "--security-opt", "seccomp=unconfined", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"}
	if out, err := podman(append(slices.Clone(runs), "apmon-test", "--once", "--node", "sidecar", "-d", recv.Name())...); err != nil {
		t.Skipf("podman runs no container here; the image was built and checked: %v %s", err, out)
	}
	if d := recv.Next(); d.Node != "sidecar" {
		t.Errorf("%+v", d)
	}
	if out, err := podman(append(slices.Clone(runs), "--entrypoint", "/usr/bin/apmon-recv", "apmon-test", "--version")...); err != nil || !strings.HasPrefix(out, "apmon-recv version v"+upgraded) {
		t.Errorf("%v, %q", err, out)
	}
}
