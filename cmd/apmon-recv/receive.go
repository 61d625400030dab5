package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/dashboard"
)

// listenOptions are the options of apmon-recv without a subcommand that are not settings.
type listenOptions struct {
	count     int           // 0 for no limit
	limit     time.Duration // 0 for no limit
	instances bool          // the summary lists instances
	demo      bool          // send to the receiver too, see demo
	// load returns the settings of flags and configuration file, also on SIGHUP.
	load func() (settings, error)
	// view, if not nil, shows the values while datagrams are received. Its end ends the command,
	// and what is logged goes to notes meanwhile.
	view  func(context.Context, *web) error
	notes io.Writer
	// frame, if not nil, is called at the end.
	frame func(*dashboard.Dashboard) error
}

// drainTime is how long outputs may take at the end to handle what they hold.
const drainTime = 5 * time.Second

// listen receives datagrams and hands them to the outputs.
func listen(ctx context.Context, o listenOptions, stdout, stderr io.Writer) error {
	s, err := o.load()
	if err != nil {
		return err
	}
	signals, messages := []os.Signal{os.Interrupt, syscall.SIGTERM}, stderr
	if o.view != nil || o.frame != nil {
		s.Format = ""
	}
	if o.view != nil {
		messages = o.notes
	}
	load := o.load
	if o.view != nil || o.demo { // the user has gone with the terminal
		signals, load = viewSignals, nil
	}
	br := newBridge(stdout, command.NewLogger(messages, "apmon-recv", slog.LevelInfo, false))
	br.start = s
	ro, err := receiverOptions(s, br.log)
	if err != nil {
		return err
	}
	var r *receiver.Receiver
	if s.Listen == "" && len(s.FromNATS) == 0 {
		s.Listen = defaultListen
	}
	if s.Listen != "" {
		if r, err = receiver.Listen(s.Listen, ro); err != nil {
			return listenError(s.Listen, err)
		}
		defer r.Close()
	}
	if s.HTTP.Listen != "" || o.view != nil || o.frame != nil {
		if br.web, err = newWeb(s, r, br); err != nil {
			return err
		}
		if br.web.server != nil {
			defer br.web.server.Close()
		}
	}
	ctx, stop := signal.NotifyContext(ctx, signals...)
	defer stop()
	manager := command.NewManager(os.Getenv)
	defer manager.Close()
	// After the first signal the outputs end, which may block. The second signal then
	// ends the process.
	defer context.AfterFunc(ctx, func() {
		stop()
		manager.Notify("STOPPING=1", "STATUS=handing on what the outputs hold")
	})()
	if err := br.apply(ctx, s); err != nil {
		return err
	}
	if o.demo {
		messages = stderr // the address stays there after the view
	}
	announce(messages, o, r, br.web)
	if o.demo {
		stop, err := demoSenders(ctx, r.Addr(), br.log)
		if err != nil {
			return err
		}
		defer stop()
	}
	defer br.onSignals(ctx, r, manager, load)()
	return receive(ctx, r, o, br, stderr)
}

// announce says where the program listens. The receiver and the web may be nil.
func announce(w io.Writer, o listenOptions, r *receiver.Receiver, web *web) {
	if o.demo {
		demoBegins(w, web.server.URL())
		return
	}
	if r != nil {
		fmt.Fprintf(w, "listening on %v\n", r.Addr())
	}
	if web != nil && web.server != nil {
		fmt.Fprintf(w, "page at %s, metrics at %[1]smetrics\n", web.server.URL())
	}
}

// receiverOptions returns the options of the receiver. It reads the files of the password and
// of the access rules.
func receiverOptions(s settings, log *slog.Logger) (receiver.Options, error) {
	o := receiver.Options{Sockets: cmp.Or(s.Sockets, receiver.DefaultSockets()), FloodLimit: s.FloodLimit}
	var err error
	if o.Password, err = readPassword(s.PasswordFile); err != nil {
		return o, err
	}
	o.Access, err = readAccess(s.Access, log)
	return o, err
}

// readAccess reads a file of access rules, nil if there is none. It logs where the rules mean
// something else to the MonALISA service.
func readAccess(name string, log *slog.Logger) (*receiver.Access, error) {
	if name == "" {
		return nil, nil
	}
	f, err := openSettings(name)
	if err != nil {
		return nil, command.Errorf(command.NoInput, "--access: %w", err)
	}
	defer f.Close()
	access, errs := receiver.ParseAccess(name, f)
	if len(errs) > 0 {
		return nil, command.Errorf(command.Config, "--access: %w", errors.Join(errs...))
	}
	for _, note := range access.Notes() {
		log.Info(note)
	}
	return access, nil
}

// listenError returns the error of an address that cannot be listened on.
func listenError(addr string, err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err // the message names the address already
	}
	return command.Errorf(command.Unavailable, "cannot listen on %s: %w", addr, err)
}

// readPassword reads the file of --password-file, nil if there is none.
func readPassword(name string) (*string, error) {
	if name == "" {
		return nil, nil
	}
	password, err := conf.ReadPassword(name)
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return nil, command.Errorf(command.NoInput, "--password-file: %w", err)
	} else if err != nil {
		return nil, command.Errorf(command.Config, "--password-file: %w", err)
	}
	return &password, nil
}

// receive hands datagrams to the outputs until ctx ends, o.count datagrams were accepted (if
// not 0), o.limit is over (if not 0), or something fails for good. Then it lets the outputs
// end and writes the summary. Without a receiver, which is nil then, it consumes streams.
func receive(ctx context.Context, r *receiver.Receiver, o listenOptions, br *bridge, stderr io.Writer) error {
	start, serving := time.Now(), ctx
	if o.limit > 0 {
		var cancel context.CancelFunc
		serving, cancel = context.WithTimeout(ctx, o.limit)
		defer cancel()
	}
	serving, fail := context.WithCancelCause(serving)
	defer fail(nil)
	br.failed(fail)
	counter := &counter{limit: int64(o.count), receiver: r, reached: func() { fail(errCounted) }}
	var others sync.WaitGroup // they end with serving
	if br.web != nil {
		others.Go(func() {
			if err := br.web.serve(serving); err != nil {
				fail(command.Errorf(command.Unavailable, "--http: %w", err))
			}
		})
	}
	if o.view != nil {
		others.Go(func() { fail(o.view(serving, br.web)) })
	}
	waitConsumers, err := br.consume(serving, func(ctx context.Context, p *receiver.Packet) bool {
		done, ok := counter.take(p)
		defer done()
		if !ok {
			return true
		}
		br.note(p)
		return br.put(ctx, p)
	}, fail)
	if err != nil {
		fail(err)
	}
	if r != nil {
		others.Go(func() { br.report(serving, r) })
		err = r.Serve(serving, func(p *receiver.Packet) {
			if done, ok := counter.take(p); ok {
				br.note(p)
				br.offer(p)
				done()
			}
		})
		if err != nil {
			fail(command.Errorf(command.Unavailable, "%w", err))
		}
	}
	if len(br.inputs()) == 0 {
		fail(nil) // the receiver has ended
	}
	<-serving.Done()
	waitConsumers()
	others.Wait()
	if o.frame != nil {
		if err := o.frame(br.web.dashboard); err != nil {
			return command.OutputError(err)
		}
	}
	outputs, failure := br.close()
	switch {
	case o.demo:
		demoEnds(stderr, counter.summary(), br.web, time.Since(start))
	case r != nil:
		counter.summary().write(stderr, o.instances)
	}
	br.writeConsumers(stderr)
	writeOutputs(stderr, outputs)
	if failure != nil { // perhaps of the last datagrams, after the end
		return command.StreamError(failure)
	}
	return counter.verdict(ctx, context.Cause(serving), o)
}

// errCounted ends receive when --count datagrams have been accepted.
var errCounted = errors.New("all counted")

// counter counts accepted datagrams up to a limit.
type counter struct {
	limit    int64 // 0 for none
	receiver *receiver.Receiver
	reached  func() // called at the limit

	accepted atomic.Int64
	mu       sync.Mutex
	end      *summary // as of the last datagram that counts
}

// take reports whether a datagram is to be handed on, and returns a function to call after
// that.
func (c *counter) take(p *receiver.Packet) (done func(), ok bool) {
	nothing := func() {}
	switch {
	case c.limit == 0:
		return nothing, true
	case p.Datagram == nil:
		return nothing, c.accepted.Load() < c.limit
	}
	n := c.accepted.Add(1)
	if n != c.limit {
		return nothing, n < c.limit
	}
	return func() {
		if c.receiver != nil {
			c.mu.Lock()
			c.end = summarize(c.receiver)
			c.mu.Unlock()
			_ = c.receiver.Close()
		}
		c.reached()
	}, true
}

// summary returns the counts of the receiver at the limit, or now.
func (c *counter) summary() *summary {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		return summarize(c.receiver)
	}
	return c.end
}

// verdict returns the error to exit with, given the cause of the end.
func (c *counter) verdict(ctx context.Context, cause error, o listenOptions) error {
	n := int(c.accepted.Load())
	switch {
	case ctx.Err() != nil || cause == errCounted || cause == context.Canceled:
		return nil
	case cause == context.DeadlineExceeded && n < o.count:
		return command.Errorf(command.TempFail, "%d of %d datagrams within %v", n, o.count, o.limit)
	case cause == context.DeadlineExceeded:
		return nil
	}
	return cause
}
