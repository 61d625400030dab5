// Transfer copies a file and reports the copy. Its tests show how a program that reports is
// tested: see transfer_test.go.
//
//	go run ./examples/transfer 127.0.0.1:8884 FROM TO
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: transfer HOST:PORT FROM TO")
		os.Exit(64)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "transfer:", err)
		os.Exit(1)
	}
}

// run copies a file even if it cannot be reported.
func run(destination, from, to string) error {
	var cfg conf.Config
	err := cfg.AddLine(destination)
	var c *apmon.Client
	if err == nil {
		c, err = apmon.New(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "transfer: no reports:", err)
		return transfer(nil, from, to)
	}
	defer c.Close()
	return transfer(func(params ...apmon.Param) error { return c.Send("MySite_Transfers", "transfer", params...) }, from, to)
}

// transfer copies a file and sends a report at the end. Send may be nil.
func transfer(send func(...apmon.Param) error, from, to string) error {
	start := time.Now()
	n, err := copyFile(from, to)
	if send != nil {
		status := "OK"
		if err != nil {
			status = err.Error()
		}
		reported := send(
			apmon.String("status", status),
			apmon.Int("bytes", n),
			apmon.Float("seconds", time.Since(start).Seconds()))
		if reported != nil {
			fmt.Fprintln(os.Stderr, "transfer: report:", reported)
		}
	}
	return err
}

func copyFile(from, to string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(out, in)
	if e := out.Close(); err == nil {
		err = e
	}
	return n, err
}
