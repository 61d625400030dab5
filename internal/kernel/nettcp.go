package kernel

// ParseNetTCP adds the states of the sockets in /proc/net/tcp or tcp6.
func ParseNetTCP(b []byte, states *TCPStates) {
	for len(b) > 0 {
		var line []byte
		line, b = NextLine(b)
		st, _ := NextField(SkipFields(line, 3))
		if c := ParseHex(st); c.OK {
			states.Add(c.N)
		}
	}
}

// TCPStates are numbers of sockets by the kernel's state; 0 is any other.
type TCPStates [12]uint64

// tcpStateNames are the names of the states as they are sent.
var TCPStateNames = [...]string{"UNKNOWN", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
	"TIME_WAIT", "CLOSED", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"}

// Add counts one socket.
func (s *TCPStates) Add(state uint64) {
	switch {
	case state < uint64(len(s)):
		s[state]++
	case state == 12: // a request socket, called NEW_SYN_RECV inside the kernel
		s[3]++
	default:
		s[0]++
	}
}
