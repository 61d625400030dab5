package kernel

import (
	"bytes"
	"strings"
)

// ParseCmdline returns the arguments of /proc/PID/cmdline, each of which ends with a
// zero byte. It drops empty ones at the end: a program that changes its title leaves
// zero bytes there. Kernel threads and zombies have none.
func ParseCmdline(b []byte) []string {
	if b = bytes.TrimRight(b, "\x00"); len(b) == 0 {
		return nil
	}
	return strings.Split(string(b), "\x00")
}
