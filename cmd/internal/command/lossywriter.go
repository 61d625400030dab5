package command

import (
	"io"
	"time"
)

// LossyWriter writes in the background, so that its callers never wait. While the
// underlying writer blocks, as a full pipe does, it drops writes that do not fit into its
// queue.
type LossyWriter struct {
	queue   chan []byte // nil requests a value on flushed
	flushed chan struct{}
}

const (
	// queuedWrites is how many writes may wait.
	queuedWrites = 1000
	// flushTime bounds LossyWriter.Flush.
	flushTime = 100 * time.Millisecond
)

// NewLossyWriter returns a LossyWriter that writes to w. Its goroutine lives as
// long as the process.
func NewLossyWriter(w io.Writer) *LossyWriter {
	l := &LossyWriter{make(chan []byte, queuedWrites), make(chan struct{}, 1)}
	go func() {
		for b := range l.queue {
			if b == nil {
				l.flushed <- struct{}{}
				continue
			}
			_, _ = w.Write(b)
		}
	}()
	return l
}

// Write queues a copy of b, or drops it if the queue is full. It neither waits nor
// fails.
func (l *LossyWriter) Write(b []byte) (int, error) {
	select {
	case l.queue <- append([]byte{}, b...):
	default:
	}
	return len(b), nil
}

// Flush waits until everything queued is written, but no longer than 100 ms.
func (l *LossyWriter) Flush() {
	select {
	case l.queue <- nil:
	default:
		return
	}
	select {
	case <-l.flushed:
	case <-time.After(flushTime):
	}
}
