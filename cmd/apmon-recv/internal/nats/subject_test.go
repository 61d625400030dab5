package nats

import (
	"strings"
	"testing"
	"time"
)

func TestSubject(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", maxSubject-len("apmon.0.C."))
	for _, test := range []struct{ cluster, node, want string }{
		{"MySite_Nodes", "lxb1.cern.ch", "apmon.3.MySite_Nodes.lxb1%2Ecern%2Ech"},
		{"", "", "apmon.3.%.%"},
		{"a b", "x*>%", "apmon.3.a%20b.x%2A%3E%25"},
		{"é", "\xff\n", "apmon.3.%C3%A9.%FF%0A"},
		{"#acc_USER", "a/b?", "apmon.3.#acc_USER.a/b?"},
		{"C", long, "apmon.3.C." + long},
	} {
		got, whole := Subject(3, test.cluster, test.node)
		if got != test.want || !whole {
			t.Errorf("Subject(%q, %q) = %q, %v, want %q", test.cluster, test.node, got, whole, test.want)
		}
	}
}

// TestLongSubject: names that do not fit share their beginning, and differ in the hash.
func TestLongSubject(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 16000)
	seen := map[string]bool{}
	for _, names := range [][2]string{{long, "n"}, {long, "m"}, {long + "x", "n"}, {"n", long}, {long, long}, {"x" + long, long}} {
		s, whole := Subject(0, names[0], names[1])
		if whole || len(s) > maxSubject || strings.Count(s, ".") != 3 || seen[s] || !strings.Contains(s[len(s)-34:], cut) {
			t.Errorf("subject %q of %d bytes, whole %v, seen %v", s, len(s), whole, seen[s])
		}
		if _, _, _, ok := ParseSubject(s); ok {
			t.Errorf("%q was parsed", s)
		}
		seen[s] = true
	}
}

// FuzzSubject: each pair of names has a subject of its own, which the server accepts, and which
// is reversed exactly.
func FuzzSubject(f *testing.F) {
	f.Add("MySite_Nodes", "lxb1.cern.ch", 4)
	f.Add("", ".", 1)
	f.Add("%", "%~", 0)
	f.Add("\xff\x00", strings.Repeat("x", 2000), 1)
	f.Fuzz(func(t *testing.T, cluster, node string, partitions int) {
		part := Partition(cluster, node, partitions)
		if part < 0 || part > 0 && part >= partitions {
			t.Fatalf("partition %d of %d", part, partitions)
		}
		s, whole := Subject(part, cluster, node)
		tokens := strings.Split(s, ".")
		if len(s) > maxSubject || len(tokens) != 4 || strings.ContainsAny(s, " \t\r\n*>") {
			t.Fatalf("bad subject %q", s)
		}
		for _, token := range tokens {
			if token == "" {
				t.Fatalf("empty token in %q", s)
			}
		}
		p, c, n, ok := ParseSubject(s)
		if ok != whole || ok && (p != part || c != cluster || n != node) {
			t.Fatalf("Subject(%d, %q, %q) = %q, parsed as %d, %q, %q, %v", part, cluster, node, s, p, c, n, ok)
		}
		for _, name := range []string{cluster, node} { // as in headers
			if got, ok := parseToken(string(appendToken(nil, name))); !ok || got != name {
				t.Fatalf("%q is %q after escaping", name, got)
			}
		}
	})
}

// FuzzParseSubject: no two subjects mean the same names.
func FuzzParseSubject(f *testing.F) {
	f.Add("apmon.0.C.N")
	f.Add("apmon.0.%.%2E")
	f.Add("apmon.0.%4.%41")
	f.Fuzz(func(t *testing.T, s string) {
		part, cluster, node, ok := ParseSubject(s)
		if !ok {
			return
		}
		if again, whole := Subject(part, cluster, node); whole && again != s {
			t.Errorf("%q and %q are both %q, %q", s, again, cluster, node)
		}
	})
}

// TestPartition: partitions must not change, since existing streams rest on them.
func TestPartition(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cluster, node string
		n, want       int
	}{{"C", "N", 0, 0}, {"C", "N", 1, 0}, {"C", "N", 16, 8}, {"CN", "", 16, 12}, {"", "CN", 16, 14}} {
		if got := Partition(test.cluster, test.node, test.n); got != test.want {
			t.Errorf("Partition(%q, %q, %d) = %d, want %d", test.cluster, test.node, test.n, got, test.want)
		}
	}
	var count [8]int
	for i := range 8000 {
		count[Partition("MySite_Nodes", nodeName(i), len(count))]++
	}
	for part, n := range count {
		if n < 800 || n > 1200 {
			t.Errorf("%d of 8000 nodes are in partition %d of 8", n, part)
		}
	}
}

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
