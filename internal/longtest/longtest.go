// Package longtest is for tests that take long: they are named TestLong…, and run
// where APMON_LONG_TESTS=1 asks for them, as CI does.
package longtest

import (
	"os"
	"testing"
)

// Skip skips a test that takes long unless those were asked for.
func Skip(t testing.TB) {
	t.Helper()
	if os.Getenv("APMON_LONG_TESTS") == "" {
		t.Skip("takes long: APMON_LONG_TESTS=1 runs it")
	}
}
