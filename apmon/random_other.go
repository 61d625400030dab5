//go:build !linux

package apmon

import "crypto/rand"

// readRandom fills b from the system's random number generator.
func readRandom(b []byte) error {
	_, err := rand.Read(b)
	return err
}
