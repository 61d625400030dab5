package history

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Stats are the counts of a store.
type Stats struct {
	// Series, Nodes and Bytes are stored now.
	Series, Nodes int
	Bytes         int64
	// MaxSeries and MaxBytes are the limits.
	MaxSeries int
	MaxBytes  int64
	// Expired counts the series that have ended.
	Expired uint64
	// OverCount and OverBytes count values that were not stored, as their series, or text,
	// would have exceeded the number of series or the memory.
	OverCount, OverBytes uint64
	// Clusters are those of the values that were not stored, those with the most values
	// first. At most [MaxClusters] are counted: a new one takes the place and the count of
	// the one with the fewest, so that those with many are in the list.
	Clusters []Cluster
}

// MaxClusters is the most clusters in [Stats].
const MaxClusters = 16

// maxClusterName is in bytes: of a longer name [Stats] has the beginning.
const maxClusterName = 128

// Cluster counts the values of a cluster that were not stored.
type Cluster struct {
	Name    string
	Refused uint64 // at most
}

// Stats returns the counts.
func (s *Store) Stats() Stats {
	c := Stats{
		Series:    int(s.series.Load()),
		Nodes:     int(s.nodes.Load()),
		Bytes:     s.bytes.Load(),
		MaxSeries: int(s.maxSeries.Load()),
		MaxBytes:  s.maxBytes.Load(),
		Expired:   uint64(s.expired.Load()),
	}
	r := &s.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	c.OverCount, c.OverBytes = r.overCount, r.overBytes
	for _, name := range slices.Sorted(maps.Keys(r.counts)) {
		c.Clusters = append(c.Clusters, Cluster{name, *r.counts[name]})
	}
	slices.SortStableFunc(c.Clusters, func(a, b Cluster) int { return cmp.Compare(b.Refused, a.Refused) })
	return c
}

// refusals counts values that were not stored.
type refusals struct {
	mu                   sync.Mutex
	overCount, overBytes uint64
	counts               map[string]*uint64 // by cluster
}

func (r *refusals) add(cluster string, overCount, overBytes int) {
	n := uint64(overCount + overBytes)
	cluster = cluster[:min(len(cluster), maxClusterName)]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.overCount += uint64(overCount)
	r.overBytes += uint64(overBytes)
	if c := r.counts[cluster]; c != nil {
		*c += n // an assignment to the map would keep the string, which is borrowed
		return
	}
	if len(r.counts) >= MaxClusters {
		var least string
		fewest := ^uint64(0)
		for name, c := range r.counts {
			if *c < fewest {
				least, fewest = name, *c
			}
		}
		delete(r.counts, least)
		n += fewest
	}
	c := new(uint64)
	*c = n
	r.counts[strings.Clone(cluster)] = c
}
