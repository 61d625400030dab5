package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/internal/history"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// caps is the sum of the caps, in bytes, of a receiver with a socket, two outputs and a page, as in
// docs/receiver.md: the queue of the socket, the accounts of senders, the queues of the outputs,
// the last values, three times as much for their text, and the values of the last hour.
const caps int = receiver.DefaultQueueBytes + 27e6 + receiver.DefaultMaxSenders*550 + 2*(32<<20+13e6) +
	4*history.DefaultMaxBytes + history.DefaultWindowBytes + 2e6

// slack is the memory in bytes that the program, the Go runtime and buffers may take besides.
const slack = 128 << 20

// backlog returns the number of bytes in the receive buffer, which must have dropped nothing.
func (p *process) backlog() int {
	p.t.Helper()
	_, port, _ := net.SplitHostPort(p.addr)
	n, _ := strconv.Atoi(port)
	port = fmt.Sprintf(":%04X", n)
	// The kernel leaves out lines if sockets come and go meanwhile.
	for range 100 {
		b, err := os.ReadFile("/proc/net/udp")
		if err != nil {
			p.t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 13 || !strings.HasSuffix(f[1], port) {
				continue
			}
			if f[12] != "0" {
				p.t.Fatalf("the kernel dropped %s datagrams of a sender that waits", f[12])
			}
			_, held, _ := strings.Cut(f[4], ":")
			n, _ := strconv.ParseInt(held, 16, 64)
			return int(n)
		}
	}
	p.t.Fatal("the socket is gone")
	return 0
}

// peak returns the largest memory of the process so far, in bytes.
func (p *process) peak() int {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		p.t.Fatalf("no VmHWM in %s", b)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n << 10
}

// attacker sends hostile datagrams as fast as the socket is read, and one of a well-behaved
// sender after every ninth.
type attacker struct {
	*process
	bad, good net.Conn
	n, well   int
	unseen    int // bytes sent since the last look at the receive buffer
}

func (a *attacker) send(b []byte) {
	a.t.Helper()
	if a.unseen += 1024 + 2*len(b); a.unseen > 64<<10 { // about the memory of the kernel
		for a.backlog() > 64<<10 { // of 208 KiB or more
			time.Sleep(50 * time.Microsecond)
		}
		a.unseen = 0
	}
	a.n++
	if _, err := a.bad.Write(b); err != nil {
		a.t.Fatal(err)
	}
	if a.n%10 == 0 {
		d := xdr.Datagram{Version: xdr.Version, Instance: 99, Seq: int32(a.well), Cluster: "Good", Node: "N", Params: []xdr.Param{xdr.Int("x", a.well)}}
		if _, err := a.good.Write(d.Append(nil)); err != nil {
			a.t.Fatal(err)
		}
		a.well++
	}
}

// hostileVectors returns the datagrams of the hostile vectors that UDP can carry.
func hostileVectors(t *testing.T) (all [][]byte) {
	t.Helper()
	f, err := os.Open("../../xdr/testdata/hostile.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Hex string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(line.Hex)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) <= 65507 {
			all = append(all, b)
		}
	}
	if len(all) < 50 {
		t.Fatalf("%d vectors, %v", len(all), lines.Err())
	}
	return all
}

// random sends random bytes, and vectors with random changes, for a time.
func (a *attacker) random(long time.Duration, vectors [][]byte) {
	rng := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, 0, 64<<10)
	for end := time.Now().Add(long); time.Now().Before(end); {
		if a.n%2 == 0 {
			b = b[:rng.IntN(1500)]
		} else {
			b = append(b[:0], vectors[rng.IntN(len(vectors))]...)
			b = b[:min(len(b), 8192)]
		}
		for range 1 + len(b)/8 {
			if len(b) > 0 {
				b[rng.IntN(len(b))] = byte(rng.Uint32())
			}
		}
		a.send(b)
	}
}

// flood is how much of each kind of forged datagram an attacker sends.
type flood struct{ ids, clusters, series, names int }

// forge sends datagrams of forged instance ids, of clusters, of series, and with names of 32 KB.
func (a *attacker) forge(f flood) {
	b := make([]byte, 0, 64<<10)
	send := func(instance, seq int, cluster, node string, params ...xdr.Param) {
		d := xdr.Datagram{Version: xdr.Version, Instance: int32(instance), Seq: int32(seq), Cluster: cluster, Node: node, Params: params}
		b = d.Append(b[:0])
		a.send(b)
	}
	for i := range f.ids {
		send(1000+i, 1, "C", "N", xdr.Int("x", 1))
	}
	for i := range f.clusters {
		send(8, i, fmt.Sprint("forged", i), "N", xdr.Int("x", i))
	}
	const each = 50
	var params [each]xdr.Param
	for i := range f.series / each {
		for k := range params {
			params[k] = xdr.Int(fmt.Sprint("x", i*each+k), i)
		}
		send(9, i, "C", fmt.Sprint("n", i%10), params[:]...)
	}
	name := bytes.Repeat([]byte{'n', 0xff}, 16<<10) // each 0xff has more bytes as JSON
	for i := range f.names {
		copy(name, strconv.Itoa(i))
		send(7, i, string(name[:15<<10]), "N", xdr.Int(string(name), i))
	}
}

// scrape gets /metrics once a second until stop is closed, and then once more. Each page is
// valid, and takes at most a second of the CPU time of the process, which does all else
// meanwhile, too. It returns the last page and the number.
func (p *process) scrape(stop <-chan bool) (page string, n int) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := false; !last; n++ {
		select {
		case <-tick.C:
		case <-stop:
			last = true
		}
		before := p.cpu()
		page = get(p.t, p.url)
		if took := p.cpu() - before; took > time.Second {
			p.t.Errorf("a scrape took %v of CPU time for %d bytes", took, len(page))
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		if _, err := parser.TextToMetricFamilies(strings.NewReader(page)); err != nil {
			p.t.Errorf("invalid: %v", err)
		}
	}
	return page, n
}

// attack sends every kind of hostile datagram: the vectors, random bytes for a time, forged
// instance ids, clusters and series, and names of 32 KB. The memory stays below the caps, the
// well-behaved sender loses nothing, /metrics answers, and the outputs account for every
// datagram.
func attack(t *testing.T, long time.Duration, f flood) {
	if testkit.Race {
		t.Skip("the race detector multiplies the memory")
	}
	sink, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	record := filepath.Join(t.TempDir(), "record.jsonl.zst")
	began := time.Now()
	p := startProcess(t, "--instances", "--http", "0", "--record", record, "--record-size", "1GiB", "--relay", sink.LocalAddr().String())
	a := &attacker{process: p}
	for _, c := range []*net.Conn{&a.bad, &a.good} {
		if *c, err = net.Dial("udp", p.addr); err != nil {
			t.Fatal(err)
		}
		defer (*c).Close()
	}
	type scrapes struct {
		page string
		n    int
	}
	stop, scraped := make(chan bool), make(chan scrapes, 1)
	go func() {
		page, n := p.scrape(stop)
		scraped <- scrapes{page, n}
	}()
	vectors := hostileVectors(t)
	for _, b := range vectors {
		a.send(b)
	}
	a.random(long, vectors)
	a.forge(f)
	for a.backlog() > 0 {
		time.Sleep(time.Millisecond)
	}
	close(stop)
	last := <-scraped
	last.page = get(t, p.url) // its last one may be from before the end
	peak := p.peak()
	p.end()
	t.Logf("%d hostile and %d other datagrams, %d scrapes, the last of %d bytes, %d MiB of at most %d", a.n, a.well, last.n, len(last.page), peak>>20, (caps+slack)>>20)
	if got := value(last.page, `values_refused_total{cause="memory"}`) + value(last.page, `values_refused_total{cause="series"}`); got <= 0 {
		t.Errorf("%d values over the limits", got)
	}
	if peak > caps+slack {
		t.Errorf("%d bytes of memory, at most %d", peak, caps+slack)
	}
	want := fmt.Sprintf(`(?m)^127\.0\.0\.1\s+99\s+%d\s+0\s+0\s+0\s+0\s+0$`, a.well)
	if log := p.log.String(); !regexp.MustCompile(want).MatchString(log) {
		t.Errorf("the well-behaved sender of %d lost some: %s", a.well, regexp.MustCompile(`(?m)^127.0.0.1\s+99 .*$`).FindString(log))
	}
	// The output counts the datagrams that it is too slow for. The receiver adds a report a
	// minute.
	reports := int(time.Since(began)/reportInterval) + 1
	for _, m := range regexp.MustCompile(`(?m)^(record|relay) .*: (\d+) sent, 0 waiting, (\d+) lost`).FindAllStringSubmatch(p.log.String(), -1) {
		sent, _ := strconv.Atoi(m[2])
		lost, _ := strconv.Atoi(m[3])
		t.Logf("%s: %d sent, %d lost", m[1], sent, lost)
		if all := a.n + a.well; m[1] == "record" && (sent+lost < all || sent+lost > all+reports) || sent == 0 {
			t.Errorf("%s: %d of %d datagrams accounted for", m[1], sent+lost, a.n+a.well)
		}
	}
}

func TestAttack(t *testing.T) { attack(t, time.Second, flood{20_000, 5000, 120_000, 500}) }
func TestLongAttack(t *testing.T) {
	testkit.SkipLong(t)
	attack(t, 30*time.Second, flood{1_000_000, 100_000, 1_000_000, 20_000})
}
