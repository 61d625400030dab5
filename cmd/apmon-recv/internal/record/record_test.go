package record

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/output"
	"github.com/apmon-go/apmon/xdr"
)

// packet returns a datagram with a number.
func packet(i int) *receiver.Packet {
	d := xdr.Datagram{Version: "2.2.20", Instance: 7, Seq: int32(i), Cluster: "C", Node: "N", Params: []xdr.Param{xdr.Int("i", i)}}
	p := &receiver.Packet{From: netip.MustParseAddrPort("192.0.2.1:8884"), Received: time.Unix(1763735000, 5_000_000), Raw: d.Append(nil)}
	p.Decode(new(xdr.Datagram), nil)
	return p
}

type running struct {
	*output.Set
	out *Output
}

func start(t *testing.T, o Options) running {
	t.Helper()
	r := running{&output.Set{}, New(o)}
	r.Swap(t.Context(), []output.Output{r.out}, nil)
	t.Cleanup(func() { r.stop(t) })
	return r
}

// stop ends the output when it has written everything.
func (r running) stop(t *testing.T) { r.Swap(context.Background(), nil, nil) }

func (r running) send(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if !r.Put(t.Context(), packet(i)) {
			t.Fatal("not taken")
		}
	}
	if !r.Idle(t.Context()) {
		t.Fatal("not idle")
	}
}

// numbers returns the values in a file, uncompressed, and fails if a line is not JSON.
func numbers(t *testing.T, name string) []int {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var r io.Reader = bytes.NewReader(b)
	switch ending(name) {
	case ".gz":
		if r, err = gzip.NewReader(r); err != nil {
			t.Fatal(err)
		}
	case ".zst":
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	var all []int
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var line struct {
			Received float64
			Params   []struct{ Value int }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || len(line.Params) != 1 || line.Received != 1763735000.005 {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		all = append(all, line.Params[0].Value)
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return all
}

func upTo(from, to int) []int {
	var all []int
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

// rotated returns the renamed files, the oldest first.
func rotated(t *testing.T, name string) []string {
	t.Helper()
	stem, end := split(name)
	all, err := filepath.Glob(stem + "-*" + end)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestRecord(t *testing.T) {
	t.Parallel()
	for _, end := range []string{".jsonl", ".jsonl.gz", ".jsonl.zst"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { testRecord(t, end) })
		})
	}
}

func testRecord(t *testing.T, end string) {
	name := filepath.Join(t.TempDir(), "rec"+end)
	r := start(t, Options{File: name})
	r.send(t, 0, 100)
	r.out.Reopen()
	r.send(t, 100, 200)
	r.stop(t)
	old := rotated(t, name)
	if len(old) != 1 {
		t.Fatalf("renamed: %q", old)
	}
	if got := numbers(t, old[0]); !slices.Equal(got, upTo(0, 100)) {
		t.Errorf("the first file has %v", got)
	}
	if got := numbers(t, name); !slices.Equal(got, upTo(100, 200)) {
		t.Errorf("the second file has %v", got)
	}
	// Another run does not harm it.
	r = start(t, Options{File: name})
	r.send(t, 200, 210)
	r.stop(t)
	var got []int
	for _, f := range append(rotated(t, name), name) {
		got = append(got, numbers(t, f)...)
	}
	if !slices.Equal(got, upTo(0, 210)) {
		t.Errorf("in all: %v", got)
	}
}

// Files are rotated by size, and the oldest are removed.
func TestRotateBySize(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "rec.jsonl")
	r := start(t, Options{File: name, Size: 1000, Keep: 3})
	for i := range 100 {
		r.send(t, i, i+1)
	}
	r.stop(t)
	old := rotated(t, name)
	if len(old) != 3 {
		t.Fatalf("kept %d files: %q", len(old), old)
	}
	var got []int
	for _, f := range append(old, name) {
		got = append(got, numbers(t, f)...)
	}
	if n := len(got); n < 10 || !slices.Equal(got, upTo(100-n, 100)) {
		t.Errorf("in what is kept: %v", got)
	}
}

// After another program has renamed the file, a signal only begins a new one.
func TestReopenAfterRename(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "rec.jsonl")
	r := start(t, Options{File: name})
	r.send(t, 0, 5)
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	r.out.Reopen()
	r.send(t, 5, 8)
	if got := numbers(t, name+".1"); !slices.Equal(got, upTo(0, 5)) {
		t.Errorf("renamed: %v", got)
	}
	if got := numbers(t, name); !slices.Equal(got, upTo(5, 8)) || len(rotated(t, name)) != 0 {
		t.Errorf("new: %v", got)
	}
}

// A line that was cut off does not spoil the next.
func TestCutOff(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "rec.jsonl")
	if err := os.WriteFile(name, []byte(`{"from":"192`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, Options{File: name})
	r.send(t, 0, 1)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(string(b), "\n"); len(lines) != 3 || lines[0] != `{"from":"192` {
		t.Errorf("file: %q", b)
	}
}

// Datagrams that cannot be written are counted; writing goes on as soon as it can.
func TestRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testRecovers)
}

func testRecovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	name := filepath.Join(dir, "rec.jsonl")
	r := start(t, Options{File: name})
	r.send(t, 0, 3)
	if s := r.Stats()[0]; s.Dropped[WriteFailed] != 3 || s.Error == "" || !strings.Contains(s.Error, name) {
		t.Errorf("stats: %+v", s)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.send(t, 3, 4) // too early to try again
	time.Sleep(retryInterval)
	r.send(t, 4, 6)
	if s := r.Stats()[0]; s.Error != "" {
		t.Errorf("still: %s", s.Error)
	}
	if got := numbers(t, name); !slices.Equal(got, upTo(4, 6)) {
		t.Errorf("file: %v", got)
	}
}

// On a device that is always full, datagrams are counted.
func TestFull(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	r := start(t, Options{File: "/dev/full"})
	r.send(t, 0, 3)
	if s := r.Stats()[0]; s.Dropped[WriteFailed] != 3 || s.Sent != 0 || !strings.Contains(s.Error, "no space left") {
		t.Errorf("stats: %+v", s)
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{{"a", "a", ""}, {"a.b.c", "a", ".b.c"}, {"d.x/a.gz", "d.x/a", ".gz"}, {"d.x/a", "d.x/a", ""}, {"d/.a", "d/.a", ""}, {".a.gz", ".a", ".gz"}} {
		if stem, end := split(c[0]); stem != c[1] || end != c[2] {
			t.Errorf("split(%q) = %q, %q", c[0], stem, end)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {File: "x", Keep: -1}} {
		if o.Check() == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if err := (Options{File: "x"}).Check(); err != nil {
		t.Error(err)
	}
}
