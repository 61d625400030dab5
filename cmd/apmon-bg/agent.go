package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/cmd/internal/paramunits"
	"github.com/apmon-go/apmon/cmd/internal/readable"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

// lastReport bounds the last report. Closing may take another half second, and the
// agent must end within 2 s.
const lastReport = 1200 * time.Millisecond

// agent is the command without a subcommand.
type agent struct {
	command.Destinations
	jobFlags
	pageFlags pageFlags
	stdout    io.Writer

	client   *apmon.Client
	watcher  *watcher
	print    *printer // nil without --print
	page     *webPage // nil without --http
	log      accessLog
	settings *latest[[]conf.Setting] // of all configurations
}

func (a *agent) run(cc *cli.Context) error {
	opts, err := a.options(cc)
	if err != nil {
		return err
	}
	file, replace, stop := cc.String("pidfile"), cc.Bool("replace"), cc.Bool("stop")
	switch {
	case file == "" && (replace || stop):
		return errors.New("--replace and --stop need --pidfile")
	case replace && stop:
		return errors.New("--replace and --stop cannot be used together")
	case stop:
		return stopHolder(cc.Context, file, a.Stderr)
	}

	if err := cmp.Or(a.log.check(cc), a.pageFlags.check(cc)); err != nil {
		return err
	}

	// From here on signals are caught.
	code := command.OK
	if cc.Bool("once") {
		code = interrupted
	}
	sig := watchSignals(code)
	defer sig.release()
	hup, usr1 := make(chan os.Signal, 1), make(chan os.Signal, 1)
	if !cc.Bool("once") {
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		notifyStatistics(usr1)
		defer signal.Stop(usr1)
	}
	ctx, cancel := context.WithCancelCause(cc.Context)
	defer cancel(nil)
	if a.print != nil {
		a.print.failed = cancel
	}
	opened := make(chan struct{})
	var opening sync.WaitGroup
	opening.Go(func() {
		select {
		case <-sig.stop:
			cancel(errStopped) // there is nothing to report yet
		case <-opened:
		}
	})
	release, err := a.begin(ctx, cc, opts)
	close(opened)
	opening.Wait() // or it may cancel the last report
	defer release()
	switch {
	case context.Cause(ctx) == errStopped:
		return command.Silent(code)
	case err != nil:
		return err
	}
	if cc.Bool("once") {
		return a.once(ctx, sig)
	}
	return a.follow(ctx, sig, hup, usr1)
}

// begin locks the pid file, and opens the page and the client. Call release even after an
// error.
func (a *agent) begin(ctx context.Context, cc *cli.Context, opts []apmon.Option) (release func(), err error) {
	release = func() {
		if a.client != nil {
			a.client.Close()
		}
		if a.page != nil {
			a.page.server.Close()
		}
	}
	if file := cc.String("pidfile"); file != "" {
		p, err := lockPidfile(ctx, file, cc.Bool("replace"))
		if err != nil {
			return release, err
		}
		closeClient := release
		release = func() { closeClient(); p.release() }
	}
	if a.pageFlags.listen != "" { // the process of --replace has ended
		if a.page, err = newWebPage(&a.pageFlags, a.Logger()); err != nil {
			return release, err
		}
	}
	return release, a.open(ctx, cc, opts)
}

// interrupted is the exit code of a command that a signal ends early.
const interrupted = 128 + int(syscall.SIGINT)

// endTime bounds the time from a signal to the end of the process, even if a call
// hangs, such as a write to a full pipe.
const endTime = 1900 * time.Millisecond

// signals catches the signals that end the agent.
type signals struct {
	stop chan struct{} // closed by the first signal signal
	got  chan os.Signal
	done chan struct{}
}

// watchSignals catches SIGTERM and SIGINT. If the process has not ended by itself
// within endTime after the first one, it exits with code. Further signals have no
// effect: the last report is bounded, and a terminal or a manager may send several.
// SIGPIPE is caught too, so that writing to a broken pipe is an error.
func watchSignals(code int) *signals {
	s := &signals{make(chan struct{}), make(chan os.Signal, 2), make(chan struct{})}
	signal.Notify(s.got, syscall.SIGTERM, os.Interrupt)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		select {
		case <-s.got:
			close(s.stop)
			time.AfterFunc(endTime, func() { os.Exit(code) })
		case <-s.done:
		}
	}()
	return s
}

// release ends the goroutine. The signals stay caught: one that arrives while the
// process ends must not change its exit code.
func (s *signals) release() { close(s.done) }

// errStopped is the cause of the end if a signal stops the agent.
var errStopped = errors.New("stopped by a signal")

// options returns the options of the client, from flags and environment.
func (a *agent) options(cc *cli.Context) ([]apmon.Option, error) {
	if err := a.Check(cc); err != nil {
		return nil, err
	}
	// The journal adds times itself: see systemd.exec(5).
	a.Times = a.Getenv("JOURNAL_STREAM") == "" && a.Getenv("INVOCATION_ID") == ""
	if err := a.checkNames(cc); err != nil {
		return nil, err
	}
	interval, err := interval(cc, a.Getenv)
	if err != nil {
		return nil, err
	}
	adjust, err := a.Adjust()
	if err != nil {
		return nil, err
	}
	if cc.Bool("print") {
		adjust = a.onlyGiven(adjust)
	}
	configured := adjust
	a.settings = newLatest[[]conf.Setting]()
	adjust = func(cfg *conf.Config) {
		configured(cfg)
		a.log.configure(cfg.Settings)
		a.settings.set(cfg.Settings)
	}
	noHost := cc.Bool("no-host")
	o := a.Options(cc)
	o.Adjust, o.Directives = adjust, directives()
	o.AdjustSource = func(o *conf.Options) {
		if interval > 0 {
			o.SysInterval, o.JobInterval = interval, interval
		}
		if noHost {
			o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off
		}
	}
	o.StartEmpty = !cc.Bool("once") || cc.Bool("print")
	opts := []apmon.Option{o, apmon.WithLogger(a.Logger())}
	if cc.Bool("print") {
		a.print = newPrinter(a.stdout, a.Getenv)
	}
	if a.print != nil || a.pageFlags.listen != "" {
		opts = append(opts, apmon.WithTap(a.tap))
	}
	return opts, nil
}

// tap prints and shows a datagram, once for all destinations.
func (a *agent) tap(b []byte) {
	if a.print != nil {
		a.print.datagram(b)
	}
	if a.page != nil {
		a.page.datagram(b)
	}
}

// checkNames reads the flags that name the host and its jobs, and refuses those that
// cannot be used.
func (a *agent) checkNames(cc *cli.Context) error {
	f := &a.jobFlags
	f.given.cluster, f.given.node, f.group = cc.String("cluster"), cc.String("node"), cc.String("host-group")
	if cc.IsSet("host-group") {
		switch {
		case strings.TrimSpace(f.group) == "":
			return errors.New("--host-group is empty")
		case f.given.cluster != "" || f.given.node != "":
			return errors.New("--host-group sets the names and cannot be used with -c or -n")
		}
	}
	if err := f.check(); err != nil && err != errNoCgroups { // a configuration may name some
		return err
	}
	names := f.names(machine{})
	for flag, s := range map[string]string{"-c": names.cluster, "-n": names.node} {
		if s == "" {
			continue
		}
		if err := xdr.CheckName(s); err != nil {
			return command.Errorf(command.DataErr, "%s: %w", flag, err)
		}
	}
	return nil
}

// onlyGiven returns an adjust function that also drops the destinations that -d does not
// name: with --print, configurations only select the parameters.
func (a *agent) onlyGiven(adjust func(*conf.Config)) func(*conf.Config) {
	given := map[string]bool{}
	for _, d := range a.Given().Config.Destinations {
		given[d.Name()] = true
	}
	return func(cfg *conf.Config) {
		adjust(cfg)
		cfg.Destinations = slices.DeleteFunc(slices.Clone(cfg.Destinations), func(d conf.Destination) bool { return !given[d.Name()] })
	}
}

// open makes the client.
func (a *agent) open(ctx context.Context, cc *cli.Context, opts []apmon.Option) error {
	sources, err := a.Sources()
	if err != nil {
		return err
	}
	if given := a.Given(); len(a.Dests) > 0 && len(a.Files) == 0 && len(given.Config.Destinations) == 0 {
		return command.Errorf(command.Config, "no usable destination") // none can be added later
	}
	if a.page != nil && onlyDefault(sources) {
		sources = nil // nothing may listen there
	}
	if a.client, err = apmon.OpenSources(ctx, sources, opts...); err != nil {
		return command.Errorf(command.Config, "%w", err)
	}
	if a.page != nil {
		a.page.client.Store(a.client)
	}
	switch configs := a.client.Configs(); {
	case cc.Bool("print"): // reports need not be sent
	case len(sources) == 0:
		a.Logger().Info("no configuration found: reports are only shown on the page; restart apmon-bg after you create one", slog.String("looked_for", a.System))
	case len(configs) == 1 && configs[0].Source == conf.DefaultSource:
		a.Logger().Warn("no configuration found: reports go to this host; restart apmon-bg after you create one", slog.String("looked_for", a.System))
	case len(a.client.Stats().Destinations) == 0:
		a.Logger().Warn("no usable destination yet; the sources are read again until there is one")
	}
	a.watcher = newWatcher(&a.jobFlags, a.client, a.Logger(), a.settings)
	return a.watcher.begin()
}

// onlyDefault reports whether no destination is configured.
func onlyDefault(sources []conf.Source) bool {
	return len(sources) == 1 && sources[0].Static() && sources[0].Name == conf.DefaultSource
}

// once sends one report, for --once.
func (a *agent) once(ctx context.Context, sig *signals) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-sig.stop:
			cancel(errStopped)
		case <-ctx.Done():
		}
	}()
	_ = a.client.Report(ctx, apmon.ReportDue) // the first sample; the second returns the same errors
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	err := a.client.Report(ctx, apmon.ReportNow)
	switch {
	case context.Cause(ctx) == errStopped:
		return command.Errorf(interrupted, "interrupted; the report may not have been sent")
	case a.print != nil && a.print.err.Load() != nil:
		return a.print.failure()
	case a.print != nil && len(a.Files) > 0 && len(a.client.Configs()) == 0:
		return command.Silent(command.Config) // the reason is in the log
	case err != nil:
		return command.SendError(err)
	}
	return command.Refused(a.client)
}

// follow sends reports until a signal stops it.
func (a *agent) follow(ctx context.Context, sig *signals, hup, usr1 <-chan os.Signal) error {
	manager := command.NewManager(a.Getenv)
	defer manager.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var helpers sync.WaitGroup
	defer func() { cancel(); helpers.Wait() }()
	if err := a.client.Monitor(ctx); err != nil {
		return err
	}
	helpers.Go(func() { a.watcher.run(ctx) })
	helpers.Go(func() { a.log.follow(ctx, a.client, a.Logger()) })
	serving, endPage := context.WithCancel(ctx)
	defer endPage()
	if a.page != nil {
		helpers.Go(func() { a.page.serve(serving, a.Logger()) })
	}
	a.logStart()
	manager.Notify("READY=1", a.status())
	tick := time.NewTicker(manager.Interval())
	defer tick.Stop()
	reloaded := make(chan error, 1)
	reloading, again := false, false
	reload := func() {
		reloading, again = true, false
		manager.Notify("RELOADING=1", "STATUS=reloading the configurations")
		helpers.Go(func() { reloaded <- a.client.Reload(ctx) })
	}
	for {
		select {
		case <-hup:
			if again = reloading; !again { // reload again later: the one under way may have read the old file
				reload()
			}
		case err := <-reloaded:
			if err != nil && ctx.Err() == nil {
				a.Logger().Warn("not all configurations could be reloaded", slog.String("error", err.Error()))
			} else {
				a.Logger().Info("configurations reloaded")
			}
			if reloading = false; again {
				reload()
				break
			}
			manager.Notify("READY=1", a.status())
		case <-usr1:
			a.logStatistics()
		case <-tick.C:
			// status locks the client, so after a deadlock the watchdog is no longer notified.
			manager.Notify("WATCHDOG=1", a.status())
		case <-ctx.Done():
			if a.print != nil {
				return a.print.failure()
			}
			return nil
		case <-sig.stop:
			manager.Notify("STOPPING=1", "STATUS=sending a last report")
			endPage()
			a.reportLast(ctx)
			if a.print != nil {
				return a.print.failure()
			}
			return nil
		}
	}
}

// reportLast sends the last report.
func (a *agent) reportLast(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, lastReport)
	defer stop()
	if err := a.client.Report(ctx, apmon.ReportNow); err != nil {
		a.Logger().Warn("last report not sent or incomplete", slog.String("error", err.Error()))
	}
}

// status returns the status line for systemctl.
func (a *agent) status() string {
	st := a.client.Stats()
	sent, unsent, usable := uint64(0), uint64(0), 0
	for _, d := range st.Destinations {
		sent += d.Sent
		unsent += d.Unsent
		if d.Addr.IsValid() {
			usable++
		}
	}
	return fmt.Sprintf("STATUS=%d of %d destinations resolved, %d datagrams sent, %d not sent", usable, len(st.Destinations), sent, unsent)
}

// logStart logs sources, destinations and reports.
func (a *agent) logStart() {
	log, st := a.Logger(), a.client.Stats()
	log.Info("monitoring started", slog.String("version", command.Version()), slog.Int("pid", os.Getpid()))
	if a.page != nil {
		log.Info("page", slog.String("url", a.page.server.URL()))
	}
	for _, s := range st.Configs {
		log.Info("source", slog.String("name", s.Name), slog.Int("destinations", s.Destinations), slog.String("last_error", s.LastError))
	}
	for _, d := range st.Destinations {
		address := "not resolved yet"
		if d.Addr.IsValid() {
			address = d.Addr.String()
		}
		log.Info("destination", slog.String("name", d.Name), slog.String("address", address))
	}
	for _, r := range st.Reports {
		log.Info("reports", slog.String("of", r.Name), slog.Duration("every", r.Interval), slog.String("first_in", time.Until(r.Next).Round(100*time.Millisecond).String()))
	}
}

// logStatistics logs statistics, for USR1.
func (a *agent) logStatistics() {
	log, st := a.AnswerLogger(), a.client.Stats()
	log.Info("statistics", slog.Uint64("messages", st.Messages), slog.Uint64("rate_limited", st.RateLimited),
		slog.Uint64("no_destination", st.NoDestination), slog.Uint64("bad_parameters", st.BadParameters))
	for _, d := range st.Destinations {
		log.Info("destination", slog.String("name", d.Name), slog.Any("address", d.Addr), slog.Uint64("sent", d.Sent), slog.Uint64("bytes", d.Bytes),
			slog.Uint64("unsent", d.Unsent), slog.Uint64("refused", d.Refused), slog.String("last_error", d.LastError))
	}
	for _, s := range st.Configs {
		log.Info("source", slog.String("name", s.Name), slog.Int("destinations", s.Destinations), slog.Uint64("reads", s.Reads),
			slog.Uint64("failures", s.Failures), slog.Int("problems", len(s.Problems)), slog.String("last_error", s.LastError))
	}
	for _, r := range st.Reports {
		log.Info("reports", slog.String("of", r.Name), slog.Uint64("made", r.Reports), slog.Uint64("skipped", r.Skipped),
			slog.Uint64("failed", r.Failures), slog.Duration("took", r.Took), slog.String("last_error", r.LastError))
	}
}

// printer writes datagrams: as JSON, one per line, or on a terminal as text for people.
type printer struct {
	out    io.Writer
	text   *readable.Writer // nil for JSON
	failed func(error)      // called when writing fails
	line   []byte
	err    atomic.Pointer[error] // the first error; atomic, as a write may block
}

// newPrinter returns a printer to out, a writer of [command.Escape].
func newPrinter(out io.Writer, getenv func(string) string) *printer {
	raw := command.Unescaped(out)
	if readable.TerminalOf(raw) == nil {
		return &printer{out: out}
	}
	p := &printer{out: out, text: readable.New(raw, getenv, readable.Options{Units: paramunits.Unit})}
	if p.text.Color { // the text is escaped already
		p.out = raw
	}
	return p
}

// datagram is a tap of the client, which does not call it concurrently.
func (p *printer) datagram(b []byte) {
	d, err := xdr.Parse(b)
	if err != nil || p.err.Load() != nil {
		return
	}
	if p.text != nil {
		p.line = p.text.Append(p.line[:0], time.Now(), "", d, nil)
	} else {
		p.line = append(d.AppendJSON(p.line[:0], ""), '\n')
	}
	if _, err := p.out.Write(p.line); err != nil {
		p.err.Store(&err)
		p.failed(err)
	}
}

// failure returns the error to exit with if the output could not be written.
func (p *printer) failure() error {
	if err := p.err.Load(); err != nil {
		return command.StreamError(*err)
	}
	return nil
}
