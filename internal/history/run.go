package history

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// window is what [Windows] keeps of a series: its mark.
type window struct {
	link   // of the series
	sh     *shard
	node   *Node
	series *Series

	head, tail *run  // oldest and youngest
	last       int64 // when the last value was kept, in Unix ms
	// The values that were kept since an interval of Windows has begun, at most maxPerInterval.
	intervalEnd int64 // Unix ms
	inInterval  int32

	values    int32 // of all runs
	texts     int32 // of them
	textBytes int32
}

// run is a text, or numbers that were received one after another.
type run struct {
	link   // only runs that end are in ages: not the last one of a series
	next   *run
	base   int64 // when the first value was received, in Unix ms
	points []point
	text   string
}

// point is a number, in 12 bytes.
type point struct {
	at     uint32 // ms since the base of the run, shifted by typeBits, and the type
	lo, hi uint32 // the bits of the number as on the wire
}

const (
	typeBits  = 2
	maxOffset = 1<<(32-typeBits) - 1 // ms, 12 days

	minRun, maxRun = 4, 64 // points; their memory is a size that the allocator has
)

func newPoint(p *xdr.Param, offset int64) point {
	var bits uint64
	switch p.Type() {
	case xdr.TypeReal32:
		bits = uint64(math.Float32bits(float32(p.Float())))
	case xdr.TypeReal64:
		bits = math.Float64bits(p.Float())
	default:
		bits = uint64(p.Int())
	}
	return point{uint32(offset)<<typeBits | uint32(p.Type()-xdr.TypeInt32), uint32(bits), uint32(bits >> 32)}
}

// param returns the number with a name.
func (p point) param(name string) xdr.Param {
	bits := uint64(p.hi)<<32 | uint64(p.lo)
	switch xdr.Type(p.at&(1<<typeBits-1)) + xdr.TypeInt32 {
	case xdr.TypeInt32:
		return xdr.Int(name, int32(bits))
	case xdr.TypeInt64:
		return xdr.Int64(name, int64(bits))
	case xdr.TypeReal32:
		return xdr.Real32(name, math.Float32frombits(uint32(bits)))
	default:
		return xdr.Float(name, math.Float64frombits(bits))
	}
}

func (p point) float() float64 {
	v := p.param("")
	return v.Float()
}

func (r *run) isText() bool { return r.kind == textRun }

func (r *run) values() int {
	if r.isText() {
		return 1
	}
	return len(r.points)
}

// at returns when point i was received, in Unix ms.
func (r *run) at(i int) int64 { return r.base + int64(r.points[i].at>>typeBits) }

// before returns the number of values that were received before a time.
func (r *run) before(ms int64) int {
	if r.isText() {
		if r.base < ms {
			return 1
		}
		return 0
	}
	n, _ := slices.BinarySearchFunc(r.points, ms, func(p point, ms int64) int {
		return cmp.Compare(r.base+int64(p.at>>typeBits), ms)
	})
	return n
}

// appendTo appends the values from one time to another.
func (r *run) appendTo(to []Point, from, until int64) []Point {
	if r.isText() {
		if r.base >= from && r.base <= until {
			to = append(to, Point{time.UnixMilli(r.base), xdr.String("", r.text)})
		}
		return to
	}
	for i := r.before(from); i < len(r.points) && r.at(i) <= until; i++ {
		to = append(to, Point{time.UnixMilli(r.at(i)), r.points[i].param("")})
	}
	return to
}

// lastValue returns the last value of the series with its name.
func (win *window) lastValue() xdr.Param {
	r := win.tail
	if r.isText() {
		return xdr.String(win.series.Name, r.text)
	}
	return r.points[len(r.points)-1].param(win.series.Name)
}

// since returns the number of values since a time, in Unix ms.
func (win *window) since(ms int64) int {
	n := int(win.values)
	for r := win.head; r != nil && r.base < ms; r = r.next {
		n -= r.before(ms)
	}
	return n
}

// maxPerInterval is the number of values of a series that are kept in an interval of
// [Windows].
const maxPerInterval = 3

// Limits of the texts of a series. The last one is always kept.
const (
	maxTexts     = 100
	maxTextBytes = 64 << 10
)

// Memory in bytes, as measured while names come and go: of a series with its window, of one that
// was dropped until the list of its node is rebuilt, of a run without points, and of a node beside
// nodeCost.
const (
	windowCost = 400
	goneCost   = 112
	runCost    = 96
	nodeExtra  = 200
	pointCost  = 12
)

func textCost(text string) int64 { return int64(len(text)+15) &^ 15 }

// change is what an Offer has changed.
type change struct {
	added         int // series and runs
	values, bytes int64
}

// keep adds a value.
func (w *Windows) keep(win *window, p *xdr.Param, at int64, c *change) {
	isText := p.Type() == xdr.TypeString
	if r := win.tail; isText && r != nil && r.isText() && r.text == p.Text() {
		return
	}
	switch {
	case at >= win.last:
	case win.last-at < clockStep:
		at = win.last
	default: // the clock was set back
		win.cut(at, c)
		win.intervalEnd = 0
	}
	win.last = at
	// A run begins with an interval: thin looks no further back.
	full := !isText && win.tail != nil && len(win.tail.points) == maxRun
	interval := max(w.span.Load()/intervals, 1)
	switch {
	case full || at >= win.intervalEnd || at < win.intervalEnd-interval:
		win.intervalEnd, win.inInterval = at+interval, 1
	case win.inInterval < maxPerInterval:
		win.inInterval++
	default:
		win.thin(isText, c)
	}
	win.values++
	c.values++
	if isText {
		w.keepText(win, p.Text(), at, c)
	} else {
		w.keepNumber(win, p, at, c)
	}
}

func (w *Windows) keepNumber(win *window, p *xdr.Param, at int64, c *change) {
	r := win.tail
	if r == nil || r.isText() || len(r.points) == maxRun || at-r.base > maxOffset {
		r = w.begin(win, at, c)
	}
	r.kind = numberRun
	if len(r.points) == cap(r.points) {
		size := min(max(2*cap(r.points), minRun), maxRun)
		grown := make([]point, len(r.points), size)
		copy(grown, r.points)
		c.bytes += int64(size-cap(r.points)) * pointCost
		r.points = grown
	}
	r.points = append(r.points, newPoint(p, at-r.base))
}

func (w *Windows) keepText(win *window, text string, at int64, c *change) {
	r := win.tail
	if r == nil || r.isText() || len(r.points) > 0 {
		r = w.begin(win, at, c)
	}
	r.kind, r.base, r.text = textRun, at, strings.Clone(text)
	c.bytes += textCost(text)
	win.texts++
	win.textBytes += int32(len(text))
	for win.head != r && (win.texts > maxTexts || win.textBytes > maxTextBytes) {
		w.dropHead(win, c)
	}
}

// begin adds a run.
func (w *Windows) begin(win *window, at int64, c *change) *run {
	r := &run{base: at}
	r.of, r.kind = win, numberRun
	if win.tail == nil {
		win.head = r
	} else {
		// A series whose run was filled fills the next one too.
		if cap(win.tail.points) == maxRun {
			r.points = make([]point, 0, maxRun)
			c.bytes += maxRun * pointCost
		}
		win.tail.next = r
		w.ages.add(&win.tail.link, at)
		w.ages.add(&win.link, at)
	}
	win.tail = r
	c.added++
	c.bytes += runCost
	return r
}

// dropHead removes the oldest run.
func (w *Windows) dropHead(win *window, c *change) {
	r := win.head
	w.ages.remove(&r.link)
	win.head = r.next
	if win.head == nil {
		win.tail = nil
	}
	c.bytes -= runCost
	win.values -= int32(r.values())
	c.values -= int64(r.values())
	win.release(r, c)
}

// release gives back what a run holds.
func (win *window) release(r *run, c *change) {
	if r.isText() {
		win.texts--
		win.textBytes -= int32(len(r.text))
		c.bytes -= textCost(r.text)
		r.text = ""
	}
	c.bytes -= int64(cap(r.points)) * pointCost
	r.points = nil
}

// cut removes the values of the last run that are later than a time.
func (win *window) cut(at int64, c *change) {
	r := win.tail
	gone := r.values() - r.before(at+1)
	win.values -= int32(gone)
	c.values -= int64(gone)
	switch {
	case r.values() == gone:
		win.release(r, c)
		r.kind, r.base = numberRun, at
	case gone > 0:
		r.points = r.points[:len(r.points)-gone]
	}
}

// thin removes a value of the interval, so that there is room for another one: of numbers the
// middle one of the last three, which is neither minimum nor maximum; the last value if one of
// the three or the other one is a text.
func (win *window) thin(forText bool, c *change) {
	win.values--
	c.values--
	r := win.tail
	n := len(r.points)
	if !r.isText() && n > 1 {
		drop := n - 1
		if !forText && n >= maxPerInterval {
			drop = middle(r.points, n-maxPerInterval)
		}
		r.points = slices.Delete(r.points, drop, drop+1)
		return
	}
	win.release(r, c)
	r.kind = numberRun
}

// middle returns the index of the point, of three from an index on, that is neither the
// minimum nor the maximum. NaN is the first to go.
func middle(p []point, i int) int {
	a, b, c := p[i].float(), p[i+1].float(), p[i+2].float()
	switch {
	case b != b, a <= b && b <= c, c <= b && b <= a:
		return i + 1
	case a != a, b <= a && a <= c, c <= a && a <= b:
		return i
	}
	return i + 2
}
