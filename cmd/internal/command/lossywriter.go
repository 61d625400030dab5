package command

import (
	"io"
	"time"
)

// Patient is a writer that nobody has to wait for: what it is given is written in
// the background, and lost if that cannot keep up, as into a pipe that is full.
type Patient struct {
	lines chan []byte
	ended chan struct{}
}

// patientLines is how many writes may wait; flushTime how long they may take in
// the end.
const (
	patientLines = 1000
	flushTime    = 100 * time.Millisecond
)

// NewPatient returns a Patient that writes to w.
func NewPatient(w io.Writer) *Patient {
	p := &Patient{make(chan []byte, patientLines), make(chan struct{}, 1)}
	go func() {
		for b := range p.lines {
			if b == nil {
				p.ended <- struct{}{}
				continue
			}
			_, _ = w.Write(b)
		}
	}()
	return p
}

// Write takes b. It neither waits nor fails.
func (p *Patient) Write(b []byte) (int, error) {
	select {
	case p.lines <- append([]byte{}, b...):
	default:
	}
	return len(b), nil
}

// Flush waits until all is written, for a tenth of a second at most.
func (p *Patient) Flush() {
	select {
	case p.lines <- nil:
	default:
		return
	}
	select {
	case <-p.ended:
	case <-time.After(flushTime):
	}
}
