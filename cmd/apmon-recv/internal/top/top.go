package top

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Options are those of [Run] and [Once].
type Options struct {
	Source Source
	Name   string // in the headline, such as "apmon-recv"
	Color  bool
	Notes  *Notes // messages that must not go to the terminal; may be nil
}

// Run shows the view on a terminal until the user leaves it, or ctx ends. It restores the
// terminal however it ends. A panic is an error.
func Run(ctx context.Context, in, out *os.File, environ []string, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(ctx, o.Source, o.Name, o.Color, o.Notes)
	p := tea.NewProgram(m,
		tea.WithInput(in), tea.WithOutput(out), tea.WithEnvironment(environ), tea.WithFPS(framesPerSecond), tea.WithoutSignalHandler())
	defer context.AfterFunc(ctx, p.Quit)()
	_, err := p.Run()
	if errors.Is(err, tea.ErrInterrupted) {
		err = nil
	}
	return cmp.Or(err, m.failed)
}

// framesPerSecond is how often the screen is compared with the view at most: more often
// costs CPU time, less often keys feel slow.
const framesPerSecond = 20

// SourceError is the error of [Once] if the source does not answer.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// Once writes one view as text, with all nodes of the clusters that are open at the start.
func Once(ctx context.Context, w io.Writer, width int, o Options) error {
	m := newModel(ctx, o.Source, o.Name, o.Color, o.Notes)
	m.width, m.height = max(width, minWidth), onceHeight
	for range 2 { // the second one knows what is visible
		m.state = refresh(ctx, o.Source, m.state, m.want(), time.Now())
		if m.state.err != nil {
			return &SourceError{m.state.err}
		}
		m.place()
	}
	m.at = -1 // no cursor
	s := m.screen()
	s.headline(m.state, m.name, "")
	m.listPage(s)
	if rest := len(m.rows) - m.room(); rest > 0 {
		s.text(faint, fmt.Sprintf("and %d more", rest))
	}
	for i, l := range s.lines {
		s.lines[i] = strings.TrimRight(l, " ")
	}
	_, err := io.WriteString(w, strings.Join(s.lines, "\n")+"\n")
	return err
}

// onceHeight is the most lines of [Once].
const onceHeight = 1000

// Notes keeps what is logged while the view is on the terminal. It is safe for concurrent use.
type Notes struct {
	mu    sync.Mutex
	lines []string
	at    time.Time // of the last one
}

const (
	maxNotes = 100
	noteTime = 10 * time.Second // that a note is shown
)

// Write implements [io.Writer]: a call is a note.
func (n *Notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, strings.TrimRight(string(b), "\n"))
	n.lines = n.lines[max(len(n.lines)-maxNotes, 0):]
	n.at = time.Now()
	return len(b), nil
}

// last returns the last note, if it is recent.
func (n *Notes) last() string {
	if n == nil {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.lines) == 0 || time.Since(n.at) > noteTime {
		return ""
	}
	return n.lines[len(n.lines)-1]
}

// Dump writes the notes, after the view has ended.
func (n *Notes) Dump(w io.Writer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lines {
		fmt.Fprintln(w, l)
	}
}
