package main

import (
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/internal/testkit"
)

// Nothing listens unless --http is given, and then on loopback.
func TestNoPageWithoutFlag(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	listening := func(p *running) (all []testkit.Socket) {
		for _, s := range testkit.Sockets(t, p.Process.Pid) {
			if s.Listening {
				all = append(all, s)
			}
		}
		return all
	}
	p := start(t, nil, "-d", recv.Addr(), "--interval", "1")
	recv.WaitFor(reports(2, "", "load1"))
	if all := listening(p); len(all) != 0 {
		t.Errorf("without --http: %v", all)
	}
	q := start(t, nil, "-d", recv.Addr(), "--http", "0")
	q.pageAt()
	if all := listening(q); len(all) != 1 || !all[0].Local.Addr().IsLoopback() {
		t.Errorf("with --http: %v", all)
	}
}
