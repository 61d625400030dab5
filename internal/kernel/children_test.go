package kernel

import (
	"slices"
	"testing"
)

func TestParseChildren(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]int{
		"":                        nil,
		"12 345 ":                 {12, 345},
		"12 345 \n":               {12, 345},
		"12 x -3 99999999999 17 ": {12, 17},
	} {
		var got []int
		ParseChildren([]byte(text), func(pid int) { got = append(got, pid) })
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
