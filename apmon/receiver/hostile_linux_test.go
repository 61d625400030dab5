package receiver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// hostile returns the datagrams of the hostile vectors.
func hostile(t testing.TB) [][]byte {
	t.Helper()
	f, err := os.Open("../../xdr/testdata/hostile.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all [][]byte
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Case, Hex string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(line.Hex)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) <= 65507 { // the longest that UDP carries
			all = append(all, b)
		}
	}
	if err := lines.Err(); err != nil || len(all) < 50 {
		t.Fatalf("%d vectors, %v", len(all), err)
	}
	return all
}

// Each hostile datagram is decided as xdr decides, and harms none of those between.
func TestHostileVectors(t *testing.T) {
	t.Parallel()
	vectors := hostile(t)
	r := listen(t, "127.0.0.1:0", Options{FloodLimit: 1 << 20, Access: rules(t, "127.0.0.0/8 allow\n* deny\nallow ClusterNames = .*")})
	bad, good := dial(t, r), dial(t, r)
	handled := make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error)
	sent := make(chan []byte, 1)
	received, refused := uint64(0), uint64(0)
	go func() {
		served <- r.Serve(ctx, func(p *Packet) {
			want := <-sent
			_, err := xdr.Parse(want)
			if string(p.Raw) != string(want) || (err == nil) != (p.Err == nil) || err != nil && err.Error() != p.Err.Error() {
				t.Errorf("%x: %v, want %x: %v", p.Raw, p.Err, want, err)
			}
			if (p.Datagram != nil) != (err == nil || errors.Is(err, xdr.ErrTruncated)) || (p.Datagram == nil) != (p.Refused != nil) {
				t.Errorf("%x: datagram %v, refused %v", want, p.Datagram, p.Refused)
			}
			if p.Datagram != nil {
				received++
			} else {
				refused++
			}
			handled <- true
		})
	}()
	for i, b := range vectors {
		sent <- b
		send(t, bad, b)
		<-handled
		b = from(99, i)
		sent <- b
		send(t, good, b)
		<-handled
	}
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	s := r.Stats()
	if s.Received != received || s.Refused != refused || s.Refusals.Malformed != refused || received+refused != uint64(2*len(vectors)) {
		t.Errorf("%d received, %d refused, stats %+v", received, refused, s)
	}
	for _, e := range r.Senders() {
		if e.Sequenced && e.Instance == 99 && e.Counts != (Counts{Received: uint64(len(vectors))}) {
			t.Errorf("%+v", e)
		}
	}
}

// randomBytes sends random bytes, and hostile vectors with some bytes changed, for a time, as
// fast as the receiver reads them. A well-behaved sender loses nothing, and the memory stays
// within its documented bounds.
func randomBytes(t *testing.T, long time.Duration) {
	r := listen(t, "127.0.0.1:0", Options{Sockets: 2})
	bad, good := dial(t, r), dial(t, r)
	vectors := hostile(t)
	var handled atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error)
	go func() { served <- r.Serve(ctx, func(*Packet) { handled.Add(1) }) }()
	rng := rand.New(rand.NewPCG(5, 6))
	before := testkit.Heap()
	junk := make([][]byte, 4096)
	for i := range junk {
		b := make([]byte, rng.IntN(1500))
		for j := range b {
			b[j] = byte(rng.Uint32())
		}
		if i%2 == 1 {
			b = bytes.Clone(vectors[rng.IntN(len(vectors))])
			b = b[:min(len(b), 8192)]
		}
		junk[i] = b
	}
	under := int64(r.sockets[0].readBuffer / (16 << 10)) // a datagram of 8 KB takes as much
	var sent, well int64
	for end := time.Now().Add(long); time.Now().Before(end); {
		if sent-handled.Load() >= under {
			runtime.Gosched()
			continue
		}
		sent++
		if sent%10 == 0 {
			well++
			send(t, good, from(99, int(well)))
			continue
		}
		b := junk[rng.IntN(len(junk))]
		if len(b) > 0 { // the changes add up
			b[rng.IntN(len(b))] = byte(rng.Uint32())
		}
		send(t, bad, b)
	}
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	s := r.Stats()
	if s.Received+s.Refused != uint64(sent) || s.Dropped+s.KernelDropped > 0 {
		t.Errorf("%d sent, stats %+v", sent, s)
	}
	found := false
	for _, e := range r.Senders() {
		if e.Sequenced && e.Instance == 99 {
			found = true
			if e.Lost > 0 || e.Received < uint64(well) {
				t.Errorf("%d sent by the well-behaved sender: %+v", well, e)
			}
		}
	}
	if !found {
		t.Error("the well-behaved sender is forgotten")
	}
	if grown := testkit.Heap() - before; grown > 240e6 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	t.Logf("%d datagrams, %d refused", sent, s.Refused)
}

func TestRandomBytes(t *testing.T)     { randomBytes(t, time.Second) }
func TestLongRandomBytes(t *testing.T) { testkit.SkipLong(t); randomBytes(t, 30*time.Second) }

// A datagram does not wait for others.
func TestLoneDatagramIsHandledAtOnce(t *testing.T) {
	t.Parallel()
	for _, sockets := range []int{1, 3} {
		r := listen(t, "127.0.0.1:0", Options{Sockets: sockets})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		handled, served := make(chan int, 1), make(chan error)
		go func() { served <- r.Serve(ctx, func(p *Packet) { handled <- p.Waiting }) }()
		c := dial(t, r)
		for i := range 500 {
			send(t, c, datagram("", i))
			if waiting := <-handled; waiting != 0 {
				t.Errorf("%d waiting behind the only one", waiting)
			}
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// From the socket to the handler nothing is allocated for an accepted datagram, nor for one
// that is refused for its address or password.
func TestServeAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		accepted    bool
	}{
		{"no rules", "", true},
		{"rules", "Password = secret\n127.0.0.0/8 allow\n* deny\nallow ClusterNames = X.*, C\nallow NodeNames = N.*\n* allow", true},
		{"address denied", "127.0.0.1 deny", false},
		{"password", "Password = other", false},
		{"name denied", "deny ClusterNames = C", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := listen(t, "127.0.0.1:0", Options{Sockets: 2, FloodLimit: 1 << 20, Access: rules(t, c.rules)})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			const group = 64
			n, handled, served := 0, make(chan bool), make(chan error)
			go func() {
				served <- r.Serve(ctx, func(p *Packet) {
					if (p.Datagram != nil) != c.accepted {
						t.Errorf("%v", p.Err)
					}
					if n++; n%group == 0 { // one port: one socket
						handled <- true
					}
				})
			}()
			conn := dial(t, r)
			b := datagram("secret", 1)
			round := func() {
				for range group {
					send(t, conn, b)
				}
				<-handled
			}
			for range 50 {
				round()
			}
			if got := testing.AllocsPerRun(200, round); got != 0 && !testkit.Race { // there sync.Pool drops some
				t.Errorf("%v allocations for %d datagrams", got, group)
			}
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}
