//go:build linux

package jobtree

import (
	"math"
	"testing"

	"github.com/apmon-go/apmon/procinfo"
)

func near(t testing.TB, name string, got procinfo.Value, want, tolerance float64) {
	t.Helper()
	if !got.OK || math.Abs(got.V-want) > tolerance {
		t.Errorf("%s: %v, want %v ± %v", name, got, want, tolerance)
	}
}
