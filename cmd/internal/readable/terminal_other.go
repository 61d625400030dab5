//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !windows

package readable

import "os"

// columns returns the columns of a terminal, and false if f is none.
func columns(*os.File) (int, bool) { return 0, false }
