package conf_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/apmon-go/apmon/conf"
)

// A line that cannot be used is a problem with its source and number; the others are used.
func Example() {
	const text = `
monalisa.example.org:8884 secret
localhost
host:port
xApMon_maxMsgRate = 20
`
	c, problems := conf.Parse("destinations.conf", []byte(text), nil)
	for _, d := range c.Destinations {
		fmt.Println(d) // without the password
	}
	fmt.Println(c.MaxMsgRate, "datagrams per second")
	for _, p := range problems {
		fmt.Println(p)
	}
	// Output:
	// monalisa.example.org:8884
	// localhost:8884
	// 20 datagrams per second
	// destinations.conf:4: destination "host:...": the port is not a number from 1 to 65535 (a password follows a blank)
}

// A follower reads its sources again and applies changes. The client of package apmon has one.
func ExampleFollower() {
	dir, err := os.MkdirTemp("", "apmon")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "destinations.conf")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			fmt.Println(err)
		}
	}

	write("ml1.example.org\n")
	f := conf.NewFollower([]conf.Source{conf.File(file)}, conf.FollowOptions{
		Apply: func(_ context.Context, configs []conf.Config) error {
			for _, c := range configs {
				fmt.Println(c.Destinations)
			}
			return nil
		},
	})
	defer f.Close()
	reload := func() {
		if err := f.Reload(context.Background()); err != nil {
			fmt.Println("kept:", filepath.Base(err.Error()))
		}
	}
	reload()
	reload() // no change
	write("ml1.example.org\nml2.example.org:9000\n")
	reload()
	// Output:
	// [ml1.example.org:8884]
	// [ml1.example.org:8884 ml2.example.org:9000]
}
