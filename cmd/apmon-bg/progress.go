package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/procinfo"
)

// progressInterval is the time between two samples for the live line.
const progressInterval = time.Second

// progress is the live line of --progress: at the right edge of the terminal, in the row of
// the cursor, which it does not move. So it leaves alone messages that the job writes to
// standard error. It is drawn in a goroutine of its own: a terminal whose output is
// stopped blocks.
type progress struct {
	out     *os.File
	samples chan procinfo.JobSample
	busy    atomic.Bool  // it is drawing
	from    atomic.Int64 // the first column of the line on the terminal, 0 for none
}

// newProgress returns the live line, or nil if standard error is no terminal, or if
// standard output is one: then the output of the job would mix with the line.
func newProgress() *progress {
	if !isTerminal(2) || isTerminal(1) {
		return nil
	}
	p := &progress{out: os.Stderr, samples: make(chan procinfo.JobSample, 1)}
	go p.draw()
	return p
}

// show draws the line for a sample, unless it is still drawing the last one.
func (p *progress) show(s *procinfo.JobSample) {
	if p == nil || s.Ended {
		return
	}
	select {
	case p.samples <- *s:
	default:
	}
}

// atColumn saves the position of the cursor, writes text from a column on, erases the rest
// of the row, and returns. The terminal must not begin a new row meanwhile.
const atColumn = "\x1b7\x1b[?7l\x1b[%dG%s\x1b[K\x1b[?7h\x1b8"

func (p *progress) draw() {
	var last procinfo.JobSample
	for s := range p.samples {
		if p.busy.Store(true); inForeground(2) {
			line := progressLine(&s, &last)
			column := max(1, columns(2)-len(line))
			if old := int(p.from.Load()); old > 0 && old < column {
				line, column = strings.Repeat(" ", column-old)+line, old
			}
			if _, err := fmt.Fprintf(p.out, atColumn, column, line); err == nil {
				p.from.Store(int64(column))
			}
		}
		last = s
		p.busy.Store(false)
	}
}

// end erases the line.
func (p *progress) end() {
	if p == nil || p.busy.Load() || !inForeground(2) {
		return
	}
	if column := p.from.Swap(0); column > 0 {
		_ = writeOwn(p.out, fmt.Appendf(nil, atColumn, column, ""))
	}
}

// progressLine returns the run time, CPU usage since the last sample and in total, memory
// and processes.
func progressLine(s, last *procinfo.JobSample) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v", time.Duration(s.RunTime.V)*time.Second)
	now := *s
	if now.Rates(last); last.At.IsZero() {
		now.InstantCPUUsage = now.CPUUsage
	}
	if now.InstantCPUUsage.OK {
		fmt.Fprintf(&b, "  CPU %.0f%%, %v", now.InstantCPUUsage.V, time.Duration(s.CPUTime.V*10)*time.Second/10)
	}
	if s.RSS.OK {
		fmt.Fprintf(&b, "  memory %s, max %s", shortSize(s.RSS), shortSize(s.MaxRSS))
	}
	if s.Processes.OK {
		fmt.Fprintf(&b, "  %.0f processes", s.Processes.V)
	}
	return b.String()
}

// shortSize returns a size in KiB with a unit that leaves at most four digits.
func shortSize(v procinfo.Value) string {
	size, unit := int64(v.V), 0
	for size >= 10000 && unit < 3 {
		size, unit = (size+512)/1024, unit+1
	}
	return fmt.Sprintf("%d %s", size, [...]string{"KiB", "MiB", "GiB", "TiB"}[unit])
}
