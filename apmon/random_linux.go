package apmon

import (
	"crypto/rand"

	"golang.org/x/sys/unix"
)

// readRandom fills b from the kernel's random number generator. It avoids
// [rand.Read], the first call of which starts a timer and with it the runtime's
// network poller. That takes as long as the rest of sending one message from a
// command.
func readRandom(b []byte) error {
	if n, err := unix.Getrandom(b, unix.GRND_NONBLOCK); err == nil && n == len(b) {
		return nil
	}
	_, err := rand.Read(b) // waits until the generator is seeded, early at boot
	return err
}
