package command

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Manager is the service manager that started the process, see sd_notify(3). Without one its
// methods do nothing.
type Manager struct {
	conn     net.Conn
	watchdog time.Duration // 0 if the manager has no watchdog
}

// NewManager connects to the socket that NOTIFY_SOCKET names, and takes the name out of the
// environment of the process.
func NewManager(getenv func(string) string) *Manager {
	m := &Manager{}
	socket := getenv("NOTIFY_SOCKET")
	if socket == "" {
		return m
	}
	// Child processes must not notify the manager on behalf of this one.
	defer os.Unsetenv("NOTIFY_SOCKET")
	if conn, err := net.Dial("unixgram", socket); err == nil { // "@…" is an abstract socket for both
		m.conn = conn
	}
	if pid := getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if us, err := strconv.ParseUint(getenv("WATCHDOG_USEC"), 10, 62); err == nil {
			m.watchdog = time.Duration(us) * time.Microsecond
		}
	}
	return m
}

// statusInterval is how often the status line is renewed without a watchdog.
const statusInterval = 10 * time.Minute

// Interval returns how often to notify the manager: half of the time after which
// its watchdog acts.
func (m *Manager) Interval() time.Duration {
	if m.watchdog >= 2*time.Millisecond {
		return m.watchdog / 2
	}
	return statusInterval
}

// Notify sends assignments, such as "READY=1". It ignores errors: the process runs the same if
// the manager does not listen.
func (m *Manager) Notify(assignments ...string) {
	if m.conn != nil {
		m.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = m.conn.Write([]byte(strings.Join(assignments, "\n")))
	}
}

// Close closes the socket.
func (m *Manager) Close() {
	if m.conn != nil {
		m.conn.Close()
	}
}
