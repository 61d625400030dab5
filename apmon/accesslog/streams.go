package accesslog

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

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

type count struct {
	requests, bytes float64
	clients         clients
}

func (c *count) reset() {
	c.requests, c.bytes = 0, 0
	c.clients.reset()
}

// sum is the total of a stream in a window.
type sum struct {
	node                     string
	clients, bytes, requests float64
}

// streamSet holds the streams by identity and by node.
type streamSet struct {
	template, host string // of nodes
	learn          bool   // streams are not declared
	streams        []*stream
	byKey          map[string]*stream
	byNode         map[string]*stream
	key            []byte // scratch
}

// add adds the stream of an identity, if it is new.
func (s *streamSet) add(id identity) (*stream, error) {
	key := string(id.appendKey(nil))
	if one := s.byKey[key]; one != nil {
		return one, nil
	}
	node := id.node(s.template, s.host)
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

// find returns the stream of an identity, which it adds if streams are learned, or
// nil.
func (s *streamSet) find(id identity) *stream {
	s.key = id.appendKey(s.key[:0])
	one := s.byKey[string(s.key)]
	if one != nil || !s.learn || len(s.byKey) >= MaxStreams || len(s.key) > maxKey || !printable(s.key) {
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
		sums[i] = sum{one.node, c.clients.count(), c.bytes, c.requests}
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
