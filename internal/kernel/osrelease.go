package kernel

import "strings"

// ParseOSRelease parses /etc/os-release. It returns PRETTY_NAME, or NAME without it.
//
// See os-release(5).
func ParseOSRelease(b []byte) string {
	var name, pretty string
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		key, val, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		switch key {
		case "NAME":
			name = unquote(val)
		case "PRETTY_NAME":
			pretty = unquote(val)
		}
	}
	if pretty != "" {
		return pretty
	}
	return name
}

// unquote removes shell quoting, as far as os-release permits it.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' && s[0] != '\'' || s[len(s)-1] != s[0] {
		return s
	}
	quote := s[0]
	s = s[1 : len(s)-1]
	if quote == '\'' {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
