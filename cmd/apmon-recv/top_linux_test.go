package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/cmd/internal/commandtest"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// topScreen is a terminal in which apmon-recv runs. When it has ended, the screen has its exit code.
type topScreen struct {
	*commandtest.Tmux
	t   testing.TB
	dir string
}

func runTop(t testing.TB, width, height int, args string, env ...string) *topScreen {
	t.Helper()
	return runScreen(t, width, height, "top "+args, env...)
}

func runScreen(t testing.TB, width, height int, args string, env ...string) *topScreen {
	t.Helper()
	exe, err := exec.LookPath("apmon-recv") // that of testscript
	if err != nil {
		t.Fatal(err)
	}
	s := &topScreen{t: t, dir: t.TempDir()}
	script := fmt.Sprintf(`cd '%s' && trap : INT && stty -a >before; sh -c 'echo $$ >pid; exec "$0" %s' '%s'; echo "ended with $?"; stty -a >after; echo done; exec cat`, s.dir, args, exe)
	s.Tmux = commandtest.OpenTmux(t, width, height, script, append([]string{"PATH=" + os.Getenv("PATH")}, env...)...)
	return s
}

func (s *topScreen) pid() int {
	b, err := os.ReadFile(filepath.Join(s.dir, "pid"))
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || convErr != nil {
		s.t.Fatal(err, convErr)
	}
	return pid
}

// ended waits for the end, and checks that the terminal is as it was.
func (s *topScreen) ended(code int) string {
	s.t.Helper()
	screen := s.Wait("done")
	if !strings.Contains(screen, fmt.Sprintf("ended with %d\n", code)) {
		s.t.Errorf("not with %d:\n%s", code, screen)
	}
	if wrong := s.Restored(); wrong != "" {
		s.t.Errorf("the terminal is not restored: %s", wrong)
	}
	before, err := os.ReadFile(filepath.Join(s.dir, "before"))
	if err != nil {
		s.t.Error(err)
	}
	after, err := os.ReadFile(filepath.Join(s.dir, "after"))
	size := regexp.MustCompile(`rows \d+; columns \d+`)
	if err != nil || size.ReplaceAllString(string(after), "") != size.ReplaceAllString(string(before), "") {
		s.t.Errorf("%v; the settings of the terminal were\n%s\nand are\n%s", err, before, after)
	}
	if strings.Contains(screen, "q quit") {
		s.t.Errorf("the view is still there:\n%s", screen)
	}
	return screen
}

// feed sends a datagram of some nodes to the address that the screen shows.
func (s *topScreen) feed() (send func(load float64)) {
	s.t.Helper()
	addr := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`).FindStringSubmatch(s.Wait("listening on 127.0.0.1:"))[1]
	conn, err := net.Dial("udp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return func(load float64) {
		for i := range 3 {
			d := xdr.Datagram{Cluster: "Site_Nodes", Node: fmt.Sprintf("wn%d", i), Params: []xdr.Param{xdr.Float("load1", load+float64(i)), xdr.Float("mem_free", 2048)}}
			if _, err := conn.Write(d.Append(nil)); err != nil {
				s.t.Error(err)
			}
		}
	}
}

// TestTop looks at the screen of terminals.
func TestTop(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ w, h int }{{80, 24}, {200, 50}} {
		t.Run(fmt.Sprintf("%dx%d", size.w, size.h), func(t *testing.T) {
			t.Parallel()
			s := runTop(t, size.w, size.h, "--listen 127.0.0.1:0")
			send := s.feed()
			send(41)
			screen := s.Wait("wn2")
			lines := strings.Split(screen, "\n")
			if !regexp.MustCompile(`^apmon-recv  .* dg/s  .* par/s  1 sender  lost 0 % +\d\d:\d\d:\d\d$`).MatchString(lines[0]) || !strings.Contains(lines[size.h-1], "q quit") {
				t.Errorf("headline %q, last line %q", lines[0], lines[size.h-1])
			}
			s.Wait("43")
			send(51)
			s.Wait("53") // without a key
			s.Keys("/", "w", "n", "1", "Enter")
			testkit.Eventually(t, "the filter", func() bool { c := s.Screen(); return strings.Contains(c, "wn1 ") && !strings.Contains(c, "wn2") })
			s.Keys("Enter") // opens the node
			s.Wait("2 GiB")
			s.Keys("Escape")
			s.Resize(60, 15)
			testkit.Eventually(t, "15 lines", func() bool {
				lines := strings.Split(strings.TrimRight(s.Screen(), "\n"), "\n")
				return len(lines) == 15 && strings.Contains(lines[14], "↑↓ move") && len(lines[0]) == 60
			})
			s.Resize(20, 5)
			s.Wait("needs 40")
			s.Resize(80, 24)
			s.Keys("q")
			if screen := s.ended(0); !strings.Contains(screen, "total") {
				t.Errorf("no summary:\n%s", screen)
			}
		})
	}
}

// TestTopRestores ends the view in all ways.
func TestTopRestores(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*topScreen){
		"q":      func(s *topScreen) { s.Keys("q") },
		"Ctrl-C": func(s *topScreen) { s.Keys("C-c") },
		"term":   func(s *topScreen) { syscall.Kill(s.pid(), syscall.SIGTERM) },
		"int":    func(s *topScreen) { syscall.Kill(s.pid(), syscall.SIGINT) },
		"hup":    func(s *topScreen) { syscall.Kill(s.pid(), syscall.SIGHUP) },
		"usr1": func(s *topScreen) { // is no end
			syscall.Kill(s.pid(), syscall.SIGUSR1)
			s.Wait("msg=received")
			s.Keys("q")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := runTop(t, 80, 24, "--listen 127.0.0.1:0")
			s.Wait("q quit")
			end(s)
			s.ended(0)
		})
	}
}

// TestTopColors: a terminal has colours unless NO_COLOR is set.
func TestTopColors(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]bool{"A=b": true, "NO_COLOR=1": false} {
		s := runTop(t, 80, 24, "--listen 127.0.0.1:0", env)
		s.Wait("q quit")
		if got := strings.Contains(s.Colored(), "\x1b["); got != want {
			t.Errorf("%s: colours %v:\n%q", env, got, s.Colored())
		}
		s.Keys("q")
		s.ended(0)
	}
}

// TestTopURL shows what another receiver receives, which goes and comes back.
func TestTopURL(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	addr := srv.Listener.Addr().String()
	srv.Close() // nothing answers at its address
	s := runTop(t, 80, 24, "--url http://me:s3cret@"+addr+"/")
	s.Wait("no answer: ")
	recv := begin(t, nil, "--http", addr)
	recv.send(datagram(1, xdr.Float("load1", 4.25)))
	screen := s.Wait("4.25")
	if strings.Contains(screen, "s3cret") || strings.Contains(screen, "no answer") {
		t.Errorf("the screen:\n%s", screen)
	}
	recv.cancel()
	s.Wait("no answer for ")
	s.Keys("q")
	s.ended(0)
	recv.end()
}

// TestLongTopIdle: a view without news uses less than 1 % of a CPU.
func TestLongTopIdle(t *testing.T) {
	testkit.SkipLong(t)
	exe := filepath.Join(t.TempDir(), "apmon-recv")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", filepath.Dir(exe)+":"+os.Getenv("PATH"))
	testkit.Retry(t, func(t testing.TB) {
		s := runTop(t, 80, 24, "--listen 127.0.0.1:0")
		send := s.feed()
		send(1)
		s.Wait("wn2")
		const seconds = 20
		pid := s.pid()
		first := clockOf(t, s)
		used := cpuOf(t, pid)
		testkit.Eventually(t, "20 s", func() bool { return clockOf(t, s).Sub(first) >= seconds*time.Second })
		share := 100 * (cpuOf(t, pid) - used).Seconds() / seconds
		t.Logf("%.2f %% of a CPU", share)
		if share > 1 {
			t.Errorf("%.2f %% of a CPU", share)
		}
		s.Keys("q")
	})
}

// clockOf returns the time in the headline.
func clockOf(t testing.TB, s *topScreen) time.Time {
	line, _, _ := strings.Cut(s.Screen(), "\n")
	at, err := time.Parse(time.TimeOnly, line[max(len(line)-8, 0):])
	if err != nil {
		t.Error(err)
	}
	return at
}

// cpuOf returns the CPU time of a process.
func cpuOf(t testing.TB, pid int) (total time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, file := range files {
		b, _ := os.ReadFile(file)
		ns, _ := strconv.Atoi(strings.Fields(string(b) + " 0")[0])
		total += time.Duration(ns)
	}
	if total == 0 {
		t.Errorf("no CPU time of process %d", pid)
	}
	return total
}
