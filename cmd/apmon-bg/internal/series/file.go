// Package series writes the samples of a job to files while it runs: time series as TSV or
// JSON lines, compressed or not, and the two files of prmon.
//
// Each line is written as a whole and at once, so that a node that dies leaves all lines
// so far. A file has a maximum number of lines: when it is reached, the file is thinned to
// half of it.
package series

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/apmon-go/apmon/procinfo"
)

// MinLines is the least maximum number of lines.
const MinLines = 10

// MaxChildren is the largest number of children that have columns.
const MaxChildren = 64

// A File is a table that grows by one line with each sample.
type File struct {
	path    string
	columns []column
	json    bool
	gzip    bool
	max     int

	children []procinfo.JobChild // those that have columns now; pid 0 for none

	f    *os.File
	gz   *gzip.Writer
	rows [][]float64 // NaN for unknown
	size int64       // of the complete lines
	over bool        // the next line replaces one, which may be longer
	line []byte
	tail int   // length of the last line of a file that is not compressed
	err  error // of the first failure; nothing is written after it
}

// A column is a column of a table.
type column struct {
	name     string
	decimals int
	value    func(*procinfo.JobSample) procinfo.Value
	whole    bool // unknown is 0: readers of the format know no other
}

// Create creates the time series of a job, or replaces that of an earlier run. The format
// follows from the name: JSON lines for .json, .jsonl and .ndjson, otherwise TSV with a
// header; with .gz after that, it is compressed. The file has at most maxLines lines, 0 for
// any number, and columns for so many direct children of the job's first process at a time.
func Create(path string, maxLines, children int) (*File, error) {
	plain, compressed := strings.CutSuffix(path, ".gz")
	f := &File{path: path, columns: columns(), gzip: compressed, max: maxLines, children: make([]procinfo.JobChild, min(children, MaxChildren))}
	for i := range f.children {
		f.columns = append(f.columns, childColumns(i+1, &f.children[i])...)
	}
	switch filepath.Ext(plain) {
	case ".json", ".jsonl", ".ndjson":
		f.json = true
	}
	return f, f.create()
}

func (f *File) create() error {
	if f.max != 0 {
		f.max = max(f.max, MinLines)
	}
	// Check before opening: opening a FIFO would unblock its reader.
	if st, err := os.Stat(f.path); err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", f.path)
	}
	if st, err := os.Lstat(f.path); err == nil && st.Mode()&os.ModeSymlink != 0 {
		if err := os.Remove(f.path); err != nil { // a link is replaced, not followed
			return err
		}
	}
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0o666)
	if err != nil {
		return err
	}
	f.use(file)
	return f.header()
}

// use makes file the one that is written to.
func (f *File) use(file *os.File) {
	f.f, f.size = file, 0
	if f.gzip {
		if f.gz == nil {
			// The fastest level touches the least memory, and lines that are flushed one
			// by one compress little better with another.
			f.gz, _ = gzip.NewWriterLevel(file, gzip.BestSpeed)
		} else {
			f.gz.Reset(file)
		}
	}
}

// header writes the names of the columns.
func (f *File) header() error {
	if f.json {
		return nil
	}
	f.line = f.line[:0]
	for i := range f.columns {
		f.line = append(append(f.line, f.columns[i].name...), '\t')
	}
	f.line[len(f.line)-1] = '\n'
	return f.flush()
}

// Write writes a line. After an error, which is returned once, it does nothing.
func (f *File) Write(s *procinfo.JobSample) error {
	if f.err != nil {
		return nil
	}
	f.place(s.Children)
	row := make([]float64, len(f.columns))
	for i := range f.columns {
		row[i] = math.NaN()
		if v := f.columns[i].value(s); v.OK {
			row[i] = v.V
		}
	}
	if f.max > 0 {
		if f.rows = append(f.rows, row); len(f.rows) > f.max {
			f.rows = thin(f.rows, f.max/2)
			f.err = f.rewrite()
			return f.err
		}
	}
	f.line = f.format(f.line[:0], row)
	f.tail = len(f.line)
	if f.err = f.flush(); f.err != nil || f.over {
		_ = f.f.Truncate(f.size) // no half line
		f.over = false
	}
	return f.err
}

// back makes the next line replace the last one of a file that is not compressed.
func (f *File) back() {
	if f.err != nil {
		return
	}
	f.rows = f.rows[:max(0, len(f.rows)-1)]
	f.size, f.err = f.f.Seek(-int64(f.tail), io.SeekCurrent)
	f.over = true
}

// place gives each child its columns, which it keeps while it lives.
func (f *File) place(children []procinfo.JobChild) {
	for i := range f.children {
		c := &f.children[i]
		k := slices.IndexFunc(children, func(x procinfo.JobChild) bool { return x.PID == c.PID })
		if *c = (procinfo.JobChild{}); k >= 0 {
			*c = children[k]
		}
	}
	for _, x := range children {
		if slices.ContainsFunc(f.children, func(c procinfo.JobChild) bool { return c.PID == x.PID }) {
			continue
		}
		if i := slices.IndexFunc(f.children, func(c procinfo.JobChild) bool { return c.PID == 0 }); i >= 0 {
			f.children[i] = x
		}
	}
}

// format appends a line.
func (f *File) format(b []byte, row []float64) []byte {
	for i, v := range row {
		c := &f.columns[i]
		if f.json {
			b = append(strconv.AppendQuote(append(b, "{,"[min(i, 1)]), c.name), ':')
		} else if i > 0 {
			b = append(b, '\t')
		}
		switch {
		case !math.IsNaN(v):
			f := math.Pow10(c.decimals)
			b = strconv.AppendFloat(b, math.Round(v*f)/f, 'f', -1, 64)
		case f.json:
			b = append(b, "null"...)
		case c.whole:
			b = append(b, '0')
		}
	}
	if f.json {
		b = append(b, '}')
	}
	return append(b, '\n')
}

// flush writes the line to the file.
func (f *File) flush() error {
	var err error
	if f.gzip {
		if _, err = f.gz.Write(f.line); err == nil {
			err = f.gz.Flush()
		}
	} else {
		_, err = f.f.Write(f.line)
	}
	if err == nil {
		f.size, err = f.f.Seek(0, io.SeekCurrent)
	}
	return err
}

// rewrite replaces the file by one that has the rows that are left. If no file can be
// created beside it, it is overwritten.
func (f *File) rewrite() error {
	old := f.f
	file, err := os.CreateTemp(filepath.Dir(f.path), ".apmon-bg-*")
	if err != nil {
		_, err = old.Seek(0, io.SeekStart)
		if err = errors.Join(err, old.Truncate(0)); err == nil {
			f.use(old)
			err = f.writeRows()
		}
		return err
	}
	if st, e := old.Stat(); e == nil {
		err = file.Chmod(st.Mode().Perm())
	}
	f.use(file)
	if err == nil {
		err = f.writeRows()
	}
	if err == nil {
		err = os.Rename(file.Name(), f.path)
	}
	if err != nil {
		os.Remove(file.Name())
		f.f = old
		return errors.Join(err, file.Close())
	}
	return old.Close()
}

// writeRows writes the header and all rows.
func (f *File) writeRows() error {
	if err := f.header(); err != nil {
		return err
	}
	f.line = f.line[:0]
	for _, row := range f.rows {
		before := len(f.line)
		f.line = f.format(f.line, row)
		f.tail = len(f.line) - before
		if len(f.line) > 1<<16 {
			if err := f.flush(); err != nil {
				return err
			}
			f.line = f.line[:0]
		}
	}
	return f.flush()
}

// Close closes the file.
func (f *File) Close() error {
	var err error
	if f.gzip && f.err == nil {
		err = f.gz.Close()
	}
	return errors.Join(err, f.f.Close())
}
