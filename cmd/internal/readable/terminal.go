package readable

import (
	"io"
	"os"
)

// Terminal is a terminal that a command writes to.
type Terminal struct{ file *os.File }

// TerminalOf returns the terminal that w is, or nil.
func TerminalOf(w io.Writer) *Terminal {
	f, ok := w.(*os.File)
	if !ok || f == nil {
		return nil
	}
	if _, ok := columns(f); !ok {
		return nil
	}
	return &Terminal{f}
}

// Width returns the columns of the terminal now; 0 if they are not known.
func (t *Terminal) Width() int {
	n, _ := columns(t.file)
	return n
}

// Color reports whether colours are wanted: unless NO_COLOR is set, or TERM is dumb or not
// set.
func Color(getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "" && getenv("TERM") != "dumb"
}
