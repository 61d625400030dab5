package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/apmon-go/apmon/apmon"
)

// cgroupGlob is a pattern; each cgroup that matches is a job.
type cgroupGlob struct {
	pattern  string
	expr     *regexp.Regexp // matches the path, with a group for each asterisk
	template string         // of node names
	cluster  string
	jobs     map[string]*apmon.MonitoredJob // by path
}

// cgroupRoot is put before patterns that do not begin with a slash.
const cgroupRoot = "/sys/fs/cgroup"

func newCgroupGlob(pattern string) (*cgroupGlob, error) {
	if !path.IsAbs(pattern) {
		pattern = path.Join(cgroupRoot, pattern)
	}
	pattern = path.Clean(pattern)
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	var expr strings.Builder
	expr.WriteString("^")
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			expr.WriteString("([^/]*)")
		case '?':
			expr.WriteString("[^/]")
		case '[':
			end := i + 1 + strings.IndexByte(pattern[i+1:], ']')
			expr.WriteString(pattern[i : end+1]) // the syntax is the same, apart from what path.Match refuses
			i = end
		case '\\':
			i++
			expr.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		default:
			expr.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	expr.WriteString("$")
	re, err := regexp.Compile(expr.String())
	if err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	return &cgroupGlob{pattern: pattern, expr: re, jobs: map[string]*apmon.MonitoredJob{}}, nil
}

var placeholder = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{[^{}]*\}`) })

// setTemplate sets the template of node names.
func (g *cgroupGlob) setTemplate(template string) error {
	for _, p := range placeholder().FindAllString(template, -1) {
		n, err := strconv.Atoi(strings.Trim(p, "{}"))
		if err != nil || n < 1 || n > g.expr.NumSubexp() {
			return fmt.Errorf("--job-node %q: %s does not exist, %s has %d asterisks", template, p, g.pattern, g.expr.NumSubexp())
		}
	}
	g.template = template
	return nil
}

// node returns the node of a cgroup.
func (g *cgroupGlob) node(dir string) string {
	m := g.expr.FindStringSubmatch(dir)
	if g.template == "" || m == nil {
		return path.Base(dir)
	}
	return placeholder().ReplaceAllStringFunc(g.template, func(p string) string {
		n, _ := strconv.Atoi(strings.Trim(p, "{}"))
		return m[n]
	})
}

// find adds the cgroups that match now, and drops those that no longer do.
func (g *cgroupGlob) find(ctx context.Context, client *apmon.Client, log *slog.Logger) error {
	dirs, err := filepath.Glob(g.pattern)
	if err != nil {
		return err
	}
	var errs []error
	there := map[string]bool{}
	for _, dir := range dirs {
		if _, err := os.Stat(dir + "/cgroup.procs"); err != nil {
			continue // not a cgroup, or no longer
		}
		there[dir] = true
		if g.jobs[dir] != nil {
			continue
		}
		job, err := client.AddJob(apmon.Job{Cgroup: dir, Cluster: g.cluster, Node: g.node(dir)})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		g.jobs[dir] = job
	}
	g.drop(ctx, log, func(dir string) bool { return !there[dir] })
	return errors.Join(errs...)
}

// drop ends the monitoring of the cgroups that gone selects, each with a last report.
func (g *cgroupGlob) drop(ctx context.Context, log *slog.Logger, gone func(dir string) bool) {
	for dir, job := range g.jobs {
		if !gone(dir) {
			continue
		}
		delete(g.jobs, dir)
		go func() { // many may end at once and wait for the rate limit
			if err := job.Finish(ctx); err != nil {
				log.Warn("last report of a job not sent", slog.String("cgroup", dir), slog.String("error", err.Error()))
			}
		}()
	}
}
