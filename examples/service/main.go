// Service is an example of an HTTP server that reports on itself: request statistics, its
// own counters and gauges, Go's runtime, and a status page. The command
//
//	go run ./examples/service
//
// starts the server, sends it requests, and receives and prints its reports. With -d it
// reports to another receiver.
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
	"os/signal"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/httpstats"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/apmon/statusz"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
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
	dest := flags.String("d", "", "report to this `destination`, host:port (default: receive and print the reports here)")
	interval := flags.Duration("interval", 5*time.Second, "report this often")
	load := flags.Float64("load", 10, "request the greeting about so many `times` per second; 0 for never")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dest == "" {
		addr, end, err := receive(stdout)
		if err != nil {
			return err
		}
		defer end()
		*dest = addr
	}

	// The client and its background reports. apmon-bg reports on the host.
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

	// The metrics of the service.
	reg := metrics.New()
	defer reg.Close()
	reg.AddRuntime()
	names := apmon.ReportOptions{Cluster: "Example_Services", Node: "service", Interval: *interval}
	published, err := metrics.Publish(client, reg, metrics.PublishOptions{Cluster: names.Cluster, Node: names.Node, Interval: *interval})
	if err != nil {
		return err
	}
	stats := httpstats.New(httpstats.Options{})
	names.Name = "http"
	if _, err := client.AddSource(stats, names); err != nil {
		return err
	}

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: stats.Wrap(pages(reg, client, stats)), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	url := "http://" + listener.Addr().String()
	fmt.Fprintf(stderr, "serving %s/hello; its state: %s/status and %s/metrics; reports go to %s; end with Ctrl-C\n", url, url, url, *dest)
	if *load > 0 {
		go visit(ctx, url+"/hello", time.Duration(float64(time.Second) / *load))
	}

	select {
	case err = <-served:
	case <-ctx.Done():
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second) // on a busy host too
	defer stop()
	return errors.Join(err, server.Shutdown(ctx), published.Stop(ctx))
}

// pages returns the handler of all pages: a greeting, which is counted and measured, and
// the state of the service.
func pages(reg *metrics.Registry, client *apmon.Client, stats *httpstats.Stats) http.Handler {
	greetings, waiting, answer := reg.Counter("greetings"), reg.Gauge("waiting"), reg.Measure("answer")
	reg.Describe("greetings", "", "Greetings given.")
	reg.Describe("waiting", "", "Requests that wait for a greeting.")
	reg.Describe("answer", "ms", "Time until a greeting is given.")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) {
		waiting.Add(1)
		defer waiting.Add(-1)
		defer answer.Start().Stop()
		time.Sleep(rand.N(20 * time.Millisecond)) // simulated work
		greetings.Add(1)
		fmt.Fprintln(w, "Hello!")
	})
	page := statusz.New(reg, statusz.Options{Client: client, HTTP: stats})
	mux.Handle("GET /status", page)  // for people, or JSON
	mux.Handle("GET /metrics", page) // Prometheus's text format
	return mux
}

// visit requests a page, with pauses of this mean.
func visit(ctx context.Context, url string, pause time.Duration) {
	for ctx.Err() == nil {
		if req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil); err == nil {
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
		select {
		case <-time.After(rand.N(2*pause + 1)):
		case <-ctx.Done():
		}
	}
}

// receive listens on a free port of loopback, prints the reports that arrive, and returns
// its address. The caller calls end after the last report.
func receive(stdout io.Writer) (addr string, end func(), err error) {
	recv, err := receiver.Listen("127.0.0.1:0", receiver.Options{})
	if err != nil {
		return "", nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = recv.Serve(ctx, func(p *receiver.Packet) {
			if p.Err != nil {
				fmt.Fprintln(stdout, p.From, p.Err)
			}
			if p.Datagram == nil { // refused; a truncated one has parameters
				return
			}
			fmt.Fprintln(stdout, p.Datagram.Cluster, p.Datagram.Node)
			for i := range p.Datagram.Params {
				param := &p.Datagram.Params[i]
				if param.Type() == xdr.TypeString {
					fmt.Fprintf(stdout, "    %s = %q\n", param.Name, param.Text())
				} else {
					fmt.Fprintf(stdout, "    %s = %v\n", param.Name, param.Float())
				}
			}
		})
	}()
	return recv.Addr().String(), func() {
		stop() // Serve handles the datagrams that have arrived
		<-served
		recv.Close()
	}, nil
}
