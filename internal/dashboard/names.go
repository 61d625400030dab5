package dashboard

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxShown is the length in runes at which a name is cut for display.
	maxShown = 64
	// maxTitle is the same in bytes for the title that has the whole name.
	maxTitle = 1024
	// maxInURL is the length in bytes up to which a name is in a URL as it is. A name may have
	// 32 KB, and a server accepts a request line of much less.
	maxInURL = 200
	// digest begins what stands for another name in a URL: the SHA-256 of the name follows.
	digest = "sha256:"
)

// Ref returns what stands for a name in a URL: the name, or its digest if it is empty or long,
// or has characters that a form does not keep.
func Ref(name string) string {
	if name != "" && len(name) <= maxInURL && plain(name) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return digest + hex.EncodeToString(sum[:])
}

// isRef reports whether ref stands for a name.
func isRef(ref, name string) bool {
	return ref == name || strings.HasPrefix(ref, digest) && ref == Ref(name)
}

// plain reports whether a text can be shown as it is.
func plain(s string) bool { return utf8.ValidString(s) && strings.IndexFunc(s, hides) < 0 }

// hides reports whether a character steers a terminal, the direction of writing, or where lines
// end.
func hides(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// shown returns a name as text of limited length: without characters that steer a terminal or
// the direction of writing, and cut in the middle, since names often differ at the end.
func shown(name string) string { return cut(name, maxShown) }

// title returns a name for the attribute title: in full, unless it is very long.
func title(name string) string { return cut(name, maxTitle) }

// cut returns a name with at most n runes.
func cut(name string, n int) string {
	if len(name) > 8*n { // do not look at all of 32 KB
		name = name[:4*n] + "…" + name[len(name)-4*n:]
	}
	name = strings.Map(func(r rune) rune {
		if hides(r) {
			return utf8.RuneError
		}
		return r // also the one for a byte that is not UTF-8
	}, name)
	if utf8.RuneCountInString(name) <= n {
		return name
	}
	runes := []rune(name)
	head := n * 2 / 3
	return string(runes[:head]) + "…" + string(runes[len(runes)-(n-head-1):])
}
