package conf

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFileChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.conf")
	r := Reader{Source: File(path), Lookup: knownOption, settle: time.Millisecond}
	read := func(wantText string, wantChanged bool, wantErr error) {
		t.Helper()
		c, _, changed, err := r.Read(t.Context())
		if got := destinations(c); got != wantText || changed != wantChanged || !errors.Is(err, wantErr) {
			t.Errorf("got %q, changed %v, %v", got, changed, err)
		}
		if c.Source != path {
			t.Errorf("source %q", c.Source)
		}
	}
	read("", false, fs.ErrNotExist)
	write(t, path, "a\n")
	read("a:8884", true, nil)
	read("a:8884", false, nil)
	write(t, path, "b\n") // of the same length, perhaps in the same tick
	read("b:8884", true, nil)
	write(t, path, "")
	read("", true, ErrNoDestination)
	read("", false, ErrNoDestination)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	read("", false, fs.ErrNotExist)
	write(t, path, "c p\nbad line here")
	read("c:8884=p", true, nil)
	write(t, path, strings.Repeat("#\n", maxSize/2))
	read("", true, ErrNoDestination)
	write(t, path, strings.Repeat("#\n", maxSize/2)+"#")
	if _, _, _, err := r.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10-b.conf": "\ufeffb\nbad line here", "9-c.conf": "c\r\na\r\n", "10-a.conf": "\na\nb\n\x00x\nxApMon_colour = 1\nxApMon_self = on",
		"Z.conf": "xApMon_self = off\nz",
		// these are skipped
		"b.conf.rpmnew": "no1", "b.conf.dpkg-old": "no2", "b.conf~": "no3", ".b.conf": "no4", "b.conf.rpmsave": "no5",
		"#b.conf#": "no6", ".b.conf.swp": "no7", "b.CONF": "no8", "conf": "no9", "README": "no10",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	if err := os.Mkdir(filepath.Join(dir, "d.conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := Reader{Source: File(dir), Lookup: knownOption}
	c, problems, changed, err := r.Read(t.Context())
	if got := destinations(c); err != nil || !changed || got != "a:8884 b:8884 c:8884 z:8884" || c.Self != Off || c.Source != dir {
		t.Errorf("got %s, self %v, source %s, %v", got, c.Self, c.Source, err)
	}
	var got []string
	for _, p := range problems {
		s, _ := filepath.Rel(dir, p.Error())
		got = append(got, s)
	}
	want := []string{
		`10-a.conf:4: destination "\x00x": "\x00" in the host name`,
		`10-a.conf:5: warning: directive "xApMon_colour": unknown, and ignored`,
		`10-b.conf:2: destination "bad": more than a password after it (quote a password with blanks)`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, _, changed, _ := r.Read(t.Context()); changed {
		t.Error("unchanged, but reported as changed")
	}
	// The same text under another name: problems are reported again.
	if err := os.Rename(filepath.Join(dir, "Z.conf"), filepath.Join(dir, "Y.conf")); err != nil {
		t.Fatal(err)
	}
	if _, _, changed, _ := r.Read(t.Context()); !changed {
		t.Error("a new name is not reported as a change")
	}
	write(t, filepath.Join(dir, "big.conf"), strings.Repeat("#", maxSize))
	c, problems, _, err = r.Read(t.Context())
	if last := problems[len(problems)-1].Error(); err != nil || len(c.Destinations) != 4 || !strings.HasPrefix(last, dir+"/big.conf: more than") {
		t.Errorf("got %v, %v", problems, err)
	}

	empty := t.TempDir()
	if _, _, _, err := (&Reader{Source: File(empty)}).Read(t.Context()); !errors.Is(err, ErrNoDestination) {
		t.Errorf("empty folder: %v", err)
	}
}

// TestFileIsNotTakenForFolder: no content of a file makes it look like the files of
// a folder.
func TestFileIsNotTakenForFolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x")
	write(t, path, "\x00/etc/passwd\nbad line here\n\x00/etc/shadow\nx:y\n")
	_, problems, _, _ := (&Reader{Source: File(path)}).Read(t.Context())
	for _, p := range problems {
		if p.Source != path {
			t.Errorf("%v", p)
		}
	}
	if len(problems) != 4 {
		t.Errorf("got %v", problems)
	}
}

// TestFileReplacedMeanwhile: a read returns one of the texts that were written,
// never a mixture of both.
func TestFileReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be replaced on Windows")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x.conf")
	texts := []string{strings.Repeat("#a\n", 30000) + "a", strings.Repeat("#b\n", 20000) + "b"}
	write(t, path, texts[0])
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			os.WriteFile(path+".new", []byte(texts[i%2]), 0o600)
			os.Rename(path+".new", path)
		}
	}()
	r := Reader{Source: File(path), settle: time.Nanosecond}
	for range 100 {
		c, problems, _, err := r.Read(t.Context())
		if got := destinations(c); err != nil || len(problems) > 0 || got != "a:8884" && got != "b:8884" {
			t.Errorf("got %s, %v, %v", got, problems, err)
		}
	}
	stop.Store(true)
	<-done
}

func TestFileGrowsMeanwhile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.conf")
	write(t, path, "#\n")
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
			if err != nil {
				continue
			}
			for range 200 {
				f.WriteString("h\n")
			}
			f.Close()
		}
	}()
	for range 100 { // a text or an error, but no mixture
		_, err := readFiles(t.Context(), path, nil)
		if err != nil && !strings.HasSuffix(err.Error(), "changes while it is read") {
			t.Error(err)
		}
	}
	stop.Store(true)
	<-done
}

func TestNotAFile(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/zero"); err == nil {
		if _, _, _, err := (&Reader{Source: File("/dev/zero")}).Read(t.Context()); err == nil || !strings.Contains(err.Error(), "/dev/zero: more than") {
			t.Errorf("/dev/zero: %v", err)
		}
		if _, _, _, err := (&Reader{Source: File("/dev/null")}).Read(t.Context()); !errors.Is(err, ErrNoDestination) {
			t.Errorf("/dev/null: %v", err)
		}
	}
	path := filepath.Join(t.TempDir(), "x\x00y")
	if _, _, _, err := (&Reader{Source: File(path)}).Read(t.Context()); err == nil {
		t.Error("a NUL in the name")
	}
}

func TestPermission(t *testing.T) {
	t.Parallel()
	if os.Getuid() <= 0 {
		t.Skip("root may read everything, and Windows has no such permission")
	}
	path := filepath.Join(t.TempDir(), "x.conf")
	write(t, path, "h secret")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		_, _, _, err := (&Reader{Source: File(p)}).Read(t.Context())
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v", err)
		}
	}
}

// TestFolderPartlyUnreadable: a file that cannot be read is reported, and does
// not disable the others; at a reload its last good text stays.
func TestFolderPartlyUnreadable(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links need a special right on Windows")
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("a.conf"), "a\n")
	write(t, path("c.conf"), "c p\n")
	for link, to := range map[string]string{"b.conf": "gone", "d.conf": ".", "e.conf": "e.conf"} {
		if err := os.Symlink(to, path(link)); err != nil {
			t.Fatal(err)
		}
	}
	links := []string{
		path("b.conf") + ": a link to a file that does not exist",
		path("d.conf") + ": not a regular file",
		path("e.conf") + ": too many levels of symbolic links",
	}
	r := Reader{Source: File(dir), settle: time.Nanosecond}
	read := func(destinationsWanted string, changedWanted bool, want ...string) {
		t.Helper()
		c, problems, changed, err := r.Read(t.Context())
		var got []string
		for _, p := range problems {
			got = append(got, p.Error())
		}
		if d := cmp.Diff(want, got); d != "" || err != nil || destinations(c) != destinationsWanted || changed != changedWanted {
			t.Errorf("got %s, changed %v, %v %s", destinations(c), changed, err, d)
		}
	}
	read("a:8884 c:8884=p", true, links...)
	read("a:8884 c:8884=p", false, links...)

	// A file that can no longer be read.
	if err := os.Remove(path("c.conf")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("gone", path("c.conf")); err != nil {
		t.Fatal(err)
	}
	gone := path("c.conf") + ": a link to a file that does not exist"
	read("a:8884 c:8884=p", true, links[0], gone, links[1], links[2])
	read("a:8884 c:8884=p", false, links[0], gone, links[1], links[2])
	if err := os.Remove(path("c.conf")); err != nil {
		t.Fatal(err)
	}
	read("a:8884", true, links...)

	// If no file can be read, the error gives the reason.
	if err := os.Remove(path("a.conf")); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := (&Reader{Source: File(dir)}).Read(t.Context()); err == nil || err.Error() != links[0] {
		t.Errorf("got %v", err)
	}
}

func TestStatic(t *testing.T) {
	t.Parallel()
	for _, s := range []Source{List("l", "a,b p"), Text("l", "a\nb p\n")} {
		r := Reader{Source: s}
		c, problems, changed, err := r.Read(t.Context())
		if destinations(c) != "a:8884 b:8884=p" || c.Source != "l" || len(problems) > 0 || !changed || err != nil || !s.Static() {
			t.Errorf("%v: %v %v %v %v", s, c, problems, changed, err)
		}
		if _, _, changed, err := r.Read(t.Context()); changed || err != nil {
			t.Errorf("%v has changed, %v", s, err)
		}
	}
	if File("x").Static() || URL("http://x").Static() {
		t.Error("files and URLs change")
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	readers := []*Reader{
		{Source: List("good", "a,b,x:y")},
		{Source: List("bad", ":")},
		{Source: File(filepath.Join(t.TempDir(), "none"))},
		{Source: Text("text", "c")},
	}
	loaded := Load(t.Context(), readers)
	if len(loaded) != 4 || destinations(loaded[0].Config) != "a:8884 b:8884" || !loaded[0].Changed || len(loaded[0].Problems) != 1 || loaded[0].Err != nil ||
		destinations(loaded[3].Config) != "c:8884" {
		t.Errorf("got %+v", loaded)
	}
	if err := loaded[1].Err; !errors.Is(err, ErrNoDestination) || err.Error() != "bad: no usable destination in it" {
		t.Errorf("got %v", err)
	}
	if err := loaded[2].Err; !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), readers[2].Source.Name) {
		t.Errorf("got %v", err)
	}
	if got := Load(t.Context(), nil); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// TestLoadIsParallel: each of two fetches waits for the other.
func TestLoadIsParallel(t *testing.T) {
	t.Parallel()
	first, second := make(chan struct{}), make(chan struct{})
	meet := func(mine, other chan struct{}) roundTripper {
		return func(req *http.Request) (*http.Response, error) {
			close(mine)
			<-other
			return answer(200, "h"), nil
		}
	}
	loaded := Load(t.Context(), []*Reader{
		{Source: URL("http://a"), Transport: meet(first, second)},
		{Source: URL("http://b"), Transport: meet(second, first)},
	})
	for _, l := range loaded {
		if l.Err != nil {
			t.Error(l.Err)
		}
	}
}

func TestLoadAny(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 200 {
		var reads atomic.Int32
		count := roundTripper(func(*http.Request) (*http.Response, error) { reads.Add(1); return answer(200, "h"), nil })
		readers := []*Reader{
			{Source: List("bad", "")},
			{Source: URL("http://a"), Transport: count},
			{Source: URL("http://b"), Transport: count},
		}
		i, loaded := LoadAny(t.Context(), readers)
		if i < 1 || loaded[i].Err != nil || len(loaded[i].Config.Destinations) != 1 || reads.Load() != 1 || loaded[3-i].Config.Source != "" {
			t.Fatalf("got %d, %d reads, %+v", i, reads.Load(), loaded)
		}
		seen[i] = true
	}
	if len(seen) != 2 {
		t.Errorf("not random: %v", seen)
	}
	i, loaded := LoadAny(t.Context(), []*Reader{{Source: List("x", "")}, {Source: List("y", ":")}})
	if i >= 0 || loaded[0].Err == nil || loaded[1].Err == nil {
		t.Errorf("got %d, %+v", i, loaded)
	}
}

func TestReadPipe(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("/dev/fd differs between systems")
	}
	silent, quiet, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	defer quiet.Close()
	name := "/dev/fd/" + itoa(silent.Fd())
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, _, _, err := (&Reader{Source: File(name)}).Read(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), name) {
		t.Errorf("a pipe without a writer: %v", err)
	}
	r, w, err := os.Pipe() // a new one: the first is still read
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	name = "/dev/fd/" + itoa(r.Fd())
	go func() {
		for _, s := range []string{"a\nb", " p"} {
			w.WriteString(s)
		}
		w.Close()
	}()
	c, _, _, err := (&Reader{Source: File(name)}).Read(t.Context())
	if destinations(c) != "a:8884 b:8884=p" || err != nil {
		t.Errorf("got %v, %v", c, err)
	}
}

// While a file is slowly written in place, its previous text is used.
func TestHalfWrittenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.conf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a\nb.example.org\n")
	r := Reader{Source: File(path)}
	if c, _, _, err := r.Read(context.Background()); err != nil || len(c.Destinations) != 2 {
		t.Fatal(c, err)
	}
	write("a\nb.exam") // the rest is to come
	read := make(chan Config)
	go func() {
		c, _, _, err := r.Read(context.Background())
		if err != nil {
			t.Error(err)
		}
		read <- c
	}()
	write("a\nb.example.org\nc.example.org\n")
	if c := <-read; len(c.Destinations) != 3 {
		t.Errorf("got %s", c.Format(false))
	}
}

// The result of a read whose caller gave up is not used as the current text of the
// file.
func TestReadAfterOneGivenUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.conf")
	write(t, path, "a\n")
	r := Reader{Source: File(path)}
	if _, _, _, err := r.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, path, "b\n") // fresh: the reader waits for it to settle
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := r.Read(ctx); err == nil {
		t.Error("a cancelled read succeeded")
	}
	write(t, path, "c\n")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if c, _, _, err := r.Read(t.Context()); destinations(c) != "c:8884" || err != nil {
		t.Errorf("got %q, %v", destinations(c), err)
	}
}
