package procinfo

import (
	"encoding/binary"
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
)

// TCP sockets are listed with netlink sock_diag(7), by the first form of its request: only
// this one returns IPv4 and IPv6 in one pass over the kernel's tables.

// tcpdiagGetsock is TCPDIAG_GETSOCK of linux/inet_diag.h.
const tcpdiagGetsock = 18

// inetDiagReq is struct inet_diag_req of linux/inet_diag.h.
type inetDiagReq struct {
	family, srcLen, dstLen, ext uint8
	id                          [48]byte // struct inet_diag_sockid
	states                      uint32   // bit mask of the states to list
	dbs                         uint32
}

// stateOffset is the offset of the state in struct inet_diag_msg, which follows the family.
const stateOffset = 1

var errDiagShort = errors.New("sock_diag: malformed answer")

// A sockDiag lists sockets. The zero sockDiag has no netlink socket open.
type sockDiag struct {
	fd  int // plus one; 0 for none
	buf []byte
}

// tcp counts the TCP sockets of this network namespace by state.
func (d *sockDiag) tcp() (states kernel.TCPStates, err error) {
	if err := d.open(); err != nil {
		return states, err
	}
	defer func() {
		if err != nil { // the rest of the answer must not mix with the next
			d.close()
		}
	}()
	if err := d.send(); err != nil {
		return states, err
	}
	for {
		n, err := unix.Read(d.fd-1, d.buf)
		if err == unix.EINTR {
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

// open opens the netlink socket unless it is open.
func (d *sockDiag) open() error {
	if d.fd != 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return err
	}
	d.fd = fd + 1
	timeout := unix.NsecToTimeval(2e9)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	d.buf = make([]byte, 32<<10)
	return nil
}

// send sends a request for all TCP sockets.
func (d *sockDiag) send() error {
	request := struct {
		unix.NlMsghdr
		inetDiagReq
	}{
		unix.NlMsghdr{Type: tcpdiagGetsock, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP, Seq: 1},
		inetDiagReq{states: 1<<unix.BPF_TCP_MAX_STATES - 1<<unix.BPF_TCP_ESTABLISHED},
	}
	request.Len = uint32(unsafe.Sizeof(request))
	_, err := unix.Write(d.fd-1, unsafe.Slice((*byte)(unsafe.Pointer(&request)), unsafe.Sizeof(request)))
	return err
}

func (d *sockDiag) close() {
	if d.fd != 0 {
		unix.Close(d.fd - 1)
		d.fd = 0
	}
}

// parseDiag adds the states of the sockets in one answer. It returns true at the end of
// the list. See netlink(7).
func parseDiag(b []byte, states *kernel.TCPStates) (done bool, err error) {
	const typeOffset = unsafe.Offsetof(unix.NlMsghdr{}.Type)
	if len(b) < unix.SizeofNlMsghdr {
		return false, errDiagShort
	}
	ne := binary.NativeEndian
	for len(b) >= unix.SizeofNlMsghdr {
		size := uint64(ne.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > uint64(len(b)) {
			return false, errDiagShort
		}
		kind, msg := ne.Uint16(b[typeOffset:]), b[unix.SizeofNlMsghdr:size]
		// Messages are aligned to four bytes.
		b = b[min((size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), uint64(len(b))):]
		switch kind {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			if len(msg) >= 4 && int32(ne.Uint32(msg)) < 0 {
				return true, syscall.Errno(-int32(ne.Uint32(msg)))
			}
			if kind == unix.NLMSG_ERROR {
				return true, errDiagShort
			}
			return true, nil
		case tcpdiagGetsock:
			if len(msg) > stateOffset {
				states.Add(uint64(msg[stateOffset]))
			}
		}
	}
	return false, nil
}
