// Package process reads the directory /proc: it scans the processes of a host, reads files
// of single processes, and reads their CPU clocks. All but States works on Linux only.
package process

// States are the states of processes that are counted, by their letters in
// /proc/PID/stat.
const States = "DRSTZI"
