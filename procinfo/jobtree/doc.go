// Package jobtree follows jobs: trees of processes, with what those that have
// ended used. It works on Linux.
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
// A scan shows which processes there are; the files of the job's own processes
// and of its cgroup are read for each sample. See docs/jobs.md for how CPU time
// is counted and what is lost.
package jobtree
