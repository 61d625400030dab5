package prom

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/history"
)

// format is an exposition format.
type format int

const (
	plainText   format = iota // 0.0.4
	openMetrics               // 1.0
	formats
)

// family is one metric.
type family struct {
	name, typ, help string
	key             string // the names of the labels of its rules
	rule            *rule  // whose captures determine its name, nil if none do
	dead            bool   // it has been given up: its marks are out of date
	// Of the rendering under way: the segments with its samples.
	first, last int32
}

const none = -1

// Unexported counts the series that the last rendering left out.
type Unexported struct {
	// Clash: another parameter of the node has the same metric and labels. Conflict: another
	// rule gives the metric, whose name captures determine, another type or other labels.
	// Memory: there was none left for the labels. Value: a counter that is negative or NaN,
	// or a number where the parameter is a text.
	Clash, Conflict, Memory, Value int
	// Example names a series that clashes and its metric.
	Example string
}

// chunkSize is in bytes.
const chunkSize = 64 << 10

// segment is a part of a chunk, with one sample or more of one family.
type segment struct {
	chunk, begin, end int32
	next              int32 // of the same family
}

// rendering is one exposition. Its memory is used again.
type rendering struct {
	chunks [][]byte
	used   int       // of chunks
	parts  []segment // in the order of output
	size   int       // in bytes
}

// reset makes it empty, without the chunks that one long line needed.
func (r *rendering) reset() {
	r.chunks = slices.DeleteFunc(r.chunks, func(c []byte) bool { return cap(c) > chunkSize })
	r.used, r.size, r.parts = 0, 0, r.parts[:0]
}

// write copies a line into a chunk.
func (r *rendering) write(line []byte) segment {
	if r.used == 0 || len(line) > cap(r.chunks[r.used-1])-len(r.chunks[r.used-1]) {
		if r.used == len(r.chunks) || len(line) > chunkSize {
			r.chunks = slices.Insert(r.chunks, r.used, make([]byte, 0, max(chunkSize, len(line))))
		}
		r.chunks[r.used] = r.chunks[r.used][:0]
		r.used++
	}
	c := &r.chunks[r.used-1]
	begin := len(*c)
	*c = append(*c, line...)
	r.size += len(line)
	return segment{int32(r.used - 1), int32(begin), int32(len(*c)), none}
}

// Write adds text after what there is.
func (r *rendering) Write(b []byte) (int, error) {
	r.parts = append(r.parts, r.write(b))
	return len(b), nil
}

// WriteTo writes the exposition.
func (r *rendering) WriteTo(w io.Writer) (n int64, err error) {
	for _, p := range r.parts {
		k, err := w.Write(r.chunks[p.chunk][p.begin:p.end])
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// renderer writes the last values of a store. It makes one rendering at a time.
type renderer struct {
	*rendering
	rules      *rules
	format     format
	unexported Unexported
	segments   []segment
	labels     []byte // of a node
	line       []byte
}

// values renders all series.
func (r *renderer) values(store *history.Store, now time.Time) {
	r.unexported = Unexported{}
	r.segments = r.segments[:0]
	for _, f := range r.rules.order {
		f.first, f.last = none, none
	}
	store.Each(now, r.node)
	r.rules.sort()
	for _, f := range r.rules.order {
		if f.first == none {
			continue
		}
		r.line = f.appendHead(r.line[:0], r.format)
		_, _ = r.Write(r.line)
		for i := f.first; i != none; i = r.segments[i].next {
			r.parts = append(r.parts, r.segments[i])
		}
	}
	r.rules.forget()
}

// node renders the series of a node.
func (r *renderer) node(n *history.Node) {
	r.rules.settle(n)
	b := append(r.labels[:0], `{cluster="`...)
	b = appendLabel(b, n.Cluster, true)
	b = append(b, `",node="`...)
	b = appendLabel(b, n.Name, true)
	r.labels = append(b, '"')
	for s := range n.Series() {
		r.series(n, s)
	}
	r.begin(lastSeenMetric, "")
	r.line = append(r.line, "} "...)
	r.line = appendSeconds(r.line, n.Received/int64(time.Millisecond))
	r.end(r.rules.lastSeen)
}

// series renders the sample of a series, if it has one.
func (r *renderer) series(n *history.Node, s *history.Series) {
	m, isLost := r.rules.current(s)
	switch {
	case m == nil:
		r.unexported.Memory++
	case isLost:
		r.unexported.Clash++
		if r.unexported.Example == "" {
			r.unexported.Example = example(n, s, m.family)
		}
	case m == r.rules.conflict:
		r.unexported.Conflict++
	case m.family == nil: // dropped
	case m.rule.Type == info:
		r.info(m, s)
	case s.IsText:
		if m != r.rules.unmapped {
			r.unexported.Value++
		}
	default:
		r.number(m, s)
	}
}

func (r *renderer) info(m *mark, s *history.Series) {
	r.begin(m.family.name, m.labels)
	r.line = append(r.line, ',')
	r.line = append(r.line, m.rule.ValueLabel...)
	r.line = append(r.line, `="`...)
	if s.IsText {
		r.line = appendLabel(r.line, s.Text, true)
	} else {
		r.line = appendNumber(r.line, s.Value)
	}
	r.line = append(r.line, `"} 1`...)
	r.endAt(m, s)
}

func (r *renderer) number(m *mark, s *history.Series) {
	v := s.Value * m.rule.Scale
	if m.family.typ == counter && !(v >= 0) {
		r.unexported.Value++
		return
	}
	r.begin(m.family.name, m.labels)
	if m == r.rules.unmapped {
		r.line = append(r.line, `,param="`...)
		r.line = appendLabel(r.line, s.Name, true)
		r.line = append(r.line, '"')
	}
	r.line = append(r.line, "} "...)
	r.line = appendNumber(r.line, v)
	r.endAt(m, s)
}

// begin begins a line with name and labels.
func (r *renderer) begin(name, labels string) {
	r.line = append(r.line[:0], name...)
	r.line = append(r.line, r.labels...)
	r.line = append(r.line, labels...)
}

// endAt ends the line of a series.
func (r *renderer) endAt(m *mark, s *history.Series) {
	if m.rule.Timestamps {
		ms := s.Received / int64(time.Millisecond)
		if s.Time > 0 {
			ms = int64(s.Time) * 1000
		}
		r.line = appendTimestamp(r.line, ms, r.format)
	}
	r.end(m.family)
}

// end adds the line to a family.
func (r *renderer) end(f *family) {
	r.line = append(r.line, '\n')
	s := r.write(r.line)
	i := int32(len(r.segments))
	if f.last != none {
		last := &r.segments[f.last]
		if last.chunk == s.chunk && last.end == s.begin {
			last.end = s.end
			return
		}
		last.next = i
	} else {
		f.first = i
	}
	f.last = i
	r.segments = append(r.segments, s)
}

// example names a series for people.
func example(n *history.Node, s *history.Series, f *family) string {
	short := func(s string) string { return Label(s[:min(len(s), 128)]) }
	return "cluster " + short(n.Cluster) + ", node " + short(n.Name) + ", param " + short(s.Name) + ": metric " + f.name
}

// appendHead appends the lines that precede the samples of a family.
func (f *family) appendHead(b []byte, to format) []byte {
	name, typ := f.name, f.typ
	switch {
	case to == openMetrics:
		name = familyName(name, typ)
		if typ == untyped {
			typ = "unknown"
		}
	case typ == info:
		typ = gauge
	}
	b = append(b, "# HELP "...)
	b = append(b, name...)
	b = append(b, ' ')
	b = appendHelp(b, cmp.Or(f.help, "ApMon parameters that a rule maps."), to)
	b = append(b, "\n# TYPE "...)
	b = append(b, name...)
	b = append(b, ' ')
	b = append(b, typ...)
	return append(b, '\n')
}

// sort puts the families in the order of their names.
func (rs *rules) sort() {
	if rs.unsorted {
		slices.SortFunc(rs.order, func(a, b *family) int { return strings.Compare(a.name, b.name) })
		rs.unsorted = false
	}
}

// forget gives up the families that were made for captures and have no sample any more.
func (rs *rules) forget() {
	rs.order = slices.DeleteFunc(rs.order, func(f *family) bool {
		f.dead = f.rule != nil && f.first == none
		if f.dead {
			delete(rs.families, familyName(f.name, f.typ))
		}
		return f.dead
	})
}
