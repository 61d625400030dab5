package subjects

import (
	"fmt"
	"strings"
	"testing"
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
		got, whole := Of(3, test.cluster, test.node)
		if got != test.want || !whole {
			t.Errorf("Of(%q, %q) = %q, %v, want %q", test.cluster, test.node, got, whole, test.want)
		}
	}
}

// TestLongSubject: names that do not fit share their beginning, and differ in the hash.
func TestLongSubject(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 16000)
	seen := map[string]bool{}
	for _, names := range [][2]string{{long, "n"}, {long, "m"}, {long + "x", "n"}, {"n", long}, {long, long}, {"x" + long, long}} {
		s, whole := Of(0, names[0], names[1])
		if whole || len(s) > maxSubject || strings.Count(s, ".") != 3 || seen[s] || !strings.Contains(s[len(s)-34:], cut) {
			t.Errorf("subject %q of %d bytes, whole %v, seen %v", s, len(s), whole, seen[s])
		}
		if _, _, _, ok := Parse(s); ok {
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
		s, whole := Of(part, cluster, node)
		tokens := strings.Split(s, ".")
		if len(s) > maxSubject || len(tokens) != 4 || strings.ContainsAny(s, " \t\r\n*>") {
			t.Fatalf("bad subject %q", s)
		}
		for _, token := range tokens {
			if token == "" {
				t.Fatalf("empty token in %q", s)
			}
		}
		p, c, n, ok := Parse(s)
		if ok != whole || ok && (p != part || c != cluster || n != node) {
			t.Fatalf("Of(%d, %q, %q) = %q, parsed as %d, %q, %q, %v", part, cluster, node, s, p, c, n, ok)
		}
		for _, name := range []string{cluster, node} { // as in headers
			if got, ok := ParseToken(string(AppendToken(nil, name))); !ok || got != name {
				t.Fatalf("%q is %q after escaping", name, got)
			}
		}
	})
}

// FuzzParseSubject: no two subjects mean the same names.
func FuzzParse(f *testing.F) {
	f.Add("apmon.0.C.N")
	f.Add("apmon.0.%.%2E")
	f.Add("apmon.0.%4.%41")
	f.Fuzz(func(t *testing.T, s string) {
		part, cluster, node, ok := Parse(s)
		if !ok {
			return
		}
		if again, whole := Of(part, cluster, node); whole && again != s {
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
		count[Partition("MySite_Nodes", fmt.Sprintf("lxb%04d.example.org", i), len(count))]++
	}
	for part, n := range count {
		if n < 800 || n > 1200 {
			t.Errorf("%d of 8000 nodes are in partition %d of 8", n, part)
		}
	}
}
