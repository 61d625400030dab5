package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/apmon-go/apmon/internal/safetext"
)

// DefaultPort is the UDP port of ApMon receivers.
const DefaultPort = 8884

// Destination is one receiver. Two destinations are the same if [Destination.Name]
// is the same.
type Destination struct {
	Host     string // name or address as written, IPv6 without brackets
	Port     uint16 // 0 means DefaultPort
	Password string // sent with every datagram in clear text; empty for none
}

// Name returns the identity of the destination: host:port as written.
func (d Destination) Name() string {
	port := d.Port
	if port == 0 {
		port = DefaultPort
	}
	return net.JoinHostPort(d.Host, strconv.Itoa(int(port)))
}

// String returns Name, so that no message holds the password by accident.
func (d Destination) String() string { return d.Name() }

// GoString keeps the password out of %#v.
func (d Destination) GoString() string { return "conf.Destination(" + d.Name() + ")" }

// LogValue keeps the password out of log/slog.
func (d Destination) LogValue() slog.Value { return slog.StringValue(d.Name()) }

// Check returns why a destination that the program built cannot be used, or nil.
func (d Destination) Check() error {
	if err := checkHost(d.Host); err != nil {
		return err
	}
	return checkPassword(d.Password)
}

// ParseDestination parses "host[:port][ password][ # comment]", separated by blanks or
// tabs, which may also surround the colon. An IPv6 address is written [address]:port,
// and a password with blanks in single or double quotes. A '#' begins a comment only
// between blanks. The error never contains the password.
func ParseDestination(line string) (Destination, error) {
	addr, password := joinPort(cutWord(strings.TrimSpace(line)))
	d, err := parseAddress(addr)
	if err != nil {
		return Destination{}, err
	}
	if d.Password, err = parsePassword(password); err != nil {
		return Destination{}, fmt.Errorf("destination %s: %w", safetext.Quote(addr), err)
	}
	return d, nil
}

// cutWord splits a line after its first word.
func cutWord(s string) (word, rest string) {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t")
	}
	return s, ""
}

// joinPort joins an address with a port that blanks separate from it, as in
// "host :9000", "host: 9000" and "host : 9000": older clients read these alike.
func joinPort(addr, rest string) (string, string) {
	host, colon := strings.CutSuffix(addr, ":")
	port := rest
	if !colon {
		if hasPort(addr) {
			return addr, rest
		}
		if port, colon = strings.CutPrefix(rest, ":"); !colon {
			return addr, rest
		}
		port = strings.TrimLeft(port, " \t")
	}
	if port, rest := cutWord(port); isDigits(port) {
		return host + ":" + port, rest
	}
	return addr, rest
}

// hasPort reports whether s has the form of an address with a port, valid or not.
func hasPort(s string) bool {
	i := strings.LastIndexByte(s, ':')
	return i > strings.LastIndexByte(s, ']') && isDigits(s[i+1:])
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// cutComment removes a comment: it begins with a '#' that is followed by a blank, and
// preceded by a blank or nothing.
func cutComment(s string) string {
	for i := 0; ; i++ {
		n := strings.IndexByte(s[i:], '#')
		if n < 0 {
			return s
		}
		i += n
		if (i == 0 || isBlank(s[i-1])) && i+1 < len(s) && isBlank(s[i+1]) {
			return strings.TrimRight(s[:i], " \t")
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// shown returns an address for messages. It omits anything that may be a password:
// text in the place of the port, before an '@', in quotes, or after a separator of
// another format.
func shown(addr string) string {
	if strings.Contains(addr, "@") {
		return safetext.Quote("...")
	}
	if i := strings.IndexAny(addr, "\"';|"); i >= 0 {
		return safetext.Quote(addr[:i] + "...")
	}
	host, rest := addr, ""
	if i := strings.IndexByte(addr, ']'); i >= 0 && addr[0] == '[' {
		host, rest = addr[:i+1], addr[i+1:]
	} else if i := strings.IndexByte(addr, ':'); i >= 0 && addr[0] != '[' && !isIP(addr) {
		host, rest = addr[:i], addr[i:]
	}
	port, colon := strings.CutPrefix(rest, ":")
	switch {
	case rest == "" || colon && likePort(port):
		return safetext.Quote(addr)
	case colon:
		host += ":"
	}
	return safetext.Quote(host + "...")
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// likePort reports whether s may be shown as a port, valid or not.
func likePort(s string) bool { return len(s) <= 5 && strings.Trim(s, "0123456789") == "" }

func parseAddress(addr string) (Destination, error) {
	if addr == "" {
		return Destination{}, errors.New("empty destination")
	}
	name := shown(addr)
	fail := func(format string, args ...any) (Destination, error) {
		return Destination{}, fmt.Errorf("destination %s: %s", name, fmt.Sprintf(format, args...))
	}
	var host, port string
	var hasPort bool
	if rest, ok := strings.CutPrefix(addr, "["); ok {
		host, rest, ok = strings.Cut(rest, "]")
		if !ok {
			return fail("no ']' after the address")
		}
		if port, hasPort = strings.CutPrefix(rest, ":"); !hasPort && rest != "" {
			return fail("':' and a port, or nothing, must follow the ']'")
		}
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return fail("not an IPv6 address in the brackets")
		}
	} else {
		host, port, hasPort = strings.Cut(addr, ":")
		if p, _, more := strings.Cut(port, ":"); more {
			if _, err := parsePort(p); err == nil {
				name = safetext.Quote(host + ":" + p + ":...") // the rest may be a password
			}
			if strings.HasPrefix(p, "//") {
				return fail("a destination is no URL")
			}
			return fail("an IPv6 address is written [address]:port")
		}
	}
	d := Destination{Host: host, Port: DefaultPort}
	if err := checkHost(host); err != nil {
		return fail("%v", err)
	}
	if hasPort {
		n, err := parsePort(port)
		if err != nil {
			return fail("%v", err)
		}
		d.Port = n
	}
	return d, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	switch {
	case err == nil && n > 0 && s[0] != '+':
		return uint16(n), nil
	case likePort(s):
		return 0, fmt.Errorf("port %s is not a number from 1 to 65535", safetext.Quote(s))
	}
	return 0, errors.New("the port is not a number from 1 to 65535 (a password follows a blank)")
}

// checkHost returns why a text cannot be a host name or an address. Underscores are
// accepted: some names have them.
func checkHost(host string) error {
	if host == "" {
		return errors.New("no host")
	}
	if len(host) >= len(prefix) && strings.EqualFold(host[:len(prefix)], prefix) {
		return fmt.Errorf("a directive is written %sNAME = VALUE, on a line of its own", prefix) // no host has such a name
	}
	if strings.Contains(host, ":") {
		a, err := netip.ParseAddr(host)
		if err != nil {
			return fmt.Errorf("%s is not an IPv6 address", safetext.Quote(host))
		}
		// netip accepts any text after a '%' as the zone, which terminals may show.
		for _, c := range a.Zone() {
			if !isHostRune(c) {
				return fmt.Errorf("%s in the zone of the address", safetext.Quote(string(c)))
			}
		}
		return nil
	}
	if len(host) > 253 {
		return fmt.Errorf("host name of %d bytes, at most 253", len(host))
	}
	for _, c := range host { // first, so that no message below quotes a password before an '@'
		if !isHostRune(c) {
			return fmt.Errorf("%s in the host name", safetext.Quote(string(c)))
		}
	}
	for _, label := range strings.Split(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' {
			return fmt.Errorf("%s is not a host name", safetext.Quote(host))
		}
	}
	// "1.2.3" and "300.1.1.1" are not names either: no top-level domain is a number.
	if last := host[strings.LastIndexByte(strings.TrimSuffix(host, "."), '.')+1:]; strings.Trim(last, "0123456789") == "" {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("%s is neither an IPv4 address nor a host name", safetext.Quote(host))
		}
	}
	return nil
}

func isHostRune(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_'
}
