package accesslog

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/apmon-go/apmon/internal/histogram"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// forgotten is the time in s after which an undeclared stream without requests is
// forgotten.
const forgotten = 3600

// maxKey is the length in bytes of the longest identity that is taken from a log.
const maxKey = 200

// stream is a node of the report.
type stream struct {
	node   string
	counts [slots]count
	silent int64 // number of windows in a row without requests
}

// classes is the number of classes of statuses, from 2xx on.
const classes = 4

type count struct {
	requests, bytes float64
	classes         [classes]float64 // of all requests, counted by their status or not
	clients         clients
	took            [kinds]*histogram.Window // in ms; nil before the first
}

func (c *count) reset() {
	c.requests, c.bytes, c.classes = 0, 0, [classes]float64{}
	c.clients.reset()
	for _, w := range c.took {
		if w != nil {
			w.Reset()
		}
	}
}

// add counts a request.
func (c *count) add(e *entry, client uint64) {
	c.requests++
	c.bytes += float64(e.bytes)
	c.clients.add(client)
	for k, ms := range e.took {
		if ms < 0 {
			continue
		}
		if c.took[k] == nil {
			c.took[k] = new(histogram.Window)
		}
		c.took[k].Observe(ms)
	}
}

// sum is the total of a stream in a window.
type sum struct {
	node                     string
	clients, bytes, requests float64
	classes                  [classes]float64
	took                     [kinds][len(percentiles)]float64 // NaN without requests
}

func (c *count) sum(node string) sum {
	s := sum{node: node, clients: c.clients.count(), bytes: c.bytes, requests: c.requests, classes: c.classes}
	for k, w := range c.took {
		for i, p := range percentiles {
			if s.took[k][i] = math.NaN(); w != nil {
				s.took[k][i] = w.Quantile(p.share)
			}
		}
	}
	return s
}

// streamSet holds the streams by identity and by node.
type streamSet struct {
	template template // of nodes
	learn    bool     // streams are not declared
	whole    *stream  // the only one; nil if an expression finds streams
	streams  []*stream
	byKey    map[string]*stream
	byNode   map[string]*stream
	key      []byte // scratch
}

// add adds the stream of an identity, if it is new.
func (s *streamSet) add(id identity) (*stream, error) {
	key := string(id.appendKey(nil))
	if one := s.byKey[key]; one != nil {
		return one, nil
	}
	node := s.template.node(id)
	if err := xdr.CheckName(node); err != nil {
		return nil, fmt.Errorf("node %s: %w", safetext.Quote(node), err)
	}
	one := s.byNode[node]
	if one == nil {
		one = &stream{node: node}
		s.byNode[node] = one
		s.streams = append(s.streams, one)
	}
	s.byKey[key] = one
	return one, nil
}

// find returns the stream of an identity, or nil. If streams are learned, a request that
// succeeded adds it: a client must not create streams by requests for pages that do not
// exist.
func (s *streamSet) find(id identity, succeeded bool) *stream {
	s.key = id.appendKey(s.key[:0])
	one := s.byKey[string(s.key)]
	if one != nil || !s.learn || !succeeded || len(s.byKey) >= MaxStreams || len(s.key) > maxKey || !printable(s.key) {
		return one
	}
	one, err := s.add(id)
	if err != nil {
		return nil
	}
	return one
}

// printable reports whether an identity, with the zeros between its parts, can be
// shown.
func printable(key []byte) bool {
	return utf8.Valid(key) && !slices.ContainsFunc(key, func(c byte) bool { return c < ' ' && c != 0 || c == 0x7f })
}

// sums returns the totals of a window of the given length in s, resets its counts, and
// forgets streams that were silent for a long time.
func (s *streamSet) sums(slot, length int64) []sum {
	sums := make([]sum, len(s.streams))
	for i, one := range s.streams {
		c := &one.counts[slot]
		sums[i] = c.sum(one.node)
		if one.silent++; c.requests > 0 {
			one.silent = 0
		}
		c.reset()
	}
	if s.learn {
		s.forget(length)
	}
	return sums
}

func (s *streamSet) forget(length int64) {
	silent := func(one *stream) bool {
		return one.silent*length >= forgotten && !slices.ContainsFunc(one.counts[:], func(c count) bool { return c.requests > 0 })
	}
	if slices.ContainsFunc(s.streams, silent) {
		maps.DeleteFunc(s.byKey, func(_ string, one *stream) bool { return silent(one) })
		maps.DeleteFunc(s.byNode, func(_ string, one *stream) bool { return silent(one) })
		s.streams = slices.DeleteFunc(s.streams, silent)
	}
}

// drop resets all counts.
func (s *streamSet) drop() {
	for _, one := range s.streams {
		for i := range one.counts {
			one.counts[i].reset()
		}
	}
}
