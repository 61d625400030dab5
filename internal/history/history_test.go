package history

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

var start = time.Unix(1_700_000_000, 0)

// contents returns a line for each series: cluster, node, name, value.
func contents(s *Store, now time.Time) []string {
	var all []string
	s.Each(now, func(n *Node) {
		for e := range n.Series() {
			v := fmt.Sprint(e.Value)
			if e.IsText {
				v = fmt.Sprintf("%q", e.Text)
			}
			all = append(all, fmt.Sprintf("%s/%s %s=%s", n.Cluster, n.Name, e.Name, v))
		}
	})
	slices.Sort(all)
	return all
}

func check(t *testing.T, s *Store, now time.Time, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, contents(s, now)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLastValues(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	s.Offer("C", "N", []xdr.Param{xdr.Int("a", 1), xdr.Float("b", 2.5), xdr.String("c", "x")}, start, 17)
	s.Offer("C", "M", []xdr.Param{xdr.Int("a", 3)}, start, 0)
	s.Offer("D", "N", nil, start, 0)
	s.Offer("", "", []xdr.Param{xdr.Int("", 9)}, start, 0)
	check(t, s, start, `/ =9`, `C/M a=3`, `C/N a=1`, `C/N b=2.5`, `C/N c="x"`)
	// Another order, some repeated, some new, and another type.
	later := start.Add(time.Second)
	s.Offer("C", "N", []xdr.Param{xdr.Int("c", 7), xdr.Int("d", 4), xdr.Int("a", 2), xdr.Int("a", 5), xdr.String("b", "y")}, later, 0)
	check(t, s, later, `/ =9`, `C/M a=3`, `C/N a=5`, `C/N b="y"`, `C/N c=7`, `C/N d=4`)
	s.Each(later, func(n *Node) {
		for e := range n.Series() {
			switch {
			case n.Cluster == "C" && n.Name == "N" && (e.Received != later.UnixNano() || e.Time != 0 || n.Received != e.Received):
				t.Errorf("%s: received %d, time %d", e.Name, e.Received, e.Time)
			case n.Name == "M" && (e.Received != start.UnixNano() || e.Time != 0):
				t.Errorf("M: received %d, time %d", e.Received, e.Time)
			}
		}
	})
	if st := s.Stats(); st.Series != 6 || st.Nodes != 3 || st.OverCount+st.OverBytes+st.Expired != 0 {
		t.Errorf("%+v", st)
	}
}

func TestTimeOfTheDatagram(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	s.Offer("C", "N", []xdr.Param{xdr.Int("a", 1)}, start, 1234)
	s.Each(start, func(n *Node) {
		for e := range n.Series() {
			if e.Time != 1234 {
				t.Errorf("time %d", e.Time)
			}
		}
	})
}

// The store must not keep strings that refer to the read buffer.
func TestStringsAreCopied(t *testing.T) {
	t.Parallel()
	for _, names := range [][4]string{{"CC", "NN", "pp", "tt"}, {"", "NN", "pp", "tt"}, {"CC", "", "pp", "tt"}} {
		var buffer []byte
		borrow := func(v string) string {
			buffer = append(buffer, v...)
			return unsafe.String(unsafe.SliceData(buffer[len(buffer)-len(v):]), len(v))
		}
		buffer = make([]byte, 0, 100)
		s := New(Options{MaxSeries: 1})
		for range 2 { // the second time all exist
			buffer = buffer[:0]
			cluster, node := borrow(names[0]), borrow(names[1])
			params := []xdr.Param{xdr.String(borrow(names[2]), borrow(names[3])), xdr.Int(borrow("refused"), 1)}
			s.Offer(cluster, node, params, start, 0)
			for i := range buffer {
				buffer[i] = '#'
			}
		}
		check(t, s, start, fmt.Sprintf("%s/%s pp=%q", names[0], names[1], "tt"))
		want := []Cluster{{names[0], 2}}
		if diff := cmp.Diff(want, s.Stats().Clusters); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// Against a plain map: random datagrams, with a clock that goes on and series that end.
func TestAgainstAMap(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	s := New(Options{Expire: 10 * time.Second})
	type value struct {
		text string
		at   time.Time
	}
	model := map[string]value{}
	now := start
	for range 5000 {
		now = now.Add(time.Duration(rnd.IntN(500)) * time.Millisecond)
		cluster, node := fmt.Sprint("C", rnd.IntN(3)), fmt.Sprint("N", rnd.IntN(5))
		var params []xdr.Param
		for range rnd.IntN(6) {
			name := fmt.Sprint("p", rnd.IntN(20))
			p := xdr.Int(name, rnd.IntN(100))
			text := fmt.Sprint(p.Float())
			if rnd.IntN(4) == 0 {
				p = xdr.String(name, text)
				text = fmt.Sprintf("%q", text)
			}
			params = append(params, p)
			model[fmt.Sprintf("%s/%s %s", cluster, node, name)] = value{text, now}
		}
		s.Offer(cluster, node, params, now, 0)
		if rnd.IntN(20) == 0 {
			var want []string
			for k, v := range model {
				if now.Sub(v.at) < 10*time.Second {
					want = append(want, k+"="+v.text)
				}
			}
			slices.Sort(want)
			check(t, s, now, want...)
		}
	}
	end := now.Add(time.Hour)
	check(t, s, end)
	if st := s.Stats(); st.Series != 0 || st.Nodes != 0 || st.Bytes != 0 || st.Expired == 0 {
		t.Errorf("after all have ended: %+v", st)
	}
}

func TestSeriesThatExistStay(t *testing.T) {
	t.Parallel()
	s := New(Options{MaxSeries: 3})
	s.Offer("C", "N", []xdr.Param{xdr.Int("a", 1), xdr.Int("b", 1)}, start, 0)
	s.Offer("D", "N", []xdr.Param{xdr.Int("a", 1), xdr.Int("b", 1), xdr.Int("c", 1)}, start, 0)
	s.Offer("E", "N", []xdr.Param{xdr.Int("a", 1), xdr.Int("b", 1), xdr.Int("c", 1)}, start, 0)
	s.Offer("C", "N", []xdr.Param{xdr.Int("a", 2), xdr.Int("new", 2), xdr.Int("b", 2)}, start, 0)
	check(t, s, start, "C/N a=2", "C/N b=2", "D/N a=1")
	st := s.Stats()
	if st.OverCount != 6 || st.OverBytes != 0 {
		t.Errorf("%+v", st)
	}
	if diff := cmp.Diff([]Cluster{{"E", 3}, {"D", 2}, {"C", 1}}, st.Clusters); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// One that ends gives its room to another, also if nobody reads.
	now := start.Add(DefaultExpire - time.Second)
	for range shards + 1 {
		s.Offer("C", "N", []xdr.Param{xdr.Int("a", 3), xdr.Int("b", 3)}, now, 0)
		now = now.Add(time.Second)
	}
	s.Offer("E", "N", []xdr.Param{xdr.Int("a", 4)}, now, 0)
	check(t, s, now, "C/N a=3", "C/N b=3", "E/N a=4")
	s.Configure(Options{MaxSeries: 1})
	s.Offer("C", "N", []xdr.Param{xdr.Int("a", 5), xdr.Int("new", 5)}, now, 0)
	check(t, s, now, "C/N a=5", "C/N b=3", "E/N a=4")
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", xdr.MaxString)
	s := New(Options{MaxBytes: 1 << 20})
	for i := range 1000 {
		s.Offer(fmt.Sprint(i, long), "N", []xdr.Param{xdr.Int("a", 1), xdr.Int("b", 1), xdr.Int(fmt.Sprint(i), 1)}, start, 0)
	}
	st := s.Stats()
	if st.Bytes > 1<<20 || st.Bytes < 3<<18 || st.OverBytes == 0 || st.OverCount != 0 || st.Series == 0 {
		t.Errorf("%+v", st)
	}
	if got := uint64(st.Series) + st.OverBytes; got != 3000 {
		t.Errorf("%d values stored or refused, want 3000", got)
	}
	if n := len(st.Clusters); n != MaxClusters {
		t.Errorf("%d clusters in the list", n)
	}
	for _, c := range st.Clusters {
		if len(c.Name) > maxClusterName {
			t.Errorf("a name of %d bytes in the list", len(c.Name))
		}
	}
	// A text that grows beyond it does not replace the old one.
	s = New(Options{MaxBytes: 2000})
	s.Offer("C", "N", []xdr.Param{xdr.String("a", "x")}, start, 0)
	s.Offer("C", "N", []xdr.Param{xdr.String("a", long)}, start, 0)
	check(t, s, start, `C/N a="x"`)
	if st := s.Stats(); st.OverBytes != 1 || st.Bytes > 2000 {
		t.Errorf("%+v", st)
	}
}

// A cluster that causes most refusals is in the list, among any number of others.
func TestClustersThatCauseRefusals(t *testing.T) {
	t.Parallel()
	s := New(Options{MaxSeries: 1})
	s.Offer("C", "N", []xdr.Param{xdr.Int("a", 1)}, start, 0)
	for i := range 20_000 {
		s.Offer(fmt.Sprint("forged", i), "N", []xdr.Param{xdr.Int("a", 1)}, start, 0)
		if i%4 == 0 {
			s.Offer("loud", "N", []xdr.Param{xdr.Int("a", 1)}, start, 0)
		}
	}
	if c := s.Stats().Clusters; len(c) != MaxClusters || c[0].Name != "loud" || c[0].Refused < 5000 {
		t.Errorf("%+v", c)
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	s := New(Options{MaxBytes: 3000})
	s.Offer("C", "N", []xdr.Param{xdr.Int("a", 1), xdr.Int("b", 1)}, start, 0)
	before := s.Stats().Bytes
	s.Each(start, func(n *Node) {
		for e := range n.Series() {
			if e.Mark() != nil {
				t.Error("a mark at first")
			}
			if n.Mark(e, 1, 5000, 0) || e.Mark() != nil {
				t.Error("a mark over the limit")
			}
			if !n.Mark(e, 2, 100, 0) || !n.Mark(e, e.Name, 50, 10*time.Second) || e.Mark() != e.Name {
				t.Error("no mark")
			}
			if e.Name == "b" && !n.Mark(e, "b", 0, 0) {
				t.Error("no mark")
			}
		}
	})
	if got := s.Stats().Bytes - before; got != 50 {
		t.Errorf("%d bytes for marks", got)
	}
	check(t, s, start.Add(9*time.Second), "C/N a=1", "C/N b=1")
	check(t, s, start.Add(10*time.Second), "C/N b=1")
	check(t, s, start.Add(DefaultExpire))
	if st := s.Stats(); st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s := New(Options{MaxSeries: 500, Expire: time.Minute})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(3, uint64(g)))
			for i := range 3000 {
				now := start.Add(time.Duration(i) * 100 * time.Millisecond)
				params := []xdr.Param{xdr.Int("a", i), xdr.String("t", fmt.Sprint(i)), xdr.Int(fmt.Sprint(rnd.IntN(10)), 1)}
				s.Offer("C", fmt.Sprint(rnd.IntN(100)), params, now, 0)
				if i%500 == 0 {
					contents(s, now)
					s.Stats()
				}
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.Series > 500 || st.OverCount == 0 {
		t.Errorf("%+v", st)
	}
	contents(s, start.Add(time.Hour))
	if st := s.Stats(); st.Series != 0 || st.Nodes != 0 || st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
}

func TestOfferDoesNotAllocate(t *testing.T) {
	s := New(Options{MaxSeries: 100})
	params := []xdr.Param{xdr.Int("a", 1), xdr.Float("b", 1), xdr.String("c", "x")}
	other := []xdr.Param{params[1], params[2], params[0]}
	many := make([]xdr.Param, 200)
	for i := range many {
		many[i] = xdr.Int(fmt.Sprint(i), i)
	}
	run := func() {
		s.Offer("C", "N", params, start, 0)
		s.Offer("C", "N", other, start, 0)
		s.Offer("C", "M", params, start, 0)
		s.Offer("D", "N", many, start, 0) // half of them are refused
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The memory that the store counts is at least what it takes.
func TestCountedMemory(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector takes memory")
	}
	for _, c := range []struct{ nodes, series int }{{50_000, 1}, {5_000, 10}, {1, 50_000}} {
		before := testkit.Heap()
		s := New(Options{MaxBytes: 1 << 30})
		for i := range c.nodes {
			params := make([]xdr.Param, c.series)
			for j := range params {
				params[j] = xdr.Int(fmt.Sprintf("parameter_%d", j), j)
			}
			s.Offer("Some_Cluster", fmt.Sprintf("node%d.example.org", i), params, start, 0)
		}
		taken := testkit.Heap() - before
		st := s.Stats()
		t.Logf("%d nodes of %d series: %d bytes a series, counted %d", c.nodes, c.series, taken/int64(st.Series), st.Bytes/int64(st.Series))
		if taken > st.Bytes+st.Bytes/20 {
			t.Errorf("%d nodes of %d series take %d bytes, counted are %d", c.nodes, c.series, taken, st.Bytes)
		}
	}
}

func FuzzOffer(f *testing.F) {
	f.Add("C", "N", `["a","b"]`)
	f.Fuzz(func(t *testing.T, cluster, node, names string) {
		var list []string
		if json.Unmarshal([]byte(names), &list) != nil {
			return
		}
		s := New(Options{MaxSeries: 10, MaxBytes: 10_000})
		want := map[string]bool{}
		params := make([]xdr.Param, len(list))
		for i, name := range list {
			params[i] = xdr.Int(name, i)
			want[name] = true
		}
		s.Offer(cluster, node, params, start, 0)
		s.Offer(cluster, node, params, start, 0)
		st := s.Stats()
		if st.Series > 10 || st.Series > len(want) || st.Bytes > 10_000 {
			t.Errorf("%+v", st)
		}
		contents(s, start.Add(time.Hour))
		if st := s.Stats(); st.Series != 0 || st.Bytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// BenchmarkOffer stores datagrams of ten parameters, of a number of nodes in turn.
func BenchmarkOffer(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) { benchmarkOffer(b, n, 0, New(Options{}).Offer) })
	}
}

// benchmarkOffer calls offer for nodes in turn, with a time between the datagrams.
func benchmarkOffer(b *testing.B, count int, step time.Duration, offer func(string, string, []xdr.Param, time.Time, int32)) {
	params := make([]xdr.Param, 10)
	for i := range params {
		params[i] = xdr.Int(fmt.Sprintf("parameter_%d", i), i)
	}
	nodes := make([]string, count)
	for i := range nodes {
		nodes[i] = fmt.Sprintf("node%d.example.org", i)
	}
	now := time.Now()
	b.ReportAllocs()
	cpu := cpuTime()
	for i := 0; b.Loop(); i++ {
		offer("Some_Cluster", nodes[i%len(nodes)], params, now, 0)
		now = now.Add(step)
	}
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpuTime returns the CPU time of the process.
func cpuTime() time.Duration {
	u := procinfo.ReadUsage()
	return time.Duration((u.UserTime.V + u.SystemTime.V) * float64(time.Second))
}

// Forgotten nodes are gone with their memory, and come back with their next datagram.
func TestForget(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for _, node := range []string{"a", "b"} {
		s.Offer("C", node, []xdr.Param{xdr.Int("x", 1), xdr.String("s", "t")}, start, 0)
	}
	one := s.Stats().Bytes / 2
	s.Forget(func(_, node string) bool { return node == "a" })
	check(t, s, start, `C/b s="t"`, "C/b x=1")
	if st := s.Stats(); st.Series != 2 || st.Nodes != 1 || st.Bytes != one || st.Expired != 0 {
		t.Errorf("%+v, one node takes %d bytes", st, one)
	}
	s.Offer("C", "a", []xdr.Param{xdr.Int("x", 2)}, start, 0)
	check(t, s, start, "C/a x=2", `C/b s="t"`, "C/b x=1")
}
