// Apmon-recv receives datagrams of ApMon clients on a UDP port, or reads them in
// files, and hands them to standard output, a web page, a view on the terminal, and other
// outputs.
//
//	apmon-recv --demo
//	apmon-recv --listen :8884 --format json
//	apmon-recv top --url http://host:9108/
//	apmon-recv decode captured.pcap
//
// receive.go receives datagrams with package receiver, whose reading goroutines never wait
// for an output; bridge.go hands them to the outputs, and serve.go to the page. top.go shows
// the view, demo.go sends what --demo shows. decode.go reads files. print.go prints datagrams.
// Run with --help for options and exit codes.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/cmd/internal/command"
)

func main() {
	// With the signal ignored, writing to a closed pipe returns an error, and the
	// summary can still be printed.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(context.Background(), os.Args, os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run runs the command and returns the exit code. The end of ctx stops it like a
// signal.
func run(ctx context.Context, args []string, _ func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	stdout, stderr = command.Escape(stdout), command.Escape(stderr)
	return newApp(stdin, stdout, stderr).Run(ctx, args)
}

const description = `Listens for datagrams of ApMon clients and hands them to standard output, files,
Prometheus, InfluxDB, other receivers and NATS, any number of them at once. It ends when
--count or --for is reached, or with SIGINT or SIGTERM. Then it prints a summary to
standard error: how many datagrams were received, truncated, refused, lost, reordered
and duplicate for each address.

SIGHUP reads the configuration, the access rules, and the files of the password and of
tokens again, and begins new record files. NATS credentials are read at each connection.
SIGUSR1 logs the state of the outputs. An output that fails drops datagrams, counts them,
and recovers by itself.

Output:
Text is for people: for each datagram its time (the time of arrival if it has none), the
address of the sender, CLUSTER/NODE, and NAME=VALUE for each parameter, on the same line if
all fit, else below in columns, as wide as the terminal (80 columns without one). Numbers
have four significant digits and the unit that the apmon commands and packages use; whole
numbers without one have all digits. --exact prints numbers as they were sent, and long
texts whole. Texts are in quotes, numbers are not. Colours are for terminals, unless
NO_COLOR is set or TERM is dumb. JSON has one object per line:

   {"from":"127.0.0.1:4242","version":"2.2.20_go","instance":17,"seq":1,
    "cluster":"C","node":"N","time":1700000000,
    "params":[{"name":"x","type":"int32","value":1}]}
   {"from":"127.0.0.1:4242","error":"node: impossible length","offset":12,
    "version":"2.2.20_go","instance":17,"seq":1,"cluster":"C"}

Flat is the same with "params":{"x":1}, for jq and the like; of parameters with the same
name it has the last. CSV has a header, and a line for each parameter; a text that a
spreadsheet would take for a formula has an apostrophe in front. JSON, flat and CSV have
all digits.

The time of a datagram without one is null, and so are instance and seq of clients
before 2.2. NaN and infinities are the strings "NaN", "+Inf" and "-Inf".

A refused datagram is shown with header, cluster and node as far as they could be
read. A datagram is truncated if it ends after a complete parameter and holds fewer
parameters than it declares: its parameters are shown with the error, and JSON has
"truncated":true. MonALISA accepts these parameters; the Java client 2.2.9 sends such
datagrams.

Summary:
Lost datagrams are gaps in the sequence numbers of a sender. A sender is an address
and an instance id, which is new for each call of apmon-send. The summary has a row
for each address, or, with --instances, for each sender. Refused datagrams are
counted by address only. Truncated datagrams are also counted as received.

Examples:
   apmon-recv --demo                         see how it works
   apmon-recv                                receive from this host
   apmon-recv --listen :8884 --format json   from all hosts, as JSON
   apmon-recv --count 1 --for 10s            wait for one, in a script
   apmon-recv --listen :8884 --http 9108     a page, and Prometheus
   apmon-recv top --listen :8884             look at what is received
   apmon-recv top --url http://host:9108/    look at a running receiver
   apmon-recv --relay other:8884 --record a.jsonl.zst
   apmon-recv decode --format text FILE      decode a record or capture
   apmon-recv --format flat | jq .params.load1

Exit status:
   0    stopped by --count, by --for without --count, by a signal, or
        because the reader of the output has closed it
   64   usage; top: standard output is no terminal
   65   decode: a datagram was refused or truncated
   66   a file does not exist or cannot be read
   69   cannot listen on the address; top --once: no answer
   74   reading or writing failed
   75   --count was not reached within --for
   78   wrong contents of --config, --access or --password-file`

func newApp(stdin io.Reader, stdout, stderr io.Writer) *command.App {
	f := new(flagSettings)
	return command.New(&cli.App{
		Name:        "apmon-recv",
		Usage:       "receive what ApMon clients send",
		UsageText:   "apmon-recv [--listen HOST:PORT] [--config FILE] [options]\napmon-recv top [--url URL | options] [--once]\napmon-recv decode [--format json|flat|csv|text] [FILE|-]\napmon-recv replay -d DEST [FILE|-]\napmon-recv check [--config FILE] [--access FILE]",
		Description: description,
		Flags:       f.flags(),
		Action: func(c *cli.Context) error {
			o, err := f.listenOptions(c)
			if err != nil {
				return err
			}
			if c.Bool("demo") {
				for _, name := range []string{"listen", "password-file"} {
					if c.IsSet(name) {
						return command.Errorf(command.Usage, "--demo listens on loopback without a password and cannot be used with --%s", name)
					}
				}
				return demo(c.Context, o, stdin, stdout, stderr)
			}
			return listen(c.Context, o, stdout, stderr)
		},
		Commands: []*cli.Command{topCommand(stdin, stdout, stderr), checkCommand(stdout, stderr), decodeCommand(stdin, stdout, stderr), replayCommand(stdin, stderr)},
	}, stdout, stderr, configTopic)
}

// configTopic is the help of the configuration file.
var configTopic = command.Topic{Name: "config", Title: "Configuration", Usage: "the configuration file", Text: `The file of --config is YAML. Its keys have the names of the flags. Flags come before
the file, and add to its lists. "apmon-recv check --config FILE" names what is wrong.
SIGHUP reads the file again: outputs whose settings did not change go on, and a file
that cannot be used changes nothing.

Example:
   listen: ":8884"
   access: /etc/apmon/access
   cluster: ["!Test*"]
   record:
     - {file: /var/log/apmon.jsonl.zst, size: 1GiB, keep: 10}
   influx:
     - {url: "http://localhost:8086/write?db=apmon",
        token-file: /etc/apmon/token, gzip: true}
   relay:
     - {to: "monalisa.example.org:8884", regroup: 2s}
   http: 9108
   http-host: [monitor.example.org]
   series: 200000
   series-memory: 64MiB
   expire: 10m
   history: 2h
   history-memory: 128MiB
   metrics:
     - {param: cpu_time, name: job_cpu_seconds_total, type: counter,
        help: CPU time.}
   nats:
     - {url: "nats://n1,nats://n2", credentials: /etc/apmon/nats.creds,
        partitions: 4, replicas: 3}

Metrics:
The first rule that matches a parameter gives it the name, labels, type and scale of a
metric of Prometheus. packaging/receiver.yaml has rules for the parameters of the apmon
commands and packages, and describes the keys.`}
