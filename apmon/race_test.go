//go:build race

package apmon

const raceEnabled = true
