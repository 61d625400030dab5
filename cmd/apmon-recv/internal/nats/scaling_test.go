package nats

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/subjects"
	"github.com/apmon-go/apmon/internal/testkit"
)

var update = flag.Bool("update", false, "compute the tables of docs/scaling.md")

// alice is the number of parameters per second that ALICE reports.
const alice = 200_000

// figures are those of the table in docs/scaling.md, by their names there.
type figures map[string]float64

// size is a size of site, by the multiple of ALICE's parameters per second.
type size struct {
	figures
	datagrams float64 // per second
}

func (f figures) size(times float64) size {
	return size{f, alice * times / f["parameters in a datagram"]}
}

// limit is one limit of an installation with one receiver, one stream and three servers, and
// how many times it is needed.
type limit struct {
	name  string
	times float64
}

// receiver returns the number of datagrams per second that one receiver can take.
func (s size) receiver() float64 {
	cpu := 1/s.figures["receiver, datagrams per CPU second"] + 1/s.figures["publishing, datagrams per CPU second of the receiver"]
	return min(s.figures["CPU cores that one receiver can use"]/cpu, s.figures["datagrams per second of one socket"])
}

func (s size) subjects() float64 {
	return s.datagrams * s.figures["seconds between datagrams of a node"]
}

// stored is the number of bytes per second that all replicas store.
func (s size) stored() float64 {
	return s.datagrams * s.figures["bytes of a stored message"] * s.figures["replicas"]
}

// sent is the number of bytes per second that the servers send: to the other replicas and to
// consumers.
func (s size) sent() float64 {
	return s.datagrams * s.figures["bytes of a stored message"] * (s.figures["replicas"] - 1 + s.figures["consumers of each message"])
}

func (s size) ids() float64 {
	return s.datagrams * s.figures["seconds of the duplicate window"] * s.figures["bytes of memory for a message id"]
}

// limits returns how many times each limit of an installation with one receiver, one stream,
// and as many servers as replicas is needed, the most needed first.
func (s size) limits() []limit {
	servers := s.figures["replicas"]
	all := []limit{
		{"subjects of a stream", s.subjects() / s.figures["subjects of one stream"]},
		{"messages of a stream", s.datagrams / s.figures["messages per second of one stream, R=3"]},
		{"receiver", s.datagrams / s.receiver()},
		{"disks of the servers", s.stored() / servers / s.figures["disk of a server, MB/s"] / 1e6},
		{"network of the servers", max(s.stored(), s.sent()) / servers / s.figures["network of a server, MB/s"] / 1e6},
	}
	slices.SortStableFunc(all, func(a, b limit) int { return cmp.Compare(b.times, a.times) })
	return all
}

// table returns what the sizes need.
func (f figures) table() string {
	sizes := []size{f.size(1), f.size(10), f.size(1000)}
	used := f["part of a limit that is used"]
	up := func(x float64) float64 { return math.Ceil(x / used) }
	partitions := func(s size) float64 {
		return max(up(s.datagrams/f["messages per second of one stream, R=3"]), up(s.subjects()/f["subjects of one stream"]))
	}
	servers := func(s size) float64 {
		return max(f["replicas"], up(s.stored()/f["disk of a server, MB/s"]/1e6), up(max(s.stored(), s.sent())/f["network of a server, MB/s"]/1e6))
	}
	var b strings.Builder
	row := func(name string, value func(size) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, s := range sizes {
			fmt.Fprintf(&b, " %s |", value(s))
		}
		b.WriteByte('\n')
	}
	number := func(value func(size) float64) func(size) string {
		return func(s size) string { return short(value(s)) }
	}
	b.WriteString("| | ALICE | 10 times | 1000 times |\n|---|---|---|---|\n")
	row("parameters/s", number(func(s size) float64 { return s.datagrams * f["parameters in a datagram"] }))
	row("datagrams/s", number(func(s size) float64 { return s.datagrams }))
	row("into the receivers, MB/s", number(func(s size) float64 { return s.datagrams * (f["bytes of a datagram"] + 28) / 1e6 }))
	row("receivers", number(func(s size) float64 { return max(2, up(s.datagrams/s.receiver())) }))
	row("subjects", number(size.subjects))
	row("partitions", number(partitions))
	row("NATS servers", number(servers))
	row("memory for message ids, MB per server", number(func(s size) float64 { return s.ids() * f["replicas"] / servers(s) / 1e6 }))
	row("into a server, MB/s", number(func(s size) float64 { return s.stored() / servers(s) / 1e6 }))
	row("out of a server, MB/s", number(func(s size) float64 { return s.sent() / servers(s) / 1e6 }))
	row("stored, GB per server", number(func(s size) float64 { return s.stored() * f["seconds that a stream keeps messages"] / servers(s) / 1e9 }))
	row("--nats-max-bytes of a partition, GB", number(func(s size) float64 {
		return s.stored() / f["replicas"] * f["seconds that a stream keeps messages"] / partitions(s) / 1e9
	}))
	b.WriteString("\nOne receiver, one stream and three servers, as multiples of each limit; the first limit is\nthe first line:\n\n")
	b.WriteString("| ALICE | 10 times | 1000 times |\n|---|---|---|\n")
	for i := range sizes[0].limits() {
		b.WriteString("|")
		for _, s := range sizes {
			l := s.limits()[i]
			fmt.Fprintf(&b, " %s %s |", l.name, short(l.times))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// short formats a number with two significant digits, or three in groups.
func short(x float64) string {
	if x < 10 {
		return strconv.FormatFloat(x, 'g', 2, 64)
	}
	digits := strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

// TestScalingTable: the tables of docs/scaling.md follow from its figures.
func TestScalingTable(t *testing.T) {
	t.Parallel()
	const name = "../../../../docs/scaling.md"
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f := make(figures)
	for line := range strings.Lines(string(doc)) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			if v, err := strconv.ParseFloat(strings.TrimSpace(cells[2]), 64); err == nil {
				f[strings.TrimSpace(cells[1])] = v
			}
		}
	}
	begin, end := []byte("<!-- computed -->\n"), []byte("<!-- end -->\n")
	before, rest, ok := bytes.Cut(doc, begin)
	old, after, ok2 := bytes.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("no marks in docs/scaling.md")
	}
	table := f.table()
	if strings.Contains(table, "NaN") || strings.Contains(table, "Inf") {
		t.Fatalf("a figure is missing in docs/scaling.md:\n%s", table)
	}
	if string(old) == "\n"+table+"\n" {
		return
	}
	if !*update {
		t.Fatalf("docs/scaling.md has other tables than its figures give: run with -update\n%s", table)
	}
	doc = slices.Concat(before, begin, []byte("\n"+table+"\n"), end, after)
	if err := os.WriteFile(name, doc, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestScalingReceivers simulates 40 clients that send to one, two and four receivers, over
// networks that lose every tenth datagram. The receivers are real. Each counts exactly what
// was lost on the way to it, and of the message ids of all receivers, as a stream
// would keep them, there is exactly one for each datagram that reached at least one receiver.
func TestScalingReceivers(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 4} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			simulate(t, n, false)
		})
	}
}

// TestScalingSharedCounter: clients with one counter for all destinations, as those in C, C++
// and Java: each receiver counts the datagrams for the others as lost, and each datagram has
// an id for each receiver.
func TestScalingSharedCounter(t *testing.T) {
	t.Parallel()
	simulate(t, 2, true)
}

func simulate(t *testing.T, receivers int, shared bool) {
	const clients, datagrams = 40, 200
	const loss = 0.1
	r := rand.New(rand.NewPCG(1, uint64(receivers)))
	var all []*simulated
	for range receivers {
		all = append(all, newSimulated(t))
	}
	unique, arrived, lost := 0, 0, make([]uint64, receivers)
	for i := range datagrams {
		for client := range int32(clients) {
			somewhere := false
			for k, one := range all {
				seq := i
				if shared {
					seq = i*receivers + k
				}
				// A loss before the first or after the last datagram cannot be seen.
				if i > 0 && i < datagrams-1 && r.Float64() < loss {
					lost[k]++
					continue
				}
				if shared && i < datagrams-1 {
					lost[k] += uint64(receivers - 1) // they are numbers of other receivers
				}
				one.send(datagram(fmt.Sprint("password ", k), client, int32(seq), "C", nodeName(int(client))))
				arrived++
				somewhere = true
			}
			if somewhere {
				unique++
			}
		}
	}
	ids := make(map[string]bool)
	for k, one := range all {
		one.close()
		if c := one.r.Stats().Counts; c.Lost != lost[k] && !shared || c.Received != uint64(one.sent) || c.Duplicate+c.Reordered+c.Restarts > 0 {
			t.Errorf("receiver %d: %+v, want %d lost of %d", k, c, lost[k], clients*datagrams)
		} else if shared && c.Lost < uint64(clients*(datagrams-2)) {
			t.Errorf("receiver %d: %d lost", k, c.Lost)
		}
		for id := range one.ids {
			ids[id] = true
		}
	}
	want := unique
	if shared {
		want = arrived
	}
	if len(ids) != want {
		t.Errorf("%d ids of %d datagrams that arrived, %d times in all", len(ids), unique, arrived)
	}
	// A share of loss^N is lost at all receivers.
	expect := clients * datagrams * (1 - math.Pow(loss, float64(receivers)))
	if d := math.Abs(float64(unique) - expect); d > 0.02*expect {
		t.Errorf("%d datagrams arrived at one receiver or more, about %.0f expected", unique, expect)
	}
}

// simulated is a receiver with the message ids that it would publish.
type simulated struct {
	t       testing.TB
	r       *receiver.Receiver
	conn    *testkit.Listener
	done    chan error
	sent    int
	handled atomic.Int64
	ids     map[string]bool
}

func newSimulated(t testing.TB) *simulated {
	r, err := receiver.Listen("127.0.0.1:0", receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &simulated{t: t, r: r, conn: testkit.Listen(t), done: make(chan error, 1), ids: make(map[string]bool)}
	go func() {
		s.done <- r.Serve(t.Context(), func(p *receiver.Packet) {
			s.ids[messageID(p.Raw, p.Datagram)] = true
			s.handled.Add(1)
		})
	}()
	return s
}

// send sends a datagram, and waits so that the socket loses none.
func (s *simulated) send(raw []byte) {
	if _, err := s.conn.WriteToUDPAddrPort(raw, s.r.Addr()); err != nil {
		s.t.Fatal(err)
	}
	if s.sent++; s.sent%50 == 0 {
		s.wait()
	}
}

func (s *simulated) wait() {
	s.t.Helper()
	testkit.Eventually(s.t, "the receiver", func() bool { return s.handled.Load() == int64(s.sent) })
}

func (s *simulated) close() {
	s.wait()
	s.r.Close()
	if err := <-s.done; err != nil {
		s.t.Error(err)
	}
}

// TestScalingWindow simulates the message ids of a stream whose receivers are late by a random
// time: each datagram is stored once as long as no receiver is later than the window after
// another, and the window holds the ids of its time and no more.
func TestScalingWindow(t *testing.T) {
	t.Parallel()
	const perSecond, seconds, receivers = 1000, 120, 3
	window := DefaultWindow
	type arrival struct {
		at time.Duration
		id int
	}
	for _, test := range []struct {
		late time.Duration
		once bool
	}{{window - time.Second, true}, {2 * window, false}} {
		r := rand.New(rand.NewPCG(1, 1))
		var arrivals []arrival
		for id := range perSecond * seconds {
			at := time.Duration(id) * time.Second / perSecond
			for range receivers {
				arrivals = append(arrivals, arrival{at + time.Duration(r.Int64N(int64(test.late))), id})
			}
		}
		slices.SortFunc(arrivals, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
		stored, most := 0, 0
		seen := make(map[int]time.Duration)
		var order []arrival
		for _, a := range arrivals {
			for len(order) > 0 && order[0].at+window < a.at {
				delete(seen, order[0].id)
				order = order[1:]
			}
			if _, ok := seen[a.id]; !ok {
				seen[a.id] = a.at
				order = append(order, a)
				stored++
			}
			most = max(most, len(order))
		}
		if once := stored == perSecond*seconds; once != test.once {
			t.Errorf("late by up to %v: %d of %d stored", test.late, stored, perSecond*seconds)
		}
		if limit := int(window.Seconds()) * perSecond; test.once && most > limit+limit/20 {
			t.Errorf("%d ids in the window, want about %d", most, limit)
		}
	}
}

// TestScalingPartitions: at the number of partitions that a thousand times ALICE needs, none
// has much more than its share of nodes.
func TestScalingPartitions(t *testing.T) {
	t.Parallel()
	const nodes, partitions = 1_000_000, 1000
	count := make([]int, partitions)
	for i := range nodes {
		count[subjects.Partition("Site"+strconv.Itoa(i%500)+"_Jobs", strconv.Itoa(i), partitions)]++
	}
	if most := slices.Max(count); most > nodes/partitions*12/10 {
		t.Errorf("a partition has %d nodes, %.2f times its share", most, float64(most)*partitions/nodes)
	}
}
