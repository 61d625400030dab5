package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJobNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ad := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	global := ad("global", "ProcId = 0\nGlobalJobId = \"sched.example#12.0#1700000000\"\nClusterId = 12\n")
	ids := ad("ids", "broken\nclusterid = 12\nPROCID=3\n")
	none := ad("none", "Cmd = \"x\"\nClusterId = 12\n")
	// Earlier entries take precedence.
	order := []struct{ name, value, node string }{
		{"APMON_NODE", "a", "a"}, {"MonitorJobID", "b", "b"}, {"ALIEN_PROC_ID", "c", "c"},
		{"_CONDOR_JOB_AD", global, "sched.example#12.0#1700000000"},
		{"SLURM_JOB_ID", "s", "s"}, {"PBS_JOBID", "p", "p"}, {"LSB_JOBID", "l", "l"}, {"GRID_GLOBAL_JOBID", "g", "g"},
	}
	env := map[string]string{}
	getenv := func(k string) string { return env[k] }
	for i := len(order) - 1; i >= 0; i-- {
		env[order[i].name] = order[i].value
		if _, node := JobNames(getenv, "", ""); node != order[i].node {
			t.Errorf("%s: got node %q", order[i].name, node)
		}
	}
	if _, node := JobNames(getenv, "", "explicit"); node != "explicit" {
		t.Errorf("got node %q", node)
	}
	for _, tt := range []struct {
		env          map[string]string
		cluster      string
		wantC, wantN string
	}{
		{env: map[string]string{}},
		{env: map[string]string{"MonitorID": "crab"}, wantC: "crab"},
		{env: map[string]string{"MonitorID": "crab", "APMON_CLUSTER": "ours"}, wantC: "ours"},
		{env: map[string]string{"MonitorID": "crab"}, cluster: "flag", wantC: "flag"},
		{env: map[string]string{"APMON_CLUSTER": " ", "MonitorID": "crab"}, wantC: "crab"},
		{env: map[string]string{"_CONDOR_JOB_AD": ids}, wantN: "12.3"},
		{env: map[string]string{"_CONDOR_JOB_AD": none, "PBS_JOBID": "7"}, wantN: "7"},
		{env: map[string]string{"_CONDOR_JOB_AD": dir + "/absent", "PBS_JOBID": "7"}, wantN: "7"},
		{env: map[string]string{"_CONDOR_JOB_AD": ad("env", "Env = \""+strings.Repeat("x", 100_000)+"\"\nGlobalJobId = \"g\"\n")}, wantN: "g"},
		{env: map[string]string{"_CONDOR_JOB_AD": ad("long", strings.Repeat("x", 1<<20)), "PBS_JOBID": "7"}, wantN: "7"},
	} {
		c, n := JobNames(func(k string) string { return tt.env[k] }, tt.cluster, "")
		if c != tt.wantC || n != tt.wantN {
			t.Errorf("%v: got %q, %q", tt.env, c, n)
		}
	}
}
