// Send is the smallest program that reports: it sends three parameters of a job, once.
//
//	go run ./examples/send 127.0.0.1:8884
package main

import (
	"fmt"
	"os"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "send:", err)
		os.Exit(1)
	}
}

// run sends to the destinations, each host[:port][ password].
func run(destinations []string) error {
	var cfg conf.Config
	for _, d := range destinations {
		if err := cfg.AddLine(d); err != nil {
			return err
		}
	}
	c, err := apmon.New(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Send("MySite_Jobs", "123456",
		apmon.Int("events", 1200),
		apmon.Float("cpu_eff", 0.93),
		apmon.String("status", "RUNNING"))
}
