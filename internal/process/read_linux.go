package process

import (
	"io/fs"
	"syscall"
)

// ReadFile reads a whole file of the kernel. Unlike [os.ReadFile] it does not use the
// poller of the Go runtime, which needs descriptors of its own and ends the program
// if there are none.
func ReadFile(path string) ([]byte, error) {
	f := File{Path: path}
	defer f.Close()
	return f.Read(nil)
}

// Numbers calls visit for each entry of a directory whose name is a number, such as
// the processes of /proc and the descriptors of /proc/self/fd.
func Numbers(dir string, visit func(n int)) error {
	fd, err := Open(dir)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer syscall.Close(fd)
	var entries [4 << 10]byte
	if err := readPIDs(fd, entries[:], func(n int, _ []byte) { visit(n) }); err != nil {
		return &fs.PathError{Op: "readdir", Path: dir, Err: err}
	}
	return nil
}
