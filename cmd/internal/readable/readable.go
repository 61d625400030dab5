// Package readable writes text for people: the commands print datagrams on terminals and
// into pipes.
package readable

import (
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apmon-go/apmon/internal/quantity"
	"github.com/apmon-go/apmon/internal/safetext"
	"github.com/apmon-go/apmon/xdr"
)

// DefaultWidth is the width where there is no terminal, in columns.
const DefaultWidth = 80

// minWidth is the smallest width that is used, and indent that of a line of parameters.
const (
	minWidth = 40
	indent   = 2
	gap      = 2 // between two parameters
)

// Options say how datagrams are written.
type Options struct {
	Width int  // of a line, in columns; DefaultWidth if 0
	Color bool // use the colours of a terminal
	// Exact shows all digits of a number, without a unit, and the whole of long texts.
	Exact bool
	// Units returns the unit and the meaning of a parameter, which are empty if they are not
	// known.
	Units func(param string) (unit, meaning string)
}

// Writer formats datagrams. It is not safe for concurrent use.
type Writer struct {
	Options
	term  *Terminal // whose width each datagram follows; nil for none
	text  []byte    // of the cells
	cells []cell
	sizes []int // scratch of columns
}

// New returns a Writer for an output. If it is a terminal, lines are as wide as it is, also
// after a change, and have colours unless the environment is against them, see [Color].
func New(out io.Writer, getenv func(string) string, o Options) *Writer {
	w := &Writer{Options: o, term: TerminalOf(out)}
	w.Color = w.term != nil && Color(getenv)
	return w
}

// cell is NAME=VALUE UNIT within Writer.text.
type cell struct {
	start, value, unit, end int
	width                   int // in columns
}

// Append appends a datagram, and a line end. If it fits on one line, it is one:
//
//	2023-11-14T22:13:20Z  127.0.0.1:4242  C/N  x=1  status="RUNNING"
//
// Otherwise the parameters follow on indented lines, one below the other in columns. No line
// is broken within a parameter; one that is longer than a line is cut, or has a line of its
// own with [Options.Exact].
//
// The time is that of the datagram, else that of arrival. At and from may be empty. A number
// has at most four significant digits and its unit; a whole number without a known unit,
// which may be an identifier, has all digits. Texts are in quotes.
//
// A refused datagram is shown with the reason and with what could be read of it; d may be
// nil then. The reason why a datagram is truncated comes after its parameters:
//
//	2023-11-14T22:13:20Z  127.0.0.1:4242  refused: wrong password  C/N  version=2.2.20_go  instance=17  seq=1
//	2023-11-14T22:13:20Z  127.0.0.1:4242  C/N  x=1  truncated: parameter 2: …
//
// The output cannot steer a terminal, but for the colours: names with other than plain
// characters are quoted like texts.
func (w *Writer) Append(b []byte, at time.Time, from string, d *xdr.Datagram, err error) []byte {
	if w.term != nil {
		w.Width = w.term.Width()
	}
	width := max(w.Width, minWidth)
	if w.Width == 0 {
		width = DefaultWidth
	}
	refused := err != nil && !errors.Is(err, xdr.ErrTruncated)
	w.text, w.cells = w.text[:0], w.cells[:0]
	used := 0 // columns of the head
	part := func(s string, style string) {
		if s == "" {
			return
		}
		if used > 0 {
			b = append(b, "  "...)
			used += gap
		}
		b = w.styled(b, style, s)
		used += Width(s)
	}
	part(stamp(at, d, refused), faint)
	part(from, faint)
	if refused {
		part("refused: "+plain(err.Error()), red)
		if d != nil && d.Version+d.Cluster != "" {
			part(w.title(d, width), bold)
			w.addHeader(d, width)
		}
	} else {
		part(w.title(d, width), bold)
		for i := range d.Params {
			w.addParam(&d.Params[i], width-indent)
		}
	}
	b, line := w.appendCells(b, used, width)
	if err != nil && !refused {
		if !line {
			b = append(b, '\n')
		}
		b = append(b, "  "...)
		b = w.styled(b, yellow, "truncated: "+plain(err.Error()))
	}
	return append(b, '\n')
}

// appendCells appends the cells, on the line of the head if all fit, in which used columns
// are taken. It reports whether they do.
func (w *Writer) appendCells(b []byte, used, width int) (_ []byte, line bool) {
	total := 0
	for _, c := range w.cells {
		total += gap + c.width
	}
	line = used+total <= width || len(w.cells) == 0
	if total <= width {
		if !line {
			b = append(b, '\n')
		}
		for _, c := range w.cells {
			b = append(b, "  "...)
			b = w.appendCell(b, c)
		}
		return b, line
	}
	slot := w.slot(width - indent)
	room := 0 // columns left in the line
	for i, c := range w.cells {
		// A wide parameter takes several slots.
		wide := (c.width + gap + slot - 1) / slot * slot
		if i == 0 || c.width > room {
			b = append(b, "\n  "...)
			room = width - indent
		}
		b = w.appendCell(b, c)
		room -= wide
		if i+1 < len(w.cells) && w.cells[i+1].width <= room {
			b = append(b, strings.Repeat(" ", wide-c.width)...)
		}
	}
	return b, false
}

// slot returns the width of a column, with the gap behind it, so that most cells fit into one.
func (w *Writer) slot(width int) int {
	w.sizes = w.sizes[:0]
	for _, c := range w.cells {
		w.sizes = append(w.sizes, c.width)
	}
	slices.Sort(w.sizes)
	most := w.sizes[(len(w.sizes)-1)*9/10] + gap
	return max(1, (width+gap)/max(1, (width+gap)/most))
}

// addHeader adds the header of a refused datagram as far as it could be read.
func (w *Writer) addHeader(d *xdr.Datagram, width int) {
	if d.Version == "" {
		return
	}
	w.add("version", width, func(b []byte) []byte { return appendName(b, d.Version, `="`, w.room(width-len("version="))) })
	if d.Sequenced() {
		w.add("instance", width, func(b []byte) []byte { return strconv.AppendInt(b, int64(d.Instance), 10) })
		w.add("seq", width, func(b []byte) []byte { return strconv.AppendInt(b, int64(d.Seq), 10) })
	}
}

// addParam adds a parameter with at most width columns.
func (w *Writer) addParam(p *xdr.Param, width int) {
	unit := ""
	if !w.Exact && w.Units != nil && p.Type() != xdr.TypeString {
		unit, _ = w.Units(p.Name)
	}
	shown := ""
	start := len(w.text)
	w.add(p.Name, width, func(b []byte) []byte {
		switch whole := p.Type() == xdr.TypeInt32 || p.Type() == xdr.TypeInt64; {
		case p.Type() == xdr.TypeString:
			return appendQuoted(b, p.Text(), w.room(width-Width(b[start:])))
		case whole && unit == "":
			return strconv.AppendInt(b, p.Int(), 10)
		case w.Exact:
			return safetext.AppendFloat(b, p.Float())
		}
		var text string
		text, shown = quantity.Format(p.Float(), unit)
		return append(b, text...)
	})
	w.addUnit(shown)
}

// add adds NAME=VALUE. The name has at most three quarters of the width, in columns.
func (w *Writer) add(name string, width int, value func([]byte) []byte) {
	c := cell{start: len(w.text)}
	w.text = appendName(w.text, name, `="`, w.room(width*3/4))
	w.text = append(w.text, '=')
	c.value = len(w.text)
	w.text = value(w.text)
	c.unit, c.end = len(w.text), len(w.text)
	c.width = Width(w.text[c.start:])
	w.cells = append(w.cells, c)
}

// addUnit adds the unit of the last cell.
func (w *Writer) addUnit(unit string) {
	if unit == "" {
		return
	}
	c := &w.cells[len(w.cells)-1]
	w.text = append(w.text, quantity.Join("", unit)...)
	c.end = len(w.text)
	c.width = Width(w.text[c.start:])
}

// room returns the most columns for a text of which the rest is cut.
func (w *Writer) room(width int) int {
	if w.Exact {
		return math.MaxInt
	}
	return max(width, 8)
}

// styles of a terminal. Red and yellow are for trouble alone.
const (
	faint  = "2"
	bold   = "1"
	red    = "31"
	yellow = "33"
)

func (w *Writer) styled(b []byte, style, s string) []byte {
	if !w.Color || s == "" {
		return append(b, s...)
	}
	return append(append(append(append(append(b, "\x1b["...), style...), 'm'), s...), "\x1b[0m"...)
}

func (w *Writer) appendCell(b []byte, c cell) []byte {
	b = w.styled(b, faint, string(w.text[c.start:c.value]))
	b = append(b, w.text[c.value:c.unit]...)
	return w.styled(b, faint, string(w.text[c.unit:c.end]))
}

// title returns CLUSTER/NODE.
func (w *Writer) title(d *xdr.Datagram, width int) string {
	most := w.room(width / 2)
	b := appendName(nil, d.Cluster, `="/`, most)
	return string(appendName(append(b, '/'), d.Node, `="`, most))
}

// stamp returns the time of a datagram, else that of arrival, or nothing.
func stamp(at time.Time, d *xdr.Datagram, refused bool) string {
	if !refused && d.Timed && d.Time > 0 { // other values mean "now"
		at = time.Unix(int64(d.Time), 0)
	}
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}
