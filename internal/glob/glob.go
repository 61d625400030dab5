// Package glob matches names against patterns with * and ?.
package glob

import "strings"

// Match reports whether the whole name matches a pattern, in which * stands for any text, of
// any length and with slashes too, ? for one byte, and \ makes the next character plain. It
// takes time proportional to the product of the lengths at most.
func Match(pattern, name string) bool {
	// After a mismatch the last * takes one more byte.
	star, resume := -1, 0
	p, n := 0, 0
	for n < len(name) {
		c, size := head(pattern[p:])
		switch {
		case size == 1 && c == '*':
			star, resume = p+1, n
			p++
			continue
		case size == 1 && c == '?', size > 0 && c == name[n]:
			p += size
			n++
			continue
		case star < 0:
			return false
		}
		resume++
		p, n = star, resume
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// head returns the first character of a pattern and the number of bytes it takes: 2 with a
// backslash, which makes it plain, and 0 at the end.
func head(pattern string) (byte, int) {
	switch {
	case pattern == "":
		return 0, 0
	case pattern[0] == '\\' && len(pattern) > 1:
		return pattern[1], 2
	}
	return pattern[0], 1
}

// List is patterns of names. A pattern that begins with ! excludes names.
type List []string

// Match reports whether a name matches one of the patterns, or there is none that includes
// names, and matches none of those that exclude names.
func (l List) Match(name string) bool {
	included, any := false, false
	for _, pattern := range l {
		if excluded, ok := strings.CutPrefix(pattern, "!"); ok {
			if Match(excluded, name) {
				return false
			}
			continue
		}
		any = true
		included = included || Match(pattern, name)
	}
	return included || !any
}
