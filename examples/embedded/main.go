// Embedded is a program with a receiver inside: it keeps the last value of each parameter and
// answers with them as JSON.
//
//	go run ./examples/embedded -listen 127.0.0.1:8884 -http 127.0.0.1:8080
//	curl -s http://127.0.0.1:8080/
//
// At the end it prints what was lost of each sender.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/xdr"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "embedded:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("embedded", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:8884", "receive datagrams at this `address`")
	web := flags.String("http", "127.0.0.1:8080", "serve the values at this `address`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	recv, err := receiver.Listen(*listen, receiver.Options{})
	if err != nil {
		return err
	}
	defer recv.Close()
	listener, err := net.Listen("tcp", *web)
	if err != nil {
		return err
	}
	var values store
	server := &http.Server{Handler: &values, ReadHeaderTimeout: 10 * time.Second}
	defer server.Close()
	go func() { _ = server.Serve(listener) }()
	fmt.Fprintf(stderr, "receiving at %v, serving http://%v/; end with Ctrl-C\n", recv.Addr(), listener.Addr())

	err = recv.Serve(ctx, func(p *receiver.Packet) {
		if p.Err != nil {
			fmt.Fprintln(stderr, p.From, p.Err)
		}
		if p.Datagram != nil { // a truncated one has an error, and parameters
			values.add(p.Datagram)
		}
	})
	for _, s := range recv.Senders() {
		fmt.Fprintf(stdout, "%v: %d datagrams received, %d lost, %d refused\n", s.Addr, s.Received, s.Lost, s.Refused)
	}
	return err
}

// maxValues is the most values that are kept: anybody can send any name.
const maxValues = 100_000

// store has the last value of each parameter.
type store struct {
	mu     sync.Mutex
	n      int
	values map[string]map[string]any // by CLUSTER/NODE and parameter
}

// add copies the values of a datagram. Its strings are valid during the call only.
func (s *store) add(d *xdr.Datagram) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := d.Cluster + "/" + d.Node
	for i := range d.Params {
		p := &d.Params[i]
		if _, ok := s.values[key][p.Name]; !ok {
			if s.n == maxValues {
				continue
			}
			s.n++
		}
		if s.values == nil {
			s.values = map[string]map[string]any{}
		}
		if s.values[key] == nil {
			s.values[key] = map[string]any{}
		}
		s.values[key][strings.Clone(p.Name)] = value(p)
	}
}

// value returns a text, an integer, or a float; nil for one that JSON does not have.
func value(p *xdr.Param) any {
	switch f := p.Float(); {
	case p.Type() == xdr.TypeString:
		return strings.Clone(p.Text())
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil
	case p.Type() == xdr.TypeReal32 || p.Type() == xdr.TypeReal64:
		return f
	default:
		return p.Int()
	}
}

// ServeHTTP answers with all values.
func (s *store) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	b, err := json.MarshalIndent(s.values, "", "  ")
	s.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n'))
}
