package command

import (
	"fmt"
	"strings"
)

// suggestion returns ", did you mean …?" with the name closest to word, or an empty
// string if no name is close.
func suggestion(word, prefix string, names []string) string {
	if len(word) < 2 {
		return "" // all other letters are equally near
	}
	best, least := "", (len(word)+2)/3+1
	for _, name := range names {
		d := distance(word, name)
		if len(word) >= 3 && strings.HasPrefix(name, word) {
			d = 1
		}
		if d < least {
			best, least = name, d
		}
	}
	switch {
	case best == "" || len(word) > 100:
		return ""
	case prefix == "":
		return fmt.Sprintf(", did you mean %q?", best)
	}
	return ", did you mean " + dashed(best) + "?"
}

// distance returns the edit distance of a and b: how many bytes to insert, remove or
// replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := corner
			if a[i] != b[j] {
				d = 1 + min(corner, row[j], row[j+1])
			}
			corner, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
