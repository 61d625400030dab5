package apmon

import (
	"log/slog"
	"time"
)

// logInterval is the shortest time between two log lines of one kind.
const logInterval = time.Minute

// noted bounds the number of log lines of one kind.
type noted struct {
	ever bool
	at   time.Duration // of the last line
	more int           // lines left out since
}

// pass reports whether a line may be logged now, and how many lines were left out
// since the last one.
func (n *noted) pass(now time.Duration) (more int, ok bool) {
	if n.ever && now-n.at < logInterval {
		n.more++
		return 0, false
	}
	more = n.more
	*n = noted{ever: true, at: now}
	return more, true
}

// repeated returns the attribute for a number of lines that were left out, if
// any.
func repeated(more int) []slog.Attr {
	if more == 0 {
		return nil
	}
	return []slog.Attr{slog.Int("repeated", more)}
}
