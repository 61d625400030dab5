//go:build race

package launch

// raceDetector says that the tests run under it: its memory is in every process.
const raceDetector = true
