package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/burner"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// A truth is a burner, the values that it is known to have, and those of its record.
type truth struct {
	args    string
	reports int  // that the burner writes
	holds   bool // compare levels: it holds while some lines of the series are written
	values  func(s *said, r *jobrecord.Record) []figure
}

// said is what the processes of a burner say, and the kernel says of them while they hold.
type said struct {
	cpu     time.Duration
	pids    []int
	threads float64
}

// A figure is a value of a record beside the truth.
type figure struct {
	name        string
	truth, ours float64
	percent     float64 // allowed
	unit        float64 // allowed in any case
}

// cpu compares the CPU time. A process uses up to 2 ms after its report.
func cpu(s *said, r *jobrecord.Record) []figure {
	return []figure{{"CPU time, s", s.cpu.Seconds(), r.CPU.Total.V, 1, .002 * float64(len(s.pids)+4)}}
}

// ignored compares the CPU time of a job whose children no process waits for: it comes from
// a perf counter, which is attached after the start, or is a lower bound.
func ignored(s *said, r *jobrecord.Record) []figure {
	f := cpu(s, r)
	// The counter includes stolen time, on a busy virtual machine several percent.
	if f[0].percent = 10; r.CPU.LowerBound {
		f[0].name, f[0].percent = "CPU time, s, lower bound", 100
	}
	return f
}

// truths returns the burners that run for a number of seconds.
func truths(seconds int, file string) []truth {
	ms := func(parts int) int { return 1000 * seconds / parts }
	bytes := seconds * 32 << 20
	return []truth{
		{fmt.Sprintf("self %d", ms(1)), 1, false, cpu},
		{fmt.Sprintf("threads 2 %d", ms(2)), 1, false, cpu},
		{fmt.Sprintf("par 2 %d", ms(2)), 3, false, cpu},
		{fmt.Sprintf("seq 20 %d", ms(20)), 21, false, cpu},
		{fmt.Sprintf("orphans 4 %d", ms(4)), 5, false, cpu},
		{fmt.Sprintf("daemon %d", ms(1)), 2, false, cpu},
		{fmt.Sprintf("ignore 4 %d", ms(4)), 5, false, ignored},
		{"held 4 10", 5, true, func(s *said, r *jobrecord.Record) []figure {
			return []figure{{"processes", 5, r.Levels.Processes.Max.V, 0, 0}, {"threads", s.threads, r.Levels.Threads.Max.V, 0, 0}}
		}},
		{"mem 200 2", 3, true, func(_ *said, r *jobrecord.Record) []figure {
			return []figure{{"rss, MiB", 600, r.Levels.RSS.Max.V / 1024, 2, 0}, {"pss, MiB", 200, r.Levels.PSS.Max.V / 1024, 2, 0}}
		}},
		{fmt.Sprintf("io %d %s", bytes, file), 1, false, func(_ *said, r *jobrecord.Record) []figure {
			mib := float64(bytes >> 20)
			return []figure{{"rchar, MiB", mib, r.Totals.RChar.Total.V / (1 << 20), 1, 0}, {"wchar, MiB", mib, r.Totals.WChar.Total.V / (1 << 20), 1, 0}}
		}},
		{fmt.Sprintf("net %d", 1000*seconds), 1, true, func(_ *said, r *jobrecord.Record) []figure {
			n := float64(1000 * seconds)
			return []figure{{"tx_bytes, kB", 1.042 * n, r.Totals.Tx.Total.V / 1000, 1, 0}, {"rx_bytes, kB", 1.042 * n, r.Totals.Rx.Total.V / 1000, 1, 0}, {"tx_packets", n, r.Totals.TxPackets.Total.V, 1, 0}}
		}},
	}
}

// TestTruth compares the record with what burners know of themselves. Its log has the rows
// of the table in docs/jobs.md.
func TestTruth(t *testing.T) {
	t.Parallel()
	compareTruth(t, 1)
}

func TestLongTruth(t *testing.T) {
	testkit.SkipLong(t)
	compareTruth(t, 10)
	if os.Getenv("APMON_TRUTH") == "60" {
		compareTruth(t, 60)
	}
}

func compareTruth(t *testing.T, seconds int) {
	path, err := burner.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	for _, tt := range truths(seconds, filepath.Join(t.TempDir(), "file")) {
		mode, _, _ := strings.Cut(tt.args, " ")
		t.Run(fmt.Sprintf("%s %d s", mode, seconds), func(t *testing.T) {
			s, rec := burned(t, path, tt, seconds)
			for _, f := range tt.values(s, &rec) {
				diff := 100 * (f.ours - f.truth) / f.truth
				t.Logf("| `%s` | %d s | %s | %.6g | %.6g | %+.2f %% |", mode, seconds, f.name, f.truth, f.ours, diff)
				if !(math.Abs(f.ours-f.truth) <= max(f.percent/100*f.truth, f.unit)) {
					t.Errorf("%s: %s is %v, want %v", tt.args, f.name, f.ours, f.truth)
				}
			}
		})
	}
}

// burned runs a burner under exec. Its memory, processes and threads hold until the series
// is that long. The datagrams have a network namespace of their own.
func burned(t *testing.T, path string, tt truth, seconds int) (*said, jobrecord.Record) {
	t.Helper()
	dir := t.TempDir()
	file, table := filepath.Join(dir, "summary"), filepath.Join(dir, "series.tsv")
	// The job starts its work when the first line of the series has been written.
	args := append([]string{linked(t), "exec", "--no-send", "--pss", "--orphan-wait", "600s", "--series", table, "--series-interval", "200ms", "--summary", file, "--",
		"sh", "-c", `read line; exec "$@"`, "sh", path}, strings.Fields(tt.args)...)
	if strings.HasPrefix(tt.args, "net") {
		args = append([]string{"unshare", "-n", "sh", "-c", `echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip link add a0 type veth peer name a1 &&
			ip link set a0 up && ip link set a1 up && ip addr add 192.0.2.1/24 dev a0 && ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev a0 && exec "$@"`, "sh"}, args...)
		if err := exec.Command("unshare", "-n", "ip", "link", "add", "a0", "type", "veth", "peer", "name", "a1").Run(); err != nil {
			t.Skip("no network namespace with its own interfaces: ", err)
		}
	}
	cmd := exec.Command(args[0], args[1:]...)
	var stderr testkit.Log
	cmd.Stderr = &stderr
	in, out := testkit.StartPiped(t, cmd)
	defer cmd.Process.Kill()
	testkit.Eventually(t, "the first line", func() bool { return lines(table) > 1 })
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	s := &said{}
	for i := range tt.reports {
		r, err := burner.Read(out)
		if err != nil {
			t.Fatalf("report %d: %v\n%s", i+1, err, stderr.String())
		}
		s.cpu += r.CPU
		s.pids = append(s.pids, r.PID)
		s.threads += float64(threadsOf(r.PID))
	}
	if tt.holds {
		reported := lines(table)
		// The cost budget of PSS may delay its next value.
		for end := time.Now().Add(testkit.Patience + 5*time.Duration(seconds)*time.Second); lines(table) < reported+5*seconds || strings.HasPrefix(tt.args, "mem") && lastPSS(table) < 198<<10; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("too few lines of the series, or none with the pss after the work")
			}
		}
	}
	in.Close()
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return s, readSummary(t, file)
}

// lastPSS returns pss_kb of the last complete line of a series.
func lastPSS(table string) float64 {
	b, _ := os.ReadFile(table)
	all := strings.Split(string(b), "\n")
	column := slices.Index(strings.Split(all[0], "\t"), "pss_kb")
	kb, _ := strconv.ParseFloat(strings.Split(all[len(all)-2], "\t")[column], 64)
	return kb
}

// threadsOf returns the number of threads of a process, 0 if it has ended.
func threadsOf(pid int) int {
	list, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	return len(list)
}
