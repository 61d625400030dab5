package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkStart runs whole processes, from start to exit: apmon-send sending
// one message over loopback, beside a hello-world of the same command-line
// library, without and with net/http linked into it. They are built as for a
// release and run in turn; the figures are medians, and the medians of the
// ratios of neighbours, so that they hold on a busy machine. Each file is written
// once more in one piece: the linker writes a file such that the kernel keeps it
// in single pages, and mapping these takes a fifth of the time of a large program:
//
//	go test ./cmd/apmon-send -run '^$' -bench Start -benchtime 200x
func BenchmarkStart(b *testing.B) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	dir := b.TempDir()
	programs := []struct {
		name, pkg, tags string
		args            []string
		took            []float64 // ns
	}{
		{name: "send", pkg: ".", args: []string{"-d", l.LocalAddr().String(), "-c", "C", "-n", "N", "p=1"}},
		{name: "version", pkg: ".", args: []string{"--version"}},
		{name: "hello+http", pkg: "./testdata/hello", tags: ",hello_http"},
		{name: "hello", pkg: "./testdata/hello"},
	}
	for _, p := range programs {
		linked := filepath.Join(dir, p.name+".linked")
		build := exec.Command("go", "build", "-trimpath", "-tags", "urfave_cli_no_docs"+p.tags, "-o", linked, p.pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		text, err := os.ReadFile(linked)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p.name), text, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for i := range programs {
			p := &programs[i]
			start := time.Now()
			if err := exec.Command(filepath.Join(dir, p.name), p.args...).Run(); err != nil {
				b.Fatalf("%s: %v", p.name, err)
			}
			p.took = append(p.took, float64(time.Since(start)))
		}
	}
	hello := programs[len(programs)-1].took
	b.ReportMetric(0, "ns/op") // of all together
	for _, p := range programs {
		ratios := make([]float64, len(hello))
		for i := range ratios {
			ratios[i] = p.took[i] / hello[i]
		}
		b.ReportMetric(median(p.took)/1000, "µs/"+p.name)
		if p.name != "hello" {
			b.ReportMetric(median(ratios), p.name+"/hello")
		}
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
