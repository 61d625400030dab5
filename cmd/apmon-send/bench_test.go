package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkStart runs whole processes, from start to exit: apmon-send sending
// one message over loopback, beside a hello-world of the same command-line
// library. They run in turn, so that the machine's moods meet both alike; the
// figure to look at is their ratio.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	for name, pkg := range map[string]string{"send": ".", "hello": "./testdata/hello"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	run := func(name string, args ...string) float64 {
		start := b.Elapsed()
		if out, err := exec.Command(filepath.Join(dir, name), args...).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		return float64((b.Elapsed() - start).Microseconds())
	}
	var send, hello float64
	for b.Loop() {
		send += run("send", "-d", l.LocalAddr().String(), "-c", "C", "-n", "N", "x=1", "y=2.5", "z=text")
		hello += run("hello")
	}
	b.ReportMetric(send/float64(b.N), "µs/send")
	b.ReportMetric(hello/float64(b.N), "µs/hello")
	b.ReportMetric(send/hello, "ratio")
}
