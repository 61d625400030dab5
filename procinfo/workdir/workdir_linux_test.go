package workdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
)

// long bounds the time for which a test waits for an event.
const long = 20 * time.Second

// workDirs returns a Dirs to which each of dirs is a file system of its own, mounted below
// "/".
func workDirs(t *testing.T, dirs ...string) *Dirs {
	t.Helper()
	root := t.TempDir()
	var b strings.Builder
	b.WriteString("1 0 0:1 / / rw - ext4 none rw\n")
	for i, dir := range dirs {
		fmt.Fprintf(&b, "%d 1 0:%d / %s rw - nfs none rw\n", i+2, i+2, dir)
	}
	must(t, os.MkdirAll(root+"/proc/self", 0o755))
	if err := os.WriteFile(root+"/proc/self/mountinfo", []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	w := New(procinfo.DirFS(root))
	t.Cleanup(func() { w.Close() })
	return w
}

// write creates a file of n bytes, and the folders above it.
func write(t *testing.T, name string, n int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	_, err = f.Write(bytes.Repeat([]byte("x"), n))
	must(t, err)
	if n > 4096 {
		must(t, f.Sync()) // some file systems count blocks only when they are written
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// du returns the size of a directory in MiB, with filepath.WalkDir.
func du(t *testing.T, dir string) float64 {
	t.Helper()
	blocks := int64(0)
	seen := map[[2]uint64]bool{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := i.Sys().(*syscall.Stat_t)
		if id := [2]uint64{uint64(st.Dev), st.Ino}; !seen[id] {
			seen[id] = true
			blocks += int64(st.Blocks)
		}
		return nil
	}))
	return float64(blocks) * 512 / (1 << 20)
}

// sizeOf measures dir, which must work.
func sizeOf(t *testing.T, dir string) float64 {
	t.Helper()
	w := New(procinfo.DefaultFS(func(string) string { return "" }))
	defer w.Close()
	u := w.Add(dir).Sample(long, true, false)
	if !u.SizeMB.OK || u.Err != nil || u.SizeTime.IsZero() || u.Unreadable != 0 || u.Skipped != 0 {
		t.Fatalf("%s: %+v", dir, u)
	}
	return u.SizeMB.V
}

func TestWorkDirSize(t *testing.T) {
	dir := t.TempDir()
	same := func(what string, want float64) {
		t.Helper()
		if got := sizeOf(t, dir); got != want || got != du(t, dir) {
			t.Fatalf("%s: %v MiB, want %v, du says %v", what, got, want, du(t, dir))
		}
	}
	same("empty", du(t, dir))
	write(t, dir+"/a/file", 3<<20)
	size := du(t, dir)
	if size < 3 {
		t.Fatalf("3 MiB are %v", size)
	}
	same("a file", size)

	must(t, os.Link(dir+"/a/file", dir+"/link"))
	must(t, os.Link(dir+"/a/file", dir+"/a/link"))
	same("hard links", size)

	must(t, os.Symlink("/", dir+"/root"))
	must(t, os.Symlink(".", dir+"/self"))
	must(t, os.Symlink("../a", dir+"/a/up"))
	must(t, os.Symlink(dir+"/a/file", dir+"/direct"))
	must(t, os.Symlink("nowhere", dir+"/dangling"))
	size = du(t, dir) // one that is long takes a block
	if size > 4 {
		t.Fatalf("symbolic links take %v MiB", size)
	}
	same("symbolic links", size)

	f, err := os.Create(dir + "/sparse")
	must(t, err)
	must(t, f.Truncate(1<<30))
	_, err = f.WriteAt([]byte("x"), 1<<29)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
	if size = du(t, dir); size > 20 {
		t.Skipf("no sparse files here: %v MiB", size)
	}
	same("a sparse file", size)

	for _, name := range []string{"new\nline", "\xff\xfe", " ", "...", ".hidden", strings.Repeat("n", 255), "a\\040b"} {
		write(t, filepath.Join(dir, name, name), 10000)
	}
	must(t, syscall.Mkfifo(dir+"/pipe", 0o600))
	same("odd names", du(t, dir))
}

// Real blocks, many folders, more than one buffer of entries.
func TestWorkDirManyEntries(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		for j := range 20 {
			must(t, os.MkdirAll(fmt.Sprintf("%s/%d/%d", dir, i, j), 0o755))
		}
	}
	for i := range 1000 {
		must(t, os.WriteFile(fmt.Sprintf("%s/a rather long name, so that more than a buffer is needed %d", dir, i), []byte("x"), 0o644))
	}
	if got, want := sizeOf(t, dir), du(t, dir); got != want {
		t.Errorf("%v MiB, want %v", got, want)
	}
}

func TestLongWorkDirMillionEntries(t *testing.T) {
	testkit.SkipLong(t)
	dir := t.TempDir()
	for i := range 1000 {
		sub := fmt.Sprintf("%s/%d", dir, i)
		must(t, os.Mkdir(sub, 0o755))
		must(t, os.WriteFile(sub+"/x", []byte("x"), 0o644))
		for j := range 999 {
			if j%2 == 0 {
				must(t, os.Link(sub+"/x", fmt.Sprintf("%s/%d", sub, j)))
			} else {
				must(t, syscall.Mknod(fmt.Sprintf("%s/%d", sub, j), syscall.S_IFREG|0o644, 0))
			}
		}
	}
	start := time.Now()
	got := sizeOf(t, dir)
	t.Logf("walked in %v", time.Since(start))
	if want := du(t, dir); got != want {
		t.Errorf("%v MiB, want %v", got, want)
	}
}

// The path is longer than PATH_MAX, and there are more folders to enter far up.
func TestWorkDirDeepTree(t *testing.T) {
	dir := t.TempDir()
	const levels = 3000
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	var want int64
	add := func(fd int) {
		var st unix.Stat_t
		must(t, unix.Fstat(fd, &st))
		want += int64(st.Blocks)
	}
	open := func(dir int, name string) int {
		must(t, unix.Mkdirat(dir, name, 0o755))
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		return fd
	}
	for i := range levels {
		for _, name := range []string{"aaa", "zzz"} { // on either side, in whatever order they are read
			if i%10 > 0 {
				continue
			}
			side := open(fd, name)
			add(side)
			unix.Close(side)
		}
		next := open(fd, "mmm")
		add(fd)
		unix.Close(fd)
		fd = next
	}
	add(fd)
	unix.Close(fd)

	w := workDirs(t)
	fds := func() int {
		e, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(e)
	}
	before, most, calls := fds(), 0, 0
	w.openat = func(dir int, name *byte) (int, syscall.Errno) {
		if calls++; calls%100 == 0 {
			most = max(most, fds())
		}
		return openDir(dir, name)
	}
	u := w.Add(dir).Sample(long, true, false)
	if !u.SizeMB.OK || u.Err != nil || u.SizeMB.V != float64(want)/2048 {
		t.Errorf("%+v, want %v", u, float64(want)/2048)
	}
	if most > before+maxOpenDirs+8 {
		t.Errorf("%d open files, %d before", most, before)
	}
}

// If a folder is moved while one deep in it is read, the way back leads to another folder.
func TestWorkDirMovedMeanwhile(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	write(t, elsewhere+"/big", 8<<20)
	for _, name := range []string{"/a", "/b"} { // whichever comes first, the other is left to come back for
		must(t, os.MkdirAll(dir+name+strings.Repeat("/down", maxOpenDirs+10), 0o755))
	}
	w := workDirs(t)
	d := w.Add(dir)
	if u := d.Sample(long, true, false); !u.SizeMB.OK || u.Err != nil {
		t.Fatalf("%+v", u)
	}
	first := d.Sample(0, false, false)
	depth, in := 0, ""
	w.openat = func(dirfd int, name *byte) (int, syscall.Errno) {
		switch s := unix.BytePtrToString(name); s {
		case "a", "b":
			in = dir + "/" + s
		case "down":
			if depth++; depth == maxOpenDirs+5 {
				must(t, os.Rename(in+"/down", elsewhere+"/down"))
			}
		}
		return openDir(dirfd, name)
	}
	u := d.Sample(long, true, false)
	if u.Err != nil || u.SizeMB != first.SizeMB || !u.SizeTime.Equal(first.SizeTime) {
		t.Errorf("%+v, before %+v", u, first)
	}
	w.openat = openDir
	if u := d.Sample(long, true, false); u.Err != nil || u.SizeMB.V != du(t, dir) || u.SizeTime.Equal(first.SizeTime) {
		t.Errorf("afterwards: %+v, want %v", u, du(t, dir))
	}
}

func TestWorkDirReplacedBySymlinkMeanwhile(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	write(t, elsewhere+"/big", 8<<20)
	for _, name := range []string{"a", "b", "c"} {
		write(t, dir+"/"+name+"/small", 100)
	}
	w := workDirs(t)
	swapped := 0
	w.openat = func(dirfd int, name *byte) (int, syscall.Errno) {
		switch s := unix.BytePtrToString(name); s {
		case "a":
			must(t, os.RemoveAll(dir+"/a"))
			must(t, os.Symlink(elsewhere, dir+"/a"))
			swapped++
		case "b":
			must(t, os.RemoveAll(dir+"/b"))
			swapped++
		case "c":
			must(t, os.RemoveAll(dir+"/c"))
			must(t, os.WriteFile(dir+"/c", nil, 0o644))
			swapped++
		}
		return openDir(dirfd, name)
	}
	u := w.Add(dir).Sample(long, true, false)
	if swapped != 3 || !u.SizeMB.OK || u.SizeMB.V > 1 || u.Err != nil || u.Unreadable != 0 {
		t.Errorf("%d swapped: %+v", swapped, u)
	}
}

func TestWorkDirUnreadable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/seen", 1<<20)
	write(t, dir+"/none/hidden", 1<<20)
	write(t, dir+"/listed/one", 1<<20)
	write(t, dir+"/listed/two", 1<<20)
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(dir+"/none", 0))
	must(t, os.Chmod(dir+"/listed", 0o444))
	t.Cleanup(func() {
		os.Chmod(dir+"/none", 0o755)
		os.Chmod(dir+"/listed", 0o755)
	})
	w := workDirs(t)
	var u, closed Usage
	var errs, closedErrs []error
	done := make(chan bool)
	go func() {
		defer close(done)
		fd, err1 := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		none, err2 := unix.Open(dir+"/none", unix.O_PATH|unix.O_DIRECTORY, 0)
		if err := errors.Join(err1, err2); err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		defer unix.Close(none)
		if os.Getuid() == 0 {
			runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
			unix.RawSyscall(unix.SYS_SETFSUID, 65534, 0, 0)
		}
		var complete bool
		if complete, errs = w.walk(&fsQueue{}, dir).run(fd, &u); !complete {
			t.Error("not complete")
		}
		_, closedErrs = w.walk(&fsQueue{}, dir+"/none").run(none, &closed)
	}()
	<-done
	if !u.SizeMB.OK || u.SizeMB.V < 1 || u.SizeMB.V > 1.5 || u.Unreadable != 2 {
		t.Errorf("%+v", u)
	}
	if len(errs) != 2 || !errors.Is(errs[0], syscall.EACCES) || !errors.Is(errs[1], syscall.EACCES) || !strings.Contains(errs[0].Error(), dir) {
		t.Errorf("errors %v", errs)
	}
	if closed.SizeMB.OK || closed.Unreadable != 1 || len(closedErrs) != 1 {
		t.Errorf("a directory that may not be read: %+v, %v", closed, closedErrs)
	}
}

func TestWorkDirErrorsAreReportedOnce(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/sub", 0o755))
	must(t, os.Symlink("loop", dir+"/loop"))
	w := workDirs(t)
	w.openat = func(dirfd int, name *byte) (int, syscall.Errno) {
		if unix.BytePtrToString(name) == "sub" {
			return -1, syscall.EIO
		}
		return openDir(dirfd, name)
	}
	w.statfs = func(int, *syscall.Statfs_t) error { return syscall.EIO }
	d := w.Add(dir)
	u := d.Sample(long, true, true)
	if !errors.Is(u.Err, syscall.EIO) || strings.Count(u.Err.Error(), dir) != 2 || u.Unreadable != 1 || !u.SizeMB.OK || u.Total.OK {
		t.Errorf("first: %+v", u)
	}
	if u := d.Sample(long, true, true); u.Err != nil || u.Unreadable != 1 || !u.SizeMB.OK {
		t.Errorf("second: %+v", u)
	}
	if u := w.Add(dir+"/loop").Sample(long, true, true); !errors.Is(u.Err, syscall.ELOOP) || u.SizeMB.OK {
		t.Errorf("loop: %+v", u)
	}
	// Without a free descriptor, the walk is abandoned, and the earlier size stays.
	w.openat = func(int, *byte) (int, syscall.Errno) { return -1, syscall.EMFILE }
	if v := d.Sample(long, true, false); !errors.Is(v.Err, syscall.EMFILE) || v.SizeMB != u.SizeMB || !v.SizeTime.After(u.SizeTime) {
		t.Errorf("without descriptors: %+v", v)
	}
}

func TestWorkDirVanished(t *testing.T) {
	parent := t.TempDir()
	dir := parent + "/job"
	w := workDirs(t)
	d := w.Add(dir)
	nothing := func(what string, u Usage) {
		t.Helper()
		if u != (Usage{}) {
			t.Errorf("%s: %+v", what, u)
		}
	}
	if u := d.Sample(long, true, true); !errors.Is(u.Err, syscall.ENOENT) || strings.Count(u.Err.Error(), dir) != 1 || u.SizeMB.OK || u.Total.OK {
		t.Errorf("not yet there: %+v", u)
	}
	nothing("still not there", d.Sample(long, true, true))
	write(t, dir+"/sub/file", 1000)
	nothing("nothing asked", d.Sample(long, false, false))
	if u := d.Sample(long, true, true); !u.SizeMB.OK || !u.Total.OK || u.Err != nil {
		t.Errorf("there: %+v", u)
	}
	must(t, os.RemoveAll(dir))
	nothing("gone", d.Sample(long, true, true))
	must(t, os.WriteFile(dir, nil, 0o644))
	nothing("a file", d.Sample(long, true, true))
	must(t, os.Remove(dir))

	write(t, dir+"/sub/file", 1000)
	w.openat = func(dirfd int, name *byte) (int, syscall.Errno) {
		if unix.BytePtrToString(name) == "sub" {
			must(t, os.RemoveAll(dir))
		}
		return openDir(dirfd, name)
	}
	nothing("gone while it was walked", d.Sample(long, true, false))
}

func TestWorkDirLimitsKeepTheLastSize(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		write(t, fmt.Sprintf("%s/%d/file", dir, i), 10)
		must(t, os.Link(fmt.Sprintf("%s/%d/file", dir, i), fmt.Sprintf("%s/%d/link", dir, i)))
	}
	w := workDirs(t)
	d := w.Add(dir)
	first := d.Sample(long, true, false)
	if !first.SizeMB.OK || first.Err != nil {
		t.Fatalf("%+v", first)
	}
	write(t, dir+"/more", 1<<20)
	for _, c := range []struct {
		limits walkLimits
		want   string
	}{
		{walkLimits{0, 1e6, 1e6, 1e6}, "takes longer than 0s"},
		{walkLimits{time.Hour, 250, 1e6, 1e6}, "more than 250 entries"},
		{walkLimits{time.Hour, 1e6, 50, 1e6}, "too many folders"},
		{walkLimits{time.Hour, 1e6, 1e6, 50}, "more than 50 files with several links"},
	} {
		w.limits = c.limits
		u := d.Sample(long, true, false)
		if u.SizeMB != first.SizeMB || !u.SizeTime.Equal(first.SizeTime) {
			t.Errorf("%s: %+v, before %+v", c.want, u, first)
		}
		if u.Err == nil || !strings.Contains(u.Err.Error(), c.want) || !strings.Contains(u.Err.Error(), dir) {
			t.Errorf("error %v, want %s", u.Err, c.want)
		}
		if u := d.Sample(long, true, false); u.Err != nil {
			t.Errorf("told again: %v", u.Err)
		}
	}
	w.limits = defaultLimits
	if u := d.Sample(long, true, false); u.SizeMB.V != du(t, dir) || u.Err != nil {
		t.Errorf("without limits: %+v", u)
	}
}

func TestWorkDirDisk(t *testing.T) {
	dir := t.TempDir()
	w := New(procinfo.DefaultFS(func(string) string { return "" }))
	defer w.Close()
	d := w.Add(dir)
	u := d.Sample(long, false, true)
	var st syscall.Statfs_t
	must(t, syscall.Statfs(dir, &st))
	unit := float64(st.Frsize) / (1 << 20)
	used, free := float64(st.Blocks-st.Bfree)*unit, float64(st.Bavail)*unit
	testkit.Near(t, "total", u.Total, float64(st.Blocks)*unit, 0)
	testkit.Near(t, "used", u.Used, used, 256) // others write, too
	testkit.Near(t, "free", u.Free, free, 256)
	testkit.Near(t, "usage", u.Usage, 100*used/(used+free), 1)
	if u.DiskTime.IsZero() || u.Err != nil || u.SizeMB.OK {
		t.Errorf("%+v", u)
	}

	for _, c := range []struct {
		st   syscall.Statfs_t
		want Usage
	}{
		{syscall.Statfs_t{Frsize: 1 << 20, Bsize: 4096, Blocks: 100, Bfree: 60, Bavail: 40},
			Usage{Total: procinfo.Known(100), Used: procinfo.Known(40), Free: procinfo.Known(40), Usage: procinfo.Known(50)}},
		{syscall.Statfs_t{Bsize: 1 << 20, Blocks: 100, Bfree: 4, Bavail: 1<<64 - 2}, // before frsize; in the reserve
			Usage{Total: procinfo.Known(100), Used: procinfo.Known(96), Free: procinfo.Known(0), Usage: procinfo.Known(100)}},
		{syscall.Statfs_t{Frsize: 1 << 20, Blocks: 100, Bfree: 100, Bavail: 0},
			Usage{Total: procinfo.Known(100), Used: procinfo.Known(0), Free: procinfo.Known(0)}},
		{syscall.Statfs_t{Frsize: 4096, Bsize: 4096}, Usage{}},
	} {
		w.statfs = func(_ int, st *syscall.Statfs_t) error { *st = c.st; return nil }
		u := d.Sample(long, false, true)
		u.DiskTime = time.Time{}
		if u != c.want {
			t.Errorf("%+v, want %+v", u, c.want)
		}
	}
}

func TestWorkDirPaths(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/real/job/file", 1<<20)
	must(t, os.MkdirAll(dir+"/other/place", 0o755))
	must(t, os.Symlink("../../real/job", dir+"/other/place/link"))
	must(t, os.Symlink(dir+"/other/place", dir+"/direct"))
	want := du(t, dir+"/real/job")
	for _, path := range []string{
		dir + "/real/job", dir + "//real/./job//", dir + "/real/../real/job", dir + "/other/place/link",
		dir + "/direct/link", dir + "/direct/link/../job/.", "/.." + dir + "/real/job",
	} {
		if got := sizeOf(t, path); got != want {
			t.Errorf("%s: %v MiB, want %v", path, got, want)
		}
	}
	if u := New(procinfo.FS{}).Add("").Sample(long, true, true); u != (Usage{}) {
		t.Errorf("empty: %+v", u)
	}
	t.Chdir(dir + "/other")
	w := workDirs(t, dir+"/real") // and from one mount into another
	for _, path := range []string{"../real/job", "place/link", "./place/./link/"} {
		if u := w.Add(path).Sample(long, true, true); u.SizeMB.V != want || u.Err != nil || !u.Total.OK {
			t.Errorf("%s: %+v, want %v", path, u, want)
		}
	}
	waitIdle(t, w)
}

// waitIdle waits for the end of all queues: they end a little after their last measurement.
func waitIdle(t *testing.T, w *Dirs) {
	t.Helper()
	testkit.Eventually(t, "the end of the last queue", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.queues) == 0
	})
}

func TestWorkDirWithoutCurrentDirectory(t *testing.T) {
	dir := t.TempDir() + "/gone"
	must(t, os.Mkdir(dir, 0o755))
	t.Chdir(dir)
	must(t, os.Remove(dir))
	w := workDirs(t)
	d := w.Add("etc") // not the one in "/"
	if u := d.Sample(long, true, true); !errors.Is(u.Err, syscall.ENOENT) || u.SizeMB.OK || u.Total.OK {
		t.Errorf("%+v", u)
	}
}

func TestWorkDirsConcurrently(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	w := workDirs(t, dirs...)
	var wg sync.WaitGroup
	for _, dir := range dirs {
		for i := range 20 {
			write(t, fmt.Sprintf("%s/%d/file", dir, i), 10)
		}
		d := w.Add(dir)
		for i := range 4 {
			wg.Go(func() {
				for range 20 {
					if u := d.Sample(long, i != 0, i != 1); i > 1 && (!u.SizeMB.OK || !u.Total.OK) || u.Err != nil || u.Skipped > 0 {
						t.Errorf("%+v", u)
					}
				}
			})
		}
	}
	wg.Wait()
}

// A mount point below the directory is not touched.
func TestWorkDirMountsBelow(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a/mount/file", 1<<20)
	write(t, dir+"/a/mounted", 1<<20)
	w := workDirs(t, dir+"/a/mount")
	var names []string
	w.openat = func(dirfd int, name *byte) (int, syscall.Errno) {
		names = append(names, unix.BytePtrToString(name))
		return openDir(dirfd, name)
	}
	u := w.Add(dir).Sample(long, true, false)
	if !u.SizeMB.OK || u.SizeMB.V < 1 || u.SizeMB.V > 1.5 || u.Err != nil || strings.Join(names, " ") != ". a" {
		t.Errorf("%+v, opened %q", u, names)
	}
}

// isDir reports whether a descriptor is that of a directory.
func isDir(fd int, dir string) bool {
	path, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return path == dir
}

// measuring returns the number of goroutines that measure work directories.
func measuring() int {
	b := make([]byte, 1<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), "workdir.(*Dirs).run(")
}

// A mount that hangs costs one goroutine, and delays no other measurement.
func TestWorkDirHungFileSystem(t *testing.T) {
	dead, alive, links := t.TempDir(), t.TempDir(), t.TempDir()
	for _, name := range []string{"a", "b"} {
		write(t, dead+"/"+name+"/file", 100)
		write(t, alive+"/"+name+"/file", 100)
	}
	must(t, os.Symlink(dead+"/b", links+"/b"))
	w := workDirs(t, dead, alive)
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan bool)
		var calls atomic.Int32
		w.statfs = func(fd int, st *syscall.Statfs_t) error {
			if isDir(fd, dead+"/a") {
				calls.Add(1)
				<-hang
			}
			return fstatfs(fd, st)
		}
		a, b, c, linked := w.Add(dead+"/a"), w.Add(dead+"/b"), w.Add(alive+"/a"), w.Add(links+"/b")
		if u := b.Sample(long, true, true); !u.SizeMB.OK || !u.Total.OK {
			t.Fatalf("before: %+v", u)
		}
		size := b.Sample(0, false, false).SizeMB
		goroutines := measuring()

		start := time.Now()
		if u := a.Sample(time.Second, true, true); u != (Usage{}) {
			t.Errorf("hung: %+v", u)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("waited for %v", d)
		}
		b.Sample(0, true, true) // waits for its turn, as it may be slow only
		time.Sleep(hungAfter)
		for i := range 3 {
			start := time.Now()
			if u := a.Sample(time.Second, true, true); u.Skipped != 2*(i+1) || u.SizeMB.OK || u.Total.OK || (u.Err != nil) != (i == 0) {
				t.Errorf("a: %+v", u)
			}
			if u := b.Sample(time.Second, true, true); u.Skipped != 2*(i+1) || u.SizeMB != size || u.Total.OK || (u.Err != nil) != (i == 0) {
				t.Errorf("b: %+v", u)
			}
			if u := linked.Sample(time.Second, false, true); u.Skipped != i+1 || u.Total.OK {
				t.Errorf("a link there: %+v", u)
			}
			if u := c.Sample(time.Second, true, true); u.Skipped != 0 || !u.SizeMB.OK || !u.Total.OK || u.Err != nil {
				t.Errorf("on another file system: %+v", u)
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("waited for %v", d)
			}
		}
		synctest.Wait()
		if n := measuring(); n != goroutines+1 || calls.Load() != 1 {
			t.Errorf("%d goroutines, %d before, %d calls", n, goroutines, calls.Load())
		}
		close(hang)
		synctest.Wait()
		for _, d := range []*Dir{a, b, linked} {
			if u := d.Sample(long, true, true); !u.SizeMB.OK || !u.Total.OK {
				t.Errorf("afterwards: %+v", u)
			}
		}
		synctest.Wait()
		if n := measuring(); n != goroutines {
			t.Errorf("%d goroutines, %d before", n, goroutines)
		}
	})
}

// Real mounts, in a mount namespace of their own.
func TestWorkDirRealMounts(t *testing.T) {
	const mark = "APMON_TEST_REAL_MOUNTS"
	if dir := os.Getenv(mark); dir != "" {
		t.Run("unknown", func(t *testing.T) { unknownMount(t, dir+"/unknown") })
		t.Run("dead", func(t *testing.T) { deadMount(t, dir+"/dead") })
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestWorkDirRealMounts$", "-test.v", "-test.timeout", long.String())
	cmd.Env = append(os.Environ(), mark+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	runtime.LockOSThread() // the death of which the signal is about is the thread's
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	switch {
	case len(out) == 0:
		t.Skipf("no name spaces: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("in part: %s", out)
	}
}

// unknownMount is a mount that was made after the mounts were read.
func unknownMount(t *testing.T, dir string) {
	write(t, dir+"/file", 100)
	must(t, os.Mkdir(dir+"/mount", 0o755))
	if err := syscall.Mount("none", dir+"/mount", "tmpfs", 0, ""); err != nil {
		t.Skip(err)
	}
	write(t, dir+"/mount/sub/file", 1<<20)
	if u := workDirs(t).Add(dir).Sample(long, true, false); !u.SizeMB.OK || u.SizeMB.V > .5 || u.Err != nil || u.Unreadable != 0 {
		t.Errorf("%+v", u)
	}
}

// deadMount is a mount without a server.
func deadMount(t *testing.T, dir string) {
	fuse, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	dead := dir + "/a mount"
	write(t, dir+"/alive/file", 10)
	must(t, os.Mkdir(dead, 0o755))
	if err := syscall.Mount("none", dead, "fuse", syscall.MS_NOSUID|syscall.MS_NODEV,
		fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)); err != nil {
		t.Skip(err)
	}
	must(t, os.Symlink(dead+"/b", dir+"/link"))
	w := New(procinfo.DefaultFS(func(string) string { return "" }))
	defer w.Close()
	a, b, all, link := w.Add(dead), w.Add(dead+"/b"), w.Add(dir), w.Add(dir+"/link")
	for range 2 {
		for _, d := range []*Dir{a, b, link} {
			if u := d.Sample(time.Millisecond, true, true); u != (Usage{}) {
				t.Errorf("%s: %+v", d.path, u)
			}
		}
		// The dead mount is below this one.
		if u := all.Sample(long, true, true); !u.SizeMB.OK || !u.Total.OK || u.Err != nil {
			t.Errorf("%+v", u)
		}
	}
	w.mu.Lock()
	q := a.disk.queue
	if q == nil || b.disk.queue != q || link.disk.queue != q {
		t.Fatal("not in the queue of one file system")
	}
	ended := q.ended
	q.beat.Add(-2 * int64(hungAfter)) // in place of waiting
	w.mu.Unlock()
	for _, d := range []*Dir{a, b, link} {
		if u := d.Sample(long, true, true); u.Skipped != 2 || u.Err == nil {
			t.Errorf("%s: %+v", d.path, u)
		}
	}
	must(t, syscall.Close(fuse)) // which ends the calls
	<-ended
	for _, d := range []*Dir{a, b, link} {
		if u := d.Sample(long, true, true); u.Skipped != 2 || u.SizeMB.OK || u.Total.OK || !errors.Is(u.Err, syscall.ENOTCONN) {
			t.Errorf("afterwards: %s: %+v", d.path, u)
		}
	}
}

// A walk that hangs frees its turn for others. A file system has one walk at a time.
func TestWorkDirTurns(t *testing.T) {
	var dirs []string
	for range 5 {
		dirs = append(dirs, t.TempDir())
		write(t, dirs[len(dirs)-1]+"/x/file", 100)
		write(t, dirs[len(dirs)-1]+"/y/file", 100)
	}
	w := workDirs(t, dirs...)
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan bool)
		var mu sync.Mutex
		walks := 0
		w.openat = func(dirfd int, name *byte) (int, syscall.Errno) {
			if unix.BytePtrToString(name) == "." {
				mu.Lock()
				walks++
				mu.Unlock()
				<-hang
			}
			return openDir(dirfd, name)
		}
		var all []*Dir
		for _, dir := range dirs {
			for _, sub := range []string{"/x", "/y"} {
				d := w.Add(dir + sub)
				all = append(all, d)
				d.Sample(0, true, false)
				d.Sample(0, true, false)
			}
		}
		running := func(want int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if walks != want {
				t.Errorf("%d walks, want %d", walks, want)
			}
		}
		running(maxWalks)
		time.Sleep(hungAfter + time.Second)
		all[0].Sample(0, true, false)
		running(2 * maxWalks)
		close(hang)
		running(len(all))
		for _, d := range all {
			if u := d.Sample(long, true, false); !u.SizeMB.OK {
				t.Errorf("%+v", u)
			}
		}
		running(len(all) + len(all)) // each a second time
		if len(w.queues) != 0 {
			t.Errorf("%d queues are left", len(w.queues))
		}
	})
}

// A long walk serves measurements of its file system in between.
func TestWorkDirDiskDuringWalk(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		write(t, fmt.Sprintf("%s/a/%d/file", dir, i), 10)
	}
	w := workDirs(t)
	a, b := w.Add(dir+"/a"), w.Add(dir)
	var during, again Usage
	var once sync.Once
	step := make(chan bool)
	w.openat = func(dirfd int, name *byte) (int, syscall.Errno) {
		once.Do(func() {
			b.Sample(0, false, true)
			again = a.Sample(time.Millisecond, true, false)
		})
		if name := unix.BytePtrToString(name); name == "2" || name == "1" || name == "0" {
			select {
			case <-step:
			default:
				during = b.Sample(0, false, false)
				close(step)
			}
		}
		return openDir(dirfd, name)
	}
	if u := a.Sample(long, true, false); !u.SizeMB.OK || u.Err != nil {
		t.Errorf("%+v", u)
	}
	if !during.Total.OK {
		t.Errorf("during the walk: %+v", during)
	}
	if again != (Usage{}) {
		t.Errorf("the first walk is not complete: %+v", again)
	}
}

func TestWorkDirsClose(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		must(t, os.MkdirAll(fmt.Sprintf("%s/%d", dir, i), 0o755))
	}
	w := workDirs(t)
	d := w.Add(dir)
	first := d.Sample(long, true, true)
	waitIdle(t, w)
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan bool)
		var opened atomic.Int32
		w.openat = func(dirfd int, name *byte) (int, syscall.Errno) {
			opened.Add(1)
			<-hang
			return openDir(dirfd, name)
		}
		waiting := make(chan Usage)
		d.Sample(0, true, false)
		go func() { waiting <- w.Add(dir).Sample(time.Hour, true, false) }()
		synctest.Wait()
		start := time.Now()
		must(t, w.Close())
		if d := time.Since(start); d != closeWait {
			t.Errorf("closed in %v, want %v", d, closeWait)
		}
		if u := <-waiting; u != (Usage{}) {
			t.Errorf("%+v", u)
		}
		close(hang)
		synctest.Wait()
		if n := opened.Load(); n != 1 {
			t.Errorf("%d folders opened", n)
		}
		start = time.Now()
		if u := d.Sample(time.Hour, true, true); u.SizeMB != first.SizeMB || u.Total != first.Total || time.Since(start) != 0 {
			t.Errorf("%+v, before %+v", u, first)
		}
		must(t, w.Close())
	})
}

func TestWorkDirStatFallback(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", 10000)
	must(t, os.Link(dir+"/file", dir+"/link"))
	must(t, os.Symlink("/", dir+"/root"))
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(fd)
	for _, name := range []string{"", "file", "root"} {
		flags, b := 0, append([]byte(name), 0)
		if name == "" {
			flags = unix.AT_EMPTY_PATH
		}
		var new, old walk
		if errno := new.stat(fd, &b[0], flags); errno != 0 {
			t.Fatal(errno)
		}
		if errno := old.oldStat(fd, &b[0], flags|unix.AT_SYMLINK_NOFOLLOW); errno != 0 {
			t.Fatal(errno)
		}
		if new.fileID() != old.fileID() || new.st.Mode != old.st.Mode || new.st.Nlink != old.st.Nlink || new.st.Blocks != old.st.Blocks {
			t.Errorf("%q: %+v, %+v", name, new.st, old.st)
		}
	}
	var k walk
	none := append([]byte("none"), 0)
	if a, b := k.stat(fd, &none[0], 0), k.oldStat(fd, &none[0], 0); a != syscall.ENOENT || b != syscall.ENOENT {
		t.Errorf("%v, %v", a, b)
	}
}

func TestMountOf(t *testing.T) {
	mounts := kernel.ParseMountinfo([]byte(`20 1 8:1 / / rw - ext4 /dev/sda rw
21 20 0:21 / /proc rw,relatime shared:5 - proc proc rw
22 20 0:30 / /a/b rw - nfs old:/ rw
23 20 0:31 / /data rw - nfs one:/ rw
24 23 0:32 / /data rw - nfs two:/ rw
25 24 0:33 / /data/sub rw - tmpfs none rw
26 20 0:34 / /with\040space\011and\134040 rw - tmpfs none rw
27 20 0:35 / /a rw - nfs hides:/ rw
28 23 0:36 / /data/hidden rw - tmpfs none rw
29 20 0:37 /some/dir /bind rw - ext4 /dev/sdb rw
30 20 0:38 / /datalong
x 20 0:39 / /bad rw - tmpfs none rw
`))
	for _, c := range []struct{ path, dev, point, rest string }{
		{"/", "8:1", "/", "/"},
		{"/home/x", "8:1", "/", "/home/x"},
		{"/proc/self", "0:21", "/proc", "self"},
		{"/data", "0:32", "/data", ""},
		{"//data/./x/", "0:32", "/data", "./x/"},
		{"/datalong/x", "8:1", "/", "/datalong/x"},
		{"/data/sub/x/y", "0:33", "/data/sub", "x/y"},
		{"/data/hidden/x", "0:32", "/data", "hidden/x"},
		{"/a/b/c", "0:35", "/a", "b/c"},
		{"/with space\tand\\040/x", "0:34", "/with space\tand\\040", "x"},
		{"/bind/x", "0:37", "/bind", "x"},
		{"/bad/x", "8:1", "/", "/bad/x"},
		{"/data/../proc", "0:32", "/data", "../proc"},
	} {
		if dev, point, rest := mountOf(mounts, c.path); dev != c.dev || point != c.point || rest != c.rest {
			t.Errorf("%s: %q %q %q, want %q %q %q", c.path, dev, point, rest, c.dev, c.point, c.rest)
		}
	}
	// In a chroot, the root may not be a mount point.
	mounts = kernel.ParseMountinfo([]byte("25 24 0:33 / /sub rw - tmpfs none rw\n"))
	if dev, point, _ := mountOf(mounts, "/sub/x"); dev != "0:33" || point != "/sub" {
		t.Errorf("chroot: %q %q", dev, point)
	}
	if dev, point, rest := mountOf(nil, "/x"); dev != "" || point != "/" || rest != "/x" {
		t.Errorf("no mounts: %q %q %q", dev, point, rest)
	}
}

// The kernel's statx and mountOf agree about the file system of a path.
func TestMountOfLive(t *testing.T) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	mounts := kernel.ParseMountinfo(b)
	for _, path := range []string{"/proc/self/ns", "/sys/kernel", "/dev"} {
		path, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		must(t, unix.Stat(path, &st))
		want := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
		if dev, _, _ := mountOf(mounts, path); dev != want {
			t.Errorf("%s: %s, want %s", path, dev, want)
		}
	}
}

func FuzzMounts(f *testing.F) {
	b, _ := os.ReadFile("../testdata/container/proc/self/mountinfo")
	f.Add(b, "/sys/fs/cgroup/x")
	f.Add([]byte("1 2 0:1 / / rw\n2 1 0:2 / / rw\n2 2 0:3 / /\\057 rw\n"), "/a/../b")
	f.Add([]byte("1 1 0:1 / /\\1 rw\n3 1 0:1 / /\\777\\000 rw"), "//./")
	f.Fuzz(func(t *testing.T, b []byte, path string) {
		keep := string(b)
		mounts := kernel.ParseMountinfo(b)
		if string(b) != keep {
			t.Error("the parser changed its input")
		}
		dev, point, rest := mountOf(mounts, path)
		if !strings.HasSuffix(path, rest) || point == "" || point[0] != '/' {
			t.Errorf("%q: %q %q", path, point, rest)
		}
		found := dev == "" && point == "/"
		for _, m := range mounts {
			found = found || m.Dev == dev && m.Point == point
		}
		if !found {
			t.Errorf("%q: no mount %q at %q", path, dev, point)
		}
	})
}

// tree creates a directory of folders with 99 files each.
func tree(tb testing.TB, folders int) string {
	dir := tb.TempDir()
	for i := range folders {
		sub := fmt.Sprintf("%s/%d", dir, i)
		if err := os.Mkdir(sub, 0o755); err != nil {
			tb.Fatal(err)
		}
		for j := range 99 {
			if err := os.WriteFile(fmt.Sprintf("%s/%d", sub, j), nil, 0o644); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return dir
}

func TestWorkDirAllocates(t *testing.T) {
	dir := tree(t, 20)
	w := New(procinfo.DefaultFS(func(string) string { return "" }))
	defer w.Close()
	d := w.Add(dir)
	if n := testing.AllocsPerRun(5, func() {
		if u := d.Sample(long, true, true); !u.SizeMB.OK {
			t.Errorf("%+v", u)
		}
	}); n > 100 {
		t.Errorf("%v allocations for 2000 entries", n)
	}
}

func BenchmarkWorkDirSize(b *testing.B) {
	w := New(procinfo.DefaultFS(func(string) string { return "" }))
	defer w.Close()
	d := w.Add(tree(b, 100))
	b.ReportAllocs()
	for b.Loop() {
		if u := d.Sample(long, true, false); !u.SizeMB.OK {
			b.Fatalf("%+v", u)
		}
	}
}

func BenchmarkWorkDirDisk(b *testing.B) {
	w := New(procinfo.DefaultFS(func(string) string { return "" }))
	defer w.Close()
	d := w.Add(b.TempDir())
	b.ReportAllocs()
	for b.Loop() {
		if u := d.Sample(long, false, true); !u.Total.OK {
			b.Fatalf("%+v", u)
		}
	}
}

// BenchmarkWorkDirFloor makes only the system calls for the same tree: openat, getdents64,
// and a statx for each entry.
func BenchmarkWorkDirFloor(b *testing.B) {
	root, err := syscall.Open(tree(b, 100), syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer syscall.Close(root)
	var st unix.Statx_t
	stat := func(fd int, name *byte) {
		if _, _, errno := syscall.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(name)), unix.AT_SYMLINK_NOFOLLOW,
			unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(&st)), 0); errno != 0 {
			b.Fatal(errno)
		}
	}
	var name [16]byte
	buf := make([]byte, 32<<10)
	b.ReportAllocs()
	for b.Loop() {
		for i := range 100 {
			strconv.AppendInt(name[:0], int64(i), 10)
			name[2] = 0
			if i < 10 {
				name[1] = 0
			}
			stat(root, &name[0])
			fd, errno := openDir(root, &name[0])
			if errno != 0 {
				b.Fatal(errno)
			}
			for {
				n, _ := syscall.ReadDirent(fd, buf)
				if n <= 0 {
					break
				}
				for e := buf[:n]; len(e) > 19; e = e[int(e[16])|int(e[17])<<8:] {
					if e[19] != '.' {
						stat(fd, &e[19])
					}
				}
			}
			syscall.Close(fd)
		}
	}
}
