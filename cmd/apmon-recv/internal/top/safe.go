package top

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/apmon-go/apmon/cmd/internal/readable"
)

// dense are characters whose width, or whose effect on their neighbours, terminals do not
// agree on: joining letters of Hangul, flags, skin tones.
var dense = &unicode.RangeTable{
	R16: []unicode.Range16{{0x1160, 0x11ff, 1}, {0xd7b0, 0xd7ff, 1}},
	R32: []unicode.Range32{{0x1f1e6, 0x1f1ff, 1}, {0x1f3fb, 0x1f3ff, 1}},
}

// backwards are the scripts that are written from right to left. Some terminals then reorder
// the whole line.
var backwards = []*unicode.RangeTable{
	unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko, unicode.Samaritan, unicode.Mandaic, unicode.Adlam,
	{R32: []unicode.Range32{{0x10800, 0x10fff, 1}, {0x1e800, 0x1efff, 1}}},
}

// safe returns a text from outside with at most width columns; "…" stands for the rest. A
// character that is not printed in columns of its own, in order, becomes \u202e, and a byte
// that is not UTF-8 \xff. One accent on a letter remains.
func safe(s string, width int) string {
	var b strings.Builder
	n, keep := 0, 0 // columns; bytes that leave one for "…"
	letter := false // the last character is one, without an accent
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+size]
		i += size
		accent := 0x300 <= r && r <= 0x36f
		switch {
		case r == utf8.RuneError && size == 1:
			piece = fmt.Sprintf(`\x%02x`, piece[0])
		case accent && letter, r < utf8.RuneSelf && r >= ' ' && r < 0x7f:
		case !unicode.IsPrint(r) && r != ' ' || unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc, dense) || unicode.In(r, backwards...):
			piece = fmt.Sprintf(`\u%04x`, r)
		}
		letter = unicode.IsLetter(r) && len(piece) == size
		w := readable.Width(piece)
		if n+w > width {
			if width < 1 {
				return ""
			}
			return b.String()[:keep] + "…"
		}
		b.WriteString(piece)
		if n += w; n < width {
			keep = b.Len()
		}
	}
	return b.String()
}
