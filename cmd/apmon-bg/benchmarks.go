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

// benchmarks are what --benchmark gave, by name.
type benchmarks map[string]float64

func (b *benchmarks) flag() cli.Flag {
	return &command.Repeat{Forms: []string{"benchmark"}, Value: "ksi2k|db12|hep06|hs23=FACTOR", Usage: "result of a benchmark for one CPU (repeatable)", Add: b.add}
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

// tell gives them to a client, which has no reason to refuse what add has taken.
func (b benchmarks) tell(c *apmon.Client) {
	for name, factor := range b {
		_ = c.SetBenchmark(name, factor)
	}
}
