// Package subjects makes the subjects of datagrams in NATS, and the partitions that they belong
// to.
package subjects

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"strconv"
	"strings"
)

const (
	// Root is the first token of every subject.
	Root = "apmon"

	// maxSubject is the length in bytes of the longest subject. The server closes a
	// connection whose control line (subject, reply subject and sizes) exceeds 4 KB.
	maxSubject = 1024
	// maxToken is the length to which the names of a longer subject are cut.
	maxToken = 448

	// empty is the token of an empty name, and cut begins the hash of names that were
	// cut. No escaped name contains them: there, two hexadecimal digits follow a %.
	empty = "%"
	cut   = "%~"

	upperHex = "0123456789ABCDEF"
)

// Partition returns the partition from 0 to n-1 of the datagrams of a node: FNV-1a, 64 bits,
// of cluster, a zero byte, and node, modulo n.
func Partition(cluster, node string, n int) int {
	if n <= 1 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(cluster))
	h.Write([]byte{0})
	h.Write([]byte(node))
	return int(h.Sum64() % uint64(n))
}

// Of returns the subject apmon.PART.CLUSTER.NODE of the datagrams of a node.
//
// A name is escaped so that it is one token: bytes that are not printable ASCII (blanks,
// control characters, everything above 0x7E) and the characters . * > % become % and two
// upper-case hexadecimal digits, as in a URL. An empty name is a single %. [Parse] is
// the reverse.
//
// If the subject were longer than 1024 bytes, the escaped names are cut to 448 bytes each and
// NODE ends in %~ and 32 hexadecimal digits of a hash of both names. Whole is then false, and
// the names travel in headers.
func Of(part int, cluster, node string) (subject string, whole bool) {
	b := make([]byte, 0, len(Root)+8+len(cluster)+len(node)+16)
	b = append(b, Root...)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(part), 10)
	b = append(b, '.')
	names := len(b)
	b = AppendToken(b, cluster)
	middle := len(b)
	b = append(b, '.')
	b = AppendToken(b, node)
	if len(b) <= maxSubject {
		return string(b), true
	}
	c, n := string(b[names:middle]), string(b[middle+1:])
	sum := sha256.Sum256([]byte(c + "." + n))
	b = append(b[:names], cutToken(c)...)
	b = append(b, '.')
	b = append(b, cutToken(n)...)
	b = append(b, cut...)
	return string(hex.AppendEncode(b, sum[:16])), false
}

// cutToken cuts an escaped name to maxToken bytes, not within an escape.
func cutToken(s string) string {
	if len(s) <= maxToken {
		return s
	}
	s = s[:maxToken]
	if i := strings.LastIndexByte(s, '%'); i > maxToken-3 {
		s = s[:i]
	}
	return s
}

// plain reports whether a byte of a name stands for itself in a subject.
func plain(c byte) bool {
	return c > ' ' && c < 0x7F && c != '.' && c != '*' && c != '>' && c != '%'
}

// AppendToken appends a name, escaped so that it is one token of a subject.
func AppendToken(b []byte, name string) []byte {
	if name == "" {
		return append(b, empty...)
	}
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

// ParseToken reverses AppendToken. It returns false for a token that AppendToken does not
// write.
func ParseToken(token string) (name string, ok bool) {
	if token == empty {
		return "", true
	}
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		if c == '%' {
			if i+2 >= len(token) {
				return "", false
			}
			high, low := strings.IndexByte(upperHex, token[i+1]), strings.IndexByte(upperHex, token[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			if c = byte(high<<4 | low); plain(c) {
				return "", false
			}
			i += 2
		} else if !plain(c) {
			return "", false
		}
		b = append(b, c)
	}
	return string(b), token != ""
}

// Parse returns the partition and the names of a subject that [Of] returned as
// whole; ok is false for any other.
func Parse(subject string) (part int, cluster, node string, ok bool) {
	tokens := strings.Split(subject, ".")
	if len(tokens) != 4 || tokens[0] != Root {
		return 0, "", "", false
	}
	part, err := strconv.Atoi(tokens[1])
	if err != nil || part < 0 || strconv.Itoa(part) != tokens[1] {
		return 0, "", "", false
	}
	cluster, ok = ParseToken(tokens[2])
	if !ok {
		return 0, "", "", false
	}
	node, ok = ParseToken(tokens[3])
	return part, cluster, node, ok
}
