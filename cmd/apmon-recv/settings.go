package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/filter"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/httpserver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/influx"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/nats"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/prom"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/record"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/relay"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/cmd/internal/units"
)

// settings are what flags and the configuration file say. A key of the file has the name of
// its flag.
type settings struct {
	Listen       string `yaml:"listen"`
	Sockets      int    `yaml:"sockets"`
	PasswordFile string `yaml:"password-file"`
	Access       string `yaml:"access"`
	FloodLimit   int    `yaml:"flood-limit"`

	Filter filter.Options `yaml:",inline"`

	Format string           `yaml:"format"`
	Record []record.Options `yaml:"record"`
	Influx []influx.Options `yaml:"influx"`
	Relay  []relay.Options  `yaml:"relay"`

	HTTP         httpserver.Options `yaml:",inline"`
	Series       int                `yaml:"series"`
	SeriesMemory units.Bytes        `yaml:"series-memory"`
	Expire       time.Duration      `yaml:"expire"`
	Prometheus   prom.Options       `yaml:",inline"`

	NATS     []nats.Options        `yaml:"nats"`
	FromNATS []nats.ConsumeOptions `yaml:"from-nats"`
}

// defaultListen is the address if none is given.
const defaultListen = "127.0.0.1:8884"

// maxConfig is the size in bytes of the largest configuration file.
const maxConfig = 16 << 20

// readChecked adds the settings of a configuration file, and checks them.
func (s *settings) readChecked(name string) error {
	if err := s.read(name); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return command.Errorf(command.Config, "%s: %w", name, err)
	}
	return nil
}

// read adds the settings of a configuration file.
func (s *settings) read(name string) error {
	f, err := openSettings(name)
	if err != nil {
		return command.Errorf(command.NoInput, "--config: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return command.Errorf(command.NoInput, "--config: %w", err)
	}
	if len(b) > maxConfig {
		return command.Errorf(command.Config, "%s: longer than %d bytes", name, maxConfig)
	}
	if st, err := f.Stat(); len(b) == 0 && err == nil && st.Mode().Type() == fs.ModeNamedPipe {
		// On SIGHUP a pipe that was read before has nothing more.
		return command.Errorf(command.NoInput, "--config: %s is a pipe without content", name)
	}
	if err := checkKeys(b); err != nil {
		return command.Errorf(command.Config, "%s: %w", name, err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(s); err != nil && !errors.Is(err, io.EOF) { // an empty file
		return command.Errorf(command.Config, "%s: %w", name, err)
	}
	if d.Decode(new(any)) != io.EOF {
		return command.Errorf(command.Config, "%s: more than one document", name)
	}
	return nil
}

// openSettings opens a file of settings for reading. It waits at most settingsTime for what comes
// from a pipe, and not at all for its writer: a reload must not hang.
func openSettings(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err == nil {
		_ = f.SetReadDeadline(time.Now().Add(settingsTime)) // an error if it is no pipe
	}
	return f, err
}

// settingsTime is the longest time for reading settings from a pipe.
const settingsTime = 5 * time.Second

// maxKeys is the number of keys that one mapping may have. The library compares each key with
// each other one.
const maxKeys = 1000

// checkKeys returns an error if a mapping has more keys than maxKeys, and what the library
// returns if it cannot parse the file.
func checkKeys(b []byte) error {
	var root yaml.Node
	if err := yaml.Unmarshal(b, &root); err != nil {
		return err
	}
	nodes := []*yaml.Node{&root}
	for len(nodes) > 0 {
		n := nodes[len(nodes)-1]
		nodes = append(nodes[:len(nodes)-1], n.Content...)
		if n.Kind == yaml.MappingNode && len(n.Content)/2 > maxKeys {
			return fmt.Errorf("line %d: more than %d keys", n.Line, maxKeys)
		}
	}
	return nil
}

// check returns an error for settings that cannot be used, which begins with the key. It
// reads no file and asks no server.
func (s *settings) check() error {
	if s.Listen != "" {
		if err := checkAddr(s.Listen); err != nil {
			return err
		}
	}
	switch {
	case s.Sockets < 0 || s.Sockets > 64:
		return fmt.Errorf("sockets: %d is not between 1 and 64", s.Sockets)
	case s.FloodLimit < 0:
		return fmt.Errorf("flood-limit: %d is negative", s.FloodLimit)
	case s.Format != "" && s.Format != "text" && s.Format != "json":
		return fmt.Errorf("format: %q is not text or json", s.Format)
	case s.Series < 0:
		return fmt.Errorf("series: %d is negative", s.Series)
	case s.Expire < 0:
		return fmt.Errorf("expire: %v is negative", s.Expire)
	case s.HTTP.Listen == "" && s.HTTP.Config != "":
		return errors.New("http-config: it does nothing without http")
	}
	if s.HTTP.Listen != "" {
		if err := s.HTTP.Check(); err != nil {
			return err
		}
	}
	if err := errors.Join(s.Filter.Check(), s.Prometheus.Check()); err != nil {
		return err
	}
	for _, list := range []struct {
		key string
		err error
	}{
		{"record", checkAll(s.Record, func(o record.Options) any { return o.File })},
		{"influx", checkAll(s.Influx, func(o influx.Options) any { return o })},
		{"relay", checkAll(s.Relay, func(o relay.Options) any { return o.To })},
		{"nats", checkAll(s.NATS, func(o nats.Options) any { return o.Server })},
		{"from-nats", checkAll(s.FromNATS, func(o nats.ConsumeOptions) any { return o.Server })},
	} {
		if list.err != nil {
			return fmt.Errorf("%s: %w", list.key, list.err)
		}
	}
	return nil
}

// outputSettings are the options of an output, which are comparable, and how to make it.
type outputSettings struct {
	key     string // of the settings
	options any
	make    func() (output.Output, error)
}

// outputs returns the outputs other than standard output.
func (s *settings) outputs(log *slog.Logger) []outputSettings {
	var all []outputSettings
	for _, o := range s.Record {
		all = append(all, outputSettings{"record", o, func() (output.Output, error) { return record.New(o), nil }})
	}
	for _, o := range s.Influx {
		all = append(all, outputSettings{"influx", o, func() (output.Output, error) { return influx.New(o) }})
	}
	for _, o := range s.Relay {
		all = append(all, outputSettings{"relay", o, func() (output.Output, error) { return relay.New(o) }})
	}
	for _, o := range s.NATS {
		all = append(all, outputSettings{"nats", o, func() (output.Output, error) { return nats.New(o, log) }})
	}
	return all
}

// checkAll checks the options of outputs of one kind, and that no two have the same identity.
func checkAll[O interface{ Check() error }](all []O, identity func(O) any) error {
	seen := make(map[any]bool)
	for i, o := range all {
		if err := o.Check(); err != nil {
			return err
		}
		id := identity(o)
		if seen[id] {
			return fmt.Errorf("number %d goes where another one does", i+1)
		}
		seen[id] = true
	}
	return nil
}

// needRestart returns the keys of the settings that differ and that only a restart changes.
func (s *settings) needRestart(old settings) []string {
	var keys []string
	for _, k := range []struct {
		key     string
		changed bool
	}{
		{"listen", s.Listen != old.Listen},
		{"sockets", s.Sockets != old.Sockets},
		{"flood-limit", s.FloodLimit != old.FloodLimit},
		{"http", s.HTTP.Listen != old.HTTP.Listen},
		{"http-config", s.HTTP.Config != old.HTTP.Config},
		{"from-nats", !slices.Equal(s.FromNATS, old.FromNATS)},
	} {
		if k.changed {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// checkAddr returns an error for a malformed address to listen on.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen: %w: use HOST:PORT, such as 127.0.0.1:8884 or :8884", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("listen: port %q of %q is not a number from 0 to 65535", port, addr)
	}
	return nil
}
