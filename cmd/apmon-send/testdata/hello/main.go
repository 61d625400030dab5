// Hello is the least program with the same command-line library: the floor for
// the time that apmon-send takes.
package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"
)

func main() {
	app := &cli.App{
		Name:  "hello",
		Flags: []cli.Flag{&cli.StringFlag{Name: "name"}},
		Action: func(*cli.Context) error {
			fmt.Println("hello")
			return nil
		},
	}
	if err := app.Run(os.Args); err != nil {
		os.Exit(1)
	}
}
