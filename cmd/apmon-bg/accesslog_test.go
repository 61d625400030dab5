//go:build unix

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/accesslog"
	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/cmd/internal/commandtest"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// nginx is a server of a folder that writes access logs of all formats.
type nginx struct {
	*exec.Cmd
	t    *testing.T
	dir  string
	addr string
}

// startNginx starts an nginx that logs to access.json, to access.combined and, as
// syslog, to socket.
func startNginx(t *testing.T, socket string) *nginx {
	t.Helper()
	exe, err := exec.LookPath("nginx")
	if err != nil {
		if exe, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skip("nginx is not installed: ", err)
		}
	}
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "www/live/hls/film-720p"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "www/live/hls/film-720p/1.ts"), make([]byte, 1000), 0o644))
	// The port is free now. If another process binds it, nginx retries for a while.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	n := &nginx{t: t, dir: dir, addr: l.Addr().String()}
	l.Close()
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // so that it can read the files of the test
	}
	must(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), nginxConfig(user, dir, n.addr, socket), 0o644))
	n.Cmd = exec.Command(exe, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	runServer(t, n.Cmd, n.addr, filepath.Join(dir, "error.log"))
	return n
}

// runServer starts a server, waits until it answers at an address, and ends it after the
// test. If the test fails, the error log is shown.
func runServer(t *testing.T, cmd *exec.Cmd, addr, errorLog string) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // the server ends its workers
		select {
		case <-ended:
		case <-time.After(testkit.Patience):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			b, _ := os.ReadFile(errorLog)
			t.Logf("%s: %s\n%s", cmd.Path, out.String(), b)
		}
	})
	testkit.Eventually(t, cmd.Path, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return true
		}
		select {
		case <-ended:
			t.Fatal(cmd.Path, " does not start")
		default:
		}
		return false
	})
}

// nginxConfig returns a configuration with the log format of the help.
func nginxConfig(user, dir, addr, socket string) []byte {
	_, help, _ := strings.Cut(accessLogTopic.Text, "log_format")
	format, _, _ := strings.Cut(help, ";\n")
	return fmt.Appendf(nil, `
%s
daemon off;
worker_processes 2;
error_log %s/error.log;
pid %[2]s/nginx.pid;
events { worker_connections 64; }
http {
	log_format %[3]s;
	log_format times '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time $upstream_response_time';
	client_body_temp_path %[2]s/b; proxy_temp_path %[2]s/p; fastcgi_temp_path %[2]s/f; uwsgi_temp_path %[2]s/u; scgi_temp_path %[2]s/s;
	server {
		listen %[4]s;
		root %[2]s/www;
		location /old { return 301 /; }
		location /bug { return 500; }
		access_log %[2]s/access.json apmon;
		access_log %[2]s/access.combined combined;
		access_log %[2]s/access.times times;
		access_log syslog:server=unix:%[5]s,nohostname apmon;
	}
}
`, user, dir, format, addr, socket)
}

// get requests a path as a client.
func (n *nginx) get(path, agent string) {
	n.t.Helper()
	get(n.t, n.addr, path, agent)
}

// get requests a path of a server, and follows no redirection.
func get(t *testing.T, addr, path, agent string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", agent)
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// startApache starts an Apache that logs to access.combined, access.json and access.times.
func startApache(t *testing.T) (dir, addr string) {
	t.Helper()
	const modules = "/usr/lib/apache2/modules"
	exe, err := exec.LookPath("/usr/sbin/apache2")
	if err == nil {
		_, err = os.Stat(modules)
	}
	if err != nil {
		t.Skip("Apache is not installed as in Debian: ", err)
	}
	dir = t.TempDir()
	// Its workers run as another user.
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "www/live/hls/film-720p"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "www/live/hls/film-720p/1.ts"), make([]byte, 1000), 0o644))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr = l.Addr().String()
	l.Close()
	user := ""
	if os.Getuid() == 0 {
		user = "User www-data\nGroup www-data"
	}
	must(t, os.WriteFile(filepath.Join(dir, "apache.conf"), fmt.Appendf(nil, `
ServerRoot %[1]s
ServerName localhost
Listen %[2]s
%[3]s
PidFile %[1]s/apache.pid
DefaultRuntimeDir %[1]s
Mutex file:%[1]s
LoadModule mpm_event_module %[4]s/mod_mpm_event.so
LoadModule authz_core_module %[4]s/mod_authz_core.so
LoadModule alias_module %[4]s/mod_alias.so
ErrorLog %[1]s/error.log
DocumentRoot %[1]s/www
Redirect 301 /old /
Redirect 500 /bug
LogFormat "%%h %%l %%u %%t \"%%r\" %%>s %%O \"%%{Referer}i\" \"%%{User-Agent}i\"" combined
LogFormat "%%h %%l %%u %%t \"%%r\" %%>s %%O \"%%{Referer}i\" \"%%{User-Agent}i\" request_time_us=%%D" times
LogFormat "{\"client\":\"%%a\",\"ua\":\"%%{User-Agent}i\",\"url\":\"%%U%%q\",\"status\":%%>s,\"time\":\"%%{%%Y-%%m-%%dT%%H:%%M:%%S%%z}t\",\"bytes-sent\":%%O,\"request_time_us\":%%D}" json
CustomLog %[1]s/access.combined combined
CustomLog %[1]s/access.times times
CustomLog %[1]s/access.json json
`, dir, addr, user, modules), 0o644))
	runServer(t, exec.Command(exe, "-f", filepath.Join(dir, "apache.conf"), "-D", "FOREGROUND"), addr, filepath.Join(dir, "error.log"))
	return dir, addr
}

// A real nginx and a real Apache write logs in both formats, with and without times. The
// whole site is reported, with any status.
func TestAccessLogOfSite(t *testing.T) {
	t.Parallel()
	servers := map[string]func(t *testing.T) (dir, addr string){
		"nginx": func(t *testing.T) (dir, addr string) {
			n := startNginx(t, filepath.Join(t.TempDir(), "none"))
			return n.dir, n.addr
		},
		"apache": startApache,
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, addr := start(t)
			siteOf(t, dir, addr)
		})
	}
}

func siteOf(t *testing.T, dir, addr string) {
	logs := map[string]*apmontest.Receiver{}
	for _, log := range []string{"access.json", "access.combined", "access.times"} {
		recv := apmontest.New(t)
		logs[log] = recv
		p := start(t, []string{"APMON_DEBUG_LEVEL=INFO"}, "--accesslog", filepath.Join(dir, log), "-d", recv.Addr(), "-n", "me", "--accesslog-window", "2",
			"--accesslog-tag", "site=cern", "--accesslog-top", "1", "--accesslog-cluster", "My_Streams", "--interval", "24h")
		p.says("access log is read")
	}
	requests := map[string]int{film: 4, film + "?q": 1, "/none": 3, "/old": 2, "/bug": 1}
	total := 0.0
	for path, n := range requests {
		for range n {
			get(t, addr, path, "agent")
			total++
		}
	}
	for log, recv := range logs {
		// The texts can be in another datagram than the numbers of their window.
		testkit.Eventually(t, "all requests in "+log, func() bool {
			v := logTotals(recv, "me")
			return v["requests"]+v["late"] >= total && (v["requests"] == 0 || logTexts(recv)["top_url_1"] != "")
		})
		v := logTotals(recv, "me")
		if v["bad_lines"]+v["unmatched"] != 0 || v["bytes_sent"] == 0 {
			t.Errorf("%s: %v", log, v)
		}
		if v["late"] == 0 && (v["requests"] != total || v["status_2xx"] != 5 || v["status_3xx"] != 2 || v["status_4xx"] != 3 || v["status_5xx"] != 1) {
			t.Errorf("%s: %v", log, v)
		}
		got := logTexts(recv)
		// nginx counts 0 ms as a time; a log in the usual format has none.
		_, sent := v["request_time_p99"]
		if times := !strings.HasSuffix(log, "combined"); sent != times {
			t.Errorf("%s: request_time_p99 sent: %v", log, !times)
		}
		if got["site"] != "cern" || got["top_client_1"] != "127.0.0.1" || got["top_url_1"] == "" {
			t.Errorf("%s: %v", log, got)
		}
	}
}

// rotate rotates the logs like logrotate.
func (n *nginx) rotate() {
	n.t.Helper()
	for _, f := range []string{"access.json", "access.combined"} {
		if err := os.Rename(filepath.Join(n.dir, f), filepath.Join(n.dir, f+".1")); err != nil {
			n.t.Fatal(err)
		}
	}
	n.get(film, "between rename and signal")
	if err := n.Process.Signal(syscall.SIGUSR1); err != nil {
		n.t.Fatal(err)
	}
	testkit.Eventually(n.t, "new logs of nginx", func() bool {
		_, err1 := os.Stat(filepath.Join(n.dir, "access.json"))
		_, err2 := os.Stat(filepath.Join(n.dir, "access.combined"))
		return err1 == nil && err2 == nil
	})
}

const film = "/live/hls/film-720p/1.ts"

// logTexts returns the last text of each parameter.
func logTexts(recv *apmontest.Receiver) map[string]string {
	texts := map[string]string{}
	for _, d := range recv.Datagrams() {
		for i := range d.Params {
			if p := &d.Params[i]; p.Type() == xdr.TypeString && d.Cluster == "My_Streams" {
				texts[p.Name] = p.Text()
			}
		}
	}
	return texts
}

// logTotals adds up the parameters of a node.
func logTotals(recv *apmontest.Receiver, node string) map[string]float64 {
	sum := map[string]float64{}
	for _, d := range recv.Datagrams() {
		if d.Cluster == "My_Streams" && d.Node == node {
			for i := range d.Params {
				sum[d.Params[i].Name] += d.Params[i].Float()
			}
		}
	}
	return sum
}

// A real nginx logs as JSON, in Combined Log Format and by syslog, and its files are
// rotated during the test. Every request is counted once.
func TestAccessLogOfNginx(t *testing.T) {
	t.Parallel()
	socketDir, err := os.MkdirTemp("", "apmon")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(socketDir) })
	socket := filepath.Join(socketDir, "log")
	n := startNginx(t, socket)
	agents := map[string]*apmontest.Receiver{}
	for name, args := range map[string][]string{
		"json":     {"--accesslog", filepath.Join(n.dir, "access.json")},
		"combined": {"--accesslog", filepath.Join(n.dir, "access.combined"), "--format", "combined"},
		"syslog":   {"--accesslog", "unixgram:" + socket},
	} {
		recv := apmontest.New(t)
		agents[name] = recv
		p := start(t, []string{"APMON_DEBUG_LEVEL=INFO"}, append(args, "-d", recv.Addr(), "-n", "me", "--ids", "film/hls/720p,1080p", "--window", "2", "--accesslog-cluster", "My_Streams", "--interval", "24h")...)
		p.says("access log is read")
	}
	// counted returns the number of lines, including late ones on a busy machine.
	counted := func(recv *apmontest.Receiver) float64 {
		return logTotals(recv, "me_film_hls_720p")["requests"] + logTotals(recv, "me")["late"]
	}
	// reported waits until every agent has sent that many requests.
	reported := func(requests float64) {
		t.Helper()
		for name, recv := range agents {
			testkit.Eventually(t, fmt.Sprintf("%v requests by %s", requests, name), func() bool { return counted(recv) >= requests })
		}
	}
	// At most 10 lines at a time: the kernel keeps 10 datagrams of a socket whose
	// reader is not scheduled, and nginx drops the others.
	for i := range 9 {
		n.get(film, fmt.Sprintf("agent \"%d\"", i%3))
	}
	n.get("/live/hls/other-720p/1.ts", "a") // 404: not counted
	reported(9)
	n.rotate()
	for range 9 {
		n.get(film, "after")
	}
	reported(19)
	for name, recv := range agents {
		got, silent, own := logTotals(recv, "me_film_hls_720p"), logTotals(recv, "me_film_hls_1080p"), logTotals(recv, "me")
		if n := got["requests"]; counted(recv) != 19 || n == 0 || got["bytes_sent"] < n*1000 || got["bytes_sent"] > n*1500 || got["client_count"] < 1 {
			t.Errorf("%s: %v", name, got)
		}
		if requests, ok := silent["requests"]; !ok || requests != 0 {
			t.Errorf("%s: the other stream: %v", name, silent)
		}
		if own["bad_lines"] != 0 || own["unmatched"] != 0 {
			t.Errorf("%s: the log itself: %v", name, own)
		}
		for _, d := range recv.Datagrams() {
			if d.Cluster == "My_Streams" && d.Time%2 != 0 {
				t.Errorf("%s: window at %d", name, d.Time)
			}
		}
	}
}

// A reload changes the log that the configuration names.
func TestAccessLogConfigured(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	dir := t.TempDir()
	log := func(name string, more string) string {
		path := filepath.Join(dir, name)
		line := fmt.Sprintf(`{"client":"c","ua":"u","url":"/live/hls/%s-hi/1","status":200,"time":%d,"bytes-sent":5}`+"\n", name, time.Now().Unix())
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(line + more); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := filepath.Join(dir, "f.conf")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(recv.Addr()+"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, b := log("a", ""), log("b", "")
	write("xApMon_accesslog = " + a + "\nxApMon_accesslog_preset = hls\nxApMon_accesslog_window = 1\nxApMon_accesslog_node = {content}\nxApMon_accesslog_cluster = C\n")
	p := start(t, []string{"APMON_DEBUG_LEVEL=INFO"}, "-f", file, "--interval", "24h")
	p.says("access log is read\" input=" + a)
	// Write lines until one is reported: the first may be before the start of the reader.
	counted := func(name string) {
		t.Helper()
		for deadline := time.Now().Add(testkit.Patience); recv.Params("C", name)["requests"] == nil; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("nothing of %s", name)
			}
			log(name, "")
		}
	}
	counted("a")
	write("xApMon_accesslog = " + b + "\nxApMon_accesslog_match = (\n")
	p.signal(syscall.SIGHUP)
	p.says("access log not used: its configuration is invalid")
	write("xApMon_accesslog = " + b + "\nxApMon_accesslog_preset = hls\nxApMon_accesslog_window = 1\nxApMon_accesslog_node = {content}\nxApMon_accesslog_cluster = C\n")
	p.signal(syscall.SIGHUP)
	p.says("access log is read\" input=" + b)
	counted("b")
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

// An access log that hangs does not delay the end of the agent.
func TestAccessLogEndsInTime(t *testing.T) {
	t.Parallel()
	l := silentServer(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	for _, input := range []string{"-", "http://" + l.Addr().String() + "/log"} {
		// The shortest of several rounds: a busy machine only makes them longer.
		took := time.Hour
		for turn := 0; turn < 5 && took > 2*time.Second; turn++ {
			recv := apmontest.New(t)
			socket, told := commandtest.Manager(t)
			p := startWith(t, read, []string{"NOTIFY_SOCKET=" + socket}, "-d", recv.Addr(), "--accesslog", input)
			told("READY=1")
			p.signal(syscall.SIGTERM)
			began := time.Now()
			p.exits(0)
			took = min(took, time.Since(began))
		}
		if took > 2*time.Second {
			t.Errorf("%s: ended after %v", input, took)
		}
	}
}

// The defaults in the sample configuration are those of the package and the command.
func TestAccessLogDefaults(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"#xApMon_accesslog_cluster = " + logCluster,
		"#xApMon_accesslog_format = " + string(accesslog.Auto),
		fmt.Sprintf("#xApMon_accesslog_window = %v", accesslog.DefaultWindow.Seconds()),
	} {
		if !strings.Contains(conf.Sample, line+"\n") {
			t.Errorf("%s is not in the sample", line)
		}
	}
}

// Settings of an access log, of flags or directives, are used, and an error names the
// invalid one.
func TestAccessLogSettings(t *testing.T) {
	t.Parallel()
	var l accessLog
	for _, tt := range []struct {
		o    accessLogSettings
		says string // empty if they are valid
	}{
		{accessLogSettings{}, ""},
		{accessLogSettings{Status: "all"}, ""},
		{accessLogSettings{Status: "200, 404"}, ""},
		{accessLogSettings{Status: "200,x"}, "such as 200,206, nor all"},
		{accessLogSettings{Preset: "hls", Status: "all"}, ""},
		{accessLogSettings{Preset: "rtmp"}, `preset "rtmp"`},
		{accessLogSettings{Match: `/(?P<site>\w+)/(?P<app>\w+)`, IDs: "a,b/c d/e", Node: "{site}_{app}"}, ""},
		{accessLogSettings{Match: `/(?P<site>\w+)`, Node: "{site}_{app}"}, "{site}_{app}"},
		{accessLogSettings{Top: "100"}, ""},
		{accessLogSettings{Top: "101"}, "top 101"},
		{accessLogSettings{Top: "ten"}, `top "ten"`},
		{accessLogSettings{Tags: "site=cern, rack=7"}, ""},
		{accessLogSettings{Tags: "site"}, `tag "site"`},
		{accessLogSettings{Tags: "site="}, `tag "site="`},
		{accessLogSettings{Tags: "late=x"}, `tag "late"`},
		{accessLogSettings{Format: "auto"}, ""},
		{accessLogSettings{Format: "csv"}, `"csv"`},
	} {
		tt.o.Input = "-"
		_, err := l.open(tt.o, nil)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: got %v, want %q", tt.o, err, tt.says)
		}
	}
	of := accessLogOf([]conf.Setting{
		{Name: "accesslog", Value: "/log"}, {Name: "accesslog_match", Value: none}, {Name: "accesslog_preset", Value: "hls"},
		{Name: "accesslog_top", Value: "0"}, {Name: "accesslog_tag", Value: "a=b"},
	})
	if want := (accessLogSettings{Input: "/log", Preset: "hls", Tags: "a=b"}); of != want {
		t.Errorf("got %+v, want %+v", of, want)
	}
}
