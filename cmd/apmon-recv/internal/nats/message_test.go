package nats

import (
	"strings"
	"testing"
	"time"
)

// TestMessageID: the id depends on instance, sequence number and body, and on nothing that
// differs between the destinations of a client.
func TestMessageID(t *testing.T) {
	t.Parallel()
	id := func(raw []byte) string {
		p := packet(raw)
		return messageID(p.Raw, p.Datagram)
	}
	first := id(datagram("", 17, 1, "C", "N"))
	if want := "17-1-"; !strings.HasPrefix(first, want) || len(first) != len(want)+11 {
		t.Errorf("id %q", first)
	}
	if other := id(datagram("a password of any length", 17, 1, "C", "N")); other != first {
		t.Errorf("%q and %q differ by the password alone", first, other)
	}
	for _, other := range [][]byte{
		datagram("", 18, 1, "C", "N"), datagram("", 17, 2, "C", "N"),
		datagram("", 17, 1, "D", "N"), datagram("", 17, 1, "C", "M"),
	} {
		if got := id(other); got == first {
			t.Errorf("%q is the id of two datagrams", got)
		}
	}
}

// TestOrigin: sender and time survive the headers to the nanosecond; a message of another
// program has the time when it was stored.
func TestOrigin(t *testing.T) {
	t.Parallel()
	p := packet(datagram("", 1, 1, "C", "N"))
	var s slot
	s.fill(p, p.Received, 1, new(stamp))
	from, received := origin(s.header, time.Time{})
	if from != p.From || !received.Equal(p.Received) {
		t.Errorf("%v %v, want %v %v", from, received, p.From, p.Received)
	}
	stored := time.Unix(1e9, 0)
	if from, received := origin(nil, stored); from.IsValid() || received != stored {
		t.Errorf("without headers: %v %v", from, received)
	}
}
