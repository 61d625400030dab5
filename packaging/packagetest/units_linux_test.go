package packagetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// The agent's unit sets nothing that changes a value of its reports; TestLongSystemd compares
// reports where systemd runs.
func TestUnitOfAgentHidesNothing(t *testing.T) {
	t.Parallel()
	unit := string(read(t, "../systemd/apmon-bg.service"))
	for _, key := range []string{"ProtectProc", "ProcSubset", "ProtectHome", "ProtectHostname", "PrivateDevices", "PrivateTmp", "PrivateNetwork", "PrivateUsers", "PrivateIPC",
		"RootDirectory", "RootImage", "InaccessiblePaths", "TemporaryFileSystem", "IPAddressDeny", "RuntimeDirectory", "StateDirectory", "JoinsNamespaceOf", "NetworkNamespacePath"} {
		if strings.Contains(unit, "\n"+key+"=") {
			t.Errorf("%s changes values", key)
		}
	}
}

// systemd rates how much a service could do: 10 for all, at most 2.0 for the receiver.
func TestUnitSecurity(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "install", "gzip", "systemd-analyze")
	root := t.TempDir()
	run(t, "../install.sh", fakeCommands(t), "/usr", root)
	for unit, most := range map[string]string{"apmon-recv.service": "20", "apmon-bg.service": "30"} { // tenths
		out, err := try("systemd-analyze", "security", "--no-pager", "--offline=yes", "--root="+root, "--threshold="+most, unit)
		if err != nil && !strings.Contains(out, "exposure level") {
			t.Skipf("systemd-analyze is too old: %v", err)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		t.Log(lines[len(lines)-1])
		if err != nil {
			t.Error(err)
		}
	}
}

// The life of the package on a Debian that systemd has booted.
func TestLongSystemd(t *testing.T) {
	dir := dist(t)
	m := boot(t)
	recv := apmontest.New(t)
	before := m.files()
	m.install(packageFile(dir, "deb", version, runtime.GOARCH))
	step := func(name string, test func(m *machine)) {
		if t.Failed() {
			return // the steps follow on one another
		}
		t.Run(name, func(t *testing.T) { own := *m; own.t = t; test(&own) })
	}
	step("installed", installed)
	step("agent reports", func(m *machine) { agentReports(m, recv) })
	step("receiver receives", receiverReceives)
	for _, unit := range []string{"apmon-bg", "apmon-recv"} {
		step(unit+" lives", func(m *machine) { lives(m, unit) })
	}
	step("same values inside and outside", sameValues)
	step("upgrade", func(m *machine) { upgrade(m, packageFile(dir, "deb", upgraded, runtime.GOARCH), recv) })
	step("upgrade with a broken configuration", func(m *machine) { upgradeBroken(m, packageFile(dir, "deb", upgraded, runtime.GOARCH)) })
	step("removal", func(m *machine) { removal(m, before) })
	step("archive", func(m *machine) { archive(m, packageFile(dir, "tar.gz", version, runtime.GOARCH), recv) })
}

// installed checks a package after its first installation.
func installed(m *machine) {
	t := m.t
	if got := m.run("getent passwd apmon | cut -d: -f6-7"); got != "/:/usr/sbin/nologin" {
		t.Errorf("home and shell of the user: %s", got)
	}
	if got := m.run("stat -c '%U:%G %a' /etc/apmon/destinations.conf /etc/apmon/receiver.yaml"); got != "root:apmon 640\nroot:apmon 640" {
		t.Error(got)
	}
	// An administrator enables them.
	if got, _ := m.try("systemctl is-enabled apmon-bg apmon-recv"); got != "disabled\ndisabled\n" {
		t.Error(got)
	}
	m.run("systemd-analyze verify --man=no apmon-bg.service apmon-recv.service")
	m.run("apmon-recv check --config /etc/apmon/receiver.yaml")
	if got := m.run("apmon-send --version"); !strings.HasPrefix(got, "apmon-send version v"+version+" (commit ") {
		t.Error(got)
	}
}

// shortTimes is a drop-in for tests: seconds instead of minutes.
const shortTimes = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=100ms\nWatchdogSec=2s\n"

// agentReports starts the agent, which reports to a receiver outside.
func agentReports(m *machine, recv *apmontest.Receiver) {
	m.write("/etc/apmon/destinations.conf", recv.Addr()+"\nxApMon_cluster = Edited\nxApMon_node = machine\nxApMon_sys_interval = 1\n")
	m.write("/run/systemd/system/apmon-bg.service.d/test.conf", shortTimes)
	m.run("systemctl daemon-reload; systemctl enable --now apmon-bg") // returns after READY=1
	if got := m.show("apmon-bg", "ActiveState"); got != "active" {
		m.t.Fatal(got)
	}
	if got := m.run("ps -o user= -p " + m.show("apmon-bg", "MainPID")); got != "apmon" {
		m.t.Errorf("it runs as %s", got)
	}
	if got := m.show("apmon-bg", "StatusText"); !strings.HasPrefix(got, "1 of 1 destinations resolved") {
		m.t.Error(got)
	}
	reports(m, recv)
}

// reports waits for a new report of the agent.
func reports(m *machine, recv *apmontest.Receiver) {
	m.t.Helper()
	seen := len(recv.Datagrams())
	m.eventually("apmon-bg", "a report", func() bool {
		return slices.ContainsFunc(recv.Datagrams()[seen:], func(d *xdr.Datagram) bool { return d.Cluster == "Edited" && d.Node == "machine" })
	})
}

// receiverReceives starts the receiver, which records what it receives.
func receiverReceives(m *machine) {
	m.write("/etc/apmon/receiver.yaml", "listen: 127.0.0.1:0\nrecord: [{file: received.jsonl}]\n")
	m.write("/run/systemd/system/apmon-recv.service.d/test.conf", shortTimes)
	m.run("systemctl daemon-reload; systemctl enable --now apmon-recv")
	addr := regexp.MustCompile(`listening on (\S+)`).FindStringSubmatch(m.run("journalctl -o cat -u apmon-recv"))
	if addr == nil {
		m.t.Fatal("it says no address")
	}
	m.eventually("apmon-recv", "a record", func() bool {
		m.run("apmon-send -d " + addr[1] + " -c TestCluster -n node1 value=42")
		return strings.Contains(m.run("cat /var/lib/apmon-recv/received.jsonl"), `"cluster":"TestCluster"`)
	})
	m.eventually("apmon-recv", "a status", func() bool {
		return regexp.MustCompile(`^[1-9]\d* datagrams received, 0 refused`).MatchString(m.show("apmon-recv", "StatusText"))
	})
	if got := m.run("stat -c '%U %a' /var/lib/apmon-recv"); !strings.HasPrefix(got, "apmon ") {
		m.t.Error(got)
	}
	// The receiver has no access to the passwords of the agent.
	pid := m.show("apmon-recv", "MainPID")
	if out, err := m.try("nsenter -t " + pid + " -m -- cat /etc/apmon/destinations.conf"); err == nil && out != "" {
		m.t.Errorf("it can read %q", out)
	}
}

// lives takes a service through reload, watchdog, SIGKILL and stop.
func lives(m *machine, unit string) {
	t := m.t
	const usec = 1000_000
	if got := m.show(unit, "Type"); got != "notify" {
		t.Error(got)
	}
	pid := m.number(unit, "MainPID")

	reloaded := strings.Count(m.run("journalctl -o cat -u "+unit), "level=INFO msg=\"configuration")
	m.run("systemctl reload " + unit)
	m.eventually(unit, "the end of the reload", func() bool {
		return strings.Count(m.run("journalctl -o cat -u "+unit), "level=INFO msg=\"configuration") > reloaded && m.show(unit, "SubState") == "running"
	})

	// The watchdog is fed beyond its time, and acts on a process that hangs.
	fed := m.number(unit, "WatchdogTimestampMonotonic")
	m.eventually(unit, "watchdog notifications", func() bool { return m.number(unit, "WatchdogTimestampMonotonic") > fed+3*usec })
	if now := m.number(unit, "MainPID"); now != pid {
		t.Errorf("process %d became %d", pid, now)
	}
	restarted := func(what string) {
		t.Helper()
		m.eventually(unit, "a restart after "+what, func() bool {
			now := m.number(unit, "MainPID")
			return now != 0 && now != pid && m.show(unit, "ActiveState") == "active"
		})
		pid = m.number(unit, "MainPID")
	}
	m.run("kill -STOP " + strconv.Itoa(pid))
	restarted("a hang")
	if out := m.run("journalctl -o cat -u " + unit); !strings.Contains(out, "Watchdog timeout") {
		t.Error("it was not the watchdog")
	}
	m.run("kill -KILL " + strconv.Itoa(pid))
	restarted("SIGKILL")

	testkit.Retry(t, func(t testing.TB) { // the machine may be busy
		began := time.Now()
		m.run("systemctl stop " + unit)
		t.Logf("%s stopped within %v", unit, time.Since(began))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it stopped within %v", took)
		}
		if got := m.show(unit, "Result") + m.show(unit, "ExecMainStatus"); got != "success0" {
			t.Errorf("it ended with %s", got)
		}
		m.run("systemctl start " + unit)
	})

	// The journal has times; the lines of the service must not have others.
	for line := range strings.Lines(m.run("journalctl -o cat _SYSTEMD_UNIT=" + unit + ".service")) {
		if strings.HasPrefix(line, "time=") || regexp.MustCompile(`^\S*\d\d:\d\d:\d\d`).MatchString(line) {
			t.Errorf("a second time: %s", line)
		}
	}
}

// sameValues compares a report made under the settings of the agent's unit with reports made by
// the same user without them, one before and one after: a value that is the same in both must
// be the same in the unit, and no value may be missing.
func sameValues(m *machine) {
	t := m.t
	m.run("systemctl stop apmon-bg; systemctl stop apmon-recv")
	// A process whose files and folder the reports are about.
	m.run("mkdir -p /home/job && echo data >/home/job/file && chown -R apmon: /home/job")
	m.run("systemd-run --quiet --unit=apmon-job --uid=apmon --working-directory=/home/job sleep infinity")
	job := m.show("apmon-job", "MainPID")
	start := "StandardOutput=truncate:/run/report-%N\nStandardError=journal\nExecStart=/usr/bin/apmon-bg --once --print --cluster C --node N --job " + job + ",/home/job,J,J --service own=" + job + "\n"

	unit := m.run("cat /usr/lib/systemd/system/apmon-bg.service") + "\n"
	unit = regexp.MustCompile(`(?m)^(Type|Exec\w+|Restart\w*|WatchdogSec|WantedBy)=.*\n|^\[Install\]\n`).ReplaceAllString(unit, "")
	m.write("/run/systemd/system/inside.service", unit+"Type=oneshot\nTimeoutStartSec=5min\n"+start)
	m.write("/run/systemd/system/outside.service", "[Service]\nUser=apmon\nType=oneshot\n"+start)
	m.run("systemctl daemon-reload")
	report := func(unit string) map[string]string {
		m.run("systemctl start " + unit)
		values := map[string]string{}
		for line := range strings.Lines(m.run("cat /run/report-" + unit)) {
			var d struct {
				Cluster string
				Params  []struct {
					Name  string
					Value any
				}
			}
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				t.Fatalf("%s: %s", unit, line)
			}
			for _, p := range d.Params {
				values[d.Cluster+" "+p.Name] = fmt.Sprint(p.Value)
			}
		}
		return values
	}
	testkit.Retry(t, func(t testing.TB) { // values may change between two reports
		first, inside, last := report("outside"), report("inside"), report("outside")
		same := 0
		for name, v := range first {
			got, ok := inside[name]
			if _, always := last[name]; always && !ok {
				t.Errorf("%s is missing inside: %s outside", name, v)
			} else if v == last[name] {
				same++
				if got != v {
					t.Errorf("%s is %s inside, %s outside", name, got, v)
				}
			}
		}
		for name, v := range inside {
			if _, ok := first[name]; !ok {
				t.Errorf("%s is missing outside: %s inside", name, v)
			}
		}
		t.Logf("%d values, %d of them without change", len(first), same)
		if len(first) < 50 || same < 20 {
			t.Errorf("%d values, %d without change: %v", len(first), same, first)
		}
	})
	m.run("systemctl stop apmon-job; rm -r /home/job; systemctl start apmon-bg apmon-recv")
}

// upgrade installs another version while the services run.
func upgrade(m *machine, deb string, recv *apmontest.Receiver) {
	t := m.t
	state := func() string {
		return m.run("id apmon; systemctl is-enabled apmon-bg apmon-recv; systemctl is-active apmon-bg apmon-recv; stat -c '%n %U:%G %a' /etc/apmon/*; sha256sum /etc/apmon/*; ls /var/lib/apmon-recv")
	}
	m.run("chmod 600 /etc/apmon/destinations.conf; chown apmon /etc/apmon/destinations.conf") // an administrator may
	before := state()
	m.install(deb)
	if after := state(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	for _, unit := range []string{"apmon-bg", "apmon-recv"} {
		exe := m.run("/proc/" + m.show(unit, "MainPID") + "/exe --version")
		if !strings.Contains(exe, "version v"+upgraded+" ") {
			t.Errorf("%s still runs %s", unit, exe)
		}
		if n := m.number(unit, "NRestarts"); m.show(unit, "Result") != "success" {
			t.Errorf("%s: %d restarts", unit, n)
		}
	}
	reports(m, recv)
}

// upgradeBroken installs a package while a running service has a configuration that it refuses. The
// installation succeeds, the other service is restarted, and this one starts once its configuration
// is mended.
func upgradeBroken(m *machine, deb string) {
	config := m.run("cat /etc/apmon/receiver.yaml")
	m.write("/etc/apmon/receiver.yaml", "listen: [")
	agent := m.show("apmon-bg", "MainPID")
	m.install(deb)
	if got := m.run("dpkg-query -W -f '${Status}' apmon"); got != "install ok installed" {
		m.t.Error(got)
	}
	if got := m.show("apmon-bg", "MainPID"); got == agent || m.show("apmon-bg", "ActiveState") != "active" {
		m.t.Errorf("the agent: process %s, then %s", agent, got)
	}
	m.write("/etc/apmon/receiver.yaml", config)
	m.eventually("apmon-recv", "a start with the mended configuration", func() bool { return m.show("apmon-recv", "ActiveState") == "active" })
}

// removal removes the package, then its configuration. The user stays.
func removal(m *machine, before string) {
	t := m.t
	m.run("dpkg -r apmon")
	for _, line := range []string{"systemctl is-active apmon-bg", "systemctl is-active apmon-recv", "pgrep -u apmon", "test -e /usr/bin/apmon-bg", "test -e /etc/systemd/system/multi-user.target.wants/apmon-bg.service"} {
		if out, err := m.try(line); err == nil {
			t.Errorf("%s: %s", line, out)
		}
	}
	m.run("grep -q Edited /etc/apmon/destinations.conf; test -n \"$(ls /var/lib/apmon-recv)\"; getent passwd apmon")
	m.run("dpkg -P apmon; getent passwd apmon")
	if after := m.files(); after != before {
		a, b := strings.Split(after, "\n"), strings.Split(before, "\n")
		left := slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
		gone := slices.DeleteFunc(slices.Clone(b), func(s string) bool { return slices.Contains(a, s) })
		t.Errorf("left: %v, gone: %v", left, gone)
	}
}

// archive unpacks the tar.gz as docs/packages.md says, over folders that are an administrator's, and
// starts the agent. An upgrade keeps the configuration.
func archive(m *machine, file string, recv *apmontest.Receiver) {
	t := m.t
	name := "apmon-1.2.3-linux-amd64.tar.gz" // as in the page, whatever the architecture
	m.write("/root/"+name, string(read(t, file)))
	m.run("chmod 2775 /usr/local/share; chown 0:50 /usr/local/share; mkdir /srv/etc; rm -rf /usr/local/etc; ln -s /srv/etc /usr/local/etc") // an absolute link, which leads elsewhere outside
	state := func() string { return m.run("stat -c '%n %F %U:%G %a' /usr/local /usr/local/*") }
	before := state()
	var unpack string
	blocks := regexp.MustCompile("(?s)```sh not run: needs root\n(.*?)```").FindAllStringSubmatch(string(read(t, "../../docs/packages.md")), 2)
	for _, block := range blocks {
		m.run("umask 077; cd /root; " + block[1])
		if strings.Contains(block[1], "tar ") {
			unpack = strings.Replace(block[1], "tar ", "tar --exclude='*/etc/*' ", 1)
		}
	}
	if after := state(); !strings.HasPrefix(after, before[:strings.Index(before, "\n")]) || !strings.Contains(after, "/usr/local/share directory root:staff 2775") || !strings.Contains(after, "/usr/local/etc symbolic link") {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	m.write("/srv/etc/apmon/destinations.conf", recv.Addr()+"\nxApMon_cluster = Edited\nxApMon_node = machine\nxApMon_sys_interval = 1\n")
	m.run("systemctl enable --now apmon-bg")
	reports(m, recv)
	m.run("cd /root; " + unpack + "grep -q Edited /usr/local/etc/apmon/destinations.conf; systemctl restart apmon-bg")
	reports(m, recv)
}

// newRoot returns a copy of a Debian in which nothing runs.
func newRoot(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("chroot needs root")
	}
	needs(t, "chroot", "cp")
	if os.Getenv("APMON_DEBIAN_ROOT") == "" {
		needs(t, "debootstrap")
	}
	lower, err := debian()
	if err != nil {
		t.Skipf("no Debian: %v", err)
	}
	root := filepath.Join(t.TempDir(), "root")
	run(t, "cp", "-a", lower, root)
	return root
}

// The package also installs where systemd does not run, as in a chroot or the build of an image.
func TestLongChroot(t *testing.T) {
	dir := dist(t)
	needs(t, "dpkg")
	root := newRoot(t)
	deb := packageFile(dir, "deb", version, runtime.GOARCH)
	if err := os.WriteFile(filepath.Join(root, "apmon.deb"), read(t, deb), 0o644); err != nil {
		t.Fatal(err)
	}
	out := run(t, "chroot", root, "/bin/sh", "-ec", "PATH=/usr/sbin:/usr/bin:/sbin:/bin; dpkg -i /apmon.deb; getent passwd apmon; stat -c %G /etc/apmon/destinations.conf; systemctl enable apmon-bg; dpkg -P apmon; test ! -e /etc/apmon; test ! -L /etc/systemd/system/multi-user.target.wants/apmon-bg.service; getent passwd apmon")
	if bytes.Count([]byte(out), []byte("apmon:x:")) != 2 || !strings.Contains(out, "\napmon\n") {
		t.Error(out)
	}
}

// rpm installs, upgrades and removes its package: the same scripts get other arguments from it.
func TestLongRPM(t *testing.T) {
	dir := dist(t)
	needs(t, "rpm")
	root := newRoot(t)
	rpm := func(args ...string) string {
		t.Helper()
		return run(t, "rpm", append([]string{"--root", root, "--nodeps", "--noplugins"}, args...)...)
	}
	inside := func(line string) string {
		t.Helper()
		return run(t, "chroot", root, "/bin/sh", "-ec", "PATH=/usr/sbin:/usr/bin:/sbin:/bin; "+line)
	}
	rpm("-i", packageFile(dir, "rpm", version, runtime.GOARCH))
	inside("test \"$(stat -c '%g %a' /etc/apmon/receiver.yaml)\" = \"$(id -g apmon) 640\"; echo edited >/etc/apmon/destinations.conf; systemctl enable apmon-bg")
	rpm("-U", packageFile(dir, "rpm", upgraded, runtime.GOARCH))
	if got := inside("apmon-bg --version; cat /etc/apmon/destinations.conf; test -L /etc/systemd/system/multi-user.target.wants/apmon-bg.service"); !strings.HasPrefix(got, "apmon-bg version v"+upgraded+" ") || !strings.HasSuffix(got, "\nedited\n") {
		t.Error(got)
	}
	if out := rpm("-e", "apmon"); strings.Contains(out, "not been booted") {
		t.Error(out)
	}
	inside("id apmon; grep -q edited /etc/apmon/destinations.conf.rpmsave; test ! -e /usr/bin/apmon-bg; test ! -L /etc/systemd/system/multi-user.target.wants/apmon-bg.service")
}
