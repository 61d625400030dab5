package command

import (
	"bytes"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestLossyWriterWritesInOrder(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := NewLossyWriter(&b)
	line := []byte("one\n")
	if n, err := w.Write(line); n != 4 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	copy(line, "XXX\n") // the writer keeps a copy
	_, _ = w.Write([]byte("two\n"))
	w.Flush()
	if got := b.String(); got != "one\ntwo\n" {
		t.Errorf("got %q", got)
	}
}

// While the pipe is not read, no call waits longer than the limit of Flush, and writes
// beyond the queue are lost.
func TestLossyWriterNeverWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, pipe := io.Pipe()
		w := NewLossyWriter(pipe)
		begin := time.Now()
		_, _ = w.Write([]byte{0}) // the goroutine takes it and blocks in the pipe
		synctest.Wait()
		for range queuedWrites + 10 {
			if n, err := w.Write([]byte{1}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		w.Flush()
		if took := time.Since(begin); took != 0 {
			t.Errorf("Flush of a full queue took %v", took)
		}
		got := 0
		go func() {
			b := make([]byte, 16)
			for {
				n, err := r.Read(b)
				got += n
				if err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		w.Flush()
		if got != 1+queuedWrites {
			t.Errorf("%d writes arrived, want %d", got, 1+queuedWrites)
		}
		r.Close()
		close(w.queue)
	})
}

func TestLossyWriterFlushIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, pipe := io.Pipe()
		w := NewLossyWriter(pipe)
		_, _ = w.Write([]byte("never read"))
		begin := time.Now()
		w.Flush()
		if took := time.Since(begin); took != flushTime {
			t.Errorf("took %v, want %v", took, flushTime)
		}
		r.Close()
		close(w.queue)
	})
}

// A write that fails does not end the writer.
func TestLossyWriterContinuesAfterAnError(t *testing.T) {
	t.Parallel()
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	r.Close()
	w := NewLossyWriter(pipe)
	for range 3 {
		if n, err := w.Write([]byte("x")); n != 1 || err != nil {
			t.Error(n, err)
		}
	}
	w.Flush()
}
