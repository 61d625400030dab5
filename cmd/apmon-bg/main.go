// Apmon-bg monitors a host and its jobs, runs commands as monitored jobs, checks
// configurations and lists parameters.
package main

import (
	"context"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
)

const name = "apmon-bg"

func main() {
	os.Exit(run(context.Background(), os.Args, os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run runs the command and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, _ io.Reader, stdout, stderr io.Writer) int {
	stdout = command.Escape(stdout)
	log := command.NewLossyWriter(command.Escape(stderr))
	defer log.Flush()
	return newApp(getenv, stdout, log).Run(ctx, args)
}

const description = `Sends reports on this host to every destination, every --interval, until it is
stopped. It stays in the foreground. If no destination is usable, it keeps
trying. Each configuration source may set which parameters are reported to its
destinations, and how often; 'apmon-bg params' lists them and their options.

Destinations:
` + command.DestHelp + `

Printing:
With --print, reports are written to standard output: on a terminal as text, which is easy
to read, with four significant digits and units; in a pipe or a file as JSON, one object
for each datagram, in the format of apmon-recv. They are sent only to the destinations of
-d. Configurations then only select what is reported: there is one report for each
set of options, and the destinations of -d have the default options.

Signals:
   HUP         reload the configurations
   TERM, INT   send a last report and exit with 0 within 2 s
   USR1        log statistics

Environment:
   APMON_INTERVAL       interval, if --interval is not given
   HOST_PROC, HOST_SYS  where the host's /proc and /sys are mounted in a
                        container
` + command.Environment + `

Exit status:
   0   stopped by a signal; --once: sent, and not all destinations refused
   64  usage                          65  bad name
   66  the process of a --job does not exist
   68  no destination could be resolved (--once)
   69  all destinations refused (--once); another process holds --pidfile
   74  standard output or the --pidfile could not be written
   75  over the rate limit (--once)   78  configuration
   130 interrupted (--once)

Examples:
   apmon-bg -d ml.example.org --host-group MySite
   apmon-bg --once --print
   apmon-bg -d ml.example.org --service 'web=~^nginx: master' \
       --job-cgroup 'slurm/job_*' --job-node '{1}'
   apmon-bg -f /etc/apmon/destinations.conf \
       --pidfile /run/apmon-bg.pid --replace`

func newApp(getenv func(string) string, stdout io.Writer, stderr *command.LossyWriter) *command.App {
	a := &agent{
		Destinations: command.Destinations{Name: name, Getenv: getenv, Stderr: stderr, System: conf.SystemFile},
		stdout:       stdout,
	}
	return command.New(&cli.App{
		Name:        name,
		Usage:       "monitor a host and its jobs",
		UsageText:   name + " [-d DEST]... [-f FILE|URL]... [-c CLUSTER] [-n NODE]\n         [--interval 120s] [options]\n" + name + " exec [options] -- CMD ARG...\n" + name + " report [-o FILE] FILE...\n" + name + " check [--strict] [--no-resolve] [SOURCE]...\n" + name + " params [--format text|markdown|json]",
		Description: description,
		Flags: slices.Concat(a.Flags(), command.Group("Reports",
			&cli.StringFlag{Name: "cluster", Aliases: []string{"c"}, Usage: "`CLUSTER` of the host's reports (default: " + apmon.DefaultHostCluster + ")"},
			&cli.StringFlag{Name: "node", Aliases: []string{"n"}, Usage: "`NODE` of the host's reports (default: the full host name)"},
			&cli.StringFlag{Name: "host-group", Usage: "use the names of servMon.sh: cluster `G`_Nodes, and the full host name as node"},
			intervalFlag(),
			&cli.BoolFlag{Name: "once", DisableDefaultText: true, Usage: "send one complete report (two samples, one second apart) and exit"},
			&cli.BoolFlag{Name: "print", DisableDefaultText: true, Usage: "print reports, as JSON unless on a terminal; send them only to the destinations of -d"},
			&cli.BoolFlag{Name: "no-host", DisableDefaultText: true, Usage: "report jobs and services only"},
		), a.jobFlags.flags(), a.log.flags(), a.pageFlags.flags(), command.Group("Process",
			&cli.StringFlag{Name: "pidfile", Usage: "write the process id to `FILE` and lock it, so that only one instance runs"},
			&cli.BoolFlag{Name: "replace", DisableDefaultText: true, Usage: "stop the process that holds --pidfile, then start"},
			&cli.BoolFlag{Name: "stop", DisableDefaultText: true, Usage: "stop the process that holds --pidfile, and exit"},
		)),
		Action:   a.run,
		Commands: []*cli.Command{execCommand(getenv, stderr), reportCommand(stdout, stderr), checkCommand(getenv, stdout), paramsCommand(stdout)},
	}, stdout, stderr, accessLogTopic)
}
