package kernel

// ParseNetTCP parses /proc/net/tcp or /proc/net/tcp6. It adds the sockets to states.
//
// See https://docs.kernel.org/networking/proc_net_tcp.html.
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

// TCPStates counts sockets by the kernel's number of their state, TCP_ESTABLISHED to
// TCP_CLOSING of linux/tcp_states.h. Index 0 counts all other states.
type TCPStates [12]uint64

// TCPStateNames are the names of the states in parameters.
var TCPStateNames = [...]string{"UNKNOWN", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
	"TIME_WAIT", "CLOSED", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"}

// Add counts one socket.
func (s *TCPStates) Add(state uint64) {
	switch {
	case state < uint64(len(s)):
		s[state]++
	case state == 12: // TCP_NEW_SYN_RECV, a request socket
		s[3]++
	default:
		s[0]++
	}
}
