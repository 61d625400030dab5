package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// checkSocket is the time without datagrams after which the socket is checked.
const checkSocket = time.Second

// receive reads datagrams of one or more lines from a socket that it creates at a path.
// The header of syslog, which nginx sends with access_log syslog:server=unix:PATH, is
// removed.
func (l *Log) receive(ctx context.Context, path string) error {
	if err := removeStale(path); err != nil {
		return err
	}
	addr := &net.UnixAddr{Name: path, Net: "unixgram"}
	conn, err := net.ListenUnixgram(addr.Net, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	made, err := os.Lstat(path)
	if err == nil && made.Mode().Type() != fs.ModeSocket {
		err = fmt.Errorf("%s was removed", path)
	}
	if err != nil {
		return err
	}
	// Another process may have removed or replaced it.
	ours := func() bool {
		is, err := os.Lstat(path)
		return err == nil && os.SameFile(is, made)
	}
	defer func() {
		if ours() {
			os.Remove(path)
		}
	}()
	// The server may run as another user, in the group of the socket.
	if err := os.Chmod(path, 0o660); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	l.connect(true)
	l.state(nil)
	b := make([]byte, maxLine+1)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(checkSocket)); err != nil {
			return err
		}
		n, _, err := conn.ReadFromUnix(b)
		switch {
		case err == nil:
			l.datagram(b[:n])
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case !ours():
			return fmt.Errorf("%s was removed", path)
		}
	}
}

// datagram counts the lines of a datagram; the last line of one with more than maxLine
// bytes is cut.
func (l *Log) datagram(b []byte) {
	l.mu.Lock()
	defer l.unlock()
	l.advance()
	cut := len(b) > maxLine
	b = cutSyslog(b)
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		if cut && !ended {
			l.reject(errLong)
			return
		}
		l.line(line)
		b = rest
	}
}

// cutSyslog removes the header of a datagram like
//
//	<190>Oct 10 13:55:36 host nginx: LINE
func cutSyslog(b []byte) []byte {
	if len(b) == 0 || b[0] != '<' {
		return b
	}
	_, line, _ := bytes.Cut(b, []byte(": "))
	return line
}

// removeStale removes a socket without a listener. Any other file at the path is an error
// and is kept.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s: another process listens on it", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
