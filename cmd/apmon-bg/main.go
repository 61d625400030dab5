// Apmon-bg monitors a host in the background, checks configurations and lists
// parameters.
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

// run is the whole command; it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, _ io.Reader, stdout, stderr io.Writer) int {
	stdout = command.Escape(stdout)
	log := command.NewLossyWriter(command.Escape(stderr))
	defer log.Flush()
	return newApp(getenv, stdout, log).Run(ctx, args)
}

const description = `Reports on this host every --interval, to every destination, until it is
stopped. It stays in the foreground. With no usable destination it keeps trying.
A configuration may set what is reported, and how often, for each source its own;
'apmon-bg params' lists the parameters and their switches.

Destinations:
DEST is host[:port][ password], IPv6 as [address]:port, a password with blanks
in quotes. A password given here can be seen by everyone in the list of
processes: use a file, or APMON_PASSWORD_FILE.

Printing:
With --print, reports are written to standard output as JSON, one object for
each datagram, as apmon-recv prints them; they are sent to what -d names, and to
nobody else. Configurations then only say what to report: one report for each
set of options; that for -d has the default ones.

Signals:
   HUP         read the configurations again
   TERM, INT   send a last report, and exit with 0 within 2 s
   USR1        log statistics

Environment:
   APMON_INTERVAL       interval, if --interval is not given
   HOST_PROC, HOST_SYS  where the /proc and /sys of the host are mounted,
                        in a container
` + command.Environment + `

Exit status:
   0   stopped by a signal; with --once: sent, and not refused by everyone
   64  usage                          65  bad name
   66  the process of a --job is not there
   68  no destination could be resolved (--once)
   69  every destination refused (--once); another holds the --pidfile
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
		UsageText:   name + " [-d DEST]... [-f FILE|URL]... [-c CLUSTER] [-n NODE]\n         [--interval 120s] [options]\n" + name + " exec [options] -- CMD ARG...\n" + name + " check [--strict] [--no-resolve] [SOURCE]...\n" + name + " params [--format text|markdown|json]",
		Description: description,
		Flags: slices.Concat(a.Flags(), command.Group("Reports",
			&cli.StringFlag{Name: "cluster", Aliases: []string{"c"}, Usage: "`CLUSTER` of the reports on the host (default: " + apmon.DefaultMonitorCluster + ")"},
			&cli.StringFlag{Name: "node", Aliases: []string{"n"}, Usage: "`NODE` of the reports on the host (default: the full host name)"},
			&cli.StringFlag{Name: "host-group", Usage: "names as servMon.sh gives them: cluster `G`_Nodes, node the full host name"},
			intervalFlag(),
			&cli.BoolFlag{Name: "once", DisableDefaultText: true, Usage: "send one complete report, of two samples a second apart, and exit"},
			&cli.BoolFlag{Name: "print", DisableDefaultText: true, Usage: "print reports as JSON, and send them to what -d names only"},
			&cli.BoolFlag{Name: "no-host", DisableDefaultText: true, Usage: "report jobs and services only"},
		), a.jobFlags.flags(), a.log.flags(), command.Group("Process",
			&cli.StringFlag{Name: "pidfile", Usage: "hold `FILE` locked, with the process id in it, so that only one runs"},
			&cli.BoolFlag{Name: "replace", DisableDefaultText: true, Usage: "end the one that holds --pidfile first"},
			&cli.BoolFlag{Name: "stop", DisableDefaultText: true, Usage: "end the one that holds --pidfile, and exit"},
		)),
		Action:   a.run,
		Commands: []*cli.Command{execCommand(getenv, stderr), checkCommand(getenv, stdout), paramsCommand(stdout)},
	}, stdout, stderr, accessLogTopic)
}
