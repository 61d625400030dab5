package apmon

import "github.com/apmon-go/apmon/conf"

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

// ConfigStats is what is known of one source of configuration: see
// [conf.SourceStats].
type ConfigStats = conf.SourceStats
