package launch

import (
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

// Memory is given back only if it can be read from the program again.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	const smaps = `00400000-0047d000 r-xp 00000000 fd:00 1053571  /usr/bin/a b
Rss:                 100 kB
Anonymous:             0 kB
0047d000-00480000 r--p 0007d000 fd:00 1053571  /usr/bin/a b
Anonymous:             4 kB
00480000-00490000 rw-p 00080000 fd:00 1053571  /usr/bin/a b
Anonymous:             0 kB
00490000-004a0000 r--s 00080000 fd:00 1053571  /usr/bin/a b
Anonymous:             0 kB
7f1c00000000-7f1c00021000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f1c00021000-7f1c00022000 r--p 00000000 fd:00 7  /usr/bin/c
AnonHugePages:         0 kB
`
	if got := unchanged([]byte(smaps)); !slices.Equal(got, [][2]uintptr{{0x400000, 0x47d000}}) {
		t.Errorf("%x", got)
	}
}

// Trim gives back resident memory of files. Other tests may map some again meanwhile.
func TestTrim(t *testing.T) { // not parallel: it changes the garbage collection
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	resident := func(t testing.TB) int {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "RssFile:")
		kb, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]))
		if err != nil {
			t.Skip(err)
		}
		return kb
	}
	testkit.Retry(t, func(t testing.TB) {
		before := resident(t)
		Trim()
		if after := resident(t); after >= before {
			t.Errorf("%d KB before, %d KB after", before, after)
		}
	})
}
