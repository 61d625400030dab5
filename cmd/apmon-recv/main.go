// Apmon-recv shows what arrives from ApMon clients: it listens on a UDP port,
// or reads datagrams in hex, and prints each one decoded, as text or as JSON.
//
//	apmon-recv --listen :8884 --format json
//	apmon-recv decode captured.hex
//
// In receive.go the package receiver takes datagrams from the network; its
// reading goroutine never waits for the output. In decode.go they come as
// lines of hex. Both show them with the printer of print.go. Run with --help
// for options and exit codes.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/urfave/cli/v2"
)

func main() {
	// With the signal ignored, a closed pipe is an error of the write, and
	// there is time left for the summary.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(context.Background(), os.Args, os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it: the end of ctx is
// taken as a signal to stop. It returns the exit code. The environment is not
// used.
func run(ctx context.Context, args []string, _ func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	stdout, stderr = command.Escape(stdout), command.Escape(stderr)
	return newApp(stdin, stdout, stderr).Run(ctx, args)
}

const description = `Listens for the datagrams of ApMon clients and prints each one decoded, until
it is stopped: by --count, by --for, or by SIGINT or SIGTERM. Then a summary of
what was received, truncated, refused, lost, reordered and duplicate, for each
address, goes to standard error.

Output:
Text has one line for each datagram: its time (that of arrival if it has none
of its own), where it came from, CLUSTER/NODE, and NAME=VALUE for each
parameter; texts are in quotes, numbers are not. JSON has one object on a line:

   {"from":"127.0.0.1:4242","version":"2.2.20_go","instance":17,"seq":1,
    "cluster":"C","node":"N","time":1700000000,
    "params":[{"name":"x","type":"int32","value":1}]}
   {"from":"127.0.0.1:4242","error":"node: impossible length","offset":12,
    "version":"2.2.20_go","instance":17,"seq":1,"cluster":"C"}

Time is null if there is none, instance and seq for clients before 2.2. NaN
and infinities are the strings "NaN", "+Inf" and "-Inf".

Of a datagram that is refused, header, cluster and node are shown as far as they
could be read. One that ends behind a complete parameter, before the number that
it declares, is truncated: its parameters are shown with the error, and JSON has
"truncated":true. MonALISA takes those parameters too; the Java client 2.2.9
sends such datagrams.

Summary:
Lost are gaps in a sender's sequence numbers. A sender is an address and an
instance id, which is another one for each call of apmon-send; the summary has a
row for each address, or with --instances for each sender. Refused datagrams are
counted by address alone. Truncated ones are received, too.

Examples:
   apmon-recv --demo                         see how it works
   apmon-recv                                what this host sends
   apmon-recv --listen :8884 --format json   from everywhere, for programs
   apmon-recv --count 1 --for 10s            wait for one, in a script
   apmon-recv decode --format text FILE      hex, one datagram on a line

Exit status:
   0    stopped by --count, by --for without --count, by a signal, or
        because nobody reads the output any more
   64   misuse of the command line
   65   decode: a datagram was refused or truncated
   66   a file is not there, or cannot be read
   69   the address cannot be listened on
   74   reading or writing failed half-way
   75   --count was not reached within --for
   78   the password file holds no password`

func newApp(stdin io.Reader, stdout, stderr io.Writer) *command.App {
	return command.New(&cli.App{
		Name:        "apmon-recv",
		Usage:       "show what ApMon clients send",
		UsageText:   "apmon-recv [--listen HOST:PORT] [--format text|json] [--count N]\n           [--for TIME] [options]\napmon-recv decode [--format json|text] [FILE|-]",
		Description: description,
		Flags: slices.Concat(command.Group("Receiving",
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8884", Usage: "listen on `HOST:PORT`; an empty host is all addresses, port 0 any free one"},
			&cli.IntFlag{Name: "count", DefaultText: "no limit", Usage: "stop after `N` datagrams; refused ones do not count"},
			&cli.GenericFlag{Name: "for", Value: command.NewDuration(0), DefaultText: "no limit", Usage: "stop after `TIME`, such as 30s or 1h30m; a number is seconds"},
			&cli.StringFlag{Name: "password-file", Usage: "refuse datagrams without the password that `FILE` holds"},
			&cli.BoolFlag{Name: "demo", DisableDefaultText: true, Usage: "show how it works: send parameters of this host, once a second, to a receiver of its own"},
		), command.Group("Output",
			&cli.StringFlag{Name: "format", Value: "text", Usage: "print `text|json`"},
			&cli.BoolFlag{Name: "instances", DisableDefaultText: true, Usage: "list every instance of a sender in the summary"},
		)),
		Action: func(c *cli.Context) error {
			o := listenOptions{
				addr:         c.String("listen"),
				count:        c.Int("count"),
				limit:        c.Duration("for"),
				passwordFile: c.String("password-file"),
				instances:    c.Bool("instances"),
			}
			if c.IsSet("count") && o.count <= 0 {
				return command.Errorf(command.Usage, "--count %d: it must be positive", o.count)
			}
			if c.IsSet("for") && o.limit <= 0 {
				return command.Errorf(command.Usage, "--for %v: it must be positive", o.limit)
			}
			if c.IsSet("password-file") && o.passwordFile == "" {
				return command.Errorf(command.Usage, "--password-file: no file given")
			}
			out, err := newPrinter(stdout, c.String("format"))
			if err != nil {
				return err
			}
			if c.Bool("demo") {
				if c.IsSet("listen") || o.passwordFile != "" {
					return command.Errorf(command.Usage, "--demo listens on loopback, without a password")
				}
				return demo(c.Context, o, out, stderr)
			}
			return listen(c.Context, o, out, stderr)
		},
		Commands: []*cli.Command{{
			Name:      "decode",
			Usage:     "print datagrams given in hex, one on a line",
			UsageText: "apmon-recv decode [--format json|text] [FILE|-]",
			Description: `Reads FILE, or standard input, and prints one line for each line, in order:
the datagram, or why it is refused, with the offset in its bytes. An empty line
is an empty datagram, which is refused. Exits with 65 if any was refused or
truncated.`,
			ArgsUsage: "[FILE|-]",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "format", Value: "json", Usage: "print `json|text`"},
			},
			Action: func(c *cli.Context) error {
				// It would be the format of something else, silently.
				if set := c.Lineage()[1].LocalFlagNames(); len(set) > 0 {
					return command.Errorf(command.Usage, "--%s: options of decode come after it", slices.Min(set))
				}
				if c.NArg() > 1 {
					return command.Errorf(command.Usage, "unexpected argument %q: options come before the one file", c.Args().Get(1))
				}
				out, err := newPrinter(stdout, c.String("format"))
				if err != nil {
					return err
				}
				return decodeFile(c.Args().First(), stdin, out, stderr)
			},
		}},
	}, stdout, stderr)
}
