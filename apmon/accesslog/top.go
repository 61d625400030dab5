package accesslog

import (
	"bytes"
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strings"
)

// MaxTop is the maximum of [Options].Top.
const MaxTop = 100

const (
	// topKept is the number of clients, and of URLs, that are counted in a window for
	// each one that is reported.
	topKept = 20
	// maxTopName is the length in bytes of the longest name that is kept.
	maxTopName = 200
)

// top finds the clients and the URLs with the most bytes of each window. Nil finds none.
type top struct {
	n              int
	clients, paths [slots]ranking
}

// ranked is a client or URL of the report.
type ranked struct {
	param, name string
	bytes       float64
}

func newTop(n int) *top {
	if n == 0 {
		return nil
	}
	return &top{n: n}
}

func (t *top) add(slot int64, e *entry) {
	if t == nil {
		return
	}
	path, _, _ := bytes.Cut(e.url, []byte("?"))
	t.clients[slot].add(e.client, float64(e.bytes), t.n*topKept)
	t.paths[slot].add(path, float64(e.bytes), t.n*topKept)
}

// take returns the result of a window, and resets it.
func (t *top) take(slot int64) []ranked {
	if t == nil {
		return nil
	}
	return append(t.clients[slot].take("top_client", t.n), t.paths[slot].take("top_url", t.n)...)
}

func (t *top) drop() {
	for slot := range int64(slots) {
		t.take(slot)
	}
}

// ranking counts the bytes of names by the algorithm Space-Saving (Metwally and others,
// 2005): if there are more names than it keeps, a new one replaces that with the least
// bytes and inherits them as its possible error. So a name with more than its share of the
// bytes of all, of which there is one for each kept, is never missed.
type ranking struct {
	byName map[string]*share
	heap   shares
}

type share struct {
	name         string
	bytes, error float64 // bytes is at most that much too large
	at           int     // in the heap
}

// shares is a heap with the least bytes first.
type shares []*share

func (s shares) Len() int           { return len(s) }
func (s shares) Less(i, j int) bool { return s[i].bytes < s[j].bytes }
func (s shares) Swap(i, j int)      { s[i], s[j] = s[j], s[i]; s[i].at, s[j].at = i, j }
func (s *shares) Push(x any)        { x.(*share).at = len(*s); *s = append(*s, x.(*share)) }
func (s *shares) Pop() any          { panic("not used") }

func (r *ranking) add(name []byte, bytes float64, kept int) {
	if len(name) > maxTopName {
		name = name[:maxTopName]
	}
	one := r.byName[string(name)]
	switch {
	case one != nil:
	case len(r.heap) < kept:
		if r.byName == nil {
			r.byName = map[string]*share{}
		}
		one = &share{name: string(name)}
		r.byName[one.name] = one
		heap.Push(&r.heap, one)
	default:
		one = r.heap[0]
		delete(r.byName, one.name)
		one.name, one.error = string(name), one.bytes
		r.byName[one.name] = one
	}
	one.bytes += bytes
	heap.Fix(&r.heap, one.at)
}

// take returns the n names with the most bytes, at least as many as are certain, and
// removes all.
func (r *ranking) take(param string, n int) []ranked {
	all := r.heap
	*r = ranking{}
	slices.SortFunc(all, func(a, b *share) int {
		return cmp.Or(cmp.Compare(b.bytes-b.error, a.bytes-a.error), strings.Compare(a.name, b.name))
	})
	var list []ranked
	for _, one := range all[:min(n, len(all))] {
		if certain := one.bytes - one.error; certain > 0 {
			list = append(list, ranked{fmt.Sprintf("%s_%d", param, len(list)+1), shown(one.name), certain})
		}
	}
	return list
}

// shown returns a name that can be shown: without control characters and invalid UTF-8.
func shown(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
}
