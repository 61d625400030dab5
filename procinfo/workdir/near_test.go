//go:build linux

package workdir

import (
	"math"
	"testing"

	"github.com/apmon-go/apmon/procinfo"
)

func near(t *testing.T, name string, got procinfo.Value, want, tolerance float64) {
	t.Helper()
	if !got.OK || math.Abs(got.V-want) > tolerance {
		t.Errorf("%s: %v, want %v ± %v", name, got, want, tolerance)
	}
}
