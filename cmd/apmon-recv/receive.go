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
)

// listenOptions are the options of apmon-recv without a subcommand that are not settings.
type listenOptions struct {
	count     int           // 0 for no limit
	limit     time.Duration // 0 for no limit
	instances bool          // the summary lists instances
	// load returns the settings of flags and configuration file, also on SIGHUP.
	load func() (settings, error)
}

// drainTime is how long outputs may take at the end to handle what they hold.
const drainTime = 5 * time.Second

// listen receives datagrams and hands them to the outputs.
func listen(ctx context.Context, o listenOptions, stdout, stderr io.Writer) error {
	s, err := o.load()
	if err != nil {
		return err
	}
	br := newBridge(stdout, command.NewLogger(stderr, "apmon-recv", slog.LevelInfo, false))
	br.start = s
	ro, err := receiverOptions(s, br.log)
	if err != nil {
		return err
	}
	r, err := receiver.Listen(s.Listen, ro)
	if err != nil {
		return listenError(s.Listen, err)
	}
	defer r.Close()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the outputs end, which may block. The second signal then
	// ends the process.
	defer context.AfterFunc(ctx, stop)()
	if err := br.apply(ctx, s); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "listening on %v\n", r.Addr())
	defer br.onSignals(ctx, r, o.load)()
	return receive(ctx, r, o, br, stderr)
}

// receiverOptions returns the options of the receiver. It reads the files of the password and
// of the access rules.
func receiverOptions(s settings, log *slog.Logger) (receiver.Options, error) {
	o := receiver.Options{Sockets: cmp.Or(s.Sockets, receiver.DefaultSockets()), FloodLimit: s.FloodLimit}
	if s.PasswordFile != "" {
		password, err := readPassword(s.PasswordFile)
		if err != nil {
			return o, err
		}
		o.Password = &password
	}
	var err error
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

// readPassword reads the file of --password-file.
func readPassword(name string) (string, error) {
	password, err := conf.ReadPassword(name)
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return "", command.Errorf(command.NoInput, "--password-file: %w", err)
	} else if err != nil {
		return "", command.Errorf(command.Config, "--password-file: %w", err)
	}
	return password, nil
}

// receive hands datagrams to the outputs until ctx ends, o.count datagrams were accepted (if
// not 0), o.limit is over (if not 0), or standard output fails. Then it lets the outputs end
// and writes the summary.
func receive(ctx context.Context, r *receiver.Receiver, o listenOptions, br *bridge, stderr io.Writer) error {
	serving := ctx
	if o.limit > 0 {
		var cancel context.CancelFunc
		serving, cancel = context.WithTimeout(ctx, o.limit)
		defer cancel()
	}
	serving, fail := context.WithCancelCause(serving)
	defer fail(nil)
	br.failed(fail)
	var (
		accepted atomic.Int64
		once     sync.Once
		end      *summary // as of the last datagram that counts
	)
	var reports sync.WaitGroup
	reporting, stop := context.WithCancel(serving)
	reports.Go(func() { br.report(reporting, r) })
	err := r.Serve(serving, func(p *receiver.Packet) {
		if p.Datagram != nil && o.count > 0 {
			if n := accepted.Add(1); n > int64(o.count) {
				return
			} else if n == int64(o.count) {
				defer once.Do(func() {
					end = summarize(r)
					_ = r.Close()
				})
			}
		} else if o.count > 0 && accepted.Load() >= int64(o.count) {
			return
		}
		br.offer(p)
	})
	stop()
	reports.Wait()
	outputs, failure := br.close()
	if end == nil {
		end = summarize(r)
	}
	end.write(stderr, o.instances)
	writeOutputs(stderr, outputs)
	n := int(accepted.Load())
	switch {
	case failure != nil:
		return command.StreamError(failure)
	case err != nil:
		return command.Errorf(command.Unavailable, "%w", err)
	case n < o.count && context.Cause(serving) == context.DeadlineExceeded:
		return command.Errorf(command.TempFail, "%d of %d datagrams within %v", n, o.count, o.limit)
	}
	return nil
}
