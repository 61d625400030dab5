// Package workdir measures directories: the size of their files and the space
// of their file systems. A file system that hangs costs one goroutine and never
// blocks a caller for longer than it chose to wait. It works on Linux.
package workdir
