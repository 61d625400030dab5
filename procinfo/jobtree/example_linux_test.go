package jobtree_test

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobtree"
)

func Example() {
	job := exec.Command("cat") // it runs until its input ends
	input, err := job.StdinPipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := job.Start(); err != nil {
		fmt.Println(err)
		return
	}

	// The set scans /proc once for all its jobs, and for the host, too.
	fs := procinfo.DefaultFS(os.Getenv)
	processes := procinfo.NewProcesses(fs)
	set := jobtree.New(fs, processes)
	defer set.Close()
	ended := make(chan struct{})
	followed, err := set.Add(jobtree.Options{PIDs: []int{job.Process.Pid}, Exited: func() { close(ended) }})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer followed.Remove()
	s, err := followed.Sample(nil)
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println("processes:", s.Processes.V, "ended:", s.Ended)

	input.Close()
	<-ended // before Wait, so that the last values of the process can be read
	if s, err = followed.Sample(nil); err != nil {
		fmt.Println(err)
	}
	fmt.Println("CPU time is known:", s.CPUTime.OK, "ended:", s.Ended)
	if err := job.Wait(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// processes: 1 ended: false
	// CPU time is known: true ended: true
}
