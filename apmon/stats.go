package apmon

import (
	"net/netip"

	"github.com/apmon-go/apmon/conf"
)

// Stats counts a client's work since it was made. UDP does not confirm delivery,
// so that these are events on this host only.
type Stats struct {
	// Messages that were handed to the destinations.
	Messages uint64
	// RateLimited messages were over the limit and not sent ([RateDrop]).
	RateLimited uint64
	// NoDestination messages were not sent, since no name had been resolved.
	NoDestination uint64
	// BadParameters were left out of their messages.
	BadParameters uint64
	// Destinations in the order of the configuration.
	Destinations []DestinationStats
	// Configs are the sources of configuration that [Open] follows, in its order.
	Configs []ConfigStats
	// Reports of background monitoring, one for each source.
	Reports []ReportStats
}

// ConfigStats is what is known of one source of configuration.
type ConfigStats = conf.SourceStats

// DestinationStats is what is known of one destination. Sent and Unsent add up to
// all datagrams meant for it.
type DestinationStats struct {
	Name string         // host:port as written
	Addr netip.AddrPort // in use; the zero value while the name is not resolved
	// Twin names an earlier destination with the same address, which gets the
	// datagrams instead of this one.
	Twin string

	Sent  uint64 // datagrams that the kernel took
	Bytes uint64 // in them

	Unsent  uint64 // datagrams that could not be sent, for the causes below or others
	Full    uint64 // of these: the socket or device had no room (EAGAIN, ENOBUFS)
	TooLong uint64 // of these: longer than the network allows (EMSGSIZE)

	// Refused counts error messages of the network (nobody listens, host
	// unreachable): each stands for at least one of the Sent datagrams.
	Refused uint64

	Redials        uint64 // sockets made in place of one that had failed
	Lookups        uint64 // of the name
	LookupFailures uint64
	LastError      string // empty for none
}
