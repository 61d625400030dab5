// Service is an HTTP server that reports on itself: request statistics, counters
// and gauges of its own, Go's runtime, and a status page. It is a complete program
// to look at and to start from:
//
//	go run ./examples/service
//
// starts the server, asks it now and then for something, so that there is
// something to see, and shows what is reported, as apmon-recv receives it. With -d
// it reports to a receiver of yours.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/apmon/statusz"
	"github.com/apmon-go/apmon/conf"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:0", "serve HTTP at this `address`")
	dest := flags.String("d", "", "report to this `destination`, host:port (default: an apmon-recv of our own)")
	interval := flags.Duration("interval", 5*time.Second, "report this often")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dest == "" {
		addr, end, err := receive(ctx, stdout, stderr)
		if err != nil {
			return err
		}
		defer end()
		*dest = addr
	}

	// The client, and what reports in the background. The host's own reports
	// are left to apmon-bg.
	cfg := conf.Config{Options: conf.Options{SysMonitoring: conf.Off, GeneralInfo: conf.Off}}
	if err := cfg.AddLine(*dest); err != nil {
		return err
	}
	client, err := apmon.New(cfg, apmon.WithLogger(slog.New(slog.NewTextHandler(stderr, nil))))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Monitor(ctx); err != nil {
		return err
	}

	// What the service counts.
	reg := metrics.New()
	defer reg.Close()
	reg.Runtime()
	greetings, waiting, answer := reg.Counter("greetings"), reg.Gauge("waiting"), reg.Measure("answer")
	names := apmon.ReportOptions{Cluster: "Example_Services", Node: "service", Interval: *interval}
	published, err := metrics.Publish(client, reg, metrics.Options{Cluster: names.Cluster, Node: names.Node, Interval: *interval})
	if err != nil {
		return err
	}
	stats := httpstats.New()
	names.Name = "http"
	if _, err := client.AddSource(stats, names); err != nil {
		return err
	}

	// What it does.
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) {
		waiting.Add(1)
		defer waiting.Add(-1)
		defer answer.Start().Stop()
		time.Sleep(rand.N(20 * time.Millisecond)) // it works
		greetings.Add(1)
		fmt.Fprintln(w, "Hello!")
	})
	page := statusz.New(reg, statusz.Options{Client: client})
	mux.Handle("GET /status", page)  // JSON
	mux.Handle("GET /metrics", page) // Prometheus's text format
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: stats.Wrap(mux), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	url := "http://" + listener.Addr().String()
	fmt.Fprintf(stderr, "serving %s/hello; its state: %s/status and %s/metrics; reports go to %s; end with Ctrl-C\n", url, url, url, *dest)
	go visit(ctx, url+"/hello")

	select {
	case err = <-served:
	case <-ctx.Done():
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	return errors.Join(err, server.Shutdown(ctx), published.Stop(ctx))
}

// visit asks for a page some times a second.
func visit(ctx context.Context, url string) {
	for ctx.Err() == nil {
		if req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil); err == nil {
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
		select {
		case <-time.After(rand.N(200 * time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// receive starts an apmon-recv on a free port of loopback and returns its
// address.
func receive(ctx context.Context, stdout, stderr io.Writer) (addr string, end func(), err error) {
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = free.LocalAddr().String()
	free.Close()
	cmd := exec.Command("go", "run", "github.com/apmon-go/apmon/cmd/apmon-recv", "--listen", addr)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("apmon-recv: %w; name a receiver with -d", err)
	}
	ended := make(chan struct{})
	go func() {
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			fmt.Fprintf(stderr, "service: apmon-recv: %v; name a receiver with -d\n", err)
		}
		close(ended)
	}()
	return addr, func() {
		// A Ctrl-C has reached it already; it shows its summary and ends.
		if ctx.Err() == nil {
			_ = cmd.Process.Signal(os.Interrupt)
		}
		<-ended
	}, nil
}
