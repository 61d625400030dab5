package httpstats

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// A handler checks the type of its ResponseWriter for optional interfaces, so there is a
// type for each set of them, named by their letters: F for http.Flusher, H for
// http.Hijacker, R for io.ReaderFrom, P for http.Pusher. Each type embeds that of one
// letter less and adds one method. All hold a single pointer, so converting to them does
// not allocate.
type (
	plain struct{ *response }

	asF    struct{ plain }
	asH    struct{ plain }
	asR    struct{ plain }
	asP    struct{ plain }
	asFH   struct{ asF }
	asFR   struct{ asF }
	asFP   struct{ asF }
	asHR   struct{ asH }
	asHP   struct{ asH }
	asRP   struct{ asR }
	asFHR  struct{ asFH }
	asFHP  struct{ asFH }
	asFRP  struct{ asFR }
	asHRP  struct{ asHR }
	asFHRP struct{ asFHR }
)

func (w asF) Flush()            { w.flush() }
func (w asF) FlushError() error { return w.flush() }

func (w asH) Hijack() (net.Conn, *bufio.ReadWriter, error)  { return w.hijack() }
func (w asFH) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

func (w asR) ReadFrom(src io.Reader) (int64, error)   { return w.readFrom(src) }
func (w asFR) ReadFrom(src io.Reader) (int64, error)  { return w.readFrom(src) }
func (w asHR) ReadFrom(src io.Reader) (int64, error)  { return w.readFrom(src) }
func (w asFHR) ReadFrom(src io.Reader) (int64, error) { return w.readFrom(src) }

func (w asP) Push(target string, o *http.PushOptions) error    { return w.push(target, o) }
func (w asFP) Push(target string, o *http.PushOptions) error   { return w.push(target, o) }
func (w asHP) Push(target string, o *http.PushOptions) error   { return w.push(target, o) }
func (w asRP) Push(target string, o *http.PushOptions) error   { return w.push(target, o) }
func (w asFHP) Push(target string, o *http.PushOptions) error  { return w.push(target, o) }
func (w asFRP) Push(target string, o *http.PushOptions) error  { return w.push(target, o) }
func (w asHRP) Push(target string, o *http.PushOptions) error  { return w.push(target, o) }
func (w asFHRP) Push(target string, o *http.PushOptions) error { return w.push(target, o) }

func (w *response) push(target string, o *http.PushOptions) error {
	return w.rw.(http.Pusher).Push(target, o)
}

// offer returns the writer for the handler, with the optional methods of the original.
func (w *response) offer() http.ResponseWriter {
	set := 0
	if _, ok := w.rw.(http.Flusher); ok {
		set |= 8
	}
	if _, ok := w.rw.(http.Hijacker); ok {
		set |= 4
	}
	if _, ok := w.rw.(io.ReaderFrom); ok {
		set |= 2
	}
	if _, ok := w.rw.(http.Pusher); ok {
		set |= 1
	}
	none := plain{w}
	f, h, r := asF{none}, asH{none}, asR{none}
	switch set {
	case 0b1000:
		return f
	case 0b0100:
		return h
	case 0b0010:
		return r
	case 0b0001:
		return asP{none}
	case 0b1100:
		return asFH{f}
	case 0b1010:
		return asFR{f}
	case 0b1001:
		return asFP{f}
	case 0b0110:
		return asHR{h}
	case 0b0101:
		return asHP{h}
	case 0b0011:
		return asRP{r}
	case 0b1110:
		return asFHR{asFH{f}}
	case 0b1101:
		return asFHP{asFH{f}}
	case 0b1011:
		return asFRP{asFR{f}}
	case 0b0111:
		return asHRP{asHR{h}}
	case 0b1111:
		return asFHRP{asFHR{asFH{f}}}
	}
	return none
}
