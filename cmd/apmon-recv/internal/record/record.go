// Package record is the output of apmon-recv that writes datagrams to a file, as lines of
// JSON that `apmon-recv replay` reads.
//
// The ending of the name selects the compression: .gz or .zst, else none. A file that has
// reached its size, or is to be rotated on SIGHUP, is renamed to NAME-TIME, the time before
// the endings (a.jsonl.gz becomes a-20261121T144512.250Z.jsonl.gz), and a new one is begun. If
// another program has renamed it, SIGHUP only begins a new one. An empty file is not rotated.
//
// Lines are written out whenever no datagram waits; compressed ones once a second, since
// each time costs some compression. A file that cannot be written, on a full disk for
// instance, is given up; the datagrams are lost and counted until a new one can be begun,
// which is tried every few seconds.
package record

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/lines"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/cmd/internal/units"
)

// DefaultSize is the default of Options.Size.
const DefaultSize units.Bytes = 256 << 20

// WriteFailed is the cause of datagrams that could not be written.
const WriteFailed = "write_failed"

const (
	// flushInterval is the time after which compressed lines are written.
	flushInterval = time.Second
	// retryInterval is the time between attempts to begin a file.
	retryInterval = 2 * time.Second
)

// Options are the settings of a record.
type Options struct {
	File string `yaml:"file"`
	// Size is the size at which a file is rotated, [DefaultSize] if 0.
	Size units.Bytes `yaml:"size"`
	// Keep is the number of rotated files that are kept, the newest; 0 keeps all.
	Keep int `yaml:"keep"`
}

// Check returns an error if the settings cannot be used.
func (o Options) Check() error {
	switch {
	case o.File == "":
		return errors.New("file: the name is empty")
	case o.Keep < 0:
		return fmt.Errorf("keep: %d is negative", o.Keep)
	}
	return nil
}

// Output writes to a file.
type Output struct {
	options Options

	reopen atomic.Bool // SIGHUP has come, and the file is not yet rotated

	mu  sync.Mutex // of Run and Reopen
	ctx context.Context
	in  *output.In // while Run runs
	// Of the file that is open, if any.
	file    *os.File
	to      flusher
	unblock func() bool // undoes that the end of ctx ends a write
	size    int64       // of the file in bytes
	nextTry time.Time

	stamp time.Time // of the last renamed file
}

// flusher is a compressor, or the file. Its Close does not close the file.
type flusher interface {
	io.WriteCloser
	Flush() error
}

// New returns an output. The file is opened when it runs.
func New(o Options) *Output {
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	return &Output{options: o}
}

// Name implements [output.Output].
func (o *Output) Name() string { return "record " + o.options.File }

// Reopen rotates the file. It does not wait for a write that blocks: the file is rotated after
// that.
func (o *Output) Reopen() {
	o.reopen.Store(true)
	for o.reopen.Load() && o.mu.TryLock() {
		o.rotateRequested()
		o.mu.Unlock()
	}
}

// reopenIfLate rotates the file if Reopen was called while the lock was held.
func (o *Output) reopenIfLate() {
	if o.reopen.Load() {
		o.Reopen()
	}
}

// rotateRequested rotates the file if Reopen has been called.
func (o *Output) rotateRequested() {
	if !o.reopen.Swap(false) || o.in == nil || o.file == nil {
		return
	}
	if err := o.rotate(); err != nil {
		o.in.Fails(err)
	}
	o.ready()
}

// Run implements [output.Output].
func (o *Output) Run(ctx context.Context, in *output.In) error {
	o.mu.Lock()
	o.ctx, o.in = ctx, in
	o.ready() // an impossible name is reported at once
	o.mu.Unlock()
	o.reopenIfLate()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.in = nil
		if err := o.close(); err != nil {
			in.Fails(err)
		}
	}()
	atLeast, within := 1, time.Duration(0)
	if o.compressed() {
		atLeast, within = 1<<12, flushInterval
	}
	var (
		buf    []byte
		sender lines.Sender
	)
	for in.Take(ctx, atLeast, within) {
		buf = buf[:0]
		n := 0 // lines in buf
		for p := range in.Packets() {
			d := p.Datagram
			if d == nil {
				d = p.Refused
			}
			buf = append(lines.AppendJSON(buf, p.Received, sender.Text(p.From), d, p.Err), '\n')
			if n++; len(buf) >= 256<<10 {
				o.write(buf, n)
				buf, n = buf[:0], 0
				if ctx.Err() != nil {
					in.Drop(output.Stopped, p.Waiting)
					break
				}
			}
		}
		o.write(buf, n)
	}
	return nil
}

// write writes n whole lines, or counts them as lost.
func (o *Output) write(b []byte, n int) {
	if n == 0 {
		return
	}
	defer o.reopenIfLate()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil && o.size >= int64(o.options.Size) {
		if err := o.rotate(); err != nil {
			o.in.Fails(err)
		}
	}
	if !o.ready() {
		o.in.Drop(WriteFailed, n)
		return
	}
	_, err := o.to.Write(b)
	if err == nil {
		err = o.to.Flush()
	}
	if err != nil {
		_ = o.closeFile()
		o.nextTry = time.Now().Add(retryInterval)
		o.in.Drop(WriteFailed, n)
		o.in.Fails(err)
		return
	}
	o.in.Sent(n)
	o.in.Works()
}

// ready opens the file unless it is open, or it is too early to try again. It reports
// whether it is open.
func (o *Output) ready() bool {
	if o.file != nil {
		return true
	}
	now := time.Now()
	if now.Before(o.nextTry) {
		return false
	}
	if err := o.open(); err != nil {
		o.nextTry = now.Add(retryInterval)
		o.in.Fails(err)
		return false
	}
	return true
}

func (o *Output) compressed() bool { return ending(o.options.File) != "" }

// ending returns the ending of a name that stands for a compression, or none.
func ending(name string) string {
	if e := filepath.Ext(name); e == ".gz" || e == ".zst" {
		return e
	}
	return ""
}

// open opens the file. Lines follow those in it, except that compressed ones begin a new
// file: the last one may have been cut off, and what follows could not be read.
func (o *Output) open() error {
	name := o.options.File
	if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() && st.Size() > 0 && o.compressed() {
		if err := o.moveAway(); err != nil {
			return err
		}
	}
	// Reading is for the last byte; a pipe or device is opened for writing alone.
	flags := os.O_RDWR | os.O_APPEND | os.O_CREATE
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		flags = os.O_WRONLY
		if st.Mode().Type() == fs.ModeNamedPipe {
			flags |= syscall.O_NONBLOCK // to open it would wait for a reader
		}
	}
	f, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		return err
	}
	o.file, o.size = f, 0
	o.unblock = context.AfterFunc(o.ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) }) // of a pipe
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		o.size = st.Size()
	}
	counted := &counter{f, &o.size}
	switch ending(name) {
	case ".gz":
		o.to = gzip.NewWriter(counted)
	case ".zst":
		// One goroutine and a window of 1 MiB bound the memory.
		z, err := zstd.NewWriter(counted, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
		if err != nil {
			return errors.Join(err, o.closeFile())
		}
		o.to = z
	default:
		o.to = counted
		if err := o.endLine(); err != nil {
			return errors.Join(err, o.closeFile())
		}
	}
	return nil
}

// endLine ends the last line of a file that was cut off.
func (o *Output) endLine() error {
	if o.size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := o.file.ReadAt(last[:], o.size-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err := o.to.Write([]byte("\n"))
	return err
}

// counter writes to a file and counts the bytes.
type counter struct {
	file *os.File
	size *int64
}

func (c *counter) Write(b []byte) (int, error) {
	before := *c.size
	n, err := c.file.Write(b)
	*c.size += int64(n)
	if err != nil && n > 0 && c.file.Truncate(before) == nil {
		*c.size = before // no part of a line is left
	}
	return n, err
}

func (c *counter) Flush() error { return nil }
func (c *counter) Close() error { return nil }

// rotate closes the file and, if it still has its name, renames it. An empty one stays.
func (o *Output) rotate() error {
	mine, err := o.file.Stat()
	there, statErr := os.Stat(o.options.File)
	named := statErr == nil && mine != nil && os.SameFile(mine, there) && mine.Mode().IsRegular()
	if named && o.size == 0 {
		return nil
	}
	err = errors.Join(err, o.close())
	if named {
		err = errors.Join(err, o.moveAway())
	}
	return err
}

const stampFormat = "20060102T150405.000Z"

// moveAway renames the file, and removes the oldest of those renamed before.
func (o *Output) moveAway() error {
	stem, end := split(o.options.File)
	t := time.Now().UTC().Truncate(time.Millisecond)
	if !t.After(o.stamp) {
		t = o.stamp.Add(time.Millisecond) // names keep the order
	}
	for ; ; t = t.Add(time.Millisecond) {
		name := stem + "-" + t.Format(stampFormat) + end
		if _, err := os.Lstat(name); err == nil {
			continue // it is taken
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Rename(o.options.File, name); err != nil {
			return err
		}
		o.stamp = t
		return o.prune()
	}
}

// split splits a name before its endings.
func split(name string) (stem, end string) {
	dir, base := filepath.Split(name)
	if i := strings.IndexByte(strings.TrimLeft(base, "."), '.'); i >= 0 {
		i += len(base) - len(strings.TrimLeft(base, "."))
		return dir + base[:i], base[i:]
	}
	return name, ""
}

// prune removes the oldest of the renamed files, if there are too many.
func (o *Output) prune() error {
	if o.options.Keep == 0 {
		return nil
	}
	stem, end := split(o.options.File)
	dir, base := filepath.Split(stem)
	if dir == "" {
		dir = "."
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var renamed []string
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), base+"-")
		if rest, ok2 := strings.CutSuffix(rest, end); ok && ok2 && stamped(rest) {
			renamed = append(renamed, e.Name())
		}
	}
	slices.Sort(renamed)
	for len(renamed) > o.options.Keep {
		err = errors.Join(err, os.Remove(filepath.Join(dir, renamed[0])))
		renamed = renamed[1:]
	}
	return err
}

// stamped reports whether a text is the time of moveAway.
func stamped(s string) bool {
	_, err := time.Parse(stampFormat, s)
	return err == nil
}

// close ends the file.
func (o *Output) close() error {
	if o.file == nil {
		return nil
	}
	return errors.Join(o.to.Close(), o.closeFile())
}

func (o *Output) closeFile() error {
	o.unblock()
	err := o.file.Close()
	o.file, o.to = nil, nil
	return err
}
