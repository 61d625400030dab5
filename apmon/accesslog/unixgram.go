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

// checkSocket is how long nothing has come when a socket is looked after.
const checkSocket = time.Second

// receive takes datagrams of a socket at a path, of one line or several. That of
// a syslog, as nginx sends it with access_log syslog:server=unix:PATH, loses its
// header.
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
	// Somebody may have removed it since, or made another one.
	ours := func() bool {
		is, err := os.Lstat(path)
		return err == nil && os.SameFile(is, made)
	}
	defer func() {
		if ours() {
			os.Remove(path)
		}
	}()
	// The server runs as another user, of the socket's group.
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

// datagram takes the lines of a datagram; one of more than maxLine bytes has
// lost its end.
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

// cutSyslog cuts off the header of a datagram like
//
//	<190>Oct 10 13:55:36 host nginx: LINE
func cutSyslog(b []byte) []byte {
	if len(b) == 0 || b[0] != '<' {
		return b
	}
	_, line, _ := bytes.Cut(b, []byte(": "))
	return line
}

// removeStale removes a socket to which nobody listens. Whatever else is there
// is an error, and stays.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there, and no socket", path)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s: another process listens to it", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
