package receiver

import "time"

// Accounts counts the datagrams of senders that did not arrive on a socket of a [Receiver]:
// those of a capture, for instance. Time is that of the packets. It must not be used
// concurrently.
type Accounts struct {
	accounts *accounts
	last     time.Time
}

// NewAccounts returns accounts of at most [DefaultMaxSenders] senders.
func NewAccounts() *Accounts { return &Accounts{accounts: newAccounts(DefaultMaxSenders, 1)} }

// Count counts a packet after [Packet.Decode].
func (a *Accounts) Count(p *Packet) {
	a.last = p.Received
	a.accounts.count(p)
}

// Stats returns the counts so far. Those of a socket are 0.
func (a *Accounts) Stats() Stats {
	var s Stats
	a.accounts.addTo(&s, a.last)
	return s
}

// Senders returns every sender with a datagram in the [SenderLifetime] before the last
// packet, sorted by address and instance id.
func (a *Accounts) Senders() []Sender { return a.accounts.list(a.last) }
