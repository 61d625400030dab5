package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
)

// findInterval is the time between two searches for cgroups.
const findInterval = 10 * time.Second

// findTime bounds the wait for the first search: a file system may hang.
const findTime = 2 * time.Second

// watcher adds and removes the jobs and services of a client when flags, configurations
// or cgroups change.
type watcher struct {
	*jobFlags
	client   *apmon.Client
	log      *slog.Logger
	settings *latest[[]conf.Setting] // of all configurations

	begun bool
	names names                          // in force
	jobs  map[string]*apmon.MonitoredJob // jobs and services, by the key of wanted

	searching sync.Mutex // guards globs and logged
	globs     map[string]*cgroupGlob
	logged    map[string]bool // patterns whose search fails
}

func newWatcher(flags *jobFlags, client *apmon.Client, log *slog.Logger, settings *latest[[]conf.Setting]) *watcher {
	return &watcher{jobFlags: flags, client: client, log: log, settings: settings,
		jobs: map[string]*apmon.MonitoredJob{}, globs: map[string]*cgroupGlob{}, logged: map[string]bool{}}
}

// begin sets benchmarks and names, and adds jobs, services and cgroups. The error
// is that of a flag.
func (w *watcher) begin() error {
	w.benchmarks.set(w.client)
	if err := w.configure(context.Background()); err != nil {
		return err
	}
	if w.node != "" && len(w.globs) == 0 {
		return errNoCgroups
	}
	w.begun = true
	found := make(chan struct{})
	go func() {
		w.find(context.Background())
		close(found)
	}()
	select {
	case <-found:
	case <-time.After(findTime): // the search continues
	}
	return nil
}

// run applies new configurations and looks for cgroups, until ctx ends.
func (w *watcher) run(ctx context.Context) {
	tick := time.NewTicker(findInterval)
	defer tick.Stop()
	for {
		select {
		case <-w.settings.changed:
			_ = w.configure(ctx)
			go w.find(ctx)
		case <-tick.C:
			go w.find(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// wanted is a job or a service to be monitored.
type wanted struct {
	key  string // identifies the job
	job  apmon.Job
	fail func(error) error // the error to exit with; nil for one of a configuration
	name string            // of the directive, for the log
}

// wanted returns the jobs and services of flags and configurations, each once. Of several
// services of one name it returns the first; flags come first.
func (w *watcher) wanted(d machine) []wanted {
	var all []wanted
	add := func(item wanted) {
		if !slices.ContainsFunc(all, func(old wanted) bool { return old.key == item.key }) {
			all = append(all, item)
		}
	}
	job := func(j apmon.Job, fail func(error) error) {
		j.Cluster = cmp.Or(j.Cluster, w.names.jobCluster)
		add(wanted{fmt.Sprintf("job %d %q %q %q", j.PID, j.WorkDir, j.Cluster, j.Node), j, fail, "watch_job"})
	}
	for _, j := range w.jobFlags.jobs {
		job(j, func(err error) error { return command.Errorf(command.NoInput, "--job: %w", err) })
	}
	for _, j := range d.jobs {
		job(j, nil)
	}
	node, named := cmp.Or(w.names.node, procinfo.Hostname()), map[string]bool{}
	service := func(sv *watchedService, fail func(error) error) {
		if !named[sv.name] {
			named[sv.name] = true
			add(wanted{fmt.Sprintf("service %s %q", sv.spec, node), sv.job(node), fail, "service"})
		}
	}
	for _, sv := range w.services {
		service(sv, func(err error) error { return fmt.Errorf("--service %s: %w", sv.name, err) })
	}
	for _, sv := range d.services {
		service(sv, nil)
	}
	return all
}

// configure applies the newest configuration. The error is that of a flag at the
// start; all others are logged.
func (w *watcher) configure(ctx context.Context) error {
	d := describe(w.settings.get())
	for _, s := range d.ignored {
		w.log.Warn("directive ignored: another one has a different value", slog.String("directive", "xApMon_"+s.Name), slog.String("value", s.Value), slog.String("source", s.Source))
	}
	if n := w.jobFlags.names(d); n != w.names || !w.begun {
		if err := w.client.SetHostReportNames(n.cluster, n.node); err != nil {
			return err // not after the start: names have been checked
		}
		if w.names = n; w.begun {
			w.log.Info("names of the host's reports changed", slog.String("cluster", cmp.Or(n.cluster, apmon.DefaultHostCluster)), slog.String("node", cmp.Or(n.node, procinfo.Hostname())))
		}
	}
	all := w.wanted(d)
	for key, job := range w.jobs {
		if !slices.ContainsFunc(all, func(item wanted) bool { return item.key == key }) {
			job.Remove()
			delete(w.jobs, key)
		}
	}
	for _, item := range all {
		if w.jobs[item.key] != nil {
			continue
		}
		job, err := w.client.AddJob(item.job)
		switch {
		case err == nil:
			w.jobs[item.key] = job
		case item.fail != nil && !w.begun:
			return item.fail(err)
		default:
			w.log.Error("job not monitored", slog.String("directive", "xApMon_"+item.name), slog.String("error", err.Error()))
		}
	}
	w.configureGlobs(ctx, d.cgroups)
	return nil
}

// configureGlobs applies the patterns of cgroups.
func (w *watcher) configureGlobs(ctx context.Context, patterns []string) {
	w.searching.Lock() // waits for a search to end
	defer w.searching.Unlock()
	patterns = slices.Clone(patterns)
	for _, g := range w.jobFlags.globs {
		patterns = append(patterns, g.pattern)
	}
	there := map[string]bool{}
	for _, pattern := range patterns {
		g, err := newCgroupGlob(pattern)
		if err == nil {
			err = g.setTemplate(w.node)
		}
		if err != nil {
			w.log.Error("cgroups not monitored", slog.String("error", err.Error()))
			continue
		}
		g.cluster = w.names.jobCluster
		key := g.cluster + " " + g.pattern
		if there[key] = true; w.globs[key] == nil {
			w.globs[key] = g
		}
	}
	for key, g := range w.globs {
		if !there[key] {
			g.drop(ctx, w.log, func(string) bool { return true })
			delete(w.globs, key)
		}
	}
}

// find looks for cgroups once, unless a search is under way.
func (w *watcher) find(ctx context.Context) {
	if !w.searching.TryLock() {
		return
	}
	defer w.searching.Unlock()
	for _, g := range w.globs {
		w.logOnce(g.pattern, g.find(ctx, w.client, w.log))
	}
}

// logOnce logs an error of a search once, and again only after a success.
func (w *watcher) logOnce(pattern string, err error) {
	if err == nil {
		delete(w.logged, pattern)
		return
	}
	if !w.logged[pattern] {
		w.logged[pattern] = true
		w.log.Warn("jobs not found", slog.String("by", "--job-cgroup "+pattern), slog.String("error", err.Error()))
	}
}
