package packagetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

// debian returns the root directory of a minimal Debian with systemd. APMON_DEBIAN_ROOT names
// one that is there already.
var debian = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("APMON_DEBIAN_ROOT"); dir != "" {
		return filepath.Abs(dir)
	}
	suite := "stable"
	if b, err := os.ReadFile("/etc/os-release"); err == nil {
		if m := regexp.MustCompile(`(?m)^VERSION_CODENAME=(\w+)$`).FindSubmatch(b); m != nil && strings.Contains(string(b), "\nID=debian\n") {
			suite = string(m[1])
		}
	}
	dir := filepath.Join(work, "debian")
	_, err := try("debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,procps", suite, dir)
	return dir, err
})

// machine is a system that systemd has booted: a container of systemd-nspawn, with the network of
// this host, on a file system of its own.
type machine struct {
	t    *testing.T
	pid1 int
}

// boot starts a machine. It skips the test where that is not possible.
func boot(t *testing.T) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("booting a container needs root")
	}
	needs(t, "systemd-nspawn", "nsenter", "dpkg-deb")
	if os.Getenv("APMON_DEBIAN_ROOT") == "" {
		needs(t, "debootstrap")
	}
	lower, err := debian()
	if err != nil {
		t.Skipf("no Debian to boot: %v", err)
	}
	m := &machine{t: t}
	dir := t.TempDir()
	mount := func(source, target, kind, options string) {
		if err := os.MkdirAll(target, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount(source, target, kind, 0, options); err != nil {
			t.Skipf("mounting an overlay: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	// An overlay of an overlay, as in a container, needs an upper directory elsewhere.
	upper := filepath.Join(dir, "upper")
	mount("tmpfs", upper, "tmpfs", "mode=755")
	for _, d := range []string{"data", "work"} {
		if err := os.Mkdir(filepath.Join(upper, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join(dir, "root")
	mount("overlay", root, "overlay", fmt.Sprintf("lowerdir=%s,upperdir=%s/data,workdir=%[2]s/work", lower, upper))

	var log testkit.Log
	cmd := exec.Command("systemd-nspawn", "--quiet", "--directory="+root, "--machine=apmon-test-"+strconv.Itoa(os.Getpid()),
		"--register=no", "--keep-unit", "--boot", "--console=pipe", "--link-journal=no", "--timezone=off", "--resolv-conf=off")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if m.pid1 > 0 {
			_ = syscall.Kill(m.pid1, syscall.SIGKILL) // takes all of the container with it
		}
		_ = cmd.Process.Kill()
		<-ended
	})
	testkit.Eventually(t, "systemd as process 1", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Skipf("systemd-nspawn does not boot here: %v\n%s", err, log.String())
		default:
		}
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		for _, child := range strings.Fields(string(b)) {
			if exe, err := os.Readlink("/proc/" + child + "/exe"); err == nil && strings.HasSuffix(exe, "/systemd") {
				m.pid1, _ = strconv.Atoi(child)
			}
		}
		if m.pid1 == 0 {
			return false
		}
		state, _ := m.try("systemctl is-system-running")
		return strings.Contains(state, "running") || strings.Contains(state, "degraded")
	})
	return m
}

// try runs a line of the shell in the machine.
func (m *machine) try(line string) (string, error) {
	return try("nsenter", "--target", strconv.Itoa(m.pid1), "--all", "--", "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_COLORS=0", "/bin/sh", "-ec", line)
}

// run runs a line of the shell in the machine, and fails the test if it fails. It returns what
// was printed, without the last line break.
func (m *machine) run(line string) string {
	m.t.Helper()
	out, err := m.try(line)
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSuffix(out, "\n")
}

// path returns the path outside of a file in the machine.
func (m *machine) path(name string) string { return fmt.Sprintf("/proc/%d/root%s", m.pid1, name) }

// write writes a file in the machine. An existing file keeps owner and mode.
func (m *machine) write(name, content string) {
	m.t.Helper()
	name = m.path(name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// show returns a property of a unit.
func (m *machine) show(unit, property string) string {
	m.t.Helper()
	return m.run("systemctl show --value -p " + property + " " + unit)
}

// number returns a property that is a number.
func (m *machine) number(unit, property string) int {
	m.t.Helper()
	n, err := strconv.Atoi(m.show(unit, property))
	if err != nil {
		m.t.Fatalf("%s of %s: %v", property, unit, err)
	}
	return n
}

// eventually waits for a condition, and prints the journal of a unit if it does not come.
func (m *machine) eventually(unit, what string, ok func() bool) {
	m.t.Helper()
	done := false
	defer func() {
		if !done {
			out, err := m.try("systemctl status " + unit + " || true; journalctl --no-pager -u " + unit)
			m.t.Log(out, err)
		}
	}()
	testkit.Eventually(m.t, what, ok)
	done = true
}

// install copies a deb into the machine and installs it.
func (m *machine) install(deb string) {
	m.t.Helper()
	name := "/root/" + filepath.Base(deb)
	if err := os.WriteFile(m.path(name), read(m.t, deb), 0o644); err != nil {
		m.t.Fatal(err)
	}
	m.run("dpkg -i " + name + "; rm " + name)
}

// files lists all files of the machine's disk, without those that the package manager and the
// journal keep for themselves, and the databases of users, of which useradd keeps copies.
func (m *machine) files() string {
	m.t.Helper()
	return m.run(`find / -xdev \( -path /var/lib/dpkg -o -path /var/log -o -path /var/cache -o -path /tmp -o -path /run -o -path /var/tmp -o -path '/etc/*-' -o -path '/etc/.pwd.lock' \) -prune -o -print | sort`)
}
