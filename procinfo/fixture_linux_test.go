package procinfo

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/xdr"
)

var update = flag.Bool("update", false, "write the golden files anew")

// lay copies a fixture tree. It writes files in place, as a host may have them open.
func lay(t *testing.T, tree, dir string, change func(name string, b []byte) []byte) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join("testdata", tree), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(filepath.Join("testdata", tree), path)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if change != nil {
			b = change(filepath.ToSlash(rel), b)
		}
		to := filepath.Join(dir, rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// report returns general information and two samples ten seconds apart, as text.
func report(t *testing.T, tree string, change func(name string, b []byte) []byte) string {
	t.Helper()
	dir := t.TempDir()
	lay(t, tree, dir, change)
	h := NewHost(DirFS(dir))
	defer h.Close()
	now := time.Duration(0)
	h.clock = func() time.Duration { return now }
	h.ipv4 = func(name string) string { return "192.0.2.1" }
	h.Factors.DB12 = Known(12.5)
	var b strings.Builder
	show := func(title string, params []xdr.Param, err error) {
		fmt.Fprintf(&b, "# %s\n", title)
		for _, p := range params {
			if err := p.Check(); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
			if p.Type() == xdr.TypeString {
				fmt.Fprintf(&b, "%s = %q\n", p.Name, p.Text())
			} else {
				fmt.Fprintf(&b, "%s = %.8g\n", p.Name, p.Float())
			}
		}
		if err != nil {
			t.Errorf("%s: %v", title, err)
		}
	}
	g, err := h.General()
	show("general", g.Append(nil, nil), err)
	err = h.Sample(nil)
	show("first sample", h.System.Append(nil, nil), err)
	lay(t, tree+".next", dir, change)
	now = 10 * time.Second
	err = h.Sample(nil)
	show("after 10 s", h.System.Append(nil, nil), err)
	return b.String()
}

func TestFixtures(t *testing.T) {
	for _, tree := range []string{"x86", "arm", "container"} {
		t.Run(tree, func(t *testing.T) {
			got := report(t, tree, nil)
			golden := filepath.Join("testdata", tree+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

// A newer kernel has more keys, lines and columns.
func TestUnknownKeysAreIgnored(t *testing.T) {
	want := report(t, "x86", nil)
	got := report(t, "x86", func(name string, b []byte) []byte {
		switch filepath.Base(name) {
		case "meminfo":
			return append([]byte("MemFreeNew: 12 kB\nOdd\n: 4 kB\n"), append(b, "MemWhatever: 77 pages\n"...)...)
		case "vmstat", "sockstat", "sockstat6", "protocols":
			return append([]byte("pgpginx 5 5 5\n\n"), append(b, "oom_kill_x 9\nUDPNEW: inuse 44 x\n"...)...)
		case "stat":
			if !strings.HasPrefix(string(b), "cpu") {
				return append(bytes.TrimSpace(b), " 1 2 3 4\n"...)
			}
			return append(bytes.Replace(b, []byte("\n"), []byte(" 7 8 9\n"), 1), "newkey 1 2 3\ncpux 4\n"...)
		case "dev", "diskstats":
			return bytes.ReplaceAll(b, []byte("\n"), []byte(" 5 6 7\n"))
		case "cpu", "memory", "io":
			return append([]byte("most avg60=9.00\n"), bytes.ReplaceAll(b, []byte(" total"), []byte(" avg3600=1.00 total"))...)
		case "cpuinfo":
			return bytes.ReplaceAll(b, []byte("bogomips"), []byte("new key\t: 1\nmodel names : x\nbogomips"))
		}
		return b
	})
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Any set of files may be missing: nothing panics, and missing values are unknown.
func TestTruncatedFiles(t *testing.T) {
	for _, part := range []float64{0, .1, .3, .5, .7, .9, .99} {
		got := report(t, "x86", func(name string, b []byte) []byte { return b[:int(part*float64(len(b)))] })
		if part > 0 {
			continue
		}
		for line := range strings.Lines(got) {
			name, _, _ := strings.Cut(line, " ")
			switch {
			case name == "#", name == "db12", name == "platform", strings.HasPrefix(name, "processes"):
				// the directories of processes remain
			default:
				t.Errorf("from empty files: %s", line)
			}
		}
	}
	h := NewHost(DirFS(t.TempDir()))
	defer h.Close()
	if err := h.Sample(nil); err != nil {
		t.Errorf("no trees at all: %v", err)
	}
	if p := h.System.Append(nil, nil); len(p) > 0 {
		t.Errorf("from nothing: %v", p)
	}
}

func TestTenThousandInterfaces(t *testing.T) {
	dir := t.TempDir()
	lay(t, "x86", dir, nil)
	const n = 10000
	write := func(octets int) {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, "eth%d: %d 1 1 0 0 0 0 0 %d 1 1 0 0 0 0 0\n", i, octets, 2*octets)
		}
		if err := os.WriteFile(filepath.Join(dir, "proc/net/dev"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf("sys/class/net/eth%d/device", i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h := NewHost(DirFS(dir))
	defer h.Close()
	now := time.Duration(0)
	h.clock = func() time.Duration { return now }
	write(0)
	if err := h.Sample(nil); err != nil {
		t.Fatal(err)
	}
	write(10240)
	now = 10 * time.Second
	if err := h.Sample(nil); err != nil {
		t.Fatal(err)
	}
	s := &h.System
	if len(s.Interfaces) != MaxInterfaces || s.InterfacesLeft != n-MaxInterfaces || s.NetIn != Known(n) || s.NetOut != Known(2*n) {
		t.Errorf("%d interfaces and %d left out, %v in, %v out", len(s.Interfaces), s.InterfacesLeft, s.NetIn, s.NetOut)
	}
	now += time.Second
	if a := testing.AllocsPerRun(3, func() { h.Sample(nil); now += time.Second }); a > 20 {
		t.Errorf("%v allocations", a)
	}
}

func TestChoiceAndSpelling(t *testing.T) {
	var s System
	s.PagesIn, s.PagesOut, s.SwapIn = Known(1), Known(2), Known(3)
	s.Load[0] = Known(4)
	got := ""
	for _, p := range s.Append(nil, func(option string) (bool, string) {
		switch option {
		case "sys_pages_in":
			return true, "blocks_in_R"
		case "sys_swap_in":
			return true, "sys_swap_in_R"
		case "sys_pages_out":
			return true, "sys_pages_out"
		}
		return false, ""
	}) {
		got += p.Name + " "
	}
	if got != "blocks_in_R pages_out swap_in_R " {
		t.Error(got)
	}
}

func TestDefaultFS(t *testing.T) {
	env := map[string]string{"HOST_PROC": "/host/proc/", "HOST_SYS": "/host/sys"}
	got := DefaultFS(func(k string) string { return env[k] })
	if want := (FS{"/host/proc", "/host/sys", "/host/proc/1/net", "/host/proc/1/root"}); got != want {
		t.Errorf("%+v", got)
	}
	got = DefaultFS(func(string) string { return "" })
	if want := (FS{"/proc", "/sys", "/proc/net", "/"}); got != want {
		t.Errorf("%+v", got)
	}
}

func TestCausesAreReportedOnce(t *testing.T) {
	h := NewHost(DirFS(t.TempDir()))
	defer h.Close()
	if err := os.MkdirAll(filepath.Join(h.fs.Proc, "loadavg"), 0o755); err != nil { // reads as EISDIR, even by root
		t.Fatal(err)
	}
	if err := h.Sample(nil); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("first: %v", err)
	}
	if err := h.Sample(nil); err != nil {
		t.Errorf("second: %v", err)
	}
}
