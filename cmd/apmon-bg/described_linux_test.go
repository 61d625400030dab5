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
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/xdr"
)

// A machine is described by its file: names, services, jobs and cgroups. Flags go
// before it.
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
	if s := p.stderr.String(); !strings.Contains(s, "xApMon_watch_job") || !strings.Contains(s, "999999999") || strings.Contains(s, "unknown") {
		t.Errorf("it says %s", s)
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

// Who serves a configuration chooses no files and no processes of this host.
func TestURLNamesNoProcesses(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, recv.Addr()+"\nxApMon_node = N\nxApMon_service = a=~^/\nxApMon_watch_job = 1,/etc\nxApMon_watch_cgroup = *\n")
	}))
	defer server.Close()
	p := start(t, nil, "-f", server.URL, "-c", "C", "--once")
	p.exits(0)
	recv.WaitFor(func(d *xdr.Datagram) bool { return d.Cluster == "C" })
	for _, name := range []string{"node", "service", "watch_job", "watch_cgroup"} {
		p.says("xApMon_" + name + " cannot be configured from a URL")
	}
	for _, d := range recv.Datagrams() {
		if d.Cluster != "C" || d.Node == "N" {
			t.Errorf("%s, %s is reported", d.Cluster, d.Node)
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
