// Package jobtree follows jobs: trees of processes, including the resources that processes
// used before they ended. It works on Linux.
//
//	scan := procinfo.NewProcesses(fs)
//	defer scan.Close()
//	host.Processes = scan // one scan of /proc serves both
//	jobs := jobtree.New(fs, scan)
//	defer jobs.Close()
//	job, err := jobs.Add(jobtree.Options{PIDs: []int{pid}})
//	if err != nil {
//		return err // there is no such process
//	}
//	now, err := job.Sample(nil)
//	now.Rates(previous)
//	params = now.Append(params[:0], nil)
//
// A scan of /proc finds the processes, or, for a job that this process started, a walk down
// from this process. Each sample reads the files of the job's processes and of its
// cgroup. See docs/jobs.md for how CPU time is counted and when some is lost.
//
// Inside, a tree is the accounting of one job, and a forest holds the processes of all
// jobs; both know nothing of jobs. Set and Job stand on top.
package jobtree
