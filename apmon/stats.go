package apmon

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Stats is what a client knows of its own work since it was made. UDP says
// nothing of what arrives; only what is known here is counted.
type Stats struct {
	// Messages that were handed to the destinations.
	Messages uint64
	// RateLimited messages were over the limit and not sent (policy [Drop]).
	RateLimited uint64
	// NoDestination messages were not sent since no name had been resolved.
	NoDestination uint64
	// BadParameters were left out of their messages.
	BadParameters uint64
	// Destinations in the order of the configuration.
	Destinations []DestinationStats
	// Sources of [Open], in its order.
	Sources []SourceStats
	// Reports of background monitoring, one for each source.
	Reports []ReportStats
}

// SourceStats is what is known of one source of configuration.
type SourceStats struct {
	Name         string    // path, URL without its password, or variable
	Destinations int       // that it names, or last named
	Reads        uint64    // times it was looked at
	Failures     uint64    // of these: it could not be read, or named no destination
	LastError    string    // of the last look; empty if that was good
	Loaded       time.Time // of the last good look; zero for none
	Problems     []string  // lines that could not be used, as SOURCE:LINE: message
}

// DestinationStats is what is known of one destination. Sent and Unsent make up
// all datagrams meant for it.
type DestinationStats struct {
	Name string         // host:port as written
	Addr netip.AddrPort // in use; the zero value while the name is not resolved
	// Twin names an earlier destination of the same address, which gets the
	// datagrams in place of this one.
	Twin string

	Sent  uint64 // datagrams that the kernel took
	Bytes uint64 // in them

	Unsent  uint64 // datagrams that could not be sent, for the causes below or others
	Full    uint64 // of these: the socket or device had no room (EAGAIN, ENOBUFS)
	TooLong uint64 // of these: longer than the network allows (EMSGSIZE)

	// Refused counts answers of the network that a datagram was not taken
	// (nobody listens there, no way to the host): each speaks of at least one
	// of the Sent datagrams.
	Refused uint64

	Redials        uint64 // sockets made in place of one that had failed
	Lookups        uint64 // of the name
	LookupFailures uint64
	LastError      string // empty for none
}

type counters struct {
	messages, rateLimited, noDestination, badParams atomic.Uint64
	// Of all destinations there ever were: datagrams; refused includes failed
	// look-ups.
	sent, unsent, refused atomic.Uint64
}

// Stats returns a copy of the counters. It may be called at any time, also
// after Close.
func (c *Client) Stats() Stats {
	s := Stats{
		Messages:      c.counters.messages.Load(),
		RateLimited:   c.counters.rateLimited.Load(),
		NoDestination: c.counters.noDestination.Load(),
		BadParameters: c.counters.badParams.Load(),
	}
	for _, t := range c.set.Load().targets {
		t.mu.Lock()
		ds := t.stats
		ds.Addr, ds.Twin = t.addr, t.twin
		t.mu.Unlock()
		s.Destinations = append(s.Destinations, ds)
	}
	s.Reports = c.monitor.stats()
	s.Sources = slices.Clone(*c.sourceStats.Load())
	for i := range s.Sources {
		s.Sources[i].Problems = slices.Clone(s.Sources[i].Problems)
	}
	return s
}

// names returns the destinations of a group, or all for nil.
func (s *set) names(only *group) string {
	var names []string
	for _, t := range s.targets {
		if only == nil || t.group == only {
			names = append(names, t.name)
		}
	}
	return strings.Join(names, ", ")
}
