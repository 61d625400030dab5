package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/procinfo"
)

// benchmarks holds the values of --benchmark by name.
type benchmarks map[string]float64

func (b *benchmarks) flag() cli.Flag {
	return &command.Repeat{Forms: []string{"benchmark"}, Value: "ksi2k|db12|hep06|hs23=FACTOR", Usage: "benchmark result of one CPU (repeatable)", Add: b.add}
}

func (b *benchmarks) add(s string) error {
	name, value, _ := strings.Cut(s, "=")
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return fmt.Errorf("%q is not NAME=FACTOR", s)
	}
	var check procinfo.Factors
	if err := check.Set(name, v); err != nil {
		return err
	}
	if *b == nil {
		*b = benchmarks{}
	}
	(*b)[name] = v
	return nil
}

// set sets the benchmarks of a client. It cannot fail: add has checked them.
func (b benchmarks) set(c *apmon.Client) {
	for name, factor := range b {
		_ = c.SetBenchmark(name, factor)
	}
}
