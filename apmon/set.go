package apmon

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/apmon-go/apmon/conf"
)

// nodeName names a node of a cluster.
type nodeName struct{ cluster, node string }

// SetDestinations puts a configuration in force in place of the present one, as
// if the client had been made of it by [New]: destinations, rate, intervals and
// switches. Destinations that stay keep sequence numbers, sockets and counters,
// and the client its instance id; no message is lost or sent twice. Sources of
// [Open] are no longer followed.
//
// It returns when the names that are new have been looked up, after 5 s at most.
// The error is that of New, [ErrClosed], or wraps [ErrNoDestination] if none of
// the new names resolves while a destination in force has an address; then
// nothing has changed.
func (c *Client) SetDestinations(cfg conf.Config) error {
	cfg, err := checked(cfg)
	if err != nil {
		return err
	}
	return c.exclusively(context.Background(), func(ctx context.Context) error {
		switch err := c.apply(ctx, []conf.Config{cfg}); {
		case errors.Is(err, errUnresolved):
			return fmt.Errorf("%w: %w", ErrNoDestination, err)
		case err != nil:
			return fmt.Errorf("apmon: %w", err)
		}
		c.sources, c.pending = nil, false
		c.sourceStats.Store(new([]SourceStats))
		c.isReady()
		return nil
	})
}

// SetMaxMsgRate sets the rate limit in datagrams a second from now on, in place
// of the one that configurations set, also after a reload; 0 lets those count
// again. Messages that wait for the limit follow it. The error is that of a rate
// which is negative, infinite or NaN.
func (c *Client) SetMaxMsgRate(rate float64) error {
	if err := checkRate(rate); err != nil {
		return fmt.Errorf("apmon: %w", err)
	}
	c.limiter.setOverride(rate)
	return nil
}

// SetMonitorNames sets the cluster and the node of the reports on this host from
// the next report on, as [WithMonitorNames] does for the first; an empty argument
// stands for the default. The error names what cannot travel.
func (c *Client) SetMonitorNames(cluster, node string) error {
	to := nodeName{cmp.Or(cluster, DefaultMonitorCluster), node}
	if err := c.Check(Message{Cluster: to.cluster, Node: to.node}); err != nil {
		return err
	}
	c.hostNames.Store(&to)
	return nil
}
