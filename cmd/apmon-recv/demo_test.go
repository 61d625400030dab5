package main

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/dashboard"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
)

// demoRun is a run of the demonstration without a terminal.
type demoRun struct {
	stdout testkit.Log
	stderr testkit.Log
	cancel context.CancelFunc // as a signal would
	code   chan int
}

func beginDemo(t *testing.T, args ...string) *demoRun {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	d := &demoRun{cancel: cancel, code: make(chan int, 1)}
	go func() {
		d.code <- run(ctx, append([]string{"apmon-recv", "--demo"}, args...), nil, strings.NewReader(""), &d.stdout, &d.stderr)
	}()
	t.Cleanup(cancel)
	return d
}

// page waits for the address of the page.
func (d *demoRun) page(t *testing.T) string {
	t.Helper()
	at := regexp.MustCompile(`Page: (http://127\.0\.0\.1:\d+)/\n`)
	var m []string
	testkit.Eventually(t, "the address of the page", func() bool {
		m = at.FindStringSubmatch(d.stderr.String())
		return m != nil
	})
	return m[1]
}

// The demonstration has real values of this host and a simulated farm, until it is stopped.
func TestDemo(t *testing.T) {
	t.Parallel()
	d := beginDemo(t)
	page := d.page(t)
	var o dashboard.Overview
	testkit.Eventually(t, "jobs, services, nodes and a failure", func() bool {
		if err := json.Unmarshal([]byte(get(t, page+"/api/v1/overview")), &o); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range o.Clusters {
			names = append(names, c.Name)
		}
		all := strings.Join(names, " ")
		return len(names) == 4 && strings.Contains(all, "Demo_Nodes") && strings.Count(all, "Sim_") == 3 &&
			len(o.Problems) > 0 && o.Problems[0].Kind == "job_failed"
	})
	if o.Totals.Lost+o.Totals.Refused+o.Totals.Dropped > 0 || o.Totals.Senders != 13 {
		t.Errorf("%+v", o.Totals)
	}
	if b := get(t, page+"/"); !strings.Contains(b, "Sim_Jobs") {
		t.Errorf("the page lacks the jobs: %.2000s", b)
	}
	host := "Demo_Nodes/" + procinfo.Hostname()
	testkit.Eventually(t, "text", func() bool { return d.stdout.Count(host) > 0 && d.stdout.Count("Sim_Jobs/") > 0 })
	d.cancel()
	if code := <-d.code; code != 0 {
		t.Errorf("exit code %d", code)
	}
	end := regexp.MustCompile(`(?m)\n\d+ datagrams of 13 senders in \d+s, none lost: \d+ values of \d+ nodes\.\nNext: .*\n$`)
	if s := d.stderr.String(); !end.MatchString(s) || strings.Count(s, "\n") != 4 {
		t.Errorf("standard error:\n%s", s)
	}
}

// Other outputs and limits work as without --demo.
func TestDemoWithOptions(t *testing.T) {
	t.Parallel()
	d := beginDemo(t, "--count", "30", "--format", "json", "--node", "wn*")
	if code := <-d.code; code != 0 || d.stdout.Count(`"node":"wn`) == 0 || d.stdout.Count("Demo_Nodes") > 0 {
		t.Errorf("exit code %d\n%s%s", code, d.stderr.String(), d.stdout.String())
	}
	if d.stderr.Count("30 datagrams of ") != 1 {
		t.Errorf("standard error:\n%s", d.stderr.String())
	}
	if code := <-beginDemo(t, "--for", "1").code; code != 0 {
		t.Errorf("--for: exit code %d", code)
	}
	for _, args := range [][]string{{"--listen", ":0"}, {"--password-file", "x"}} {
		d := beginDemo(t, args...)
		if code := <-d.code; code != 64 || d.stderr.Count("--demo") == 0 {
			t.Errorf("%v: exit code %d\n%s", args, code, d.stderr.String())
		}
	}
}
