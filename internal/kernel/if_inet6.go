package kernel

import (
	"bytes"
	"strings"
)

// ParseIfInet6 reads /proc/net/if_inet6 and returns the first global address,
// in 32 hexadecimal digits, of each interface: public ones before unique local
// ones; temporary, deprecated and unconfirmed ones do not count.
func ParseIfInet6(b []byte) map[string]string {
	m := map[string]string{}
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		f := bytes.Fields(line)
		if len(f) < 6 || len(f[0]) != 32 {
			continue
		}
		const temporary, dadFailed, deprecated, tentative = 0x01, 0x08, 0x20, 0x40
		scope, flags := ParseHex(f[3]), ParseHex(f[4])
		if !scope.OK || scope.N != 0 || !flags.OK || flags.N&(temporary|dadFailed|deprecated|tentative) != 0 {
			continue
		}
		name, addr := string(f[5]), string(f[0])
		if old, ok := m[name]; !ok || uniqueLocal(old) && !uniqueLocal(addr) {
			m[name] = addr
		}
	}
	return m
}

func uniqueLocal(addr string) bool {
	return strings.HasPrefix(addr, "fc") || strings.HasPrefix(addr, "fd")
}
