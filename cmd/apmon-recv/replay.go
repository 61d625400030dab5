package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/input"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/backoff"
	"github.com/apmon-go/apmon/xdr"
)

// replayOptions are the options of apmon-recv replay.
type replayOptions struct {
	dests []string
	port  uint16  // of a capture
	speed float64 // above 0
	rate  float64 // in datagrams per second; 0 for the pace of the file
}

// untimedRate is the rate of datagrams without a time: MonALISA accepts 45 per second from
// one address.
const untimedRate = 40

// replayDest is a destination of replay.
type replayDest struct {
	conf.Destination
	conn   net.Conn
	sent   int
	failed int
	err    error // the last one
}

// replay sends the datagrams of a file, or of standard input.
func replay(ctx context.Context, o replayOptions, name string, stdin io.Reader, stderr io.Writer) error {
	var dests []*replayDest
	for _, s := range o.dests {
		d, err := conf.ParseDestination(s)
		if err != nil {
			return command.Errorf(command.Usage, "-d: %w", err)
		}
		conn, err := new(net.Dialer).DialContext(ctx, "udp", d.Name())
		if err != nil {
			return command.Errorf(command.NoHost, "-d %s: %w", d.Name(), err)
		}
		defer conn.Close()
		dests = append(dests, &replayDest{Destination: d, conn: conn})
	}
	file, err := openInput(name, stdin)
	if err != nil {
		return err
	}
	defer file.close()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A signal ends a read that blocks, of a terminal for instance.
	pr, pw := io.Pipe()
	go func() {
		_, err := io.Copy(pw, file)
		pw.CloseWithError(err)
	}()
	defer context.AfterFunc(ctx, func() { pr.CloseWithError(ctx.Err()) })()
	in, err := input.New(pr, o.port)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return command.Errorf(command.NoInput, "%w", err)
	}
	items, refused, err := sendAll(ctx, in, dests, &pace{replayOptions: o})
	var failure error
	for _, d := range dests {
		fmt.Fprintf(stderr, "%d datagrams sent to %s\n", d.sent, d.Name())
		if d.failed > 0 {
			fmt.Fprintf(stderr, "%d not sent: %v\n", d.failed, d.err)
		}
		if d.sent == 0 && d.failed > 0 {
			failure = command.Errorf(command.Unavailable, "-d %s: %w", d.Name(), d.err)
		}
	}
	if refused > 0 {
		fmt.Fprintf(stderr, "%d %ss left out: they are no datagrams, or were refused\n", refused, in.Unit())
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return command.Errorf(command.IOErr, "after %s %d: %w", in.Unit(), items, err)
	}
	return failure
}

// sendAll sends each datagram to each destination when it is due. It returns the number of
// items of the file, and how many are no datagrams.
func sendAll(ctx context.Context, in input.Reader, dests []*replayDest, pace *pace) (items, refused int, err error) {
	var buf []byte
	for {
		it, err := in.Next()
		if err == io.EOF || ctx.Err() != nil {
			return items, refused, nil
		}
		if err != nil {
			return items, refused, err
		}
		items++
		var d xdr.Datagram
		if it.Err != nil || !decodes(&d, it.Raw) {
			refused++
			continue
		}
		if !pace.wait(ctx, it.At) {
			return items, refused, nil
		}
		for _, dest := range dests {
			raw := it.Raw
			if dest.Password != "" {
				d.Password = dest.Password
				buf = d.Append(buf[:0])
				raw = buf
			}
			if _, err := dest.conn.Write(raw); err != nil {
				dest.failed++
				dest.err = err
				continue
			}
			dest.sent++
		}
	}
}

// decodes decodes a datagram, and reports whether a receiver accepts it.
func decodes(d *xdr.Datagram, raw []byte) bool {
	err := d.Decode(raw)
	return err == nil || errors.Is(err, xdr.ErrTruncated)
}

// pace waits until a datagram is due.
type pace struct {
	replayOptions
	due         time.Time // of the last datagram, on this host's clock
	first, base time.Time // the first time of the file, and when it was due
}

// wait waits until a datagram that arrived at a time, zero if it is unknown, is due. It
// returns false if the context ends before.
func (p *pace) wait(ctx context.Context, at time.Time) bool {
	now := time.Now()
	switch {
	case p.due.IsZero():
		p.due = now
	case p.rate > 0:
		p.due = p.due.Add(time.Duration(float64(time.Second) / p.rate))
	case at.IsZero():
		p.due = p.due.Add(time.Second / untimedRate)
	case !p.first.IsZero():
		due := p.base.Add(time.Duration(float64(at.Sub(p.first)) / p.speed))
		if due.After(p.due) { // the clock of the file may have been set back
			p.due = due
		}
	}
	if p.first.IsZero() && !at.IsZero() {
		p.first, p.base = at, p.due
	}
	d := p.due.Sub(now)
	if d <= 0 {
		return ctx.Err() == nil
	}
	return backoff.Sleep(ctx, d)
}
