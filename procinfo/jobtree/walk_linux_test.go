package jobtree

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/burner"
	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
)

const fakeSelf = 5 // this process in a fakeProc

// children writes the lists of the children of threads: "PID/TID" to pids.
func (f *fakeProc) children(lists map[string]string) {
	f.t.Helper()
	for thread, pids := range lists {
		pid, tid, _ := strings.Cut(thread, "/")
		f.write("proc/"+pid+"/task/"+tid+"/children", pids)
	}
}

// A walkStep changes the tree. Then a walk finds these processes.
type walkStep struct {
	put   []fake
	kill  []int
	lists map[string]string // of children
	want  []int
	ticks int64 // CPU time of the job
}

func TestWalk(t *testing.T) {
	t.Parallel()
	self := fake{pid: fakeSelf, ppid: 1, start: 500}
	root := fake{pid: 10, ppid: fakeSelf, start: 1000, utime: 10}
	child := fake{pid: 20, ppid: 10, start: 2000, utime: 150}
	beside := fake{pid: 90, ppid: 10, start: 3000, utime: 9999} // in no list: a walk does not read it
	for name, steps := range map[string][]walkStep{
		"lists of all threads": {
			{put: []fake{self, root, child, {pid: 30, ppid: 20, start: 3000, utime: 7}, beside, {pid: 31, ppid: 20, start: 3000, utime: 1}, {pid: 15, ppid: fakeSelf, start: 3000, utime: 2}},
				lists: map[string]string{"5/5": "", "5/6": "10 ", "5/7": "15 ", "10/10": "20 ", "20/20": "30 31 "}, want: []int{10, 15, 20, 30, 31}, ticks: 170},
		},
		"a known process that no list has": {
			{put: []fake{self, root, child}, lists: map[string]string{"5/5": "10 ", "10/10": "20 "}, want: []int{10, 20}, ticks: 160},
			{put: []fake{{pid: 30, ppid: 20, start: 3000, utime: 7}}, lists: map[string]string{"10/10": "", "20/20": "30 "}, want: []int{10, 20, 30}, ticks: 167},
		},
		"a process that ends after a list had it": {
			{put: []fake{self, root, child}, lists: map[string]string{"5/5": "10 ", "10/10": "20 "}, want: []int{10, 20}, ticks: 160},
			{kill: []int{20}, put: []fake{{pid: 10, ppid: fakeSelf, start: 1000, utime: 10, cutime: 155}}, want: []int{10}, ticks: 165},
			{lists: map[string]string{"10/10": ""}, want: []int{10}, ticks: 165},
		},
		"a process that was never in a list": {
			{put: []fake{self, root}, lists: map[string]string{"5/5": "10 "}, want: []int{10}, ticks: 10},
			{put: []fake{{pid: 10, ppid: fakeSelf, start: 1000, utime: 10, cutime: 155}}, want: []int{10}, ticks: 165},
		},
		"an orphan": {
			{put: []fake{self, root, child, {pid: 30, ppid: 20, start: 3000, utime: 7}}, lists: map[string]string{"5/5": "10 ", "10/10": "20 ", "20/20": "30 "}, want: []int{10, 20, 30}, ticks: 167},
			{kill: []int{20}, put: []fake{{pid: 30, ppid: fakeSelf, start: 3000, utime: 8}}, lists: map[string]string{"5/5": "10 30 ", "10/10": ""}, want: []int{10, 30}, ticks: 168},
		},
		"a zombie": {
			{put: []fake{self, root, child}, lists: map[string]string{"5/5": "10 ", "10/10": "20 "}, want: []int{10, 20}, ticks: 160},
			{put: []fake{{pid: 20, ppid: 10, start: 2000, utime: 150, state: "Z"}}, want: []int{10, 20}, ticks: 160},
		},
		"a pid in two lists": {
			{put: []fake{self, root, child, {pid: 30, ppid: 20, start: 3000, utime: 7}}, lists: map[string]string{"5/5": "10 ", "10/10": "30 20 ", "20/20": "30 "},
				want: []int{10, 20, 30}, ticks: 167},
		},
		"other children of this process": {
			{put: []fake{self, root, child, {pid: 8, ppid: fakeSelf, start: 3000, utime: 100}, {pid: 9, ppid: 8, start: 3500, utime: 100}, {pid: 7, ppid: fakeSelf, start: 600, utime: 100}},
				lists: map[string]string{"5/5": "7 8 10 ", "8/8": "9 ", "10/10": "20 "}, want: []int{10, 20}, ticks: 160},
		},
		"a pid used again": {
			{put: []fake{self, root, child}, lists: map[string]string{"5/5": "10 ", "10/10": "20 "}, want: []int{10, 20}, ticks: 160},
			{put: []fake{{pid: 10, ppid: fakeSelf, start: 1000, utime: 10, cutime: 150}, {pid: 20, ppid: 10, start: 5000, utime: 1}}, want: []int{10, 20}, ticks: 161},
		},
		"a kernel without lists": {
			{put: []fake{self, root, child, beside}, want: []int{10, 20, 90}, ticks: 10159},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeProc(t)
			s := f.jobs()
			s.self = fakeSelf
			f.write("proc/5/task/5/comm", "a\n") // a thread
			var j *Job
			for i, st := range steps {
				f.kill(st.kill...)
				f.put(st.put...)
				f.children(st.lists)
				if j == nil {
					j = addJob(t, s, Options{PIDs: []int{10}, ChildOfThisProcess: true, Exclude: []int{8}})
				}
				s.mu.Lock()
				err := s.walk()
				var got []int
				for _, p := range j.members {
					got = append(got, p.pid)
				}
				cpu := s.known(&j.tree, cntCPU)
				s.mu.Unlock()
				if err != nil {
					t.Fatal(err)
				}
				if slices.Sort(got); !slices.Equal(got, st.want) {
					t.Errorf("step %d: processes %v, want %v", i, got, st.want)
				}
				if want := st.ticks * 1e7; cpu != want {
					t.Errorf("step %d: CPU time %d ns, want %d", i, cpu, want)
				}
			}
		})
	}
}

// A process that cannot be read, as one of another user if /proc hides its files (hidepid),
// does not hide the processes beside it. The walk reports it.
func TestWalkPassesOver(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	s := f.jobs()
	s.self = fakeSelf
	f.write("proc/5/task/5/comm", "a\n")
	f.put(fake{pid: fakeSelf, ppid: 1, start: 500}, fake{pid: 10, ppid: fakeSelf, start: 1000, utime: 10},
		fake{pid: 20, ppid: 10, start: 2000, utime: 150}, fake{pid: 30, ppid: 20, start: 3000, utime: 7})
	f.write("proc/15/stat/x", "") // EISDIR
	f.write("proc/30/task/30/children/x", "")
	f.children(map[string]string{"5/5": "10 ", "10/10": "15 20 ", "20/20": "30 "})
	j := addJob(t, s, Options{PIDs: []int{10}, ChildOfThisProcess: true})
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.walk()
	if len(j.members) != 3 || err == nil || !strings.Contains(err.Error(), "15/stat") {
		t.Errorf("%d processes, want 3; error %v", len(j.members), err)
	}
}

// The direct children of the root have the processes below them, also those that outlive
// their parent, and their CPU time never decreases. If there are too many, the oldest count.
func TestChildren(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.write("proc/5/task/5/comm", "a\n")
	s := f.jobs()
	s.self = fakeSelf
	f.put(fake{pid: fakeSelf, ppid: 1, start: 500}, fake{pid: 10, ppid: fakeSelf, start: 1000, utime: 10},
		fake{pid: 20, ppid: 10, start: 2000, utime: 150}, fake{pid: 21, ppid: 20, start: 2500, utime: 5}, fake{pid: 22, ppid: 21, start: 2600, utime: 3},
		fake{pid: 30, ppid: 10, start: 3000, utime: 7}, fake{pid: 40, ppid: 10, start: 4000, utime: 1})
	f.children(map[string]string{"5/5": "10 ", "10/10": "20 30 40 ", "20/20": "21 ", "21/21": "22 "})
	j := addJob(t, s, Options{PIDs: []int{10}, ChildOfThisProcess: true, Children: 2})
	check := func(when string, want ...procinfo.JobChild) {
		t.Helper()
		s.mu.Lock()
		err := s.walk()
		got := j.children(2)
		s.mu.Unlock()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v; %v", when, got, want, err)
		}
	}
	child := func(pid int, ticks, rss float64) procinfo.JobChild {
		return procinfo.JobChild{PID: pid, CPUTime: procinfo.Known(time.Duration(ticks * 1e7).Seconds()), RSS: procinfo.Known(rss)}
	}
	page := float64(os.Getpagesize()) / 1024 * 100 // the rss of each in its stat file
	check("at first", child(20, 158, 3*page), child(30, 7, page))
	f.kill(21)
	f.put(fake{pid: 22, ppid: fakeSelf, start: 2600, utime: 4})
	f.children(map[string]string{"5/5": "10 22 ", "20/20": ""})
	check("with an orphan", child(20, 159, 2*page), child(30, 7, page))
	f.kill(30)
	f.put(fake{pid: 10, ppid: fakeSelf, start: 1000, utime: 10, cutime: 7})
	f.children(map[string]string{"10/10": "20 40 "})
	check("after the end of a child", child(20, 159, 2*page), child(40, 1, page))
	if s := sampleNow(t, j, nil); len(s.Children) != 2 {
		t.Errorf("a sample has %v", s.Children)
	}
}

// The host's numbers and other jobs need all processes, so a walk does not serve them.
func TestWalkServesOnlyItsJob(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	f.put(fake{pid: fakeSelf, ppid: 1, start: 500}, fake{pid: 10, ppid: fakeSelf, start: 1000}, fake{pid: 50, ppid: 1, start: 700})
	f.children(map[string]string{"5/5": "10 "})
	s := f.jobs()
	s.self = fakeSelf
	addJob(t, s, Options{PIDs: []int{10}, ChildOfThisProcess: true})
	s.mu.Lock()
	if err := s.walk(); err != nil {
		t.Fatal(err)
	}
	s.mu.Unlock()
	other := addJob(t, s, Options{PIDs: []int{50}})
	f.put(fake{pid: 51, ppid: 50, start: 2000})
	testkit.Near(t, "processes of another job", sampleNow(t, other, nil).Processes, 2, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.walks() {
		t.Error("a walk would serve two jobs")
	}
}

// A list may be longer than a buffer.
func TestWalkLongList(t *testing.T) {
	t.Parallel()
	f := newFakeProc(t)
	var list strings.Builder
	const n = 5000
	for pid := 1_000_000; pid < 1_000_000+n; pid++ {
		list.WriteString(strconv.Itoa(pid) + " ")
	}
	f.write("proc/5/task/5/children", list.String())
	s := f.jobs()
	if err := s.scanner.Open(); err != nil {
		t.Fatal(err)
	}
	next := 1_000_000
	errno := s.scanner.Children(fakeSelf, fakeSelf, func(pid int) {
		if pid != next {
			t.Fatalf("got %d, want %d", pid, next)
		}
		next++
	})
	if errno != 0 || next != 1_000_000+n {
		t.Errorf("read up to %d, error %v", next, errno)
	}
}

// costArg makes the test binary a process that starts a job of 10 processes, and prints the CPU
// time of 200 samples, in ns, for each line of its standard input.
const costArg = "cost"

func costMain(program string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fail(err)
	}
	c := exec.Command(program, "held", "9", "0")
	in, err := c.StdinPipe()
	if err != nil {
		return fail(err)
	}
	defer in.Close()
	out, err := c.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	if err := c.Start(); err != nil {
		return fail(err)
	}
	for range 10 {
		if _, err := burner.Read(out); err != nil {
			return fail(err)
		}
	}
	s := New(liveFS, procinfo.NewProcesses(liveFS))
	defer s.Close()
	j, err := s.Add(Options{PIDs: []int{c.Process.Pid}, ChildOfThisProcess: true})
	if err != nil {
		return fail(err)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		begin := testkit.CPU()
		for range 200 {
			s.mu.Lock()
			s.scanned = time.Time{}
			s.mu.Unlock()
			if now, err := j.Sample(nil); err != nil || now.Processes.V != 10 {
				return fail(fmt.Errorf("%v processes: %w", now.Processes, err))
			}
		}
		fmt.Println((testkit.CPU() - begin).Nanoseconds())
	}
	return 0
}

// A sample of a job that this process started costs the same beside few and beside many
// processes.
func TestLongWalkCost(t *testing.T) {
	testkit.SkipLong(t)
	c := exec.Command(os.Args[0], costArg, burnerProgram(t))
	c.Stderr = os.Stderr
	in, out := testkit.StartPiped(t, c)
	lines := bufio.NewScanner(out)
	cost := func(t testing.TB, others int) (least float64) {
		end := testkit.Crowd(t, others)
		defer end()
		for range 5 {
			io.WriteString(in, "\n")
			if !lines.Scan() {
				t.Fatal("no measurement")
			}
			ns, _ := strconv.ParseFloat(lines.Text(), 64)
			if least == 0 || ns < least {
				least = ns
			}
		}
		return least
	}
	testkit.Retry(t, func(t testing.TB) {
		few, many := cost(t, 100), cost(t, 3000)
		t.Logf("beside 3000 processes %.2f times the CPU time of beside 100 (%.0f µs a sample)", many/few, few/200e3)
		if many > 1.2*few || few > 1.2*many {
			t.Errorf("%.2f times", many/few)
		}
	})
}
