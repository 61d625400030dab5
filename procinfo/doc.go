// Package procinfo is what the kernel and the files of the system know of this
// host, read directly: no process is ever started, and no name is looked up in
// the network.
package procinfo
