package procinfo

// Has reports whether a process was of the job in the last scan.
func (j *Job) Has(pid int) bool {
	s := j.set
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.procs[pid]
	return p != nil && p.member(j)
}
