// Package httpserver is the HTTP server of apmon-recv: it serves /metrics, /healthz, and the
// page. Package guard decides for all of them which names and sites are answered.
//
// TLS and basic authentication come from a file in the format that all exporters of Prometheus
// have: https://prometheus.io/docs/prometheus/latest/configuration/https/. Certificates and
// users are read again for each connection and request.
package httpserver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"

	"github.com/apmon-go/apmon/internal/webserver"
)

// Options say where the server listens.
type Options struct {
	// Listen is [HOST:]PORT, see [webserver.Options].
	Listen string `yaml:"http"`
	// Config is a file with the settings of TLS and authentication, empty for none.
	Config string `yaml:"http-config"`
	// Hosts are names of this host by which it is asked, beside addresses, localhost and those
	// that it knows itself: see package guard.
	Hosts []string `yaml:"http-host"`
}

// Handlers answer requests.
type Handlers struct {
	Metrics http.Handler // of /metrics
	// Healthy returns why the receiver does not work, nil if it does.
	Healthy func() error
	// Page answers all other requests; nil for none.
	Page http.Handler
}

// Check returns an error if the address or a name is malformed, or the file cannot be used.
func (o Options) Check() error {
	if err := o.server().Check(); err != nil {
		return err
	}
	if err := web.Validate(o.Config); err != nil {
		return fmt.Errorf("http-config %s: %w", o.Config, err)
	}
	return nil
}

func (o Options) server() webserver.Options {
	return webserver.Options{Listen: o.Listen, Hosts: o.Hosts}
}

// Listen opens the socket. It logs a warning if it is one for all addresses. Nil discards
// the log.
func Listen(o Options, h Handlers, log *slog.Logger) (*webserver.Server, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	options := o.server()
	if o.Config != "" {
		var err error
		if options.TLS, err = o.hasTLS(); err != nil {
			return nil, err
		}
		options.Serve = func(l net.Listener, s *http.Server) error {
			return web.Serve(l, s, &web.FlagConfig{WebConfigFile: &o.Config}, quieter(log))
		}
	}
	return webserver.Listen(options, h.mux(), log)
}

// hasTLS reports whether the file of the settings turns TLS on.
func (o Options) hasTLS() (bool, error) {
	b, err := os.ReadFile(o.Config)
	if err != nil {
		return false, fmt.Errorf("http-config %s: %w", o.Config, err)
	}
	var c web.Config
	if err := yaml.Unmarshal(b, &c); err != nil {
		return false, fmt.Errorf("http-config %s: %w", o.Config, err)
	}
	return c.TLSConfig.IsEnabled(), nil
}

// quieter returns a logger for the library, which reports at each start that TLS is on.
func quieter(log *slog.Logger) *slog.Logger { return slog.New(warnings{log.Handler()}) }

// warnings passes on warnings and errors.
type warnings struct{ slog.Handler }

// Enabled implements [slog.Handler].
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

// mux routes requests.
func (h Handlers) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/metrics", h.Metrics)
	mux.HandleFunc("/healthz", h.healthz)
	if h.Page != nil {
		mux.Handle("/", h.Page)
	} else {
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "not found: there are /metrics and /healthz", http.StatusNotFound)
		})
	}
	return mux
}

func (h Handlers) healthz(w http.ResponseWriter, _ *http.Request) {
	if h.Healthy != nil {
		if err := h.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}
