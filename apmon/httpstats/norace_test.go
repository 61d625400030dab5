//go:build !race

package httpstats

const raceEnabled = false
