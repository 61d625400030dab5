package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
)

// demoReports is how many reports --demo sends unless --count says otherwise.
const demoReports = 5

// demo shows the whole way: parameters of this host are sent once a second
// through the real client to a receiver on loopback, and shown as they arrive.
func demo(ctx context.Context, o listenOptions, out *printer, stderr io.Writer) error {
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
	fmt.Fprintf(stderr, "a receiver listens on %v; parameters of this host are sent to it every second\n", addr)

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if err := client.Send("Demo_Nodes", procinfo.Hostname(), hostParams()...); err != nil {
				fmt.Fprintln(stderr, err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	err = receive(ctx, r, o.count, o.limit, out, stderr)
	cancel()
	wg.Wait()
	return err
}

// hostParams reads a few parameters of this host, with the names and units
// that MonALISA knows them by. What cannot be read is left out.
func hostParams() []apmon.Param {
	params := []apmon.Param{
		apmon.Int("no_CPUs", runtime.NumCPU()),
		apmon.String("platform", runtime.GOOS+"/"+runtime.GOARCH),
	}
	number := func(name string, field []byte, unit float64) {
		if v, err := strconv.ParseFloat(string(field), 64); err == nil {
			params = append(params, apmon.Float(name, v*unit))
		}
	}
	if f := readFields("/proc/loadavg"); len(f) > 2 {
		number("load1", f[0], 1)
		number("load5", f[1], 1)
		number("load15", f[2], 1)
	}
	if f := readFields("/proc/uptime"); len(f) > 0 {
		number("uptime", f[0], 1./86400)
	}
	f := readFields("/proc/meminfo")
	for i := 0; i+1 < len(f); i++ {
		switch string(f[i]) {
		case "MemTotal:":
			number("total_mem", f[i+1], 1./1024)
		case "MemFree:":
			number("mem_free", f[i+1], 1./1024)
		case "MemAvailable:":
			number("mem_available", f[i+1], 1./1024)
		}
	}
	return params
}

func readFields(path string) [][]byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return bytes.Fields(b)
}
