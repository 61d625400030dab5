// Package process reads the processes of a host, below /proc, and asks the kernel
// about single ones. Its parts are for Linux, but for States.
package process

// processStates are the states of processes that are counted, as in /proc/PID/stat.
const States = "DRSTZI"
