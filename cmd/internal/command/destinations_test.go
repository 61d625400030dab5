package command

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/testkit"
)

// destinations returns a Destinations with an environment, and its standard error.
// No file of the system is read.
func destinations(env map[string]string) (*Destinations, *bytes.Buffer) {
	var stderr bytes.Buffer
	return &Destinations{Name: "tool", Getenv: func(name string) string { return env[name] }, Stderr: &stderr, System: "/nonexistent/apmon.conf"}, &stderr
}

// parse parses arguments with the flags of d.
func parse(t *testing.T, d *Destinations, args ...string) *cli.Context {
	t.Helper()
	set := flag.NewFlagSet("tool", flag.ContinueOnError)
	for _, f := range d.Flags() {
		if err := f.Apply(set); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return cli.NewContext(cli.NewApp(), set, nil)
}

// file writes a configuration and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "apmon.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func names(loaded []conf.Loaded) (list []string) {
	for _, l := range loaded {
		for _, d := range l.Config.Destinations {
			list = append(list, d.Name())
		}
	}
	return list
}

// Flags take precedence over the environment, and the environment over the file of the
// system.
func TestWhichDestinations(t *testing.T) {
	t.Parallel()
	one := file(t, "one.example\n")
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"nothing names one", nil, nil, "127.0.0.1:8884"},
		{"APMON_CONFIG", map[string]string{"APMON_CONFIG": "env.example:1", "MONALISA_HOST": "host.example"}, nil, "env.example:1"},
		{"MONALISA_HOST", map[string]string{"MONALISA_HOST": "host.example"}, nil, "host.example:8884"},
		{"-d", map[string]string{"APMON_CONFIG": "env.example:1"}, []string{"-d", "a.example", "--dest", "b.example:2"}, "a.example:8884 b.example:2"},
		{"-f", map[string]string{"APMON_CONFIG": "env.example:1"}, []string{"-f", one}, "one.example:8884"},
		{"-d and -f", nil, []string{"-f", one, "-d", "a.example"}, "a.example:8884 one.example:8884"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, _ := destinations(tt.env)
			parse(t, d, tt.args...)
			loaded, err := d.Load(t.Context(), false)
			if got := strings.Join(names(loaded), " "); err != nil || got != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestFallbackNeedsFiles(t *testing.T) {
	t.Parallel()
	d, _ := destinations(nil)
	if err := d.Check(parse(t, d, "--fallback", "-d", "a.example")); err == nil {
		t.Error("--fallback with -d is accepted")
	}
	d, _ = destinations(nil)
	if err := d.Check(parse(t, d, "--fallback", "-f", "x")); err != nil {
		t.Error(err)
	}
}

// A bad -d is reported, and the others are used.
func TestBadDestination(t *testing.T) {
	t.Parallel()
	d, stderr := destinations(nil)
	parse(t, d, "-d", "a.example:99999", "-d", "b.example")
	given := d.Given()
	d.Report(given)
	if got := names([]conf.Loaded{given}); !slices.Equal(got, []string{"b.example:8884"}) {
		t.Errorf("got %q", got)
	}
	if got := stderr.String(); !strings.HasPrefix(got, "tool: -d: ") || !strings.Contains(got, "99999") {
		t.Errorf("reported %q", got)
	}
	d.Report(conf.Loaded{Err: errors.New("apmon: no such file")})
	if !strings.HasSuffix(stderr.String(), "tool: no such file\n") {
		t.Errorf("reported %q", stderr)
	}
}

func TestAdjustSetsPasswordAndLevel(t *testing.T) {
	t.Parallel()
	secret := file(t, "secret\n")
	d, stderr := destinations(map[string]string{"APMON_PASSWORD_FILE": secret, "APMON_DEBUG_LEVEL": "DEBUG"})
	adjust, err := d.Adjust()
	if err != nil {
		t.Fatal(err)
	}
	cfg := conf.Config{Destinations: []conf.Destination{{Host: "a"}, {Host: "b", Password: "own"}}}
	adjust(&cfg)
	if cfg.Destinations[0].Password != "secret" || cfg.Destinations[1].Password != "own" {
		t.Errorf("got %+v", cfg.Destinations)
	}
	d.Logger().Debug("shown")
	if got := stderr.String(); got != "cmd=tool level=DEBUG msg=shown\n" {
		t.Errorf("logged %q", got)
	}
}

// The level of the environment takes precedence over that of the configuration.
func TestLogLevel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env   string
		level slog.Level
		want  int // lines, of one for each of debug, info, warning
	}{{"", slog.LevelWarn, 1}, {"", slog.LevelDebug, 3}, {"INFO", slog.LevelError, 2}, {"WARNING", slog.LevelDebug, 1}} {
		d, stderr := destinations(map[string]string{"APMON_DEBUG_LEVEL": tt.env})
		adjust, err := d.Adjust()
		if err != nil {
			t.Fatal(err)
		}
		cfg := conf.Config{}
		cfg.LogLevel = tt.level
		adjust(&cfg)
		d.Logger().Debug("a")
		d.Logger().Info("b")
		d.Logger().Warn("c")
		if got := strings.Count(stderr.String(), "\n"); got != tt.want {
			t.Errorf("%+v: %d lines", tt, got)
		}
		d.AnswerLogger().Info("asked for")
		if !strings.Contains(stderr.String(), "asked for") {
			t.Errorf("%+v: an answer is not shown", tt)
		}
	}
}

func TestTimesOfTheLog(t *testing.T) {
	t.Parallel()
	d, stderr := destinations(nil)
	d.Times = true
	d.Logger().Error("x")
	if got := stderr.String(); !strings.HasPrefix(got, "time=2") || !strings.HasSuffix(got, "cmd=tool level=ERROR msg=x\n") {
		t.Errorf("logged %q", got)
	}
}

func TestBadEnvironment(t *testing.T) {
	t.Parallel()
	for _, env := range []map[string]string{{"APMON_PASSWORD_FILE": "/nonexistent"}, {"APMON_DEBUG_LEVEL": "LOUD"}} {
		d, _ := destinations(env)
		if _, err := d.Adjust(); Code(err) != Config {
			t.Errorf("%v: got %v", env, err)
		}
	}
}

// Refused is an error only if every destination refused its last datagram.
func TestRefused(t *testing.T) {
	t.Parallel()
	good, bad := testkit.Listen(t), testkit.Refusing(t)
	for _, tt := range []struct {
		to   []string
		code int
	}{{[]string{good.Name()}, OK}, {[]string{bad}, Unavailable}, {[]string{bad, good.Name()}, OK}} {
		var cfg conf.Config
		for _, name := range tt.to {
			if err := cfg.AddLine(name); err != nil {
				t.Fatal(err)
			}
		}
		c, err := apmon.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send("C", "N", apmon.Int("x", 1)); err != nil {
			t.Error(err)
		}
		err = Refused(c)
		if Code(err) != tt.code || err != nil && !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v, want code %d", tt.to, err, tt.code)
		}
		c.Close()
	}
}

func TestPrintConfig(t *testing.T) {
	t.Parallel()
	load := func(text string) []conf.Loaded {
		return Load(context.Background(), []conf.Source{conf.File(file(t, text))}, false)
	}
	const warning = "a.example secret\nxApMon_no_such_option = on\n"
	for _, tt := range []struct {
		name   string
		loaded []conf.Loaded
		strict bool
		code   int
	}{
		{"good", load("a.example secret\n"), true, OK},
		{"a warning", load(warning), false, OK},
		{"a warning, strict", load(warning), true, Config},
		{"an error", load("a.example secret\nb.example:99999\n"), false, Config},
		{"no file", Load(context.Background(), []conf.Source{conf.File("/nonexistent/apmon.conf")}, false), false, Config},
	} {
		var b bytes.Buffer
		err := PrintConfig(&b, tt.loaded, tt.strict)
		if Code(err) != tt.code || err != nil && err.Error() != "" {
			t.Errorf("%s: got %v, want code %d\n%s", tt.name, err, tt.code, &b)
		}
		if strings.Contains(b.String(), "secret") {
			t.Errorf("%s: the password is printed", tt.name)
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	if err := PrintConfig(full, load("a.example\n"), false); Code(err) != IOErr {
		t.Errorf("full disk: got %v", err)
	}
}

// With fallback one source that names a destination is used.
func TestLoadFallback(t *testing.T) {
	t.Parallel()
	sources := []conf.Source{conf.File(file(t, "# empty\n")), conf.File(file(t, "a.example\n")), conf.File("/nonexistent/apmon.conf")}
	for range 10 {
		if got := names(Load(t.Context(), sources, true)); !slices.Equal(got, []string{"a.example:8884"}) {
			t.Errorf("got %q", got)
		}
	}
	if loaded := Load(t.Context(), sources[:1], true); len(names(loaded)) != 0 || len(loaded) != 1 {
		t.Errorf("got %+v", loaded)
	}
}
