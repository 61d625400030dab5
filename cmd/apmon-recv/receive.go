package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
)

// listenOptions are the options of apmon-recv without a subcommand.
type listenOptions struct {
	addr         string
	count        int           // 0 for no limit
	limit        time.Duration // 0 for no limit
	passwordFile string        // empty for none
	instances    bool          // the summary lists instances
}

// listen receives datagrams on an address and prints them.
func listen(ctx context.Context, o listenOptions, out *printer, stderr io.Writer) error {
	if err := checkAddr(o.addr); err != nil {
		return err
	}
	var ro receiver.Options
	if o.passwordFile != "" {
		password, err := readPassword(o.passwordFile)
		if err != nil {
			return err
		}
		ro.Password = &password
	}
	r, err := receiver.Listen(o.addr, ro)
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = op.Err // the message names the address already
		}
		return command.Errorf(command.Unavailable, "cannot listen on %s: %w", o.addr, err)
	}
	defer r.Close()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the output is flushed, which may block forever. The
	// second signal then ends the process.
	defer context.AfterFunc(ctx, stop)()
	fmt.Fprintf(stderr, "listening on %v\n", r.Addr())
	return receive(ctx, r, o, out, stderr)
}

// checkAddr returns a usage error for a malformed address.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return command.Errorf(command.Usage, "--listen: %w: use HOST:PORT, such as 127.0.0.1:8884 or :8884", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return command.Errorf(command.Usage, "--listen %q: port %q is not a number from 0 to 65535", addr, port)
	}
	return nil
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

// receive prints datagrams until ctx ends, o.count datagrams were accepted (if not 0),
// o.limit is over (if not 0), or the output fails. Then it writes the summary.
func receive(ctx context.Context, r *receiver.Receiver, o listenOptions, out *printer, stderr io.Writer) error {
	count, limit := o.count, o.limit
	serving := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		serving, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	accepted := 0
	var end *summary // as of the last datagram that is printed
	err := r.Serve(serving, func(p *receiver.Packet) {
		if end != nil {
			return
		}
		out.packet(p)
		if p.Datagram != nil {
			accepted++
		}
		if count > 0 && accepted == count || out.err != nil {
			end = summarize(r)
			_ = r.Close()
		}
	})
	out.flush()
	if end == nil {
		end = summarize(r)
	}
	end.write(stderr, o.instances)
	switch {
	case out.failure() != nil:
		return out.failure()
	case err != nil:
		return command.Errorf(command.Unavailable, "%w", err)
	case accepted < count && out.err == nil && ctx.Err() == nil:
		return command.Errorf(command.TempFail, "%d of %d datagrams within %v", accepted, count, limit)
	}
	return nil
}

// summary holds the counts of a receiver at one time.
type summary struct {
	stats   receiver.Stats
	senders []receiver.Sender
}

func summarize(r *receiver.Receiver) *summary {
	return &summary{r.Stats(), r.Senders()}
}

// write writes a table with a line for each address, or, with instances, for each
// sender, and then other losses and errors.
func (s *summary) write(w io.Writer, instances bool) {
	t := &s.stats
	if t.Received+t.Refused == 0 {
		fmt.Fprintln(w, "nothing received")
	} else {
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		line := func(sender, instance any, c receiver.Counts, sequenced bool) {
			fmt.Fprintf(tab, "%v\t%v\t%d\t%d\t%d\t", sender, instance, c.Received, c.Truncated, c.Refused)
			if sequenced {
				fmt.Fprintf(tab, "%d\t%d\t%d\n", c.Lost, c.Reordered, c.Duplicate)
			} else {
				fmt.Fprintln(tab, "-\t-\t-")
			}
		}
		const counts = "\tRECEIVED\tTRUNCATED\tREFUSED\tLOST\tREORDERED\tDUPLICATE"
		if instances {
			fmt.Fprintln(tab, "SENDER\tINSTANCE"+counts)
			for _, e := range s.senders {
				instance := "-"
				if e.Sequenced {
					instance = strconv.Itoa(int(e.Instance))
				}
				line(e.Addr, instance, e.Counts, e.Sequenced)
			}
		} else {
			fmt.Fprintln(tab, "SENDER\tINSTANCES"+counts)
			for rest := s.senders; len(rest) > 0; { // sorted by address
				addr, sequenced, c := rest[0].Addr, 0, receiver.Counts{}
				for len(rest) > 0 && rest[0].Addr == addr {
					c.Add(rest[0].Counts)
					if rest[0].Sequenced {
						sequenced++
					}
					rest = rest[1:]
				}
				line(addr, sequenced, c, sequenced > 0)
			}
		}
		line("total", "", t.Counts, true)
		_ = tab.Flush()
	}
	for _, e := range s.senders {
		if e.Restarts > 0 {
			fmt.Fprintf(w, "%v instance %d restarted its sequence numbers %d times; losses in between are not counted\n", e.Addr, e.Instance, e.Restarts)
		}
	}
	if n := t.Expired + t.Evicted; n > 0 {
		fmt.Fprintf(w, "the total includes %d senders no longer listed: %d silent for %v, %d too many\n", n, t.Expired, receiver.SenderLifetime, t.Evicted)
	}
	if t.KernelDropped > 0 {
		fmt.Fprintf(w, "%d datagrams dropped by the kernel: the receive buffer has %d bytes (see net.core.rmem_max)\n", t.KernelDropped, t.ReadBuffer)
	}
	if t.Dropped > 0 {
		fmt.Fprintf(w, "%d datagrams dropped: the output is too slow\n", t.Dropped)
	}
	if t.ReadErrors > 0 {
		fmt.Fprintf(w, "%d socket errors\n", t.ReadErrors)
	}
}
