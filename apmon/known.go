package apmon

import (
	"strings"
	"sync"
)

// optionNames are the names of the switches of single parameters, as they stand
// behind "xApMon_". More spellings of one stand behind the canonical name.
var optionNames = [...][]string{
	{"sys_", "load1", "load5", "load15",
		"cpu_usr", "cpu_nice", "cpu_sys", "cpu_idle", "cpu_iowait", "cpu_irq", "cpu_softirq", "cpu_steal", "cpu_guest", "cpu_usage",
		"interrupts interrupts_R", "context_switches context_switches_R",
		"mem_free", "mem_used", "mem_usage", "mem_actualfree", "mem_buffers", "mem_cached", "mem_available", "mem_shmem",
		"swap_used", "swap_free", "swap_usage",
		"pages_in blocks_in blocks_in_R", "pages_out blocks_out blocks_out_R", "swap_in swap_in_R", "swap_out swap_out_R",
		"net_in", "net_out", "net_errs", "net_sockets net_socket", "net_tcp_details",
		"processes", "uptime", "pressure_cpu", "pressure_memory", "pressure_io", "oom_kill", "disk_io"},
	{"", "hostname", "ip", "ipv6", "cpu_MHz", "no_CPUs", "cpu_vendor_id", "cpu_family", "cpu_model", "cpu_model_name", "cpu_cache", "bogomips",
		"total_mem", "total_swap", "kernel_version", "platform", "os_type", "ksi2k_factor", "db12", "hep06", "hs23",
		"cpu_cores", "cpu_smt", "cpus_allowed", "mem_limit", "container"},
	{"job_", "run_time", "cpu_time", "cpu_usage", "instant_cpu_usage", "cpu_efficiency", "virtualmem", "rss", "pss", "swappss", "mem_usage",
		"open_files", "processes total_processes", "threads total_threads", "page_faults_min", "page_faults_maj", "context_switches", "io",
		"workdir_size", "disk_total", "disk_used", "disk_free", "disk_usage", "cgroup",
		"cpu_ksi2k", "run_ksi2k", "cpu_db12", "run_db12", "cpu_hep06", "run_hep06", "cpu_hs23", "run_hs23", "exit"},
}

// known maps every spelling of an option to the canonical one.
var known = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for _, group := range optionNames {
		prefix := group[0]
		for _, spellings := range group[1:] {
			names := strings.Fields(spellings)
			for _, name := range names {
				m[prefix+name] = prefix + names[0]
			}
		}
	}
	return m
})

// KnownOption is a [conf.Known] for the monitoring options of this package.
func KnownOption(option string) (canonical string, ok bool) {
	canonical, ok = known()[option]
	return canonical, ok
}
