//go:build race

package launch

// raceDetector reports whether the race detector is built in: it adds memory to every
// process.
const raceDetector = true
