package nats

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxPending is the number of messages that are published and not yet answered.
	maxPending = 4000
	// portion is the number of datagrams that are prepared at once. All are stored or
	// dropped before the next portion.
	portion = 1 << 14
	// maxAckTimeout is how long a server may take to answer.
	maxAckTimeout = 5 * time.Second

	// tooLong is the code of the server's error for a message above a limit of the stream.
	tooLong jetstream.ErrorCode = 10054
)

var errNoAnswer = errors.New("no acknowledgement in time")

// window publishes the messages of one portion and matches the answers of streams to them.
// It does what PublishMsgAsync of package jetstream does, with an index in the reply subject
// instead of a map, a timer, a random token and a parsed answer for each message. That costs
// less, and each message has exactly one result.
type window struct {
	patience time.Duration // how long a server may take to answer
	nc       *nats.Conn
	inbox    string   // begins the reply subjects
	msg      nats.Msg // for the call of the library
	slots    [portion]slot
	wake     chan struct{} // holds a token after flying fell to want, or something failed

	mu      sync.Mutex
	used    int    // slots of the portion
	number  uint64 // of the portion, so that late answers to an earlier one are recognized
	flying  int    // messages without an answer
	want    int    // the number of them that publish or wait waits for; -1 if none does
	answers uint64
	result  result // of messages since the last wait
}

// result is what became of the messages of a portion since the last wait.
type result struct {
	stored    int
	duplicate int // of stored: the stream had them already
	refused   int
	err       error // why another one failed
}

func newWindow(patience time.Duration) *window {
	return &window{patience: patience, wake: make(chan struct{}, 1), want: -1}
}

// open subscribes to the answers.
func (w *window) open(nc *nats.Conn) error {
	w.nc, w.inbox = nc, nc.NewInbox()+"."
	_, err := nc.Subscribe(w.inbox+"*", w.answer)
	return err
}

// add returns the index of a free slot.
func (w *window) add() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots[w.used].state = waiting
	w.used++
	return w.used - 1
}

// clear frees all slots.
func (w *window) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used, w.flying = 0, 0
	w.number++
	w.result = result{}
}

// drop gives up a slot.
func (w *window) drop(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots[i].state = done
}

// publish publishes the message of a slot; it may wait for answers to others. It returns false
// if it has not, because something failed since the last wait, or ctx has ended.
func (w *window) publish(ctx context.Context, i int) bool {
	s := &w.slots[i]
	w.mu.Lock()
	full := w.flying >= maxPending
	w.mu.Unlock()
	if full {
		w.until(ctx, maxPending*3/4)
	}
	w.mu.Lock()
	if w.result.err != nil || ctx.Err() != nil {
		w.mu.Unlock()
		return false
	}
	if s.state == done { // a late answer to an earlier attempt
		w.mu.Unlock()
		return true
	}
	s.state = flying
	w.flying++
	b := make([]byte, 0, 64)
	b = append(b, w.inbox...)
	b = strconv.AppendUint(b, w.number*portion+uint64(i), 36)
	w.mu.Unlock()
	w.msg.Subject, w.msg.Reply, w.msg.Header, w.msg.Data = s.subject, string(b), s.header, s.data
	if err := w.nc.PublishMsg(&w.msg); err != nil {
		w.mu.Lock()
		w.land(i, err)
		w.mu.Unlock()
	}
	return true
}

// wait waits until every published message has an answer. It returns what became of them, and
// appends to left the slots that are still to be published, in order. If ctx ends, those
// without an answer are among them.
func (w *window) wait(ctx context.Context, left []int) ([]int, result) {
	w.until(ctx, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.used {
		if w.slots[i].state != done {
			left = append(left, i)
		}
	}
	r := w.result
	w.result = result{}
	if r.err != nil {
		r.err = why(w.nc, r.err)
	}
	return left, r
}

// until waits until at most want messages have no answer, or ctx ends. Those to which no
// answer comes in time have failed.
func (w *window) until(ctx context.Context, want int) {
	timeout := time.NewTimer(w.patience)
	defer timeout.Stop()
	for first := true; ; first = false {
		w.mu.Lock()
		answers := w.answers
		reached := w.flying <= want || want > 0 && w.result.err != nil
		w.want = want
		if reached {
			w.want = -1
		}
		w.mu.Unlock()
		if reached {
			return
		}
		if !first {
			timeout.Reset(w.patience)
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		case <-timeout.C:
			w.mu.Lock()
			none := answers == w.answers
			w.mu.Unlock()
			if none {
				w.lapse(errNoAnswer)
			}
		}
	}
}

// lapse makes all messages without an answer fail. The connection calls it when it is lost.
func (w *window) lapse(err error) {
	if err == nil {
		err = nats.ErrDisconnected
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.used {
		if w.slots[i].state == flying {
			w.land(i, err)
		}
	}
}

// note records an error that belongs to no message.
func (w *window) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.err = err
}

// land records the result of a message. w.mu is held.
func (w *window) land(i int, err error) {
	s := &w.slots[i]
	if s.state == done {
		return
	}
	if s.state == flying {
		w.flying--
	}
	w.answers++
	switch {
	case err == nil:
		s.state = done
		w.result.stored++
	case permanent(err):
		s.state = done
		w.result.refused++
	default:
		s.state = waiting
		w.result.err = err
	}
	if w.want >= 0 && (w.flying <= w.want || w.result.err != nil) {
		w.want = -1
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// permanent reports whether no stream will ever take the message.
func permanent(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) ||
		errors.As(err, &api) && api.ErrorCode == tooLong
}

// answer handles the answer of a stream to a message.
func (w *window) answer(m *nats.Msg) {
	n, bad := strconv.ParseUint(m.Subject[len(w.inbox):], 36, 64)
	if bad != nil {
		return
	}
	duplicate, err := parseAnswer(m)
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := int(n % portion); n/portion == w.number && i < w.used {
		if duplicate && w.slots[i].state != done {
			w.result.duplicate++
		}
		w.land(i, err)
	}
}

// parseAnswer returns why a message was not stored, or whether it had been stored before.
func parseAnswer(m *nats.Msg) (duplicate bool, err error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return false, jetstream.ErrNoStreamResponse
	}
	// The server writes an acknowledgement like this. An error comes first in its answers.
	if bytes.HasPrefix(m.Data, []byte(`{"stream":`)) {
		return bytes.Contains(m.Data, []byte(`"duplicate":`)), nil
	}
	var a struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Duplicate bool                `json:"duplicate"`
	}
	switch err := json.Unmarshal(m.Data, &a); {
	case err != nil || a.Error == nil && a.Stream == "":
		return false, jetstream.ErrInvalidJSAck
	case a.Error != nil:
		return false, a.Error
	}
	return a.Duplicate, nil
}
