package output

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/apmon-go/apmon/apmon/receiver"
)

// broken is an output that ends with an error while it holds a datagram.
type broken struct{ fail chan struct{} }

func (broken) Name() string { return "broken" }

func (b broken) Run(ctx context.Context, in *In) error {
	in.Take(ctx, 1, 0)
	<-b.fail
	return errors.New("broken")
}

// TestIdleEndsWithTheOutput: an output that has ended handles nothing more, so there is
// nothing to wait for.
func TestIdleEndsWithTheOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s Set
		b := broken{make(chan struct{})}
		s.Swap(t.Context(), []Output{b}, nil)
		s.Offer(&receiver.Packet{Raw: []byte("x")})
		idle := make(chan bool)
		go func() { idle <- s.Idle(t.Context()) }()
		synctest.Wait()
		close(b.fail)
		if !<-idle {
			t.Error("Idle returned false")
		}
		if !s.Idle(t.Context()) {
			t.Error("Idle of an output that has ended returned false")
		}
		s.Swap(t.Context(), nil, nil)
	})
}
