package readable

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Width returns the columns that a text without control characters takes on a terminal.
func Width[T string | []byte](s T) int {
	n := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			n, i = n+1, i+1
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		n, i = n+runeWidth(r), i+size
	}
	return n
}

// wide are the ranges of the characters that take two columns.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x231a, 0x231b, 1}, {0x23e9, 0x23ec, 1}, {0x25fd, 0x25fe, 1}, {0x2614, 0x2615, 1}, {0x2648, 0x2653, 1},
		{0x26a1, 0x26a1, 1}, {0x26bd, 0x26be, 1}, {0x26d4, 0x26d4, 1}, {0x2705, 0x2705, 1}, {0x270a, 0x270b, 1}, {0x2728, 0x2728, 1},
		{0x274c, 0x274c, 1}, {0x2753, 0x2755, 1}, {0x2757, 0x2757, 1}, {0x2795, 0x2797, 1}, {0x2b1b, 0x2b1c, 1}, {0x2b50, 0x2b50, 1}, {0x2b55, 0x2b55, 1},
		{0x2e80, 0x303e, 1}, {0x3041, 0x4dbf, 1}, {0x4e00, 0xa4cf, 1}, {0xa960, 0xa97c, 1}, {0xac00, 0xd7a3, 1},
		{0xf900, 0xfaff, 1}, {0xfe10, 0xfe19, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x16fe0, 0x18cff, 1}, {0x1b000, 0x1b2ff, 1}, {0x1f004, 0x1f004, 1}, {0x1f0cf, 0x1f0cf, 1}, {0x1f18e, 0x1f18e, 1}, {0x1f191, 0x1f19a, 1}, {0x1f200, 0x1f320, 1}, {0x1f32d, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f7e0, 0x1f7eb, 1}, {0x1f900, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// Cut returns the beginning of a printable text, with "…" behind it if something is missing, so that
// it takes at most width columns.
func Cut(s string, width int) string {
	if len(s) <= width {
		return s
	}
	n, end := 0, 0 // end: of the part that leaves a column for "…"
	for i, r := range s {
		w := runeWidth(r)
		if n+w > width {
			return s[:end] + "…"
		}
		if n += w; n < width {
			end = i + utf8.RuneLen(r)
		}
	}
	return s
}

// Wrap breaks a text at blanks into lines of at most width columns. A longer word has a line
// of its own.
func Wrap(text string, width int) (lines []string) {
	line, used := "", 0
	for word := range strings.FieldsSeq(text) {
		n := Width(word)
		if line != "" && used+1+n > width {
			lines = append(lines, line)
			line, used = "", 0
		}
		if line != "" {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+n
	}
	return append(lines, line)
}

// stacked reports whether a text puts more than two marks on one character: without a bound
// they would cover the lines around it.
func stacked(s string) bool {
	n := 0
	for _, r := range s {
		if n++; runeWidth(r) > 0 {
			n = 0
		}
		if n > 2 {
			return true
		}
	}
	return false
}

// appendName appends a name, of which it cuts what is beyond width columns. It quotes the
// name if it is empty, or contains a blank, a special character, or a character that cannot
// be printed.
func appendName(b []byte, name, special string, width int) []byte {
	odd := func(r rune) bool {
		return r == ' ' || r == '\\' || r == '\uFFFD' || !strconv.IsPrint(r) || strings.ContainsRune(special, r)
	}
	if name == "" || strings.ContainsFunc(name, odd) || stacked(name) {
		return appendQuoted(b, name, width)
	}
	return append(b, Cut(name, width)...)
}

// appendQuoted appends a text in quotes. If it takes more than width columns, the rest is
// cut and "…" stands behind the quotes.
func appendQuoted(b []byte, s string, width int) []byte {
	start := len(b)
	head := s
	if len(head) > width {
		head = head[:width]
		for len(head) > 0 && !utf8.RuneStart(s[len(head)]) {
			head = head[:len(head)-1]
		}
	}
	quote := strconv.AppendQuote
	if stacked(s) {
		quote = strconv.AppendQuoteToASCII
	}
	for {
		b = quote(b[:start], head)
		if len(head) == len(s) && (len(b)-start <= width || Width(b[start:]) <= width) {
			return b
		}
		if Width(b[start:])+1 <= width || head == "" {
			return append(b, "…"...)
		}
		_, last := utf8.DecodeLastRuneInString(head)
		head = head[:len(head)-last]
	}
}

// plain quotes s if it contains characters that cannot be printed.
func plain(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '\uFFFD' || !strconv.IsPrint(r) }) {
		return s
	}
	return strconv.Quote(s)
}
