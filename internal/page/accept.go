package page

import (
	"iter"
	"net/http"
	"strconv"
	"strings"
)

// Accepted yields the names in the lines of an Accept header, in lower case, each with its weight:
// 1 without one, 0 if it is not a number.
func Accepted(lines []string) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for _, line := range lines {
			for part := range strings.SplitSeq(strings.ToLower(line), ",") {
				name, parameters, _ := strings.Cut(part, ";")
				if !yield(strings.TrimSpace(name), weight(parameters)) {
					return
				}
			}
		}
	}
}

// weight returns the weight among parameters in lower case.
func weight(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		if name, text, found := strings.Cut(p, "="); found && strings.TrimSpace(name) == "q" {
			q, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				return 0
			}
			return q
		}
	}
	return 1
}

// AcceptsGzip reports whether Accept-Encoding names gzip, with a weight above 0.
func AcceptsGzip(h http.Header) bool {
	for name, q := range Accepted(h["Accept-Encoding"]) {
		if name == "gzip" {
			return q > 0
		}
	}
	return false
}
