package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/xdr"
)

// jobFlags are the flags that select what is monitored, and under which names.
type jobFlags struct {
	given    names  // -c, -n and --job-cluster
	group    string // --host-group
	jobs     []apmon.Job
	services []*watchedService
	globs    []*cgroupGlob
	node     string // template of --job-node
	benchmarks
}

func (f *jobFlags) flags() []cli.Flag {
	return command.Group("Jobs and services",
		&command.Repeat{Forms: []string{"job"}, Value: "PID[,WORKDIR[,CLUSTER[,NODE]]]", Usage: "monitor the job whose root is process PID (repeatable)", Add: f.addJob},
		&command.Repeat{Forms: []string{"service"}, Value: "NAME=PID|NAME=PIDFILE|NAME=~REGEX", Usage: "report a service in cluster NAME_Services, even while it is down; REGEX selects all processes whose command lines match (repeatable)", Add: f.addService},
		&command.Repeat{Forms: []string{"job-cgroup"}, Value: "GLOB", Usage: "monitor every matching cgroup as a job, including cgroups created later (repeatable)", Add: f.addGlob},
		&cli.StringFlag{Name: "job-node", Usage: "`TEMPLATE` of the nodes of --job-cgroup; {1}, {2}... are the text that its asterisks match", DefaultText: "the last element of the path", Destination: &f.node},
		&cli.StringFlag{Name: "job-cluster", Usage: "`CLUSTER` of jobs without one", DefaultText: "G_Jobs with --host-group G, else " + apmon.DefaultJobCluster, Destination: &f.given.jobCluster},
		f.benchmarks.flag(),
	)
}

// recordFlags are the flags of exec for the record of the job: see recording.
func recordFlags() []cli.Flag {
	return command.Group("Record",
		&cli.StringFlag{Name: "summary", Usage: "write the record of the job to `FILE` as JSON at its end; - is standard output"},
		&cli.StringFlag{Name: "series", Usage: "write the samples to `FILE` while the job runs: JSON lines if the name ends in .json, .jsonl or .ndjson, else TSV; compressed if it ends in .gz"},
		&cli.StringFlag{Name: "series-interval", Usage: "write a line every `TIME`, and sooner in the beginning", DefaultText: "10s"},
		&cli.StringFlag{Name: "series-max", Usage: "thin a series to half of `N` lines when it has more; 0 for never", DefaultText: "4000"},
		&cli.StringFlag{Name: "series-children", Usage: "add columns for `N` direct children of CMD at a time, each with all processes below it", DefaultText: "0"},
		&cli.StringFlag{Name: "prmon-txt", Usage: "write the samples to `FILE` as prmon 3 does; implies --pss"},
		&cli.StringFlag{Name: "prmon-json", Usage: "write the summary so far to `FILE` as prmon 3 does, with each line; implies --pss"},
		&cli.BoolFlag{Name: "pss", DisableDefaultText: true, Usage: "measure the proportional set size: shared memory is divided among the processes"},
		&cli.BoolFlag{Name: "progress", DisableDefaultText: true, Usage: "show a live line on standard error if that is a terminal and standard output is not"},
		&cli.Float64Flag{Name: "cpus", Usage: "the job may use `N` CPUs", DefaultText: "of the batch system"},
		&cli.StringFlag{Name: "memory", Usage: "the job may use `SIZE` of memory, such as 4GiB", DefaultText: "of the batch system"},
		&cli.StringFlag{Name: "time-limit", Usage: "the job may run for `TIME`, such as 12h", DefaultText: "of the batch system"},
	)
}

func (f *jobFlags) addJob(s string) error {
	j, err := parseJob(s)
	if err == nil {
		f.jobs = append(f.jobs, j)
	}
	return err
}

func parseJob(s string) (apmon.Job, error) {
	// The node is last, so it may contain commas.
	part := append(strings.SplitN(s, ",", 4), "", "", "")
	pid, err := strconv.Atoi(part[0])
	if err != nil || pid <= 0 {
		return apmon.Job{}, fmt.Errorf("%q is not a process id", part[0])
	}
	return apmon.Job{PID: pid, WorkDir: part[1], Cluster: part[2], Node: part[3]}, nil
}

func (f *jobFlags) addService(s string) error {
	sv, err := parseService(s)
	if err == nil {
		f.services = append(f.services, sv)
	}
	return err
}

func (f *jobFlags) addGlob(s string) error {
	g, err := newCgroupGlob(s)
	if err == nil {
		f.globs = append(f.globs, g)
	}
	return err
}

// errNoCgroups is the error of a --job-node without any --job-cgroup.
var errNoCgroups = errors.New("--job-node needs --job-cgroup")

// check refuses flags that contradict each other.
func (f *jobFlags) check() error {
	for _, g := range f.globs {
		if err := g.setTemplate(f.node); err != nil {
			return err
		}
	}
	if f.given.jobCluster != "" {
		if err := xdr.CheckName(f.given.jobCluster); err != nil {
			return command.Errorf(command.DataErr, "--job-cluster: %w", err)
		}
	}
	if f.node != "" && len(f.globs) == 0 {
		return errNoCgroups // unless a configuration names cgroups
	}
	return nil
}
