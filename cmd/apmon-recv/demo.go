package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
)

// demoReports is the default of --count with --demo.
const demoReports = 5

// demo sends parameters of this host once a second with the real client to a receiver
// on loopback, and prints them as they arrive.
func demo(ctx context.Context, o listenOptions, stdout, stderr io.Writer) error {
	s, err := o.load()
	if err != nil {
		return err
	}
	r, err := receiver.Listen("127.0.0.1:0", receiver.Options{})
	if err != nil {
		return command.Errorf(command.Unavailable, "cannot listen on loopback: %w", err)
	}
	defer r.Close()
	addr := r.Addr()
	client, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: addr.Addr().String(), Port: addr.Port()}}})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.count == 0 && o.limit == 0 {
		o.count = demoReports
	}
	fmt.Fprintf(stderr, "listening on %v; parameters of this host are sent there every second\n", addr)

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		host := procinfo.NewHost(procinfo.DefaultFS(os.Getenv))
		defer host.Close()
		var params []apmon.Param
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			params = hostParams(host, params[:0])
			if err := client.Send("Demo_Nodes", procinfo.Hostname(), params...); err != nil {
				fmt.Fprintln(stderr, err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	br := newBridge(stdout, command.NewLogger(stderr, "apmon-recv", slog.LevelInfo, false))
	if err = br.apply(ctx, s); err == nil {
		err = receive(ctx, r, o, br, stderr)
	}
	cancel()
	wg.Wait()
	return err
}

// hostParams adds the parameters that the kernel provides, or those of the Go runtime
// on systems that procinfo does not support.
func hostParams(h *procinfo.Host, params []apmon.Param) []apmon.Param {
	if err := h.Sample(nil); err == nil || runtime.GOOS == "linux" {
		return h.System.Append(params, nil) // parameters that could not be read are left out
	}
	return append(params, apmon.Int("no_CPUs", runtime.NumCPU()), apmon.String("platform", runtime.GOOS+"/"+runtime.GOARCH))
}
