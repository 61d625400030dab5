// Package relay is the output of apmon-recv that sends datagrams to another receiver.
//
// A plain relay sends each datagram as it came, from one of 16 ports that its instance id
// selects, so that the sockets of the next receiver share the load and each sender stays
// on one of them. It does not pace: the next receiver must not limit the rate of an address.
// A relay to its own receiver is noticed and stopped; one that leads back over another receiver
// is not.
//
// A regrouping relay ([Options.Regroup]) is for receivers that do: it merges the datagrams of
// each node into few, see regroup.go.
package relay

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/conf"
)

// SendFailed is the cause of datagrams that the system did not send: the destination's name
// cannot be resolved, nothing listens there, or there is no route.
const SendFailed = "send_failed"

// Loop is the cause of datagrams that the relay itself has sent, or would send, to this receiver.
const Loop = "loop"

const (
	// ports is the number of source ports of a plain relay.
	ports = 16
	// lookupInterval is the time after which a name is looked up again; after a failure it
	// is retryInterval.
	lookupInterval = 5 * time.Minute
	retryInterval  = 5 * time.Second
)

// Options are the settings of a relay.
type Options struct {
	// To is the destination: host:port, or host for port 8884. It has no password: datagrams
	// keep the one they have.
	To string `yaml:"to"`
	// Regroup is the time within which the datagrams of one node are merged; 0 sends each one
	// as it is.
	Regroup time.Duration `yaml:"regroup"`
}

// Check returns an error if the settings cannot be used.
func (o Options) Check() error {
	d, err := conf.ParseDestination(o.To)
	switch {
	case err != nil:
		return fmt.Errorf("to: %w", err)
	case d.Password != "":
		return fmt.Errorf("to: %s has a password, but relayed datagrams keep their own", d.Name())
	case o.Regroup < 0 || o.Regroup > time.Hour:
		return fmt.Errorf("regroup: %v is not between 0 and 1h", o.Regroup)
	}
	return nil
}

// Output sends datagrams to another receiver.
type Output struct {
	options Options
	to      string // host:port
	seed    maphash.Seed

	conns  []net.Conn
	lookup time.Time // when the name is looked up next
	// local has the addresses of conns.
	local atomic.Pointer[map[netip.AddrPort]bool]
	loop  bool // a datagram of conns has come back to this receiver
}

// New returns an output for settings that Check accepts.
func New(o Options) (*Output, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	d, _ := conf.ParseDestination(o.To)
	return &Output{options: o, to: d.Name(), seed: maphash.MakeSeed()}, nil
}

// Name implements [output.Output].
func (o *Output) Name() string { return "relay " + o.to }

// Run implements [output.Output].
func (o *Output) Run(ctx context.Context, in *output.In) error {
	defer func() { closeAll(o.conns) }()
	if o.options.Regroup > 0 {
		return o.regroup(ctx, in)
	}
	for in.Take(ctx, 1, 0) {
		sent, lost := 0, 0
		for p := range in.Packets() {
			if p.Datagram == nil || !o.passes(in, p) {
				continue
			}
			if err := o.write(ctx, o.port(p), p.Raw); err != nil {
				in.Fails(err)
				lost++
				continue
			}
			sent++
		}
		in.Sent(sent)
		in.Drop(SendFailed, lost)
		if lost == 0 && !o.loop {
			in.Works()
		}
	}
	return nil
}

// port selects one of the source ports: that of the sender's process, or of its address if the
// datagram has no instance id.
func (o *Output) port(p *receiver.Packet) int {
	if p.Datagram.Sequenced() {
		// Instance ids may be consecutive, or multiples of something.
		return int(uint32(p.Datagram.Instance) * 0x9e3779b1 >> 28)
	}
	return int(maphash.Comparable(o.seed, p.From.Addr()) % ports)
}

// passes reports whether a datagram is to be sent. From the first one on that the relay itself
// has sent, none is, and they are counted: each would go round for ever.
func (o *Output) passes(in *output.In, p *receiver.Packet) bool {
	if local := o.local.Load(); !o.loop && local != nil && (*local)[p.From] {
		o.loop = true
	}
	if o.loop {
		in.Fails(errLoop)
		in.Drop(Loop, 1)
	}
	return !o.loop
}

var errLoop = errors.New("the destination is this receiver: nothing is sent until it is changed")

// A compile error here means that port does not return one of 16 ports.
var _ [0]struct{} = [ports - 1<<(32-28)]struct{}{}

// write sends a datagram from one of the ports. The error may be about an earlier datagram for
// which nothing listened; this one is sent then, but one of the two is lost.
func (o *Output) write(ctx context.Context, port int, b []byte) error {
	if err := o.open(ctx); err != nil {
		return err
	}
	_, err := o.conns[port].Write(b)
	if err != nil {
		_, _ = o.conns[port].Write(b)
	}
	return err
}

// open opens the sockets, and looks up the name from time to time.
func (o *Output) open(ctx context.Context) error {
	now := time.Now()
	if now.Before(o.lookup) {
		if o.conns == nil {
			return errNoAddress
		}
		return nil
	}
	conns, err := dial(ctx, o.to)
	switch {
	case err != nil:
		o.lookup = now.Add(retryInterval)
		if o.conns == nil {
			return err
		}
		return nil // the last address is better than none
	case o.conns != nil && o.conns[0].RemoteAddr().String() == conns[0].RemoteAddr().String():
		closeAll(conns)
	default:
		closeAll(o.conns)
		o.conns = conns
		local := make(map[netip.AddrPort]bool)
		for _, c := range conns {
			a := c.LocalAddr().(*net.UDPAddr).AddrPort()
			local[netip.AddrPortFrom(a.Addr().Unmap(), a.Port())] = true
		}
		o.local.Store(&local)
	}
	o.lookup = now.Add(lookupInterval)
	return nil
}

var errNoAddress = errors.New("the destination has no address yet")

// dial returns sockets with a port of their own each, to one address of host:port.
func dial(ctx context.Context, to string) ([]net.Conn, error) {
	var conns []net.Conn
	for range ports {
		c, err := new(net.Dialer).DialContext(ctx, "udp", to)
		if err != nil {
			closeAll(conns)
			return nil, err
		}
		conns = append(conns, c)
		to = c.RemoteAddr().String()
	}
	return conns, nil
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		c.Close()
	}
}
