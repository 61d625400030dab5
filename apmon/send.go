package apmon

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Send sends the parameters to all destinations, for a node of a cluster (the
// client's defaults where empty). With no parameters it does nothing.
//
// The errors are those of this package, such as [ErrRateLimited], with details. A
// parameter that cannot be sent is left out, and the others are sent. A nil error
// means that each datagram was passed to the kernel, or is counted in
// [Client.Stats] with the reason why not.
func (c *Client) Send(cluster, node string, params ...Param) error {
	return c.send(context.Background(), Message{Cluster: cluster, Node: node, Params: params})
}

// SendAt is [Client.Send] with the time of the values, in whole seconds from
// 1970-01-01T00:00:01Z to 2038-01-19T03:14:07Z. Any other time is [ErrTime].
func (c *Client) SendAt(t time.Time, cluster, node string, params ...Param) error {
	if t.IsZero() {
		return fmt.Errorf("%w: %v", ErrTime, t)
	}
	return c.send(context.Background(), Message{cluster, node, t, params})
}

// SendMessage is [Client.Send] for a message as a value. With [RateWait], the end of
// the context ends the wait, and SendMessage returns the context's error. The message
// was not sent then, or only in part if it has more datagrams than may be sent in a
// second. With other policies SendMessage never waits.
func (c *Client) SendMessage(ctx context.Context, m Message) error {
	return c.send(ctx, m)
}

// Check checks the names, time and parameters of a message without sending it. It
// returns the error that SendMessage would return for them. Use it to send either
// all parameters of a message, or none.
func (c *Client) Check(m Message) error {
	return c.sender.check(&m)
}

// Scope returns a sender for one node of one cluster.
func (c *Client) Scope(cluster, node string) Scope { return Scope{c, cluster, node} }

// Scope sends for one node of one cluster. It is a small value; copy it freely.
type Scope struct {
	c             *Client
	cluster, node string
}

// Send is [Client.Send] with the names of the scope.
func (s Scope) Send(params ...Param) error {
	return s.c.send(context.Background(), Message{Cluster: s.cluster, Node: s.node, Params: params})
}

// SendAt is [Client.SendAt] with the names of the scope.
func (s Scope) SendAt(t time.Time, params ...Param) error {
	return s.c.SendAt(t, s.cluster, s.node, params...)
}

// send sends to all destinations.
func (c *Client) send(ctx context.Context, m Message) error {
	return c.sender.send(ctx, &outgoing{m, 0, c.sender.policy})
}

// SendMap is [Client.Send] with the parameters of a map, see [Params]. The error
// joins those of Params and Send.
func (c *Client) SendMap(cluster, node string, values map[string]any) error {
	params, bad := fromMap(values)
	err := c.Send(cluster, node, params...)
	if bad == nil {
		return err
	}
	c.sender.counters.badParams.Add(uint64(bad.n))
	return errors.Join(bad, err)
}
