// Send is the smallest program that sends: three values of a job to one destination.
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
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: send HOST:PORT")
		os.Exit(64)
	}
	if err := send(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "send:", err)
		os.Exit(1)
	}
}

// send sends to a destination, HOST[:PORT] [PASSWORD].
func send(destination string) error {
	d, err := conf.ParseDestination(destination)
	if err != nil {
		return err
	}
	c, err := apmon.New(conf.Config{Destinations: []conf.Destination{d}})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Send("MySite_Jobs", "123456",
		apmon.Int("events", 1200),
		apmon.Float("cpu_eff", 0.93),
		apmon.String("status", "RUNNING"))
}
