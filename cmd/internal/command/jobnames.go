package command

import (
	"bufio"
	"cmp"
	"io"
	"os"
	"strings"
	"syscall"
)

// JobNames returns the cluster and node under which a job is monitored, from the
// environment of its batch system. The node is the first of these that is set: the
// argument, APMON_NODE, MonitorJobID, ALIEN_PROC_ID, the name in the job description of
// _CONDOR_JOB_AD (GlobalJobId, else ClusterId.ProcId), SLURM_JOB_ID, PBS_JOBID,
// LSB_JOBID, GRID_GLOBAL_JOBID. The cluster is the first of the argument, APMON_CLUSTER
// and MonitorID. A result may be empty. The names are those of a job, never of a host.
func JobNames(getenv func(string) string, cluster, node string) (string, string) {
	env := func(names ...string) string {
		for _, name := range names {
			if v := strings.TrimSpace(getenv(name)); v != "" {
				return v
			}
		}
		return ""
	}
	cluster = cmp.Or(cluster, env("APMON_CLUSTER", "MonitorID"))
	node = cmp.Or(node, env("APMON_NODE", "MonitorJobID", "ALIEN_PROC_ID"))
	if ad := env("_CONDOR_JOB_AD"); node == "" && ad != "" {
		node = condorJob(ad)
	}
	return cluster, cmp.Or(node, env("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "GRID_GLOBAL_JOBID"))
}

// maxJobAd is how many bytes of a job description are read.
const maxJobAd = 1 << 20

// condorJob reads the name of a job from HTCondor's description of it: lines
// "Attribute = value", the names in any case. It returns "" for none.
func condorJob(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // does not block on a pipe
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	attrs := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(f, maxJobAd))
	lines.Buffer(nil, maxJobAd) // one line may hold the whole environment
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			continue
		}
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "globaljobid", "clusterid", "procid":
			attrs[name] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	if id := attrs["globaljobid"]; id != "" {
		return id
	}
	if attrs["clusterid"] != "" && attrs["procid"] != "" {
		return attrs["clusterid"] + "." + attrs["procid"]
	}
	return ""
}
