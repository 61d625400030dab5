package procinfo

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// names returns the names of the parameters of the second sample of a tree.
func names(t *testing.T, dir string, choose Choice) string {
	t.Helper()
	var now time.Duration
	h := NewHost(DirFS(dir))
	defer h.Close()
	h.clock = func() time.Duration { now += time.Second; return now }
	var params []xdr.Param
	for range 2 {
		if err := h.Sample(choose); err != nil {
			t.Error(err)
		}
		params = h.System.Append(params[:0], choose)
	}
	var b strings.Builder
	for _, p := range params {
		b.WriteString(p.Name + "\n")
	}
	return b.String()
}

// Each option sends the same parameters, whether it is chosen alone or with all others.
func TestEachOptionAlone(t *testing.T) {
	t.Parallel()
	all := map[string]bool{}
	seen := map[string]bool{}
	for _, m := range Metrics() {
		if m.Category == "system" {
			all[m.Option] = true
		}
	}
	every := names(t, "testdata/x86", func(string) (bool, string) { return true, "" })
	for option := range all {
		alone := names(t, "testdata/x86", func(o string) (bool, string) { return o == option, "" })
		for name := range strings.Lines(alone) {
			seen[name] = true
		}
	}
	for name := range strings.Lines(every) {
		if !seen[name] {
			t.Errorf("%s is sent by no option alone", strings.TrimSpace(name))
		}
	}
	if every == "" {
		_, err := os.Stat("testdata/x86")
		t.Errorf("nothing at all: %v", err)
	}
}
