package main

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/xdr"
)

// Datagrams that arrive while the process is stopped fill the receive buffer. Those that the
// kernel drops are counted, and shown everywhere.
func TestKernelDrops(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "--http", "0")
	conn, err := net.Dial("udp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := 0
	send := func() {
		t.Helper()
		sent++
		d := xdr.Datagram{Version: xdr.Version, Instance: 1, Seq: int32(sent), Cluster: "C", Node: "N"}
		for i := range 100 {
			d.Params = append(d.Params, xdr.String(fmt.Sprintf("p%d", i), strings.Repeat("x", 500)))
		}
		if _, err := conn.Write(d.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	send()
	counted := func() (page string, ok bool) {
		page = get(t, p.url)
		kernel := value(page, `datagrams_dropped_total{cause="kernel"}`)
		if kernel < 0 {
			t.Skip("the kernel does not report its drops")
		}
		return page, value(page, "datagrams_received_total")+kernel == sent
	}
	testkit.Eventually(t, "the first", func() bool { _, ok := counted(); return ok })
	room := value(get(t, p.url), "read_buffer_bytes")
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a stopped process", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		return err == nil && bytes.Contains(b, []byte(") T "))
	})
	for range room/(50<<10) + 100 {
		send()
	}
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "all datagrams", func() bool { _, ok := counted(); return ok })
	send() // ends the gap
	var page string
	testkit.Eventually(t, "the last", func() (ok bool) { page, ok = counted(); return ok })
	lost := value(page, `datagrams_dropped_total{cause="kernel"}`)
	if lost == 0 || value(page, "datagrams_lost") != lost || value(page, `datagrams_dropped_total{cause="queue_full"}`) != 0 {
		t.Errorf("%d datagrams lost of %d: %s", lost, sent, page)
	}
	if err := p.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if got := p.logged(`kernel_dropped=(\d+)`); got != strconv.Itoa(lost) {
		t.Errorf("the log has %s drops, want %d", got, lost)
	}
	p.end()
	if want := fmt.Sprintf("%d datagrams dropped by the kernel: ", lost); !strings.Contains(p.log.String(), want) {
		t.Errorf("no %q in %s", want, &p.log)
	}
}

// blast is a run of testdata/blast.c.
type blast struct {
	n              int
	seconds, cpu   float64
	stdout, stderr testkit.Log
	cmd            *exec.Cmd
}

func startBlast(t testing.TB, exe string, args ...string) *blast {
	t.Helper()
	b := &blast{cmd: exec.Command(exe, args...)}
	b.cmd.Stdout, b.cmd.Stderr = &b.stdout, &b.stderr
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *blast) wait(t testing.TB) *blast {
	t.Helper()
	if err := b.cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &b.stderr)
	}
	result := strings.TrimPrefix(b.stdout.String(), "ready\n")
	if _, err := fmt.Sscan(result, &b.n, &b.seconds, &b.cpu); err != nil {
		t.Fatalf("%s: %v", result, err)
	}
	return b
}

// writeDatagrams writes a datagram of each node to a file. It returns where in each of them the
// sequence number is.
func writeDatagrams(t *testing.T, file string, nodes, params, size int) (offset int) {
	t.Helper()
	var all []byte
	for i := range nodes {
		d := xdr.Datagram{Version: xdr.Version, Instance: int32(i), Seq: math.MaxInt32, Cluster: "MySite_Worker_Jobs", Node: fmt.Sprintf("n%04d", i)}
		for k := range params {
			d.Params = append(d.Params, xdr.Float(fmt.Sprintf("param_%d", k), float64(k)+float64(i)/7))
		}
		all = d.Append(all)
	}
	if len(all) != nodes*size {
		t.Fatalf("datagrams of %d bytes", len(all)/nodes)
	}
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return bytes.Index(all, []byte{0x7f, 0xff, 0xff, 0xff})
}

// A C program sends datagrams of 10 parameters of 1000 nodes at full speed, while they are
// written as JSON to /dev/null and scraped each second. None is lost. The log has the figures
// beside those of a bare loop.
func TestLongFullSpeed(t *testing.T) {
	testkit.SkipLong(t)
	if testkit.Race {
		t.Skip("the race detector takes more time than there is")
	}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("the sender is a C program: ", err)
	}
	dir := t.TempDir()
	exe, file := filepath.Join(dir, "blast"), filepath.Join(dir, "datagrams")
	if out, err := exec.Command(gcc, "-O2", "-o", exe, "testdata/blast.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const nodes, params, size = 1000, 10, 308
	offset := writeDatagrams(t, file, nodes, params, size)
	send := func(addr string) *blast {
		_, port, _ := net.SplitHostPort(addr)
		return startBlast(t, exe, "send", port, "4", file, strconv.Itoa(size), strconv.Itoa(offset)).wait(t)
	}
	// Other processes take the cores that sender, receiver and scraper need.
	testkit.Retry(t, func(t testing.TB) {
		l := testkit.Listen(t)
		bareAddr := l.Name()
		l.Close()
		_, port, _ := net.SplitHostPort(bareAddr)
		bare := startBlast(t, exe, "receive", port)
		testkit.Eventually(t, "a socket", func() bool { return bare.stdout.Count("ready") > 0 })
		bareSent := send(bareAddr)
		bare.wait(t)

		p := startProcess(t, "--format", "json", "--http", "0")
		stop, scraped := make(chan bool), make(chan int)
		go func() {
			n := 0
			for tick := time.NewTicker(time.Second); ; n++ {
				select {
				case <-tick.C:
					get(t, p.url)
				case <-stop:
					scraped <- n
					return
				}
			}
		}()
		sent := send(p.addr)
		var page string
		testkit.Eventually(t, "all datagrams", func() bool {
			page = get(t, p.url)
			n := value(page, "datagrams_received_total") + value(page, `datagrams_dropped_total{cause="kernel"}`) + value(page, `datagrams_dropped_total{cause="queue_full"}`)
			return n == sent.n && value(page, `output_queued_datagrams{output="standard output"}`) == 0
		})
		close(stop)
		scrapes, cpu := <-scraped, p.cpu()
		p.end()
		written := value(page, `output_datagrams_sent_total{output="standard output"}`)
		t.Logf("bare loop: %d of %d at %.0f/s, %.0f ns of CPU; sender %.0f ns", bare.n, bareSent.n,
			float64(bareSent.n)/bareSent.seconds, bare.cpu*1e9/float64(bare.n), bareSent.cpu*1e9/float64(bareSent.n))
		t.Logf("apmon-recv: %d of %d at %.0f/s, %d written, %.0f ns of CPU with %d scrapes; sender %.0f ns", value(page, "datagrams_received_total"), sent.n,
			float64(sent.n)/sent.seconds, written, float64(cpu)/float64(sent.n), scrapes, sent.cpu*1e9/float64(sent.n))
		if n := strings.Count(page, "\napmon_param{"); n < nodes*params {
			t.Errorf("%d series", n)
		}
		if got := value(page, "datagrams_received_total"); got != sent.n || written < sent.n || value(page, "datagrams_lost") != 0 {
			t.Errorf("%d received and %d written of %d: %s", got, written, sent.n, &p.log)
		}
	})
}
