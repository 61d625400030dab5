// Apmon-send sends parameters to ApMon receivers from a shell.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
)

const name = "apmon-send"

func main() {
	os.Exit(run(context.Background(), os.Args, os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run runs the command and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	stdout, stderr = command.Escape(stdout), command.Escape(stderr)
	c := &sendCommand{
		Destinations: command.Destinations{Name: name, Getenv: getenv, Stderr: stderr, System: conf.SystemFile},
		stdin:        stdin, stdout: stdout, args: args,
	}
	code := c.app().Run(ctx, args)
	if c.soft || slices.ContainsFunc(args, func(a string) bool { return a == "--soft" || a == "-soft" }) {
		// The hook of a job must not fail because of this command, even with
		// misspelled flags.
		return command.OK
	}
	return code
}

// sendCommand holds the flags of one call.
type sendCommand struct {
	command.Destinations
	stdin  io.Reader
	stdout io.Writer
	args   []string

	params      []apmon.Param
	bad         error   // the first parameter that cannot be sent
	pendingName *string // the name of a -param whose -value has not followed yet
	soft        bool
}

const description = `Sends all values to every destination, as one message.

A value is a number if it is plain decimal (-5, 1.10, .5, 1e-3): int32 if it is an
integer in range, else real64. Everything else is text, including 007, 0x1F, 1_000,
nan and inf. --int, --float and --string force the type.

Destinations:
` + command.DestHelp + `

Times:
TIME is in Unix seconds or RFC 3339. The default is the time of arrival.

Standard input (--stdin):
   kv     lines "NAME VALUE", sent as one message
   json   one object per line, each a message; true is 1, false is 0:
          {"cluster":"C","node":"N","time":1700000000,
           "params":{"x":1,"s":"text"}}
          or in the form of apmon-recv; only params is required
   line   lines "CLUSTER/NODE NAME VALUE NAME VALUE...", each a message
   A bad line is reported, and the others are sent.

With json and line the command follows changes of the configuration; SIGHUP
reloads it at once.

Jobs (--job):
The node is the first of these that is set: -n, APMON_NODE, MonitorJobID,
ALIEN_PROC_ID, the job of _CONDOR_JOB_AD, SLURM_JOB_ID, PBS_JOBID, LSB_JOBID,
GRID_GLOBAL_JOBID. The cluster is -c, APMON_CLUSTER, else MonitorID.

Environment:
   APMON_CLUSTER        cluster, if -c is not given
   APMON_NODE           node, if -n is not given
` + command.Environment + `

Exit status:
   0   sent, and not all destinations refused
   64  usage                          65  bad name, value or time
   66  no input                       68  no destination could be resolved
   69  all destinations refused       74  output could not be written
   75  over the rate limit            78  configuration

Examples:
   apmon-send -d ml.example.org -c MySite_Jobs -n 123456 \
       events=1200 status=RUNNING
   apmon-send --soft -f /etc/apmon/destinations.conf --string run=007
   df -Pm / | awk 'NR==2 {print "disk_free", $4}' |
       apmon-send --stdin kv`

func (c *sendCommand) app() *command.App {
	typed := func(parse func(name, value string) (apmon.Param, error)) func(string) error {
		return func(s string) error {
			name, value, ok := strings.Cut(s, "=")
			if !ok {
				return fmt.Errorf("%q is not NAME=VALUE", s)
			}
			c.add(parse(name, value))
			return nil
		}
	}
	return command.New(&cli.App{
		Name:        name,
		Usage:       "send parameters to ApMon receivers",
		UsageText:   name + " [-d DEST]... [-f FILE|URL]... [-c CLUSTER] [-n NODE]\n           [-t TIME] [options] NAME=VALUE...\n" + name + " [options] --stdin kv|json|line\n" + name + " [options] --pairs CLUSTER NODE NAME VALUE...",
		ArgsUsage:   "NAME=VALUE...",
		Description: description,
		Flags: slices.Concat(c.Flags(), command.Group("Names and time",
			&cli.StringFlag{Name: "cluster", Aliases: []string{"c"}, Usage: "`CLUSTER` of the parameters (default: $APMON_CLUSTER, else " + apmon.DefaultCluster + ")"},
			&cli.StringFlag{Name: "node", Aliases: []string{"n"}, Usage: "`NODE` of the parameters (default: $APMON_NODE, else the full host name)"},
			&cli.StringFlag{Name: "time", Aliases: []string{"t"}, Usage: "`TIME` of the values (default: the time of arrival)"},
			&cli.BoolFlag{Name: "job", DisableDefaultText: true, Usage: "take cluster and node from the environment of the batch system if not given"},
		), command.Group("Parameters",
			&command.Repeat{Forms: []string{"int"}, Value: "NAME=VALUE", Usage: "an integer (repeatable)", Add: typed(command.ParseInt64)},
			&command.Repeat{Forms: []string{"float"}, Value: "NAME=VALUE", Usage: "a floating-point number (repeatable)", Add: typed(command.ParseFloat)},
			&command.Repeat{Forms: []string{"string"}, Value: "NAME=VALUE", Usage: "a text (repeatable)", Add: typed(command.ParseText)},
			&command.Repeat{Forms: []string{"param"}, Value: "NAME", Usage: "name of a parameter, followed by -value (for older scripts)", Add: c.addName},
			&command.Repeat{Forms: []string{"value"}, Value: "VALUE", Usage: "value of the preceding -param", Add: c.addValue},
			&cli.StringFlag{Name: "stdin", Usage: "read parameters from standard input in the format `kv|json|line`"},
			&cli.BoolFlag{Name: "pairs", DisableDefaultText: true, Usage: "arguments are CLUSTER NODE NAME VALUE..."},
		), command.Group("Sending",
			&cli.StringFlag{Name: "rate", Usage: "send at most `N` messages a second", DefaultText: "that of the configuration, else 40"},
			&cli.BoolFlag{Name: "wait", DisableDefaultText: true, Usage: "wait when over the rate (the default)"},
			&cli.BoolFlag{Name: "drop", DisableDefaultText: true, Usage: "drop messages over the rate, and exit with 75"},
			&cli.BoolFlag{Name: "soft", DisableDefaultText: true, Usage: "always exit with 0 (for hooks of jobs)", Destination: &c.soft},
			&cli.BoolFlag{Name: "dry-run", DisableDefaultText: true, Usage: "print each datagram, decoded and in hexadecimal (password as asterisks), and send nothing"},
			&cli.BoolFlag{Name: "print-config", DisableDefaultText: true, Usage: "print the effective configuration and its problems, and send nothing"},
		)),
		Action: c.action,
	}, c.stdout, c.Stderr)
}

// addName handles -param of older scripts, which a -value follows.
func (c *sendCommand) addName(s string) error {
	if c.pendingName != nil {
		return fmt.Errorf("-param %q has no -value", *c.pendingName)
	}
	c.pendingName = &s
	return nil
}

// addValue handles -value of older scripts.
func (c *sendCommand) addValue(s string) error {
	if c.pendingName == nil {
		return fmt.Errorf("-value %q has no -param before it", s)
	}
	c.add(command.ParseValue(*c.pendingName, s))
	c.pendingName = nil
	return nil
}

// add keeps a parameter, or the first error: the flag parser would lose its exit code.
func (c *sendCommand) add(p apmon.Param, err error) {
	if err == nil {
		c.params = append(c.params, p)
	} else if c.bad == nil {
		c.bad = err
	}
}

func (c *sendCommand) action(cc *cli.Context) error {
	if cc.Bool("print-config") {
		loaded, err := c.Load(cc.Context, cc.Bool("fallback"))
		if err != nil {
			return err
		}
		return command.PrintConfig(c.stdout, loaded, false)
	}
	messages, err := c.messages(cc)
	if err != nil {
		return err
	}
	out, err := c.open(cc)
	if err != nil {
		return err
	}
	defer out.close()

	// The first error determines the exit code; each error is reported at once.
	code, bad := command.OK, 0
	for m, err := range messages {
		if err == nil {
			err = out.send(cc.Context, m)
		}
		if err == nil {
			continue
		}
		if bad++; bad <= maxReported {
			err = command.Silent(command.Report(c.Stderr, name, err))
		}
		if code == command.OK {
			code = command.Code(err)
		}
	}
	if bad > maxReported {
		fmt.Fprintf(c.Stderr, "%s: and %d more were not sent\n", name, bad-maxReported)
	}
	if code == command.OK {
		return out.result()
	}
	return command.Silent(code)
}

// maxReported is how many bad messages are reported one by one.
const maxReported = 20
