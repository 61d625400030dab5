package commandtest

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// Manager makes the socket of a service manager. The function says waits until the manager was
// sent a line.
func Manager(t testing.TB) (path string, says func(text string)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "apmon") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return path, func(text string) {
		t.Helper()
		conn.SetReadDeadline(time.Now().Add(testkit.Patience))
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				t.Fatalf("%s was not notified: %v", text, err)
			}
			for line := range strings.Lines(string(b[:n])) {
				if strings.TrimSpace(line) == text {
					return
				}
			}
		}
	}
}
