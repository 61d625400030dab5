package metrics

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/procinfo"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const stat = "17 (a) R (b) S 1 17 17 0 -1 4194560 100 0 0 0 250 125 0 0 20 0 9 0 1000 8192 3 18446744073709551615 0 0\n"
	page := float64(os.Getpagesize())
	for _, tt := range []struct {
		name, stat string
		since      float64
		want       Process
	}{
		{"whole", stat, 30, Process{Uptime: procinfo.Known(20), UserTime: procinfo.Known(2.5), SystemTime: procinfo.Known(1.25),
			Threads: procinfo.Known(9), VSZ: procinfo.Known(8192), RSS: procinfo.Known(3 * page)}},
		{"clock before the start", stat, 5, Process{UserTime: procinfo.Known(2.5), SystemTime: procinfo.Known(1.25),
			Threads: procinfo.Known(9), VSZ: procinfo.Known(8192), RSS: procinfo.Known(3 * page)}},
		{"cut short", stat[:strings.Index(stat, "250")+3], 30, Process{UserTime: procinfo.Known(2.5)}},
		{"negative", strings.Replace(stat, " 250 125 ", " -1 x ", 1), -1, Process{Threads: procinfo.Known(9), VSZ: procinfo.Known(8192), RSS: procinfo.Known(3 * page)}},
		{"nothing", "", 30, Process{}},
		{"no fields", "17 (a)", 30, Process{}},
	} {
		var p Process
		p.parseStat([]byte(tt.stat), tt.since)
		if p != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, p, tt.want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("17 (a) R (b) S 1 17 17 0 -1 4194560 100 0 0 0 250 125 0 0 20 0 9 0 1000 8192 3"), 30.)
	f.Fuzz(func(t *testing.T, b []byte, since float64) {
		var p Process
		p.parseStat(b, since)
		if p.Uptime.OK && !(p.Uptime.V >= 0) || p.RSS.OK && p.RSS.V < 0 {
			t.Errorf("%+v", p)
		}
	})
}

func TestOpenFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got := openFiles(filepath.Join(dir, "none")); got.OK {
		t.Errorf("no directory: %v", got)
	}
	before := openFiles("/proc/self/fd")
	if !before.OK || before.V < 3 {
		t.Errorf("own: %v", before)
	}
}

func TestWithoutProc(t *testing.T) {
	t.Parallel()
	var p Process
	p.readKernel(t.TempDir())
	if p != (Process{}) {
		t.Errorf("%+v", p)
	}
}

// The memory of statm is exact, that of stat is too low.
func TestProcessRSS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stat := "10 (a) S 1 10 10 0 -1 4194560 10 0 2 0 30 40 0 0 20 0 1 0 1000 1048576 100 18446744073709551615 0\n"
	for name, content := range map[string]string{"stat": stat, "statm": "256 128 40 1 0 60 0\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var p Process
	p.readKernel(dir)
	if want := float64(128 * os.Getpagesize()); p.RSS.V != want || p.VSZ.V != 1048576 {
		t.Errorf("RSS %v, VSZ %v, want %v and 1048576", p.RSS, p.VSZ, want)
	}
}
