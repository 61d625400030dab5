package apmon

import (
	"strings"
	"sync"

	"github.com/apmon-go/apmon/procinfo"
)

// jobOptions are the names of the switches of a job's parameters, as they stand
// behind "xApMon_job_"; more spellings of one stand behind the canonical name.
var jobOptions = [...]string{
	"run_time", "cpu_time", "cpu_usage", "instant_cpu_usage", "cpu_efficiency", "virtualmem", "rss", "pss", "swappss", "mem_usage",
	"open_files", "processes total_processes", "threads total_threads", "page_faults_min", "page_faults_maj", "context_switches", "io",
	"workdir_size", "disk_total", "disk_used", "disk_free", "disk_usage", "cgroup",
	"cpu_ksi2k", "run_ksi2k", "cpu_db12", "run_db12", "cpu_hep06", "run_hep06", "cpu_hs23", "run_hs23", "exit",
}

// known maps every spelling of an option to the canonical one: those of the
// host are procinfo's.
var known = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for _, metric := range procinfo.Metrics() {
		m[metric.Option] = metric.Option
		for _, a := range metric.Aliases {
			m[a.Option] = metric.Option
		}
	}
	for _, spellings := range jobOptions {
		names := strings.Fields(spellings)
		for _, name := range names {
			m["job_"+name] = "job_" + names[0]
		}
	}
	return m
})

// KnownOption is a [conf.Known] for the monitoring options of this package.
func KnownOption(option string) (canonical string, ok bool) {
	canonical, ok = known()[option]
	return canonical, ok
}
