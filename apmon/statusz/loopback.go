package statusz

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Loopback reports whether a request comes from this machine, as far as can be
// told: its peer is a loopback address, and so is every hop of every line of
// X-Forwarded-For, Forwarded (RFC 7239) and X-Real-IP. An address may have a port
// and, in IPv6, brackets; ::ffff:127.0.0.1 counts as 127.0.0.1. Whatever else
// stands there makes it false: empty values, names ("localhost", "unknown",
// "_hidden"), addresses with a zone, and what cannot be parsed.
//
// The peer of a unix socket is this machine's, whoever may open the socket; its
// headers are held to the same. Another address of this machine is not loopback.
// A proxy on this machine that adds no header cannot be told from a local
// client.
//
// A browser on this machine is a local client too, whatever page it shows: a page
// whose name is made to lead here (DNS rebinding) can read the answer. Where that
// matters, a filter can look at the Host, too.
func Loopback(r *http.Request) bool {
	if !localPeer(r) {
		return false
	}
	for _, line := range r.Header["X-Forwarded-For"] {
		for hop := range strings.SplitSeq(line, ",") {
			if !loopbackHop(trim(hop)) {
				return false
			}
		}
	}
	for _, line := range r.Header["X-Real-Ip"] {
		if !loopbackHop(trim(line)) {
			return false
		}
	}
	for _, line := range r.Header["Forwarded"] {
		if !loopbackForwarded(line) {
			return false
		}
	}
	return true
}

// noOtherSite reports whether no page of another site can be behind a request of
// a browser: it says so itself (Sec-Fetch-Site), and the host is asked for by an
// address, or a name, that leads nowhere else.
func noOtherSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.EqualFold(host, "localhost") || loopbackHop(host)
}

func onUnixSocket(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && local.Network() == "unix"
}

func localPeer(r *http.Request) bool {
	if onUnixSocket(r) {
		return true
	}
	// The server has put it there, always with a port.
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && loopback(peer.Addr())
}

// loopback reports whether an address is of loopback, and has no zone: no such
// address has one.
func loopback(a netip.Addr) bool { return a.Zone() == "" && a.Unmap().IsLoopback() }

// loopbackHop parses ADDR, ADDR:PORT, [ADDR] and [ADDR]:PORT.
func loopbackHop(s string) bool {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return loopback(ap.Addr())
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Is6() && loopback(a)
	}
	a, err := netip.ParseAddr(s)
	return err == nil && loopback(a)
}

// loopbackForwarded parses a line of Forwarded: elements between commas, of pairs
// between semicolons. Each element needs one "for", and that of loopback.
func loopbackForwarded(line string) bool {
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
				if found || !loopbackHop(value) {
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

// trim cuts the white space of headers.
func trim(s string) string { return strings.Trim(s, " \t") }

// token cuts a token of RFC 9110 from the front, which may be empty.
func token(s string) (token, rest string) {
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// quoted cuts a quoted string from the front, whose first quote is gone.
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
