package procinfo

import (
	"errors"
	"sync"

	"github.com/apmon-go/apmon/internal/process"
)

// Processes scans the processes of a host. A [Host] and the jobs on it share one,
// so that one scan serves both. It is safe for concurrent use.
type Processes struct {
	dir string

	mu      sync.Mutex
	scanner *process.Scanner // nil before the first scan
	follow  func() error     // see Follow
	closed  bool
}

// NewProcesses returns a scan of the host with these trees. It opens nothing yet.
func NewProcesses(fs FS) *Processes { return &Processes{dir: fs.Proc} }

var errProcessesClosed = errors.New("procinfo: the scan of processes is closed")

// Scan reads the directory of processes, and calls visit, unless it is nil, with the id and
// the content of the stat file of each process. The next process overwrites stat.
func (p *Processes) Scan(visit func(pid int, stat []byte)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errProcessesClosed
	}
	if p.scanner == nil {
		p.scanner = process.NewScanner(p.dir)
	}
	return p.scanner.Scan(visit)
}

// Follow sets a function that calls Scan unless the last scan is recent. A Host calls it
// instead of Scan. With nil, a Host calls Scan again.
func (p *Processes) Follow(recent func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.follow = recent
}

// Close closes the directory. Scans fail from then on.
func (p *Processes) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.scanner != nil {
		p.scanner.Close()
	}
	return nil
}

// count returns the numbers of processes in a recent scan.
func (p *Processes) count() (process.Counts, error) {
	p.mu.Lock()
	scan := p.follow
	p.mu.Unlock()
	if scan == nil {
		scan = func() error { return p.Scan(nil) }
	}
	err := scan()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.scanner == nil {
		return process.Counts{}, err
	}
	return p.scanner.Counts, err
}
