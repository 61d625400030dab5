// Package loopback decides whether an HTTP request comes from this machine.
package loopback

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/apmon-go/apmon/internal/page/guard"
)

// Request reports whether a request comes from this machine, as far as its peer and
// its headers show: see statusz.Loopback.
func Request(r *http.Request) bool {
	if !localPeer(r) {
		return false
	}
	for _, line := range r.Header["X-Forwarded-For"] {
		for s := range strings.SplitSeq(line, ",") {
			if !hop(trim(s)) {
				return false
			}
		}
	}
	for _, line := range r.Header["X-Real-Ip"] {
		if !hop(trim(line)) {
			return false
		}
	}
	for _, line := range r.Header["Forwarded"] {
		if !forwarded(line) {
			return false
		}
	}
	return true
}

// SameSite reports whether a request cannot come from a page of another site in a
// browser: its headers exclude it (see [guard.Own]), and Host is a loopback address or
// localhost.
func SameSite(r *http.Request) bool {
	host := guard.Hostname(r.Host)
	return guard.Own(r) && (strings.EqualFold(host, "localhost") || hop(host))
}

func localPeer(r *http.Request) bool {
	if guard.OnUnixSocket(r) {
		return true
	}
	// The server always sets it with a port.
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && Addr(peer.Addr())
}

// Addr reports whether an address is a loopback address. One with a zone is not.
func Addr(a netip.Addr) bool { return a.Zone() == "" && a.Unmap().IsLoopback() }

// hop parses ADDR, ADDR:PORT, [ADDR] and [ADDR]:PORT.
func hop(s string) bool {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return Addr(ap.Addr())
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Is6() && Addr(a)
	}
	a, err := netip.ParseAddr(s)
	return err == nil && Addr(a)
}

// forwarded parses a line of Forwarded: elements separated by commas, of pairs
// separated by semicolons. Each element needs one "for", of a loopback address.
func forwarded(line string) bool {
	for {
		found := false
		for {
			name, rest := token(trim(line))
			rest, ok := strings.CutPrefix(rest, "=")
			if name == "" || !ok {
				return false
			}
			var value string
			if strings.HasPrefix(rest, `"`) {
				value, rest, ok = quoted(rest[1:])
			} else {
				value, rest = token(rest)
				ok = value != ""
			}
			if !ok {
				return false
			}
			if strings.EqualFold(name, "for") {
				if found || !hop(value) {
					return false
				}
				found = true
			}
			line = trim(rest)
			if !strings.HasPrefix(line, ";") {
				break
			}
			line = line[1:]
		}
		switch {
		case !found:
			return false
		case line == "":
			return true
		case line[0] != ',':
			return false
		}
		line = line[1:]
	}
}

// trim removes the white space of headers.
func trim(s string) string { return strings.Trim(s, " \t") }

// token splits s after its token as RFC 9110 defines it, which may be empty.
func token(s string) (token, rest string) {
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// quoted splits s after a quoted string; its first quote is already removed.
func quoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
