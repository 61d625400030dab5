package kernel

import (
	"bytes"
	"strings"
)

// ParseIfInet6 parses /proc/net/if_inet6. It returns the first global address of each
// interface, in 32 hexadecimal digits: a public one before a unique local one, and no
// temporary, deprecated or unconfirmed one.
//
// See if6_seq_show in net/ipv6/addrconf.c of the kernel; the flags are IFA_F_* of
// linux/if_addr.h.
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
