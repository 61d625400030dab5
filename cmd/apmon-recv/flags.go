package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/glob"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/influx"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/nats"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/record"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/relay"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/cmd/internal/units"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/history"
)

// flagSettings are settings given by flags that can be repeated.
type flagSettings struct {
	filter   struct{ cluster, node, param glob.List }
	record   []string
	influx   []string
	relay    []string
	regroup  regroupValue
	nats     []string
	fromNATS []string
}

// regroupValue is the value of --regroup, which may be left out.
type regroupValue time.Duration

// defaultRegroup is the time of --regroup without one.
const defaultRegroup = 2 * time.Second

func (v *regroupValue) IsBoolFlag() bool { return true }
func (v *regroupValue) String() string   { return time.Duration(*v).String() }

func (v *regroupValue) Set(s string) error {
	if s == "true" { // no value
		*v = regroupValue(defaultRegroup)
		return nil
	}
	d, err := conf.ParseDuration(s)
	*v = regroupValue(d)
	return err
}

func (f *flagSettings) flags() []cli.Flag {
	return slices.Concat(command.Group("Receiving",
		&cli.StringFlag{Name: "config", Usage: "read settings from `FILE`, see \"help config\"; flags come before it"},
		&cli.StringFlag{Name: "listen", DefaultText: defaultListen, Usage: "listen on `HOST:PORT`; an empty host means all addresses, port 0 any free port"},
		&cli.IntFlag{Name: "count", DefaultText: "no limit", Usage: "stop after `N` datagrams, not counting refused ones"},
		&cli.GenericFlag{Name: "for", Value: command.NewDuration(0), DefaultText: "no limit", Usage: "stop after `TIME`, such as 30s or 1h30m; a plain number is seconds"},
		&cli.IntFlag{Name: "sockets", DefaultText: "one for each 8 CPUs, at most 4", Usage: "receive on `N` sockets"},
		&cli.StringFlag{Name: "password-file", Usage: "refuse datagrams without the password in `FILE`"},
		&cli.StringFlag{Name: "access", Usage: "accept and refuse by the rules in `FILE`, which has the form of the MonALISA service's"},
		&cli.IntFlag{Name: "flood-limit", DefaultText: "none", Usage: "refuse what is above `N` datagrams per second from one address, as the MonALISA service does"},
		&cli.BoolFlag{Name: "demo", DisableDefaultText: true, Usage: "show how it works: send parameters of this host to a receiver on loopback, once a second"},
	), command.Group("Filters",
		patterns("cluster", "clusters", &f.filter.cluster),
		patterns("node", "nodes", &f.filter.node),
		patterns("param", "parameters", &f.filter.param),
	), command.Group("Output",
		&cli.StringFlag{Name: "format", DefaultText: "text, if there is no other output", Usage: "print `text|json`"},
		&cli.BoolFlag{Name: "instances", DisableDefaultText: true, Usage: "list every instance in the summary"},
		&command.Repeat{Forms: []string{"record"}, Value: "FILE", Usage: "write JSON lines to FILE, compressed if it ends in .gz or .zst (repeatable)", Add: appendTo(&f.record)},
		&cli.GenericFlag{Name: "record-size", Value: new(units.Bytes), DefaultText: record.DefaultSize.String(), Usage: "begin a new record at `SIZE`"},
		&cli.IntFlag{Name: "record-keep", DefaultText: "all", Usage: "keep the last `N` finished records"},
		&command.Repeat{Forms: []string{"influx"}, Value: "URL", Usage: "write to InfluxDB; URL is http://HOST:8086/write?db=DB, or https://HOST/api/v2/write?org=ORG&bucket=BUCKET (repeatable)", Add: appendTo(&f.influx)},
		&cli.StringFlag{Name: "influx-token-file", Usage: "send InfluxDB the token in `FILE`"},
		&cli.BoolFlag{Name: "influx-gzip", DisableDefaultText: true, Usage: "compress what is sent to InfluxDB"},
		&command.Repeat{Forms: []string{"relay"}, Value: "DEST", Usage: "pass datagrams on to the receiver at DEST, unchanged (repeatable)", Add: appendTo(&f.relay)},
		&cli.GenericFlag{Name: "regroup", Value: &f.regroup, DefaultText: "off", Usage: "let --relay merge what each node sends within `TIME`, 2s if TIME is left out, and send at most 44 datagrams per second"},
	), command.Group("Prometheus",
		&cli.StringFlag{Name: "http", Usage: "serve last values at /metrics and /healthz on `[HOST:]PORT`; a port alone is that of 127.0.0.1"},
		&cli.StringFlag{Name: "http-config", Usage: "read TLS and users from `FILE`, a web configuration file of Prometheus"},
		&cli.IntFlag{Name: "series", DefaultText: strconv.Itoa(history.DefaultMaxSeries), Usage: "keep the last values of at most `N` parameters"},
		&cli.GenericFlag{Name: "series-memory", Value: new(units.Bytes), DefaultText: units.Bytes(history.DefaultMaxBytes).String(), Usage: "keep last values in at most `SIZE`"},
	), command.Group("NATS JetStream",
		&command.Repeat{Forms: []string{"nats"}, Value: "URL", Usage: "publish datagrams to the NATS servers at URL, one or more with commas between (repeatable)", Add: appendTo(&f.nats)},
		&command.Repeat{Forms: []string{"from-nats"}, Value: "URL", Usage: "hand datagrams from streams to the outputs; without --listen, only those (repeatable)", Add: appendTo(&f.fromNATS)},
		&cli.StringFlag{Name: "stream", DefaultText: nats.DefaultStream, Usage: "use the streams `NAME`-0, NAME-1, …"},
		&cli.IntFlag{Name: "nats-partitions", DefaultText: "1", Usage: "use `N` streams; all receivers and consumers must agree on N"},
		&cli.StringFlag{Name: "nats-credentials", Usage: "log in with the credentials in `FILE`"},
		&cli.StringFlag{Name: "nats-ca", Usage: "trust the certificate authorities in `FILE`"},
		&cli.StringFlag{Name: "nats-cert", Usage: "use the client certificate in `FILE`"},
		&cli.StringFlag{Name: "nats-key", Usage: "use the key in `FILE` with --nats-cert"},
		&cli.GenericFlag{Name: "nats-window", Value: command.NewDuration(0), DefaultText: nats.DefaultWindow.String(), Usage: "let a stream that is created recognize a datagram for `TIME`"},
		&cli.GenericFlag{Name: "nats-max-age", Value: command.NewDuration(0), DefaultText: "1h", Usage: "let a stream that is created keep datagrams for `TIME`"},
		&cli.GenericFlag{Name: "nats-max-bytes", Value: new(units.Bytes), DefaultText: units.Bytes(nats.DefaultMaxBytes).String(), Usage: "let a stream that is created keep `SIZE`"},
		&cli.IntFlag{Name: "nats-replicas", DefaultText: "1", Usage: "keep a stream that is created on `N` servers"},
		&cli.StringFlag{Name: "nats-consumer", DefaultText: nats.DefaultConsumer, Usage: "share the streams with other processes that use `NAME`"},
		&cli.GenericFlag{Name: "nats-failover", Value: command.NewDuration(0), DefaultText: nats.DefaultFailover.String(), Usage: "take over streams from a process that is silent for `TIME`"},
	))
}

// patterns returns a flag that adds patterns of names.
func patterns(name, what string, l *glob.List) cli.Flag {
	return &command.Repeat{
		Forms: []string{name}, Value: "GLOB",
		Usage: fmt.Sprintf("pass on %s that match GLOB (* and ?) only; !GLOB leaves them out (repeatable)", what),
		Add:   appendTo((*[]string)(l)),
	}
}

func appendTo(l *[]string) func(string) error {
	return func(s string) error {
		*l = append(*l, s)
		return nil
	}
}

// load returns the settings of the configuration file and of the flags, which come first.
func (f *flagSettings) load(c *cli.Context) (settings, error) {
	var s settings
	file := c.String("config")
	if file != "" {
		if err := s.readChecked(file); err != nil {
			return s, err
		}
	} else if c.IsSet("config") {
		return s, command.Errorf(command.Usage, "--config: the name is empty")
	}
	if c.IsSet("password-file") && c.String("password-file") == "" {
		return s, command.Errorf(command.Usage, "--password-file: the name is empty")
	}
	for name, to := range map[string]*string{"listen": &s.Listen, "password-file": &s.PasswordFile, "format": &s.Format, "access": &s.Access, "http": &s.HTTP.Listen, "http-config": &s.HTTP.Config} {
		if c.IsSet(name) {
			*to = c.String(name)
		}
	}
	for name, to := range map[string]*int{"sockets": &s.Sockets, "flood-limit": &s.FloodLimit, "series": &s.Series} {
		if c.IsSet(name) {
			*to = c.Int(name)
		}
	}
	s.Filter.Cluster = append(s.Filter.Cluster, f.filter.cluster...)
	s.Filter.Node = append(s.Filter.Node, f.filter.node...)
	s.Filter.Param = append(s.Filter.Param, f.filter.param...)
	if c.IsSet("series-memory") {
		s.SeriesMemory = *c.Generic("series-memory").(*units.Bytes)
	}
	for _, name := range f.record {
		s.Record = append(s.Record, record.Options{File: name, Size: *c.Generic("record-size").(*units.Bytes), Keep: c.Int("record-keep")})
	}
	for _, u := range f.influx {
		s.Influx = append(s.Influx, influx.Options{URL: u, TokenFile: c.String("influx-token-file"), Gzip: c.Bool("influx-gzip")})
	}
	for _, dest := range f.relay {
		s.Relay = append(s.Relay, relay.Options{To: dest, Regroup: time.Duration(f.regroup)})
	}
	server := nats.Server{
		Credentials: c.String("nats-credentials"), CA: c.String("nats-ca"), Cert: c.String("nats-cert"), Key: c.String("nats-key"),
		Stream: c.String("stream"), Partitions: c.Int("nats-partitions"),
	}
	for _, u := range f.nats {
		server.URL = u
		s.NATS = append(s.NATS, nats.Options{
			Server: server, Window: c.Duration("nats-window"), MaxAge: c.Duration("nats-max-age"),
			MaxBytes: *c.Generic("nats-max-bytes").(*units.Bytes), Replicas: c.Int("nats-replicas"),
		})
	}
	for _, u := range f.fromNATS {
		server.URL = u
		s.FromNATS = append(s.FromNATS, nats.ConsumeOptions{Server: server, Consumer: c.String("nats-consumer"), Failover: c.Duration("nats-failover")})
	}
	if err := f.useless(c, &s); err != nil {
		return s, err
	}
	if c.IsSet("sockets") && s.Sockets == 0 { // in the file it is the default
		return s, command.Errorf(command.Usage, "--sockets: 0 is not between 1 and 64")
	}
	if err := s.check(); err != nil { // of a flag: the file alone was checked before
		return s, command.Errorf(command.Usage, "--%w", err)
	}
	return s, nil
}

// useless returns an error for a flag that does nothing without another one.
func (f *flagSettings) useless(c *cli.Context, s *settings) error {
	for _, k := range []struct {
		of    string // the flag without which these do nothing
		given bool
		flags []string
	}{
		{"record", len(f.record) > 0, []string{"record-size", "record-keep"}},
		{"influx", len(f.influx) > 0, []string{"influx-token-file", "influx-gzip"}},
		{"relay", len(f.relay) > 0, []string{"regroup"}},
		{"http", s.HTTP.Listen != "", []string{"http-config", "series", "series-memory"}},
		{"nats", len(f.nats) > 0, []string{"nats-window", "nats-max-age", "nats-max-bytes", "nats-replicas"}},
		{"from-nats", len(f.fromNATS) > 0, []string{"nats-consumer", "nats-failover"}},
		{"nats or --from-nats", len(f.nats)+len(f.fromNATS) > 0, []string{"stream", "nats-partitions", "nats-credentials", "nats-ca", "nats-cert", "nats-key"}},
	} {
		for _, name := range k.flags {
			if c.IsSet(name) && !k.given {
				return command.Errorf(command.Usage, "--%s does nothing without --%s", name, k.of)
			}
		}
	}
	return nil
}

// checkCommand returns the command that checks files.
func checkCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check a configuration file, or access rules",
		UsageText: "apmon-recv check [--config FILE] [--access FILE]",
		Description: `Reports what is wrong with the files and exits with 78, or prints that they can be used,
and where the MonALISA service reads access rules differently. It reads the files that
the configuration names, but asks no server.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "check the settings in `FILE`"},
			&cli.StringFlag{Name: "access", Usage: "check the access rules in `FILE`"},
		},
		Action: func(c *cli.Context) error {
			var s settings
			if c.String("config")+c.String("access") == "" {
				return command.Errorf(command.Usage, "nothing to check: use --config FILE or --access FILE")
			}
			if file := c.String("config"); file != "" {
				if err := s.readChecked(file); err != nil {
					return err
				}
				for _, o := range s.outputs(nil) { // some read files
					if _, err := o.make(); err != nil {
						return outputError(file+": "+o.key, err)
					}
				}
			}
			log := command.NewLogger(stderr, "apmon-recv", slog.LevelInfo, false)
			if _, err := receiverOptions(s, log); err != nil {
				return err
			}
			if file := c.String("access"); file != s.Access {
				if _, err := readAccess(file, log); err != nil {
					return err
				}
			}
			for _, name := range []string{"config", "access"} {
				if file := c.String(name); file != "" {
					if _, err := fmt.Fprintf(stdout, "%s: ok\n", file); err != nil {
						return command.OutputError(err)
					}
				}
			}
			return nil
		},
	}
}

// refuseOuter returns a usage error if flags stand before a subcommand: they are those of
// the receiver.
func refuseOuter(c *cli.Context) error {
	if set := c.Lineage()[1].LocalFlagNames(); len(set) > 0 {
		return command.Errorf(command.Usage, "--%s: put the options of %s after it", slices.Min(set), c.Command.Name)
	}
	if c.NArg() > 1 {
		return command.Errorf(command.Usage, "unexpected argument %q: put options before the one file", c.Args().Get(1))
	}
	return nil
}

// decodeCommand returns the command that prints the datagrams of a file.
func decodeCommand(stdin io.Reader, stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "decode",
		Usage:     "decode the datagrams of a record, a capture, or hex lines",
		UsageText: "apmon-recv decode [--format json|text] [--port N] [FILE|-]",
		Description: `Reads FILE, or standard input: lines of hexadecimal digits, JSON lines of --record, or a
capture of tcpdump (pcap or pcapng); each may be compressed with gzip or zstd.

Prints one line for each line, in order: the datagram, or the reason why it is refused,
with the offset in bytes. An empty line is an empty datagram, which is refused.

Of a capture it prints the UDP datagrams to --port, of IPv4 and IPv6. Fragments are put
together; those that cannot be are counted. At the end it reports the gaps in the
sequence numbers of each sender, as the receiver does.

Exits with 65 if a datagram was refused or truncated.`,
		ArgsUsage: "[FILE|-]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: "json", Usage: "print `json|text`"},
			&cli.IntFlag{Name: "port", Value: 8884, Usage: "of a capture, the UDP port `N`; 0 for all"},
		},
		Action: func(c *cli.Context) error {
			if err := refuseOuter(c); err != nil {
				return err
			}
			port := c.Int("port")
			if port < 0 || port > 65535 {
				return command.Errorf(command.Usage, "--port %d is not between 0 and 65535", port)
			}
			out, err := newPrinter(stdout, c.String("format"))
			if err != nil {
				return err
			}
			return decodeFile(c.Args().First(), uint16(port), stdin, out, stderr)
		},
	}
}

// replayCommand returns the command that sends the datagrams of a file.
func replayCommand(stdin io.Reader, stderr io.Writer) *cli.Command {
	var dests []string
	return &cli.Command{
		Name:      "replay",
		Usage:     "send the datagrams of a file again",
		UsageText: "apmon-recv replay -d DEST [--speed X | --rate N] [--port N] [FILE|-]",
		Description: `Reads FILE, or standard input, as decode does, and sends each datagram to every DEST, with
the version, instance id and sequence number that it has. Refused ones are left out.

The time between datagrams is that of the file, divided by --speed. Datagrams without a
time, as in hexadecimal lines, are sent at --rate, 40 per second by default.

JSON has no passwords, and each byte that is not UTF-8 became U+FFFD. DEST may have a
password, which datagrams then get. ` + command.DestHelp + `

Exits with 69 if no datagram could be sent to a destination.`,
		ArgsUsage: "[FILE|-]",
		Flags: []cli.Flag{
			&command.Repeat{Forms: []string{"dest", "d"}, Value: "DEST", Usage: "send to DEST (repeatable)", Add: appendTo(&dests)},
			&cli.Float64Flag{Name: "speed", Value: 1, Usage: "send `X` times as fast as the datagrams arrived"},
			&cli.Float64Flag{Name: "rate", DefaultText: "the pace of the file", Usage: "send `N` datagrams per second"},
			&cli.IntFlag{Name: "port", Value: 8884, Usage: "of a capture, the UDP port `N`; 0 for all"},
		},
		Action: func(c *cli.Context) error {
			if err := refuseOuter(c); err != nil {
				return err
			}
			o := replayOptions{dests: dests, port: uint16(c.Int("port")), speed: c.Float64("speed"), rate: c.Float64("rate")}
			switch port := c.Int("port"); {
			case len(dests) == 0:
				return command.Errorf(command.Usage, "no destination: use -d HOST:PORT")
			case port < 0 || port > 65535:
				return command.Errorf(command.Usage, "--port %d is not between 0 and 65535", port)
			case c.IsSet("speed") && c.IsSet("rate"):
				return command.Errorf(command.Usage, "--speed and --rate cannot be used together")
			case !(o.speed > 0 && o.speed <= 1e9):
				return command.Errorf(command.Usage, "--speed %v is not between 0 and 1e9", o.speed)
			case c.IsSet("rate") && !(o.rate > 0 && o.rate <= 1e9):
				return command.Errorf(command.Usage, "--rate %v is not between 0 and 1e9", o.rate)
			}
			return replay(c.Context, o, c.Args().First(), stdin, stderr)
		},
	}
}
