package conf

import (
	"strings"
	"testing"
)

// optionNames are the monitoring options, the canonical spelling first. They replace
// the lookup function that package apmon passes to this package.
var optionNames = []struct{ prefix, names string }{
	{"sys_", `load1 load5 load15 cpu_usr cpu_nice cpu_sys cpu_idle cpu_iowait cpu_irq cpu_softirq cpu_steal cpu_guest
		cpu_usage interrupts/interrupts_R context_switches/context_switches_R mem_free mem_used mem_usage mem_actualfree
		mem_buffers mem_cached mem_available mem_shmem swap_used swap_free swap_usage
		pages_in/blocks_in/blocks_in_R pages_out/blocks_out/blocks_out_R swap_in/swap_in_R swap_out/swap_out_R
		net_in net_out net_errs net_sockets/net_socket net_tcp_details processes uptime
		pressure_cpu pressure_memory pressure_io oom_kill disk_io`},
	{"", `hostname ip ipv6 cpu_MHz no_CPUs cpu_vendor_id cpu_family cpu_model cpu_model_name cpu_cache bogomips total_mem
		total_swap kernel_version platform os_type ksi2k_factor db12 hep06 hs23 cpu_cores cpu_smt cpus_allowed mem_limit
		container`},
	{"job_", `up restarts run_time cpu_time cpu_usage instant_cpu_usage cpu_efficiency virtualmem rss pss swappss mem_usage open_files
		processes/total_processes threads/total_threads page_faults_min page_faults_maj context_switches io network gpu workdir_size
		disk_total disk_used disk_free disk_usage cgroup cpu_ksi2k run_ksi2k cpu_db12 run_db12 cpu_hep06 run_hep06
		cpu_hs23 run_hs23 exit`},
}

// optIn are the options that are off by default.
var optIn = map[string]bool{"job_pss": true, "job_swappss": true, "job_network": true}

// spellings maps every spelling of an option to the canonical one.
var spellings = func() map[string]string {
	m := map[string]string{}
	for _, group := range optionNames {
		for _, field := range strings.Fields(group.names) {
			names := strings.Split(field, "/")
			for _, name := range names {
				m[group.prefix+name] = group.prefix + names[0]
			}
		}
	}
	return m
}()

func knownOption(name string) (string, bool) {
	canonical, ok := spellings[name]
	return canonical, ok
}

func TestSampleSetsNothing(t *testing.T) {
	t.Parallel()
	c, problems := Parse("sample", []byte(Sample), knownOption)
	if len(problems) > 0 || !c.Equal(Config{}) {
		t.Errorf("got %v, %+v", problems, c)
	}
}

func TestSampleUncommented(t *testing.T) {
	t.Parallel()
	var text []byte
	for line := range strings.Lines(Sample) {
		if len(line) > 2 && line[0] == '#' && line[1] != ' ' {
			line = line[1:]
		}
		text = append(text, line...)
	}
	c, problems := Parse("sample", text, knownOption)
	for _, p := range problems {
		t.Error(p)
	}
	if len(c.Destinations) != 10 {
		t.Errorf("%d destinations: %v", len(c.Destinations), c.Destinations)
	}
	for spelling, name := range spellings {
		p, ok := c.Switches[name]
		if !ok {
			t.Errorf("%s is missing", name)
		}
		if p.On == optIn[name] || p.Name != "" {
			t.Errorf("%s is %+v", name, p)
		}
		if !strings.Contains(Sample, strings.TrimPrefix(strings.TrimPrefix(spelling, "sys_"), "job_")) {
			t.Errorf("the spelling %s is missing", spelling)
		}
	}
	for name := range c.Switches {
		if spellings[name] != name {
			t.Errorf("%s is no option", name)
		}
	}
	if c.RecheckInterval != DefaultRecheck || c.SysInterval != DefaultInterval || c.JobInterval != DefaultInterval {
		t.Errorf("intervals are %v %v %v", c.RecheckInterval, c.SysInterval, c.JobInterval)
	}
}

func TestSampleDocumentsEveryDirective(t *testing.T) {
	t.Parallel()
	for _, d := range directives {
		want := "\n#xApMon_" + d.name + " = " + d.byDefault() + "\n"
		if d.byDefault() == "" {
			want = "xApMon_" + d.name
		}
		if n := strings.Count(Sample, want); n != 1 {
			t.Errorf("%q occurs %d times", want, n)
		}
	}
	for _, l := range levels {
		if l.name != "WARN" && !strings.Contains(Sample, l.name) {
			t.Errorf("level %s is missing", l.name)
		}
	}
}
