package apmon

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/apmon-go/apmon/conf"
)

// Defaults of a Client.
const (
	// DefaultCluster is the cluster of a message that names none.
	DefaultCluster = "ApMon_UserSend"
	// DefaultRate is the rate limit in datagrams a second: receivers drop,
	// silently, what comes above 50 from one address.
	DefaultRate = conf.DefaultMaxMsgRate
	// resolveTimeout bounds the name look-ups of New, and each later one.
	resolveTimeout = 5 * time.Second
	// maxLookups is how many names are looked up at once.
	maxLookups = 32
	// recheckInterval is how long a looked-up address is believed, and
	// retryInterval at least how long after a failed look-up the next one is
	// made, see [backoff].
	recheckInterval = 600 * time.Second
	retryInterval   = 30 * time.Second
	// redialInterval is the least time between two attempts to make a socket
	// for one destination.
	redialInterval = time.Second
)

// RatePolicy is what happens to a message over the rate limit.
type RatePolicy int

const (
	// Drop returns [ErrRateLimited] at once, and counts. The default.
	Drop RatePolicy = iota
	// Wait waits until the message may be sent. No lock is held; the wait
	// ends with the context of [Client.SendMessage], or with [ErrClosed] when
	// the client is closed. A message of very many datagrams goes in parts.
	Wait
	// Off sends whatever comes.
	Off
)

// Option changes how a Client works. What comes from a configuration is in
// [conf.Config] instead.
type Option func(*options)

type options struct {
	ctx     context.Context
	logger  *slog.Logger
	dial    func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// transport fetches URLs; nil for that of package conf.
	transport  http.RoundTripper
	directives []conf.Directive
	adjust     func(*conf.Config)
	// adjustOptions changes those of each source.
	adjustOptions func(*conf.Options)
	tap           func(datagram []byte)
	startEmpty    bool
	background    bool // Open returns at once
	fallback      bool
	policy        RatePolicy
	limit         int
	cluster       string
	node          string

	hostCluster, hostNode string
	withoutHost           bool
	// defaultNode is node, or else the host name.
	defaultNode func() string
}

// WithContext bounds the name look-ups of [New], which last 5 s at most in any
// case. The client does not end with the context: [Client.Close] ends it.
func WithContext(ctx context.Context) Option { return func(o *options) { o.ctx = ctx } }

// WithLogger tells where to log. By default nothing is logged. Messages of one
// kind come at most once a minute for each destination, and hold no passwords.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithRatePolicy tells what to do with a message over the rate limit.
func WithRatePolicy(p RatePolicy) Option { return func(o *options) { o.policy = p } }

// WithNames sets the cluster and the node of messages that name none. The
// defaults are [DefaultCluster] and the fully qualified host name; an empty
// argument leaves the default.
func WithNames(cluster, node string) Option {
	return func(o *options) { o.cluster, o.node = cluster, node }
}

// WithDatagramLimit sets the size in bytes at which a message is split into
// datagrams: 1432 by default, so that one fits a frame of Ethernet with IPv6
// or a tunnel; 8192 at most, the smaller of the receivers' buffers.
func WithDatagramLimit(n int) Option { return func(o *options) { o.limit = n } }

// WithDialer replaces how sockets are made, for tests and other transports. The
// connection's Write sends one datagram, and must not block.
func WithDialer(dial func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

// WithResolver replaces the look-up of host names. It has to return when its
// context ends, or [Client.Close] waits for it. It is not asked for literal
// addresses.
func WithResolver(resolve func(ctx context.Context, host string) ([]netip.Addr, error)) Option {
	return func(o *options) { o.resolve = resolve }
}

// WithTransport replaces how [Open] fetches configurations from URLs.
func WithTransport(t http.RoundTripper) Option { return func(o *options) { o.transport = t } }

// WithDirectives registers directives of the program. A configuration that [Open]
// reads returns them as [conf.Options].Settings; [WithAdjust] sees those of all.
func WithDirectives(directives ...conf.Directive) Option {
	return func(o *options) { o.directives = directives }
}

// WithAdjust has what all configurations say together changed before it is
// used, now and at every reload: to give a password that is kept elsewhere to
// destinations that have none, or another rate.
func WithAdjust(adjust func(*conf.Config)) Option {
	return func(o *options) { o.adjust = adjust }
}

// WithMonitoring has the monitoring options of each source changed before they
// are used, now and at every reload. Its intervals are read as those of a
// configuration; see [Client.Monitor]. [New] and [Open] also call adjust with the
// defaults, and return an error for an interval that is neither 0 nor at least
// 1 s. (With one that adjust sets only later, a reload changes nothing and
// returns the error.)
func WithMonitoring(adjust func(*conf.Options)) Option {
	return func(o *options) { o.adjustOptions = adjust }
}

// WithMonitorNames sets the cluster and the node of the reports on this host.
// The defaults are [DefaultMonitorCluster] and the client's default node; an
// empty argument leaves the default. [Client.SetMonitorNames] changes them later.
func WithMonitorNames(cluster, node string) Option {
	return func(o *options) { o.hostCluster, o.hostNode = cluster, node }
}

// WithoutHost leaves this host, and the sender's own statistics, out of the
// reports, whatever the configurations say: for programs that report sources or
// jobs of their own, on hosts of which apmon-bg or another program reports.
func WithoutHost() Option { return func(o *options) { o.withoutHost = true } }

// WithTap has every datagram shown to tap when it is sent, once, whatever the
// destinations: without a password, and with sequence numbers of its own. It is
// as good as a destination, so there need be no other. The bytes are
// valid during the call; calls come one at a time, and hold up the sender.
func WithTap(tap func(datagram []byte)) Option { return func(o *options) { o.tap = tap } }

// WithStartEmpty lets [Open] succeed with no destination at all and keep
// trying: for what may start before the network, and must not fail. Until a
// source yields one, Send returns [ErrNoDestination].
func WithStartEmpty() Option { return func(o *options) { o.startEmpty = true } }

// WithOpenInBackground is [WithStartEmpty] for who cannot wait at all: [Open]
// returns at once, and reads its sources in the background. See [Client.Ready].
func WithOpenInBackground() Option {
	return func(o *options) { o.startEmpty, o.background = true, true }
}

// WithFallback takes the sources of [Open] one by one, in random order, until
// one yields a destination, and uses that one alone. By default all are merged.
func WithFallback() Option { return func(o *options) { o.fallback = true } }

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
