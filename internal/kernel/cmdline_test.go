package kernel

import (
	"slices"
	"testing"
)

func TestParseCmdline(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                              nil,
		"\x00\x00":                      nil,
		"/bin/sh\x00-c\x00a b\x00":      {"/bin/sh", "-c", "a b"},
		"cat\x00\x00x\x00":              {"cat", "", "x"},
		"nginx: worker process\x00\x00": {"nginx: worker process"},
		"cut o":                         {"cut o"},
	} {
		if got := ParseCmdline([]byte(text)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
