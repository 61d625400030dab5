package command

import (
	"cmp"
	"strings"

	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// JobNames returns the cluster and node under which a job is monitored, from the
// environment of its batch system. The node is the first of these that is set: the
// argument, APMON_NODE, MonitorJobID, and the id of [jobrecord.Batch]: ALIEN_PROC_ID, the
// name in the job description of _CONDOR_JOB_AD (GlobalJobId, else ClusterId.ProcId),
// SLURM_JOB_ID, PBS_JOBID, LSB_JOBID, GRID_GLOBAL_JOBID. The cluster is the first of the
// argument, APMON_CLUSTER and MonitorID. A result may be empty. The names are those of a
// job, never of a host.
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
	if node = cmp.Or(node, env("APMON_NODE", "MonitorJobID")); node == "" {
		node = jobrecord.NewBatch(getenv).ID
	}
	return cluster, node
}
