package process

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

// TestDescendants starts a shell with a child that has a child.
func TestDescendants(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/bin/sh", "-c", `sh -c 'cat <&3 & echo $$ $!; wait; :' 3<&0; :`)
	_, out := testkit.StartPiped(t, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	var want []int
	for _, s := range strings.Fields(line) {
		pid, _ := strconv.Atoi(s)
		want = append(want, pid)
	}
	if err != nil || len(want) != 2 {
		t.Fatalf("%q, %v", line, err)
	}
	root := cmd.Process.Pid
	if got := Descendants(root); !slices.Equal(got, want) {
		t.Errorf("descendants %v, want %v", got, want)
	}
	if got := Children(root); !slices.Equal(got, want[:1]) {
		t.Errorf("children %v, want %v", got, want[:1])
	}
	if got := Children(os.Getpid()); !slices.Contains(got, root) || slices.Contains(got, want[1]) {
		t.Errorf("children of the test %v, want %d among them and not %d", got, root, want[1])
	}
	if got, ok := listedChildren(root); ok && !slices.Equal(got, want[:1]) {
		t.Errorf("listed children %v, want %v", got, want[:1])
	}
	if got := childrenOfAll()[root]; !slices.Equal(got, want[:1]) {
		t.Errorf("children in a scan %v, want %v", got, want[:1])
	}
	if st, ok := Stat(want[1]); !ok || st.PPID != want[0] || st.Start == 0 {
		t.Errorf("%+v, %v", st, ok)
	}
	if st, ok := Stat(1 << 30); ok {
		t.Errorf("%+v", st)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"7", "12", "a", "3x", ".4"} {
		if err := os.Mkdir(dir+"/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var got []int
	err := Numbers(dir, func(n int) { got = append(got, n) })
	if slices.Sort(got); err != nil || !slices.Equal(got, []int{7, 12}) {
		t.Errorf("%v, %v", got, err)
	}
	if err := Numbers(dir+"/none", nil); !Gone(err) {
		t.Errorf("no folder: %v", err)
	}
	if err := Numbers("/proc/self/fd", func(n int) { got = append(got, n) }); err != nil || !slices.Contains(got, 2) {
		t.Errorf("descriptors %v, %v", got, err)
	}
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	name := t.TempDir() + "/f"
	want := strings.Repeat("0123456789abcde\n", 5000) // more than one read
	if err := os.WriteFile(name, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(name); err != nil || string(b) != want {
		t.Errorf("%d bytes of %d, %v", len(b), len(want), err)
	}
	if b, err := ReadFile(name + "x"); !Gone(err) || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}
