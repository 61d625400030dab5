// Natsconsumer reads the datagrams that apmon-recv stores in NATS JetStream, and prints a line
// of JSON for each.
//
//	apmon-recv --listen :8884 --nats nats://127.0.0.1:4222
//	go run ./examples/natsconsumer -nats nats://127.0.0.1:4222
//
// It goes on where it ended the last time. "apmon-recv --from-nats" does more: several members
// share the partitions, and it hands the datagrams to any output.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/xdr"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "natsconsumer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("natsconsumer", flag.ContinueOnError)
	flags.SetOutput(stderr)
	url := flags.String("nats", nats.DefaultURL, "`URL` of a server")
	name := flags.String("consumer", "example", "`name` under which the streams remember what was read")
	if err := flags.Parse(args); err != nil {
		return err
	}
	nc, err := nats.Connect(*url, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}

	p := printer{out: stdout, log: stderr}
	// A stream for each partition has the subjects apmon.PARTITION.CLUSTER.NODE.
	streams := js.StreamNames(ctx, jetstream.WithStreamListSubject("apmon.>"))
	n := 0
	for stream := range streams.Name() {
		consumer, err := js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{Durable: *name})
		if err != nil {
			return fmt.Errorf("%s: %w", stream, err)
		}
		reading, err := consumer.Consume(p.print)
		if err != nil {
			return fmt.Errorf("%s: %w", stream, err)
		}
		defer reading.Stop()
		n++
	}
	if err := streams.Err(); err != nil {
		return err
	}
	if n == 0 {
		return errors.New("no stream has subjects apmon.>: is there an apmon-recv --nats?")
	}
	fmt.Fprintf(stderr, "reading %d streams; end with Ctrl-C\n", n)
	<-ctx.Done()
	return nil
}

// printer prints messages. The streams call it concurrently.
type printer struct {
	mu       sync.Mutex
	out, log io.Writer
	line     []byte
}

func (p *printer) print(m jetstream.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The message is the datagram as it was received. Its sender is in a header.
	d, err := xdr.Parse(m.Data())
	if err != nil && !errors.Is(err, xdr.ErrTruncated) {
		fmt.Fprintln(p.log, m.Subject(), err)
		_ = m.Term() // it never becomes better
		return
	}
	p.line = append(d.AppendJSON(p.line[:0], m.Headers().Get("Apmon-From")), '\n')
	if _, err := p.out.Write(p.line); err == nil {
		_ = m.Ack() // a message without acknowledgement comes again
	}
}
