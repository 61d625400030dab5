package jobtree

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// benchTree starts a tree of n processes, all alive.
func benchTree(b *testing.B, n int) (root int) {
	if n == 1 {
		t := burn(b, nil, "self", "0")
		t.reports(1)
		return t.cmd.Process.Pid
	}
	t := burn(b, nil, "held", strconv.Itoa(n-1), "0")
	t.reports(n)
	return t.cmd.Process.Pid
}

func BenchmarkJobSample(b *testing.B) {
	for _, n := range []int{1, 100, 2000} {
		b.Run(fmt.Sprintf("procs=%d", n), func(b *testing.B) {
			s := liveJobs(b)
			j := addJob(b, s, Options{PIDs: []int{benchTree(b, n)}})
			if got := sampleNow(b, j, nil); got.Processes.V != float64(n) {
				b.Fatalf("%v processes", got.Processes)
			}
			var params []xdr.Param
			b.ReportAllocs()
			for b.Loop() {
				s.scanned = time.Time{}
				got, err := j.Sample(nil)
				if err != nil {
					b.Fatal(err)
				}
				params = got.Append(params[:0], nil)
			}
		})
	}
}

// BenchmarkJobFloor reads the same files into one buffer, without parsing them.
func BenchmarkJobFloor(b *testing.B) {
	for _, n := range []int{1, 100, 2000} {
		b.Run(fmt.Sprintf("procs=%d", n), func(b *testing.B) {
			s := liveJobs(b)
			j := addJob(b, s, Options{PIDs: []int{benchTree(b, n)}})
			sampleNow(b, j, nil)
			b.ReportAllocs()
			for b.Loop() {
				s.host.Scan(nil)
				for _, p := range j.members {
					s.scanner.Read(p.pid, "status")
					if p.threads > 1 {
						s.listThreads(p.pid)
						for _, tid := range s.tids {
							if tid != p.pid {
								s.scanner.ReadThread(p.pid, tid, "status")
							}
						}
					}
					s.scanner.Read(p.pid, "io")
					s.scanner.OpenFiles(p.pid)
				}
			}
		})
	}
}
