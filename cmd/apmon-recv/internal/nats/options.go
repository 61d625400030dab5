// Package nats carries datagrams through streams of NATS JetStream, so that a site can have
// several receivers and several consumers, none of which keeps state.
//
//	receivers → --nats → streams NAME-0, NAME-1, … → --from-nats → outputs
//
// # Messages
//
// A message is one datagram, as it was received: see [subjects.Of] for its subject. Headers hold
// the address of the sender (Apmon-From), the time when the datagram was read
// (Apmon-Received), and the message id (Nats-Msg-Id).
//
// The message id consists of instance id, sequence number, and a hash of the body. A stream
// drops a message whose id it has seen within the duplicate window. So a client that sends to
// two receivers is stored once, as long as both have counted its datagrams alike. They have
// not, and each datagram is stored twice, if
//
//   - the client began to send to the second receiver later, such as after a change of its
//     configuration, a late look-up, or a restart of the client's network;
//   - the client has one counter for all destinations, as the C, C++ and Java clients do:
//     the numbers of the destinations then differ;
//   - one receiver publishes a datagram later than the duplicate window after the other.
//
// Datagrams without a sequence number (clients before version 2.2) have no message id: they
// are stored once for each receiver, and twice if a publish is repeated.
//
// # Partitions
//
// The datagrams of one node are in one partition, a stream of its own, so that their order
// is kept and one consumer has all of them.
package nats

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/apmon-go/apmon/cmd/internal/units"
)

// Defaults of the options.
const (
	DefaultStream   = "APMON"
	DefaultWindow   = 30 * time.Second
	DefaultMaxAge   = time.Hour
	DefaultMaxBytes = 4 << 30 // bytes
	DefaultConsumer = "apmon-recv"
	DefaultFailover = 10 * time.Second

	// maxPartitions is far above the number that a NATS cluster can serve.
	maxPartitions = 1024
)

// Server says which streams of which servers.
type Server struct {
	// URL is that of a server, or of several separated by commas: nats://HOST[:PORT],
	// tls:// or ws://. It may hold a user and a password, or a token.
	URL string `yaml:"url"`
	// Credentials is a file with a user's JWT and seed, as nsc writes it.
	Credentials string `yaml:"credentials"`
	// CA is a file with certificates of authorities, for TLS. Cert and Key are files with
	// the certificate of this client and its key.
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// Stream is the name of the streams, without the number of the partition.
	Stream string `yaml:"stream"` // DefaultStream if empty
	// Partitions is the number of streams. All receivers and consumers must agree on it.
	Partitions int `yaml:"partitions"` // 1 if 0
}

// Options are those of the output. The zero values are the defaults.
type Options struct {
	Server `yaml:",inline"`
	// Of streams that do not exist and are created:
	// Window is how long a stream recognizes a message id. It is also the age up to which
	// a datagram is published: an older one may have been stored by another receiver, and
	// forgotten.
	Window time.Duration `yaml:"window"` // DefaultWindow if 0
	// MaxAge is how long a stream keeps a message.
	MaxAge time.Duration `yaml:"max-age"` // DefaultMaxAge if 0
	// MaxBytes is the size of each stream, in bytes. The oldest messages make room.
	MaxBytes units.Bytes `yaml:"max-bytes"` // DefaultMaxBytes if 0
	// Replicas is the number of servers that keep each stream: 1, 3 or 5.
	Replicas int `yaml:"replicas"` // 1 if 0
}

// ConsumeOptions are those of the consumer. The zero values are the defaults.
type ConsumeOptions struct {
	Server `yaml:",inline"`
	// Consumer is the name of the durable consumer of each stream. Members with the same
	// name share the partitions; those with another one get all datagrams too.
	Consumer string `yaml:"consumer"` // DefaultConsumer if empty
	// Failover is how long the active member of a partition may be silent until a standby
	// takes its place. At least 3 s.
	Failover time.Duration `yaml:"failover"` // DefaultFailover if 0
}

// Check reports the first option that cannot be used. It reads the files, and does not use
// the network.
func (o Options) Check() error {
	if err := o.Server.check(); err != nil {
		return err
	}
	o.defaults()
	switch {
	case o.Window < 2*time.Second:
		return fmt.Errorf("window: %v is less than 2s", o.Window)
	case o.MaxAge < o.Window:
		return fmt.Errorf("max-age: %v is less than the window of %v", o.MaxAge, o.Window)
	case o.MaxBytes < 1<<20:
		return fmt.Errorf("max-bytes: %d is less than 1 MiB", o.MaxBytes)
	case o.Replicas < 1 || o.Replicas > 5:
		return fmt.Errorf("replicas: %d is not from 1 to 5", o.Replicas)
	}
	return nil
}

// Check reports the first option that cannot be used. It reads the files, and does not use
// the network.
func (o ConsumeOptions) Check() error {
	if err := o.Server.check(); err != nil {
		return err
	}
	o.defaults()
	switch {
	case !goodName(o.Consumer):
		return fmt.Errorf("consumer: %q is not a name of letters, digits, - and _", o.Consumer)
	case o.Failover < 3*time.Second:
		return fmt.Errorf("failover: %v is less than 3s", o.Failover)
	}
	return nil
}

func (s *Server) defaults() {
	s.Stream = cmp.Or(s.Stream, DefaultStream)
	s.Partitions = cmp.Or(s.Partitions, 1)
}

func (o *Options) defaults() {
	o.Server.defaults()
	o.Window = cmp.Or(o.Window, DefaultWindow)
	o.MaxAge = cmp.Or(o.MaxAge, DefaultMaxAge)
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	o.Replicas = cmp.Or(o.Replicas, 1)
}

func (o *ConsumeOptions) defaults() {
	o.Server.defaults()
	o.Consumer = cmp.Or(o.Consumer, DefaultConsumer)
	o.Failover = cmp.Or(o.Failover, DefaultFailover)
}

func (s Server) check() error {
	if _, err := s.urls(); err != nil {
		return err
	}
	s.defaults()
	if !goodName(s.Stream) {
		return fmt.Errorf("stream: %q is not a name of letters, digits, - and _", s.Stream)
	}
	if s.Partitions < 1 || s.Partitions > maxPartitions {
		return fmt.Errorf("partitions: %d is not from 1 to %d", s.Partitions, maxPartitions)
	}
	if s.Credentials != "" {
		if _, err := os.ReadFile(s.Credentials); err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
	}
	if s.CA != "" {
		b, err := os.ReadFile(s.CA)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(b) {
			return fmt.Errorf("ca: %s has no certificate in PEM", s.CA)
		}
	}
	switch {
	case (s.Cert == "") != (s.Key == ""):
		return errors.New("cert, key: one is given without the other")
	case s.Cert != "":
		if _, err := tls.LoadX509KeyPair(s.Cert, s.Key); err != nil {
			return fmt.Errorf("cert, key: %w", err)
		}
	}
	return nil
}

// goodName reports whether a name can be that of a stream and of its directory.
func goodName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= 200
}

// urls returns the URLs of the servers. The error does not show them, since they may hold a
// password.
func (s Server) urls() ([]*url.URL, error) {
	if strings.TrimSpace(s.URL) == "" {
		return nil, errors.New("url: it is empty")
	}
	var all []*url.URL
	for i, text := range strings.Split(s.URL, ",") {
		text = strings.TrimSpace(text)
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("url: number %d cannot be parsed", i+1) // err shows the URL
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return nil, fmt.Errorf("url: number %d: the scheme is not nats, tls, ws or wss", i+1)
		}
		if u.Hostname() == "" {
			return nil, fmt.Errorf("url: number %d: it has no host", i+1)
		}
		all = append(all, u)
	}
	return all, nil
}

// name returns where the streams are, without passwords.
func (s Server) name() string {
	s.defaults()
	urls, err := s.urls()
	if err != nil {
		return s.Stream
	}
	var hosts []string
	for _, u := range urls {
		hosts = append(hosts, u.Scheme+"://"+u.Host)
	}
	return strings.Join(hosts, ",") + " " + s.Stream
}

// partition returns the name of the stream of a partition.
func (s Server) partition(part int) string { return s.Stream + "-" + strconv.Itoa(part) }

// requestTimeout is how long a server may take to answer, and dialTimeout how long it takes
// to connect.
const (
	requestTimeout = 5 * time.Second
	dialTimeout    = 5 * time.Second
	reconnectWait  = 500 * time.Millisecond
)

// connect returns a connection that is made, and made again, in the background. It returns
// an error for options that Check would have refused. Async receives errors that belong to no
// call, such as a missing permission.
func (s Server) connect(async func(error), more ...nats.Option) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("apmon-recv"),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // the account may be made later
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectBufSize(-1), // the queue of the output is the only buffer
		nats.Timeout(dialTimeout),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { async(err) }),
	}
	options = append(options, more...)
	if s.Credentials != "" {
		options = append(options, nats.UserCredentials(s.Credentials))
	}
	if s.CA != "" {
		options = append(options, nats.RootCAs(s.CA))
	}
	if s.Cert != "" {
		options = append(options, nats.ClientCert(s.Cert, s.Key))
	}
	nc, err := nats.Connect(s.URL, options...)
	if err != nil {
		if u, bad := s.urls(); bad != nil || len(u) == 0 {
			return nil, bad // shows no password
		}
	}
	return nc, err
}

// why returns the reason why a request failed: that of the connection, if it is down.
func why(nc *nats.Conn, err error) error {
	down := errors.Is(err, nats.ErrReconnectBufExceeded)
	if !nc.IsConnected() || down {
		if last := nc.LastError(); last != nil {
			return last
		}
	}
	if down {
		return errors.New("not connected")
	}
	return err
}
