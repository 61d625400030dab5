package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// service speaks to the service manager that has started us, as sd_notify(3)
// describes; without one it does nothing.
type service struct {
	conn     net.Conn
	watchdog time.Duration // 0 for none
}

func newService(getenv func(string) string) *service {
	s := &service{}
	socket := getenv("NOTIFY_SOCKET")
	if socket == "" {
		return s
	}
	// Those whom we start shall not speak for us.
	defer os.Unsetenv("NOTIFY_SOCKET")
	if conn, err := net.Dial("unixgram", socket); err == nil { // "@…" is abstract for both
		s.conn = conn
	}
	if pid := getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if us, err := strconv.ParseUint(getenv("WATCHDOG_USEC"), 10, 62); err == nil {
			s.watchdog = time.Duration(us) * time.Microsecond
		}
	}
	return s
}

// statusInterval is how often the status line is renewed without a watchdog.
const statusInterval = 10 * time.Minute

// interval is how often the manager wants to hear of us: half of the time after
// which it would act.
func (s *service) interval() time.Duration {
	if s.watchdog >= 2*time.Millisecond {
		return s.watchdog / 2
	}
	return statusInterval
}

// tell sends assignments. That a manager does not listen is nothing we could
// do anything about.
func (s *service) tell(assignments ...string) {
	if s.conn != nil {
		s.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = s.conn.Write([]byte(strings.Join(assignments, "\n")))
	}
}

func (s *service) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}
