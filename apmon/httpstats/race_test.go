//go:build race

package httpstats

const raceEnabled = true
