package conf

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// readFiles calls the function readFiles and waits until ctx ends. On a dead file
// system the call remains; no second one is started.
func (r *Reader) readFiles(ctx context.Context) ([]part, error) {
	inherited := r.reading != nil
	if !inherited {
		reading := make(chan files, 1)
		r.reading = reading
		old, settle := r.parts, cmp.Or(r.settle, settleTime)
		go func() {
			parts, err := readFiles(ctx, r.Source.at, old)
			// Keep the last good text while the file may still be written to.
			for i := 0; i < attempts && err == nil && old != nil && !same(parts, old) && fresh(parts, settle); i++ {
				select {
				case <-time.After(settle):
					parts, err = readFiles(ctx, r.Source.at, old)
				case <-ctx.Done():
					err = fmt.Errorf("%s: changes while it is read", r.Source.Name)
				}
			}
			reading <- files{parts, err}
		}()
	}
	select {
	case f := <-r.reading:
		r.reading = nil
		if !inherited {
			return f.parts, f.err
		}
		// An earlier caller gave up on this read, so its result may be old: use it
		// only if there is no time for another read.
		parts, err := r.readFiles(ctx)
		if err != nil && ctx.Err() != nil && f.err == nil {
			return f.parts, nil
		}
		return parts, err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", r.Source.Name, context.Cause(ctx))
	}
}

func same(a, b []part) bool {
	return slices.EqualFunc(a, b, func(a, b part) bool {
		return a.name == b.name && bytes.Equal(a.text, b.text) && fmt.Sprint(a.err) == fmt.Sprint(b.err)
	})
}

// settleTime is how long a file must be unchanged before its new text is used.
const settleTime = time.Second

// fresh reports whether a file was written less than settle ago.
func fresh(parts []part, settle time.Duration) bool {
	for _, p := range parts {
		if info, err := os.Stat(p.name); err == nil && info.Mode().IsRegular() {
			if age := time.Since(info.ModTime()); age >= 0 && age < settle {
				return true
			}
		}
	}
	return false
}

type files struct {
	parts []part
	err   error
}

// readFiles returns the text of a file, or the texts of a folder. A file of a folder that
// cannot be read keeps its old text, if it has one; the error is that of the first file
// if none can be used.
func readFiles(ctx context.Context, path string, old []part) ([]part, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		text, err := readFile(ctx, path)
		return []part{{name: path, text: text}}, err
	}
	entries, err := os.ReadDir(path) // in the order of their names
	if err != nil {
		return nil, err
	}
	parts, size := []part{}, 0
	var failed error // of the first file, nil if any can be used
	for _, e := range entries {
		// Skip what editors and package managers leave: a.conf~, a.conf.rpmnew,
		// .a.conf.swp.
		if name := e.Name(); !strings.HasSuffix(name, ".conf") || name[0] == '.' || e.IsDir() {
			continue
		}
		p := part{name: filepath.Join(path, e.Name())}
		p.text, p.err = readEntry(ctx, p.name)
		if p.err == nil && size+len(p.text) > maxSize {
			p.text, p.err = nil, fmt.Errorf("more than %d bytes with the files before it", maxSize)
		}
		if p.err != nil {
			if _, err := os.Lstat(p.name); errors.Is(err, fs.ErrNotExist) {
				continue // removed since
			}
			if i := slices.IndexFunc(old, func(o part) bool { return o.name == p.name }); i >= 0 {
				p.text = old[i].text
			}
		}
		switch {
		case p.err == nil || p.text != nil:
			failed = nil
		case len(parts) == 0:
			failed = fmt.Errorf("%s: %w", p.name, p.err)
		}
		parts, size = append(parts, p), size+len(p.text)
	}
	return parts, failed
}

// readEntry reads a file of a folder. Its errors do not name the file.
func readEntry(ctx context.Context, path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("a link to a file that does not exist")
	case err != nil:
		return nil, pathless(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file") // reading a pipe would wait
	}
	text, err := readText(ctx, path)
	return text, pathless(err)
}

// pathless removes the path from an error of package os.
func pathless(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// readFile reads a file. Its errors name it.
func readFile(ctx context.Context, path string) ([]byte, error) {
	text, err := readText(ctx, path)
	if p := (*fs.PathError)(nil); err != nil && !errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return text, err
}

// readText reads a file that may be written at the same time: it reads again if the file
// changed during the read.
func readText(ctx context.Context, path string) ([]byte, error) {
	for range attempts {
		text, whole, err := readOnce(ctx, path)
		if err != nil || whole {
			return text, err
		}
	}
	return nil, errors.New("changes while it is read")
}

func readOnce(ctx context.Context, path string) (text []byte, whole bool, err error) {
	// Opening a named pipe without a writer would block.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })()
	before, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	text, err = io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, false, err
	}
	if len(text) > maxSize {
		return nil, false, fmt.Errorf("more than %d bytes", maxSize)
	}
	if !before.Mode().IsRegular() {
		return text, true, nil // a pipe, such as that of <(...)
	}
	after, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	return text, after.Size() == int64(len(text)) && after.ModTime().Equal(before.ModTime()), nil
}
