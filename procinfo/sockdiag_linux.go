package procinfo

import (
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/apmon-go/apmon/internal/kernel"
)

// Sockets are asked for by netlink sock_diag(7) in its first form,
// TCPDIAG_GETSOCK, as that alone gives IPv4 and IPv6 in one walk of the tables.
const (
	tcpdiagGetsock = 18
	diagSeq        = 1
)

var errDiagShort = errors.New("sock_diag: malformed answer")

// sockDiag is a netlink socket.
type sockDiag struct {
	fd      int // plus one; 0 for none
	request [16 + 60]byte
	buf     []byte
}

// tcp counts the TCP sockets of this network namespace by state.
func (d *sockDiag) tcp() (states kernel.TCPStates, err error) {
	if d.fd == 0 {
		fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_INET_DIAG)
		if err != nil {
			return states, err
		}
		d.fd = fd + 1
		tv := syscall.NsecToTimeval(2e9)
		syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &tv)
		// struct nlmsghdr, struct inet_diag_req.
		ne := binary.NativeEndian
		ne.PutUint32(d.request[0:], uint32(len(d.request)))
		ne.PutUint16(d.request[4:], tcpdiagGetsock)
		ne.PutUint16(d.request[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
		ne.PutUint32(d.request[16+52:], 1<<13-2) // states 1 to 12
		d.buf = make([]byte, 32<<10)
	}
	defer func() {
		if err != nil { // whatever is still to come must not mix with the next
			d.close()
		}
	}()
	binary.NativeEndian.PutUint32(d.request[8:], diagSeq)
	if _, err := syscall.Write(d.fd-1, d.request[:]); err != nil {
		return states, err
	}
	for {
		n, err := syscall.Read(d.fd-1, d.buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return states, err
		}
		done, err := parseDiag(d.buf[:max(n, 0)], &states)
		if done || err != nil {
			return states, err
		}
	}
}

func (d *sockDiag) close() {
	if d.fd != 0 {
		syscall.Close(d.fd - 1)
		d.fd = 0
	}
}

// parseDiag adds the states of the sockets of one answer. It is done at the
// end of the dump.
func parseDiag(b []byte, states *kernel.TCPStates) (done bool, err error) {
	if len(b) < 16 {
		return false, errDiagShort
	}
	ne := binary.NativeEndian
	for len(b) >= 16 {
		size := uint64(ne.Uint32(b))
		if size < 16 || size > uint64(len(b)) {
			return false, errDiagShort
		}
		kind, msg := ne.Uint16(b[4:]), b[16:size]
		b = b[min((size+3)&^3, uint64(len(b))):]
		switch {
		case kind == syscall.NLMSG_DONE:
			if len(msg) >= 4 && int32(ne.Uint32(msg)) < 0 {
				return true, syscall.Errno(-int32(ne.Uint32(msg)))
			}
			return true, nil
		case kind == syscall.NLMSG_ERROR:
			if len(msg) >= 4 && int32(ne.Uint32(msg)) < 0 {
				return true, syscall.Errno(-int32(ne.Uint32(msg)))
			}
			return true, errDiagShort
		case kind == tcpdiagGetsock && len(msg) >= 2:
			states.Add(uint64(msg[1])) // struct inet_diag_msg: family, state, …
		}
	}
	return false, nil
}
