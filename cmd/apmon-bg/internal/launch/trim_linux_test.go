package launch

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

// Trim gives back resident memory of files. Other tests may map some again meanwhile.
func TestTrim(t *testing.T) {
	t.Parallel()
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
