package apmon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// Defaults of a Client.
const (
	// DefaultCluster is the cluster of a message without one.
	DefaultCluster = "ApMon_UserSend"
	// DefaultHostCluster is the cluster of the reports on the host.
	DefaultHostCluster = "ApMon_SysMon"
	// DefaultJobCluster is the cluster of jobs without one.
	DefaultJobCluster = "ApMon_JobMon"
	// DefaultRate is the rate limit in datagrams a second. Receivers silently drop
	// datagrams over 50 a second from one address.
	DefaultRate = conf.DefaultMaxMsgRate
)

// RatePolicy selects how Send handles a message over the rate limit.
type RatePolicy int

const (
	// RateDrop drops and counts the message, and returns [ErrRateLimited] at once.
	// It is the default.
	RateDrop RatePolicy = iota
	// RateWait waits until the message may be sent, without holding a lock. The wait
	// ends with the context of [Client.SendMessage], or with [ErrClosed] when the
	// client is closed. A message of very many datagrams is sent in parts.
	RateWait
	// RateOff sends every message at once, without a limit.
	RateOff
)

// Options are the settings of a client that do not come from a configuration.
// The zero value of every field is its default. Pass them to [New] or [OpenSources]
// as an [Option], once:
//
//	c, err := apmon.New(cfg, apmon.Options{RatePolicy: apmon.RateWait}, apmon.WithLogger(logger))
type Options struct {
	// RatePolicy selects how a message over the rate limit is handled.
	RatePolicy RatePolicy
	// DatagramLimit is the size in bytes at which a message is split into
	// datagrams. The default is 1432, so that a datagram fits an Ethernet frame
	// with IPv6 or a tunnel. The maximum is 8192, the smaller one of the buffer
	// sizes of receivers.
	DatagramLimit int
	// Cluster and Node are the names of messages without one. The defaults are
	// [DefaultCluster] and the fully qualified host name.
	Cluster, Node string
	// HostCluster and HostNode are the names of the reports on this host, until
	// [Client.SetHostReportNames] changes them. The defaults are
	// [DefaultHostCluster] and Node.
	HostCluster, HostNode string
	// WithoutHost switches off the reports on this host and the sender's own
	// statistics. It overrides the configurations. Use it in programs that report
	// their own sources or jobs while apmon-bg reports the host.
	WithoutHost bool
	// Adjust changes the merged configuration before it is used, at the start and
	// at every reload, for example to set a password or the rate.
	Adjust func(*conf.Config)
	// AdjustSource changes the monitoring options of each source before they are
	// used, at the start and at every reload; see [Client.Monitor]. An interval must
	// be 0 or at least 1 s. New and Open also call AdjustSource with the default
	// options and return an error for any other interval; so does a later reload,
	// which then changes nothing.
	AdjustSource func(*conf.Options)

	// The fields below are for Open; with New they are an error.

	// Directives are the program's own directives. Their values are in
	// [conf.Options].Settings; Adjust gets those of all sources.
	Directives []conf.Directive

	// Fallback tries the sources one by one, in random order, until one yields a
	// destination, and uses only that one. By default all are merged.
	Fallback bool
	// StartEmpty lets Open succeed without any destination and try again in the
	// background. Use it in programs that may start before the network is up. Until
	// a source yields a destination, Send returns [ErrNoDestination].
	StartEmpty bool
	// OpenInBackground implies StartEmpty: Open returns at once, and the sources
	// are read in the background. See [Client.Ready].
	OpenInBackground bool
}

// Option is an argument of [New] and [OpenSources]: [Options], or a replacement for
// a part of the client such as [WithLogger].
type Option interface{ set(*settings) }

type optionFunc func(*settings)

func (f optionFunc) set(s *settings) { f(s) }

func (o Options) set(s *settings) {
	s.Options = o
	s.given++
}

// settings are the options of one client.
type settings struct {
	Options
	given     int             // number of Options
	ctx       context.Context // nil if not given
	logger    *slog.Logger
	dial      func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	resolve   func(ctx context.Context, host string) ([]netip.Addr, error)
	transport http.RoundTripper
	tap       func(datagram []byte)
	// defaultNode returns Node, or else the host name.
	defaultNode func() string
	forOpen     []string // options given that only Open uses
	forNew      []string // options given that only New uses
	bad         error    // an option's argument
}

// WithContext bounds the name look-ups of [New], which take 5 s at most in any
// case. The client does not end with the context: [Client.Close] ends it. It is
// an error with [Open], which has a context of its own.
func WithContext(ctx context.Context) Option {
	return optionFunc(func(s *settings) {
		s.forNew = append(s.forNew, "WithContext")
		if s.ctx = ctx; ctx == nil {
			s.bad = errors.New("apmon: nil context or resolver")
		}
	})
}

// WithLogger sets the logger; by default nothing is logged. Messages of one
// kind are logged at most once a minute for each destination, and contain no
// passwords.
func WithLogger(l *slog.Logger) Option { return optionFunc(func(s *settings) { s.logger = l }) }

// WithDialer replaces how sockets are made, for tests and other transports. The
// connection's Write sends one datagram, and must not block.
func WithDialer(dial func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)) Option {
	return optionFunc(func(s *settings) { s.dial = dial })
}

// WithResolver replaces the look-up of host names. The function must return when
// its context ends, since [Client.Close] waits for it. It is not called for
// literal addresses.
func WithResolver(resolve func(ctx context.Context, host string) ([]netip.Addr, error)) Option {
	return optionFunc(func(s *settings) {
		if s.resolve = resolve; resolve == nil {
			s.bad = errors.New("apmon: nil context or resolver")
		}
	})
}

// WithTransport replaces how [Open] fetches configurations from URLs. It is an
// error with [New].
func WithTransport(t http.RoundTripper) Option {
	return optionFunc(func(s *settings) {
		s.transport = t
		s.forOpen = append(s.forOpen, "WithTransport")
	})
}

// WithTap calls tap with every datagram that is sent, once for all destinations,
// without a password and with its own sequence numbers. A client with a tap needs no
// destination. The bytes are valid only during the call. Calls are never concurrent,
// and delay the sender.
func WithTap(tap func(datagram []byte)) Option {
	return optionFunc(func(s *settings) { s.tap = tap })
}

// newSettings applies options, checks them, and fills in defaults.
func newSettings(opts []Option) (*settings, error) {
	s := &settings{resolve: lookup}
	for _, o := range opts {
		if o != nil {
			o.set(s)
		}
	}
	switch {
	case s.bad != nil:
		return nil, s.bad
	case s.given > 1:
		return nil, errors.New("apmon: Options are given more than once")
	case s.DatagramLimit < 0 || s.DatagramLimit > xdr.MaxLimit:
		return nil, fmt.Errorf("apmon: datagram limit of %d bytes is not within 1 … %d", s.DatagramLimit, xdr.MaxLimit)
	case s.RatePolicy < RateDrop || s.RatePolicy > RateOff:
		return nil, fmt.Errorf("apmon: unknown rate policy %d", s.RatePolicy)
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.DatagramLimit = cmp.Or(s.DatagramLimit, xdr.DefaultLimit)
	s.Cluster = cmp.Or(s.Cluster, DefaultCluster)
	s.HostCluster = cmp.Or(s.HostCluster, DefaultHostCluster)
	for _, n := range []struct{ what, name string }{
		{"default cluster", s.Cluster}, {"default node", s.Node}, {"cluster of the host", s.HostCluster}, {"node of the host", s.HostNode},
	} {
		if n.name == "" {
			continue // the host name is the default node
		}
		if err := xdr.CheckName(n.name); err != nil {
			return nil, fmt.Errorf("apmon: %s: %w", n.what, err)
		}
	}
	s.defaultNode = func() string { return s.Node }
	if s.Node == "" {
		s.defaultNode = sync.OnceValue(procinfo.Hostname) // on first use: it reads files
	}
	for _, o := range []struct {
		name  string
		given bool
	}{{"Fallback", s.Fallback}, {"StartEmpty", s.StartEmpty}, {"OpenInBackground", s.OpenInBackground}, {"Directives", s.Directives != nil}} {
		if o.given {
			s.forOpen = append(s.forOpen, o.name)
		}
	}
	// AdjustSource is checked here also for clients without a configuration.
	if _, err := s.monitoring([]conf.Config{{}}); err != nil {
		return nil, fmt.Errorf("apmon: %w", err)
	}
	return s, nil
}

// refuse returns an error if options are given that the constructor ignores.
func refuse(ignored []string, constructor string) error {
	if len(ignored) == 0 {
		return nil
	}
	return fmt.Errorf("apmon: %s has no effect with %s", ignored[0], constructor)
}

// checkContent checks a configuration made by a program.
func checkContent(cfg conf.Config) error {
	if err := checkOptions(cfg.Options); err != nil {
		return err
	}
	for _, cd := range cfg.Destinations {
		if err := cd.Check(); err != nil {
			return fmt.Errorf("destination %s: %w", safetext.Quote(cd.Name()), err)
		}
	}
	return nil
}

// checkOptions checks rate and intervals set by a program.
func checkOptions(o conf.Options) error {
	if err := checkRate(o.MaxMsgRate); err != nil {
		return err
	}
	for _, i := range []struct {
		name     string
		interval time.Duration
	}{{"SysInterval", o.SysInterval}, {"JobInterval", o.JobInterval}, {"RecheckInterval", o.RecheckInterval}} {
		if err := checkInterval(i.interval); err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
	}
	return nil
}

// checkRate refuses a rate limit that is neither 0 nor a positive number.
func checkRate(rate float64) error {
	if rate != 0 && !(rate > 0 && rate < math.Inf(1)) {
		return fmt.Errorf("rate limit of %v messages a second is not a positive number", rate)
	}
	return nil
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
