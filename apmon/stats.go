package apmon

import "github.com/apmon-go/apmon/conf"

// Stats holds the counters of a client since it was made. UDP does not confirm
// delivery, so they count events on this host only.
type Stats struct {
	// Messages that were passed to the destinations.
	Messages uint64
	// RateLimited messages were over the limit and not sent ([RateDrop]).
	RateLimited uint64
	// NoDestination messages were not sent, since no destination had an address.
	NoDestination uint64
	// BadParameters cannot be sent and were left out of their messages.
	BadParameters uint64
	// Destinations in the order of the configuration.
	Destinations []DestinationStats
	// Configs are the sources of configuration that [Open] follows, in its order.
	Configs []ConfigStats
	// Reports has one entry for each source of background reports.
	Reports []ReportStats
}

// ConfigStats is the state of one source of configuration: see [conf.SourceStats].
type ConfigStats = conf.SourceStats
