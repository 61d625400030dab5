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

// run is the whole command; it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	stdout, stderr = command.Escape(stdout), command.Escape(stderr)
	c := &sendCommand{
		Destinations: command.Destinations{Name: name, Getenv: getenv, Stderr: stderr, System: conf.SystemFile},
		stdin:        stdin, stdout: stdout, args: args,
	}
	code := c.app().Run(ctx, args)
	if c.soft || slices.ContainsFunc(args, func(a string) bool { return a == "--soft" || a == "-soft" }) {
		// A hook of a job must not fail because of us, not even when it is
		// spelled wrongly.
		return command.OK
	}
	return code
}

// sendCommand is what one call of the command is told to do.
type sendCommand struct {
	command.Destinations
	stdin  io.Reader
	stdout io.Writer
	args   []string

	params      []apmon.Param
	bad         error   // the first parameter that cannot be sent
	pendingName *string // of -param, until its -value comes
	soft        bool
}

const description = `Values are sent to every destination, as one message.

A value is a number if it is plain decimal (-5, 1.10, .5, 1e-3): int32 where it
is an integer in range, else real64. All else is text, so 007, 0x1F, 1_000, nan
and inf are text. --int, --float and --string force the type.

Destinations:
DEST is host[:port][ password], IPv6 as [address]:port, a password with blanks
in quotes. A password given here can be seen by everyone in the list of
processes: use a file, or APMON_PASSWORD_FILE.

Times:
TIME is in Unix seconds or RFC 3339; the receiver stamps what has none.

Standard input (--stdin):
   kv     lines "NAME VALUE", all of them one message
   json   one object a line, each a message; true is 1, and false is 0:
          {"cluster":"C","node":"N","time":1700000000,
           "params":{"x":1,"s":"text"}}
          or as apmon-recv prints them; only params is needed
   line   lines "CLUSTER/NODE NAME VALUE NAME VALUE...", each a message
   A line that cannot be used is reported, and the others are sent.

With json and line the configuration is followed as it changes, and read
again at once on SIGHUP.

Jobs (--job):
The node is the first there is of -n, APMON_NODE, MonitorJobID, ALIEN_PROC_ID,
what _CONDOR_JOB_AD names, SLURM_JOB_ID, PBS_JOBID, LSB_JOBID, GRID_GLOBAL_JOBID;
the cluster of -c, APMON_CLUSTER, MonitorID.

Environment:
   APMON_CLUSTER        cluster, if -c is not given
   APMON_NODE           node, if -n is not given
` + command.Environment + `

Exit status:
   0   sent, and at least one destination did not refuse
   64  usage                          65  bad name, value or time
   66  no input                       68  no destination could be resolved
   69  every destination refused      74  output could not be written
   75  over the rate limit            78  configuration

Examples:
   apmon-send -d ml.example.org -c MySite_Jobs -n 123456 \
       events=1200 status=RUNNING
   apmon-send --soft -f /etc/apmon/destinations.conf --string run=007
   df -k / | awk 'NR==2 {print "disk_free", $4}' |
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
			&cli.StringFlag{Name: "time", Aliases: []string{"t"}, Usage: "`TIME` of the values (default: none, the receiver's own)"},
			&cli.BoolFlag{Name: "job", DisableDefaultText: true, Usage: "take cluster and node that are not given from the batch system's environment"},
		), command.Group("Parameters",
			&command.Repeat{Forms: []string{"int"}, Value: "NAME=VALUE", Usage: "an integer (repeatable)", Add: typed(command.ParseInt64)},
			&command.Repeat{Forms: []string{"float"}, Value: "NAME=VALUE", Usage: "a floating-point number (repeatable)", Add: typed(command.ParseFloat)},
			&command.Repeat{Forms: []string{"string"}, Value: "NAME=VALUE", Usage: "a text (repeatable)", Add: typed(command.ParseText)},
			&command.Repeat{Forms: []string{"param"}, Value: "NAME", Usage: "name of a parameter, -value follows (as in older scripts)", Add: c.addName},
			&command.Repeat{Forms: []string{"value"}, Value: "VALUE", Usage: "value of the -param before", Add: c.addValue},
			&cli.StringFlag{Name: "stdin", Usage: "read the parameters from standard input, in this form: `kv|json|line`"},
			&cli.BoolFlag{Name: "pairs", DisableDefaultText: true, Usage: "arguments are CLUSTER NODE NAME VALUE..."},
		), command.Group("Sending",
			&cli.StringFlag{Name: "rate", Usage: "send at most `N` messages a second", DefaultText: "of the configuration, else 40"},
			&cli.BoolFlag{Name: "wait", DisableDefaultText: true, Usage: "wait when over the rate (the default)"},
			&cli.BoolFlag{Name: "drop", DisableDefaultText: true, Usage: "do not send what is over the rate, and exit with 75"},
			&cli.BoolFlag{Name: "soft", DisableDefaultText: true, Usage: "exit with 0 whatever happens (for hooks of jobs)", Destination: &c.soft},
			&cli.BoolFlag{Name: "dry-run", DisableDefaultText: true, Usage: "print each datagram, decoded and in hexadecimal (a password as asterisks), and send nothing"},
			&cli.BoolFlag{Name: "print-config", DisableDefaultText: true, Usage: "print the configuration in force, then its problems, and send nothing"},
		)),
		Action: c.action,
	}, c.stdout, c.Stderr)
}

// addName and addValue read the pairs of older scripts: -param NAME -value VALUE.
func (c *sendCommand) addName(s string) error {
	if c.pendingName != nil {
		return fmt.Errorf("-param %q has no -value", *c.pendingName)
	}
	c.pendingName = &s
	return nil
}

func (c *sendCommand) addValue(s string) error {
	if c.pendingName == nil {
		return fmt.Errorf("-value %q has no -param before it", s)
	}
	c.add(command.ParseValue(*c.pendingName, s))
	c.pendingName = nil
	return nil
}

// add keeps a parameter or, of several errors, the first: the flag parser
// would forget its exit code.
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

	// The first error decides the exit code; each is told when it comes.
	code, told := command.OK, 0
	for m, err := range messages {
		if err == nil {
			err = out.send(cc.Context, m)
		}
		if err == nil {
			continue
		}
		if told++; told <= maxTold {
			err = command.Silent(command.Report(c.Stderr, name, err))
		}
		if code == command.OK {
			code = command.Code(err)
		}
	}
	if told > maxTold {
		fmt.Fprintf(c.Stderr, "%s: and %d more were not sent\n", name, told-maxTold)
	}
	if code == command.OK {
		return out.result()
	}
	return command.Silent(code)
}

// maxTold is how many bad messages of standard input are told one by one.
const maxTold = 20
