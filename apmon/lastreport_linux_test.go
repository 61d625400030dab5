package apmon

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobtree"
	"github.com/apmon-go/apmon/procinfo/workdir"
)

// fakeProc makes the client follow jobs on a host whose only process is 77, and
// returns a function that ends this process. (The client would not notice the exit
// of a real process in simulated time.)
func fakeProc(t *testing.T, c *Client) (end func()) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"uptime":    "2000.00 2000.00\n",
		"77/stat":   "77 (job) S 1 77 77 0 -1 4194304 100 0 0 0 50 25 0 0 20 0 1 0 100000 1000000 200 18446744073709551615" + strings.Repeat(" 0", 27) + "\n",
		"77/status": "Name:\tjob\nTgid:\t77\nVmHWM:\t 900 kB\nVmRSS:\t 800 kB\n",
	} {
		path := filepath.Join(dir, "proc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fs := procinfo.DirFS(dir)
	c.jobs.procs, c.jobs.dirs = jobtree.New(fs, procinfo.NewProcesses(fs)), workdir.New(fs)
	return func() {
		if err := os.RemoveAll(filepath.Join(dir, "proc/77")); err != nil {
			t.Fatal(err)
		}
	}
}

// perNode counts the datagrams of jobs.
func perNode(n *fakeNet) map[string]int {
	count := map[string]int{}
	for _, d := range n.reports(here, DefaultJobCluster) {
		count[d.Node]++
	}
	return count
}

// Jobs that end together have only a last report each. All of them are sent, however
// long the queue is, also if a reload changes the content of reports.
func TestJobsThatEndTogether(t *testing.T) {
	t.Parallel()
	for _, reload := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const jobs = 300
			var n fakeNet
			var w web
			var log bytes.Buffer
			w.set(u1, here+"\nxApMon_maxMsgRate = 4\n")
			c := open(t, &n, &w, []string{u1}, noHost, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			end := fakeProc(t, c)
			var first *MonitoredJob
			for i := range jobs {
				j := addJob(t, c, Job{PID: 77, Node: fmt.Sprint("job", i), Interval: time.Second})
				if i == 0 {
					first = j
				}
			}
			synctest.Wait()
			end()
			time.Sleep(time.Second)
			_, _ = first.Sample() // notices the end of the processes
			synctest.Wait()
			if reload {
				time.Sleep(10*time.Second + time.Second/2) // between two reports
				w.set(u1, here+"\nxApMon_maxMsgRate = 4\nxApMon_job_interval = 60\n")
				if err := c.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			sent := perNode(&n)
			equal(t, "jobs reported", len(sent), jobs)
			for node, times := range sent {
				if times != 1 {
					t.Errorf("%s reported %d times", node, times)
				}
			}
			equal(t, "jobs left", len(c.Stats().Reports), 0)
			if lines := strings.Count(log.String(), "\n"); lines > 3 {
				t.Errorf("%d lines in the log:\n%.1000s", lines, log.String())
			}
		})
	}
}

// A caller that reports and removes a job whose processes have just ended waits for
// the last report, and does not cancel it.
func TestFinishWaitsForTheLastReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const jobs = 30
		var n fakeNet
		cfg := config(t, here)
		cfg.MaxMsgRate = 2
		c := client(t, cfg, append(n.options(), noHost)...)
		end := fakeProc(t, c)
		all := make([]*MonitoredJob, jobs)
		for i := range all {
			all[i] = addJob(t, c, Job{PID: 77, Node: fmt.Sprint("job", i)})
		}
		synctest.Wait()
		end()
		time.Sleep(time.Second)
		_, _ = all[0].Sample() // notices the end of the processes
		for i, j := range all {
			go func() {
				report := j.Finish
				if i%2 == 0 {
					report = j.Report
				}
				if err := report(t.Context()); err != nil && !j.Ended() {
					t.Error(err)
				}
				j.Remove()
			}()
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		sent := perNode(&n)
		for i := range all {
			most := 1
			if i%2 == 0 {
				most = 2 // Report may come before the last one
			}
			if times := sent[fmt.Sprint("job", i)]; times < 1 || times > most {
				t.Errorf("job%d reported %d times", i, times)
			}
		}
	})
}

// Many reports that cannot be sent cause only one line in the log.
func TestLastReportsThatFailAreLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		var log bytes.Buffer
		c := client(t, config(t, "no.example"), append(n.options(), noHost, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))...)
		end := fakeProc(t, c)
		var first *MonitoredJob
		for i := range 300 {
			j := addJob(t, c, Job{PID: 77, Node: fmt.Sprint("job", i)})
			if i == 0 {
				first = j
			}
		}
		synctest.Wait()
		end()
		time.Sleep(time.Second)
		_, _ = first.Sample()
		synctest.Wait()
		equal(t, "jobs left", len(c.Stats().Reports), 0)
		equal(t, "lines about them", strings.Count(log.String(), "last report of a job"), 1)
		if lines := strings.Count(log.String(), "\n"); lines > 3 { // one is about the look-up
			t.Errorf("%d lines in the log:\n%.1000s", lines, log.String())
		}
	})
}

// The last report replaces a report that still waits for the rate limit, and may
// wait longer than the interval of its job.
func TestLastReportReplacesAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n fakeNet
		cfg := config(t, here)
		cfg.MaxMsgRate = 1
		c := client(t, cfg, append(n.options(), noHost)...)
		fakeProc(t, c)
		j := addJob(t, c, Job{PID: 77, Node: "N", Interval: 10 * time.Second})
		synctest.Wait()
		for c.sender.limiter.allow(c.sender.network.now(), 1) {
		}
		c.sender.limiter.sent = 200 // no message passes for half a minute
		before := make(chan error, 1)
		go func() { before <- j.Report(t.Context()) }()
		time.Sleep(3 * time.Second)
		equal(t, "a report is under way", c.Stats().Reports[0].Busy, true)
		start := time.Now()
		if err := j.End(t.Context(), JobExit{Code: 3}, String("status", "ended")); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 20*time.Second || d > time.Minute {
			t.Errorf("waited %v", d)
		}
		if err := <-before; err != nil {
			t.Errorf("Report: %v", err)
		}
		sent := n.reports(here, DefaultJobCluster)
		equal(t, "reports", len(sent), 1)
		if !has(sent[0], "exit_code") || !has(sent[0], "status") {
			t.Errorf("sent %+v", sent[0].Params)
		}
		skipped, failures := c.schedule.Totals()
		equal(t, "skipped or failed", skipped+failures, 0)
	})
}

// A service whose processes are short-lived changes its state at every report.
func TestServiceStateLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, _ := monitored(t, noHost, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		j := &MonitoredJob{jobs: &c.jobs}
		lines := func(samples int) int {
			log.Reset()
			for i := range samples {
				j.logState(&procinfo.JobSample{Up: procinfo.Known(float64(i % 2))})
				time.Sleep(time.Second)
			}
			return strings.Count(log.String(), "service is")
		}
		if n := lines(10); n != 10 {
			t.Errorf("%d lines of the first 10 changes", n)
		}
		if n := lines(24 * 3600); n < 200 || n > 250 {
			t.Errorf("%d lines a day, want about 240", n)
		}
		time.Sleep(time.Hour)
		if n := lines(2); n == 0 {
			t.Error("no line of a change after a calm hour")
		}
	})
}
