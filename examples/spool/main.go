// Spool reports on a spool directory, in which each folder is a queue and each file waits for
// something. It shows both kinds of reports that a program adds: a source for one node, and a
// messenger for many.
//
//	go run ./examples/spool -d 127.0.0.1:8884 /var/spool/transfers
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "spool:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("spool", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dest := flags.String("d", "127.0.0.1:8884", "report to this `destination`, host:port")
	interval := flags.Duration("interval", time.Minute, "report this often")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: spool [-d HOST:PORT] DIR")
	}
	s := spool(flags.Arg(0))

	var cfg conf.Config
	if err := cfg.AddLine(*dest); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	client, err := apmon.New(cfg, apmon.WithLogger(logger), apmon.Options{WithoutHost: true})
	if err != nil {
		return err
	}
	defer client.Close()
	// Without Node the reports are on this host.
	if _, err := client.AddSource(s, apmon.ReportOptions{Name: "spool", Cluster: "MySite_Spools", Interval: *interval}); err != nil {
		return err
	}
	if _, err := client.AddMessenger(queues{s}, apmon.ReportOptions{Name: "queues", Cluster: "MySite_Queues", Interval: *interval}); err != nil {
		return err
	}
	if err := client.Monitor(ctx); err != nil { // from now on, in the background
		return err
	}
	<-ctx.Done()
	// One last report, so that the final state arrives.
	last, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	return client.Report(last, apmon.ReportNow)
}

// spool is a spool directory. It is a source: it appends the parameters of one node.
type spool string

// Collect implements [apmon.Source]. What it has appended is sent even if it returns an error,
// which is counted and logged.
func (s spool) Collect(ctx context.Context, params []apmon.Param) ([]apmon.Param, error) {
	names, err := s.queues()
	var total usage
	for _, name := range names {
		if ctx.Err() != nil { // the next report is due
			return params, ctx.Err()
		}
		u, e := s.usage(name)
		total.files += u.files
		total.bytes += u.bytes
		err = errors.Join(err, e)
	}
	return append(params, apmon.Int("queues", len(names)), apmon.Int("files", total.files), apmon.Int("size", total.bytes)), err
}

// queues makes a message for each queue. It is a messenger: it sends on many nodes.
type queues struct{ spool }

// Messages implements [apmon.Messenger].
func (q queues) Messages(ctx context.Context, send func(apmon.Message) error) error {
	names, err := q.queues()
	for _, name := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		u, e := q.usage(name)
		if e == nil {
			e = send(apmon.Message{Node: name, Params: []apmon.Param{apmon.Int("files", u.files), apmon.Int("size", u.bytes)}})
		}
		err = errors.Join(err, e)
	}
	return err
}

// queues returns the names of the queues.
func (s spool) queues() (names []string, err error) {
	entries, err := os.ReadDir(string(s))
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// usage is the content of a queue.
type usage struct {
	files int
	bytes int64
}

func (s spool) usage(queue string) (u usage, err error) {
	entries, err := os.ReadDir(filepath.Join(string(s), queue))
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() { // an error: it is no longer there
			u.files++
			u.bytes += info.Size()
		}
	}
	return u, err
}
