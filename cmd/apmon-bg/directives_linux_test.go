package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// A file sets names, services, jobs and cgroups. Flags override it.
func TestFileDescribesTheMachine(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	dir := t.TempDir()
	cgroup := filepath.Join(dir, "slot7")
	if err := os.Mkdir(cgroup, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("slot7/cgroup.procs", fmt.Sprintf("%d\n", os.Getpid()))
	own := fmt.Sprintf("xApMon_service = web=~^/no/such/%[1]d a,b\nxApMon_service = db=%[2]s/none.pid\nxApMon_watch_job = %[1]d,,J,the job\n"+
		"xApMon_watch_job = 999999999\nxApMon_watch_cgroup = %[2]s/slot*\n", os.Getpid(), dir)
	named := write("named.conf", recv.Addr()+"\nxApMon_cluster = C\nxApMon_node = N\n"+own)
	grouped := write("grouped.conf", recv.Addr()+"\nxApMon_host_group = Site\n"+own)
	of := func(cluster, node string) func(*xdr.Datagram) bool {
		return func(d *xdr.Datagram) bool { return d.Cluster == cluster && (node == "" || d.Node == node) }
	}
	p := start(t, nil, "-f", named, "--once")
	p.exits(0)
	if s := p.stderr.String(); !strings.Contains(s, "xApMon_watch_job") || !strings.Contains(s, "999999999") || strings.Contains(s, "unknown") || strings.Contains(s, "ignored") {
		t.Errorf("it says %s", s)
	}
	// Of two values the first is used, and the other is reported.
	twice := write("twice.conf", recv.Addr()+"\nxApMon_cluster = C1\nxApMon_cluster = C2\nxApMon_service = web=~^/no/such/a\nxApMon_service = web=~^/no/such/b\n")
	q := start(t, nil, "-f", twice, "--once")
	q.exits(0)
	for _, value := range []string{"value=C2", "web=~^/no/such/b"} {
		if s := q.stderr.String(); !strings.Contains(s, value) || !strings.Contains(s, "directive ignored") {
			t.Errorf("no word of %s in %s", value, s)
		}
	}
	for cluster, node := range map[string]string{"C": "N", "web_Services": "N", "db_Services": "N", "J": "the job", "ApMon_JobMon": "slot7"} {
		recv.WaitFor(of(cluster, node))
	}
	p = start(t, nil, "-f", grouped, "--once")
	p.exits(0)
	recv.WaitFor(of("Site_Nodes", ""))
	recv.WaitFor(of("Site_Jobs", "slot7"))
	p = start(t, nil, "-f", named, "--once", "-n", "flag", "--service", "web=1")
	p.exits(0)
	recv.WaitFor(of("C", "flag"))
	recv.WaitFor(func(d *xdr.Datagram) bool {
		return d.Cluster == "web_Services" && d.Node == "flag" && slices.ContainsFunc(d.Params, func(p xdr.Param) bool { return p.Name == "up" && p.Float() == 1 })
	})
}

// A configuration from a URL may set names, but must not select files or processes of
// this host.
func TestURLNamesNoProcesses(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, recv.Addr()+"\nxApMon_node = N\nxApMon_service = a=~^/\nxApMon_watch_job = 1,/etc\nxApMon_watch_cgroup = *\nxApMon_accesslog = /etc/shadow\n")
	}))
	defer server.Close()
	p := start(t, nil, "-f", server.URL, "-c", "C", "--once")
	p.exits(0)
	recv.WaitFor(func(d *xdr.Datagram) bool { return d.Cluster == "C" && d.Node == "N" })
	for _, name := range []string{"service", "watch_job", "watch_cgroup", "accesslog"} {
		p.says("xApMon_" + name + " cannot be configured from a URL")
	}
	for _, d := range recv.Datagrams() {
		if d.Cluster != "C" || d.Node != "N" {
			t.Errorf("%s, %s is reported", d.Cluster, d.Node)
		}
	}
	server2 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, recv.Addr()+"\nxApMon_host_group = Site\n")
	}))
	defer server2.Close()
	start(t, nil, "-f", server2.URL, "--once").exits(0)
	recv.WaitFor(func(d *xdr.Datagram) bool { return d.Cluster == "Site_Nodes" })
}

// A reload applies changed names, services, jobs and cgroups.
func TestReloadDescribesTheMachine(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	dir := t.TempDir()
	for _, name := range []string{"a1", "b1"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "cgroup.procs"), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "f.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(recv.Addr()+"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pid := os.Getpid()
	write(fmt.Sprintf("xApMon_host_group = Old\nxApMon_service = web=~^/no/such/%d\nxApMon_watch_job = %[1]d,,J,old job\nxApMon_watch_cgroup = %[2]s/a*\n", pid, dir))
	p := start(t, []string{"APMON_DEBUG_LEVEL=INFO"}, "-f", file, "--interval", "1s", "--service", "flag=1")
	waitFor := func(cluster, node string) {
		t.Helper()
		recv.WaitFor(func(d *xdr.Datagram) bool { return d.Cluster == cluster && (node == "" || d.Node == node) })
	}
	waitFor("Old_Nodes", "")
	waitFor("web_Services", "")
	waitFor("J", "old job")
	waitFor("Old_Jobs", "a1")
	waitFor("flag_Services", "")
	write(fmt.Sprintf("xApMon_cluster = New\nxApMon_node = N\nxApMon_service = db=1\nxApMon_watch_job = %d,,J,new job\nxApMon_watch_cgroup = %s/b*\nxApMon_watch_job = x\n", pid, dir))
	p.signal(syscall.SIGHUP)
	waitFor("New", "N")
	waitFor("db_Services", "N")
	waitFor("J", "new job")
	waitFor("ApMon_JobMon", "b1")
	waitFor("flag_Services", "N")
	p.says("names of the host's reports changed")
	p.says(file + ":7: xApMon_watch_job")
	testkit.Eventually(t, "no report of the old configuration between two of the new", func() bool {
		all, reports := recv.Datagrams(), 0
		for _, d := range slices.Backward(all) {
			if d.Cluster == "New" {
				reports++
			}
			if strings.HasPrefix(d.Cluster, "Old") || d.Cluster == "web_Services" || d.Node == "old job" || d.Node == "a1" {
				return false
			}
			if reports == 2 {
				return true
			}
		}
		return false
	})
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

// A program other than apmon-bg reads the same file without a warning.
func TestProgramsIgnoreDirectivesOfApmonBG(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f.conf")
	text := "127.0.0.1:9\n"
	for _, d := range directives() {
		text += "xApMon_" + d.Name + " = none\n"
		if !strings.Contains(conf.Sample, "#xApMon_"+d.Name+" = ") {
			t.Errorf("%s is not in the sample", d.Name)
		}
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := apmon.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range c.Stats().Configs {
		if len(s.Problems) > 0 {
			t.Errorf("problems: %v", s.Problems)
		}
	}
}

func TestCheckKnowsOwnDirectives(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.conf")
	if err := os.WriteFile(file, []byte("127.0.0.1\nxApMon_service = web=~nginx\nxApMon_service = web=~(\nxApMon_watch_job = x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "check", file)
	p.exits(78)
	out := p.stdout.String()
	for _, want := range []string{"xApMon_service = web=~nginx\n", "xApMon_watch_job: \"x\" is not a process id"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "unknown") {
		t.Errorf("unknown directives:\n%s", out)
	}
}
