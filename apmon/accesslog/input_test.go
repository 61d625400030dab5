package accesslog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// running runs a Log until the test ends.
func running(t *testing.T, o Options, opts ...Option) (*Log, *journal) {
	t.Helper()
	j := &journal{}
	l := newLog(t, o, append(opts, j.logger())...)
	j.run(t, l)
	return l, j
}

// journal holds the log output.
type journal struct{ testkit.Log }

func (j *journal) logger() Option { return WithLogger(slog.New(slog.NewTextHandler(j, nil))) }

// run runs a Log.
func (j *journal) run(t *testing.T, l *Log) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("Run does not return")
		}
		if t.Failed() {
			t.Log(j)
		}
	})
}

// counts returns the requests and the log's own counters of the open windows.
func counts(l *Log) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0.0
	for _, s := range l.streams {
		for _, c := range s.counts {
			n += c.requests
		}
	}
	return fmt.Sprint(n, l.own)
}

// eventually waits, in real time, until a Log has the wanted counts.
func eventually(t *testing.T, l *Log, want string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("counted %s", counts(l))
		}
	}()
	testkit.Eventually(t, want, func() bool { return counts(l) == want })
}

// logFile is an access log that a test writes.
type logFile struct {
	t *testing.T
	*os.File
}

func create(t *testing.T, path string) *logFile {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &logFile{t, f}
}

// write writes n requests, and then text.
func (f *logFile) write(n int, text ...string) {
	f.t.Helper()
	for range n {
		text = append([]string{logLine("c", urlA, time.Now(), 1) + "\n"}, text...)
	}
	if _, err := f.WriteString(strings.Join(text, "")); err != nil {
		f.t.Fatal(err)
	}
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestFile rotates a file in all ways, in one window of an hour.
func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "access.log")
		f := create(t, path)
		f.write(3, `{"client":`) // existing lines are not read
		o := twoStreams()
		o.Input, o.Window = path, time.Hour
		l, _ := running(t, o)
		time.Sleep(maxPoll / 2) // between two checks
		total := 0
		expect := func(what string, n int, own string) {
			t.Helper()
			total += n
			time.Sleep(3 * maxPoll)
			if got := counts(l); got != fmt.Sprint(total)+" "+own {
				t.Fatalf("%s: counted %s, want %d %s", what, got, total, own)
			}
		}
		expect("started at the end", 0, "{0 0 0 0 0}")
		f.write(0, `"half of a line"}`, "\n")
		expect("the rest of a line", 0, "{0 0 0 0 0}")
		f.write(2)
		expect("grown", 2, "{0 0 0 0 0}")
		line := logLine("c", urlA, time.Now(), 1)
		f.write(0, line[:20])
		expect("half a line", 0, "{0 0 0 0 0}")
		f.write(0, line[20:], "\n")
		expect("the other half", 1, "{0 0 0 0 0}")

		do(t, os.Rename(path, path+".1"))
		f.write(2)
		expect("renamed, and still written to", 2, "{0 0 0 0 0}")
		f.write(1)
		g := create(t, path)
		g.write(4)
		f.write(1)
		time.Sleep(maxPoll)
		f.write(1) // a worker that has not reopened it yet
		expect("created anew", 7, "{0 0 0 0 0}")
		f.write(1)
		expect("the old one is closed", 0, "{0 0 0 0 0}")
		g.write(1)
		expect("the new one", 1, "{0 0 0 0 0}")

		do(t, g.Truncate(0))
		g.write(1)
		expect("copied and truncated", 1, "{0 0 0 0 1}")

		g.write(1, line[:20])
		do(t, os.Remove(path))
		g.write(0)
		expect("deleted", 1, "{0 0 0 0 1}")
		g = create(t, path)
		g.write(1)
		expect("created again; half a line was left", 1, "{0 0 1 0 1}")

		real := create(t, path+".real")
		real.write(2)
		do(t, os.Symlink(path+".real", path+".tmp"), os.Rename(path+".tmp", path))
		expect("a link to another file", 2, "{0 0 1 0 1}")
		other := create(t, path+".other")
		other.write(3)
		do(t, os.Symlink(path+".other", path+".tmp"), os.Rename(path+".tmp", path))
		real.write(1)
		expect("the link to a third one", 4, "{0 0 1 0 1}")

		// An old file that is still written to.
		do(t, os.Rename(path+".other", path+".old"))
		last := create(t, path+".other")
		last.write(1)
		for range int(drain/maxPoll) + 2 {
			other.write(1)
			time.Sleep(maxPoll)
		}
		l.mu.Lock()
		total = 0
		for _, c := range l.byNode["h_a_hls_hi"].counts {
			total += int(c.requests)
		}
		l.mu.Unlock()
		last.write(1)
		expect("an old file that keeps growing", 1, "{0 0 1 0 1}")
	})
}

// A file is copied and truncated, as logrotate does with copytruncate, with lines that
// were not read before.
func TestCopyTruncate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "access.log")
		f := create(t, path)
		f.write(3)
		o := twoStreams()
		o.Input, o.Window = path, time.Hour
		l, _ := running(t, o)
		time.Sleep(maxPoll / 2) // between two checks
		total, truncated, bad := 0, 0, 0
		expect := func(what string, n int) {
			t.Helper()
			total += n
			time.Sleep(3 * maxPoll)
			if got, want := counts(l), fmt.Sprintf("%d {0 0 %d 0 %d}", total, bad, truncated); got != want {
				t.Fatalf("%s: counted %s, want %s", what, got, want)
			}
		}
		copyTo := func(name string) {
			t.Helper()
			b, err := os.ReadFile(path)
			do(t, err, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
		cut := func() {
			t.Helper()
			do(t, f.Truncate(0))
			truncated++
		}

		// The file still has its first lines.
		f.write(2)
		copyTo("access.log.1")
		cut()
		expect("truncated before the first line was read", 2)

		line := logLine("c", urlA, time.Now(), 1) + "\n"
		f.write(3, line[:20])
		expect("grown, by half a line as well", 3)
		f.write(0, line[20:])
		f.write(4)
		do(t, os.Rename(path+".1", path+".2"))
		copyTo("access.log.1")
		cut()
		f.write(1)
		expect("read on in the copy", 6)

		// Longer than before, so the size does not show the truncation.
		f.write(1)
		expect("grown", 1)
		f.write(1)
		copyTo("access-20000101.log")
		cut()
		time.Sleep(time.Millisecond) // the times of the lines differ
		f.write(20)
		expect("truncated and grown beyond its size", 21)

		f.write(2)
		copyTo("access.log.3")
		f.write(1) // after the copy was made
		cut()
		expect("truncated later than it was copied", 2)

		// Without a copy the truncation is counted and lines are lost.
		f.write(5, line[:20])
		expect("grown", 5)
		f.write(3)
		do(t, os.Mkdir(path+".d", 0o700), os.Symlink(path+".gone", path+".link"))
		do(t, os.WriteFile(path+".other", bytes.Repeat([]byte(line), 100), 0o600))
		cut()
		bad++
		f.write(1)
		expect("truncated without a copy", 1)
	})
}

// While lines are written, the real logrotate runs. Every line in any of its files is
// counted once.
func TestLogrotateCopyTruncate(t *testing.T) {
	t.Parallel()
	logrotate, err := exec.LookPath("logrotate")
	if err != nil {
		if logrotate, err = exec.LookPath("/usr/sbin/logrotate"); err != nil {
			t.Skip("logrotate is not installed: ", err)
		}
	}
	dir := t.TempDir()
	path, config := filepath.Join(dir, "access.log"), filepath.Join(dir, "logrotate.conf")
	do(t, os.Chmod(dir, 0o700), os.WriteFile(config, []byte(path+" {\n\tcopytruncate\n\trotate 20\n}\n"), 0o600))
	f := create(t, path)
	o := twoStreams()
	o.Input, o.Window, o.FromStart = path, 24*time.Hour, true
	l, _ := running(t, o)
	f.write(1)
	eventually(t, l, "1 {0 0 0 0 0}")
	for n := range 3 {
		f.write(100)
		if out, err := exec.Command(logrotate, "-f", "-s", filepath.Join(dir, "state"), config).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		f.write(n * 100) // shorter than before, of the same length, or longer
		f.write(1)
		eventually(t, l, fmt.Sprintf("%d {0 0 0 0 %d}", linesIn(t, dir), n+1))
	}
	if n := linesIn(t, dir); n != 604 {
		t.Errorf("%d lines are in the files, of 604 written", n)
	}
}

// linesIn returns the number of lines in the logs of a folder.
func linesIn(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	logs, err := filepath.Glob(filepath.Join(dir, "access.log*"))
	do(t, err)
	for _, name := range logs {
		b, err := os.ReadFile(name)
		do(t, err)
		n += bytes.Count(b, []byte("\n"))
	}
	return n
}

func TestFileFromStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "access.log")
		create(t, path).write(3, "nonsense\n")
		o := twoStreams()
		o.Input, o.FromStart = path, true
		l, _ := running(t, o)
		synctest.Wait()
		if got := counts(l); got != "3 {0 0 1 0 0}" {
			t.Errorf("counted %s", got)
		}
	})
}

// A window without a file is lost, and counted. An input that is not a regular file
// does not block.
func TestFileNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "access.log")
		o := twoStreams()
		o.Input = path
		l, j := running(t, o)
		var got totals
		wait := func(d time.Duration) {
			for range int(d / (15 * time.Second)) {
				time.Sleep(15 * time.Second)
				got.collect(l)
			}
		}
		wait(time.Minute)
		do(t, os.Mkdir(path, 0o700))
		wait(time.Minute)
		do(t, os.Remove(path))
		time.Sleep(14 * time.Second)
		f := create(t, path) // new, so read from its beginning
		f.write(1)
		wait(time.Minute)
		if s := got.get(); s["h windows_lost"] != 8 || s["h_a_hls_hi requests"] != 1 {
			t.Errorf("got %v", s)
		}
		do(t, os.Remove(path))
		wait(2 * time.Minute) // it is closed after one
		if s := got.get(); s["h windows_lost"] < 10 || s["h windows_lost"] > 13 {
			t.Errorf("lost %v", s["h windows_lost"])
		}
		if n := strings.Count(j.String(), "access log is not read"); n != 4 {
			t.Errorf("logged %d times that it does not exist:\n%s", n, j)
		}
	})
}

func TestLongLines(t *testing.T) {
	t.Parallel()
	for name, long := range map[string]string{
		"one line":     strings.Repeat("x", 10<<20) + "\n",
		"at the limit": strings.Repeat("x", maxLine+1) + "\n",
		"JSON":         `{"client":"` + strings.Repeat("x", 10<<20) + `"}` + "\n",
	} {
		o := twoStreams()
		good := logLine("c", urlA, time.Now(), 1) + "\n"
		o.Window = time.Hour
		l := newLog(t, o, WithStdin(io.MultiReader(strings.NewReader(good), strings.NewReader(long), strings.NewReader(good), strings.NewReader(long[:len(long)-1]))))
		l.Run(context.Background())
		if got := counts(l); got != "2 {0 0 2 0 0}" {
			t.Errorf("%s: counted %s", name, got)
		}
	}
}

// Chunks of any size, and a last line without a line end.
func TestStdin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		l, j := running(t, twoStreams(), WithStdin(r))
		t0 := time.Now()
		line := logLine("c", urlA, t0, 1)
		for i := range line {
			do(t, second(io.WriteString(w, line[i:i+1])))
		}
		do(t, second(io.WriteString(w, "\n"+line+"\n"+line[:5])), second(io.WriteString(w, line[5:])))
		time.Sleep(10 * time.Second)
		do(t, w.Close())
		time.Sleep(time.Hour)
		equal(t, "one window, and then no more", messages(t, l), []string{
			streamReport("h_a_hls_hi", t0, 1, 3, 3), streamReport("h_b_hls_hi", t0, 0, 0, 0), ownReport(t0, 0, 0, 0, 0),
		})
		if !strings.Contains(j.String(), "it has ended") {
			t.Errorf("logged %s", j)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// A read that hangs does not delay the end of Run.
func TestStdinHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		l := newLog(t, twoStreams(), WithStdin(r))
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		start := time.Now()
		l.Run(ctx)
		if took := time.Since(start); took > time.Minute+stuck {
			t.Errorf("ended after %v", took)
		}
		// Later lines are not counted.
		do(t, second(io.WriteString(w, logLine("c", urlA, time.Now(), 1)+"\n")), w.Close())
		synctest.Wait()
		if got := counts(l); got != "0 {0 0 0 0 0}" {
			t.Errorf("counted %s", got)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestHTTPReconnects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := twoStreams()
		o.Input = "http://user:secret@ml.example/log"
		j := &journal{}
		l := newLog(t, o, j.logger())
		var asked []time.Duration
		start := time.Now()
		l.client.Transport = transport(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, time.Since(start))
			line := logLine("c", urlA, time.Now(), 1)
			switch len(asked) {
			case 1:
				return nil, errors.New("refused")
			case 2:
				return &http.Response{StatusCode: 503, Body: io.NopCloser(strings.NewReader(line))}, nil
			case 3: // ends after 10 s, in the middle of a line
				pr, pw := io.Pipe()
				go func() {
					_, _ = io.WriteString(pw, line+"\n"+line[:7])
					time.Sleep(10 * time.Second)
					pw.CloseWithError(io.ErrUnexpectedEOF)
				}()
				return &http.Response{StatusCode: 200, Body: pr}, nil
			case 4:
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(line + "\n" + line + "\n"))}, nil
			case 5: // sends nothing more
				pr, pw := io.Pipe()
				context.AfterFunc(r.Context(), func() { pw.CloseWithError(r.Context().Err()) })
				return &http.Response{StatusCode: 200, Body: pr}, nil
			}
			return nil, errors.New("one too many")
		})
		j.run(t, l)
		time.Sleep(18 * time.Second)
		if got := counts(l); got != "1 {0 0 1 0 0}" {
			t.Errorf("counted %s", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, want := fmt.Sprint(asked), "[0s 3s 6s 19s 22s]"; got != want {
			t.Errorf("asked after %v, want %v", got, want)
		}
		var got totals
		got.collect(l)
		if s := got.get(); s["h_a_hls_hi requests"] != 3 || s["h bad_lines"] != 1 || s["h windows_lost"] != 0 {
			t.Errorf("got %v", s)
		}
		if log := j.String(); strings.Contains(log, "secret") || !strings.Contains(log, "status 503") || !strings.Contains(log, "http://user:xxxxx@ml.example/log") {
			t.Errorf("logged %s", log)
		}
	})
}

// A server that sends its headers with its first line, an hour after the request.
func TestHTTPHeadersComeLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := twoStreams()
		o.Input = "http://ml.example/log"
		j := &journal{}
		l := newLog(t, o, j.logger())
		connections := 0
		l.client.Transport.(*http.Transport).Proxy = nil // ignore the environment
		l.client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			connections++
			ours, theirs := net.Pipe()
			go func() {
				if _, err := http.ReadRequest(bufio.NewReader(theirs)); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Hour)
				_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\n\r\n"+logLine("c", urlA, time.Now(), 1)+"\n")
				_, _ = io.Copy(io.Discard, theirs) // until the client closes it
			}()
			return ours, nil
		}
		j.run(t, l)
		var got totals
		for range 4 * 60 {
			time.Sleep(15 * time.Second)
			got.collect(l)
		}
		time.Sleep(time.Second)
		if n := counts(l); n != "1 {0 0 0 0 0}" || connections != 1 {
			t.Errorf("counted %s after %d connections", n, connections)
		}
		if s := got.get(); s["h windows_lost"] < 230 || s["h_a_hls_hi requests"] != 0 {
			t.Errorf("until then %v", s)
		}
		if log := j.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "has not answered yet") || !strings.Contains(log, "access log is read") {
			t.Errorf("logged %s", log)
		}
	})
}

// A server that ends each response at its beginning must not fill the log, nor hide
// the line that it works again.
func TestHTTPFlaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := twoStreams()
		o.Input, o.Window = "http://ml.example/log", time.Hour
		j := &journal{}
		l := newLog(t, o, j.logger())
		var works atomic.Bool
		l.client.Transport = transport(func(r *http.Request) (*http.Response, error) {
			if !works.Load() {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(""))}, nil
			}
			pr, pw := io.Pipe()
			context.AfterFunc(r.Context(), func() { pw.CloseWithError(r.Context().Err()) })
			return &http.Response{StatusCode: 200, Body: pr}, nil
		})
		j.run(t, l)
		time.Sleep(2*time.Hour + time.Second)
		log := j.String()
		if n := strings.Count(log, "\n"); n < 20 || n > stateLines+20 {
			t.Errorf("%d lines in two hours", n)
		}
		if first := strings.Count(log[:strings.Index(log, "changes=")], "\n"); first != stateLines {
			t.Errorf("%d lines logged at once, want %d", first, stateLines)
		}
		works.Store(true)
		time.Sleep(stateEvery + 5*time.Second)
		if log := j.String()[len(log):]; !strings.Contains(log, "access log is read") || strings.Count(log, "\n") > 2 {
			t.Errorf("once it works: %s", log)
		}
		// Much later a failure is logged at once.
		time.Sleep(2 * time.Hour)
		before := j.String()
		l.state(errors.New("failed"))
		if log := j.String()[len(before):]; !strings.Contains(log, "error=failed") {
			t.Errorf("later: %q", log)
		}
	})
}

// TestHTTP reads from a real server, which writes in small parts and hangs.
func TestHTTP(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := logLine("c", urlA, time.Now(), 1)
		rc := http.NewResponseController(w)
		for _, s := range []string{line[:10], line[10:] + "\r\n", line, "\n" + line + "\n" + line[:9]} {
			_, _ = io.WriteString(w, s)
			_ = rc.Flush()
		}
		select {
		case <-r.Context().Done():
		case <-end:
		}
	}))
	defer srv.Close()
	defer close(end)
	o := twoStreams()
	o.Input, o.Window = srv.URL, 24*time.Hour
	l, _ := running(t, o)
	eventually(t, l, "3 {0 0 0 0 0}")
}

func TestHTTPErrorsHoldNoPassword(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://user:secret@%zz/")
		w.WriteHeader(http.StatusFound)
	}))
	defer srv.Close()
	for _, input := range []string{srv.URL, "http://user:secret@127.0.0.1:1/", "http://secret@127.0.0.1:1/"} {
		o := twoStreams()
		o.Input = input
		l := newLog(t, o)
		if err := l.download(context.Background(), input); err == nil || strings.Contains(l.name+err.Error(), "secret") {
			t.Errorf("%s: %v", l.name, err)
		}
	}
}

// unixgram returns the path of a socket, and options with it as the input.
func unixgram(t *testing.T) (path string, o Options) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no unix datagram sockets")
	}
	dir, err := os.MkdirTemp("", "apmon") // short enough for a socket
	do(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path, o = filepath.Join(dir, "log"), twoStreams()
	o.Input = "unixgram:" + path
	return path, o
}

func TestUnixgram(t *testing.T) {
	t.Parallel()
	path, o := unixgram(t)
	addr := &net.UnixAddr{Name: path, Net: "unixgram"}
	stale, err := net.ListenUnixgram("unixgram", addr)
	do(t, err)
	stale.Close()

	o.Window = 24 * time.Hour
	l, j := running(t, o)
	conn := dialUnixgram(t, addr)
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(j.String(), "is read"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not read")
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	line := logLine("c", urlA, time.Now(), 1)
	for _, s := range []string{
		line,
		line + "\n" + line + "\n",
		"<190>Oct 10 13:55:36 host nginx: " + line,
		"<190>",
		"nonsense",
		line + "\n" + strings.Repeat("x", 100_000), // its end is cut off
		line,
	} {
		do(t, second(conn.Write([]byte(s))))
	}
	eventually(t, l, "6 {0 0 2 0 0}")

	// A second Log does not take the socket over.
	if err := newLog(t, o).receive(context.Background(), path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Error(err)
	}
	file := path + ".file"
	do(t, os.WriteFile(file, []byte("keep"), 0o600), os.Symlink(file, path+".link"))
	for _, p := range []string{file, path + ".link", filepath.Dir(path), filepath.Join(file, "x")} {
		if err := newLog(t, o).receive(context.Background(), p); err == nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "keep" {
		t.Errorf("the file holds %q", b)
	}
}

// A socket that was removed from its path is closed and made again.
func TestUnixgramRemoved(t *testing.T) {
	t.Parallel()
	path, o := unixgram(t)
	l := newLog(t, o)
	ended := make(chan error, 1)
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	go func() { ended <- l.receive(ctx, path) }()
	for connected := false; !connected; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		connected = l.connected || ctx.Err() != nil
		l.mu.Unlock()
	}
	do(t, os.Rename(path, path+".gone"), os.WriteFile(path, nil, 0o600))
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file that replaced it: %v", err)
	}
}

// The socket is removed at the end of Run.
func TestUnixgramLeavesNothing(t *testing.T) {
	t.Parallel()
	path, o := unixgram(t)
	l := newLog(t, o)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	dialUnixgram(t, &net.UnixAddr{Name: path, Net: "unixgram"})
	stop()
	<-ended
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", path, err)
	}
}

// dialUnixgram waits until there is a socket.
func dialUnixgram(t *testing.T, addr *net.UnixAddr) *net.UnixConn {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := net.DialUnix("unixgram", nil, addr)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}
