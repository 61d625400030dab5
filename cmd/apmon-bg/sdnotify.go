package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// notifier reports the state of the process to the service manager that started
// it, see sd_notify(3). Without one it does nothing.
type notifier struct {
	conn     net.Conn
	watchdog time.Duration // 0 if the manager has no watchdog
}

// newNotifier connects to the socket that NOTIFY_SOCKET names.
func newNotifier(getenv func(string) string) *notifier {
	n := &notifier{}
	socket := getenv("NOTIFY_SOCKET")
	if socket == "" {
		return n
	}
	// Child processes must not notify the manager on behalf of this one.
	defer os.Unsetenv("NOTIFY_SOCKET")
	if conn, err := net.Dial("unixgram", socket); err == nil { // "@…" is an abstract socket for both
		n.conn = conn
	}
	if pid := getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if us, err := strconv.ParseUint(getenv("WATCHDOG_USEC"), 10, 62); err == nil {
			n.watchdog = time.Duration(us) * time.Microsecond
		}
	}
	return n
}

// statusInterval is how often the status line is renewed without a watchdog.
const statusInterval = 10 * time.Minute

// interval returns how often to notify the manager: half of the time after which
// its watchdog acts.
func (n *notifier) interval() time.Duration {
	if n.watchdog >= 2*time.Millisecond {
		return n.watchdog / 2
	}
	return statusInterval
}

// notify sends assignments. It ignores errors: the agent runs the same if the
// manager does not listen.
func (n *notifier) notify(assignments ...string) {
	if n.conn != nil {
		n.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = n.conn.Write([]byte(strings.Join(assignments, "\n")))
	}
}

func (n *notifier) close() {
	if n.conn != nil {
		n.conn.Close()
	}
}
