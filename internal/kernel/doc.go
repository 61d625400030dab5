// Package kernel parses the files in which the Linux kernel reports its state,
// such as /proc/meminfo and /proc/PID/stat. There is one source file for each
// kernel file, named after it.
//
// The parsers are pure functions of the file's content: they open nothing, run on
// every system, never panic and do not change their input. They skip lines and
// keys they do not know, and leave a field that is missing, incomplete or
// malformed unknown, so a truncated file or a newer kernel causes no harm.
//
// See https://docs.kernel.org/filesystems/proc.html.
package kernel
