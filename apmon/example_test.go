package apmon_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

func Example() {
	c, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "127.0.0.1"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	err = c.Send("MySite_Jobs", "123456",
		apmon.Int("events", 1200),
		apmon.Float("cpu_eff", 0.93),
		apmon.String("status", "RUNNING"))
	if err != nil { // of this message: nothing that the network did
		fmt.Println(err)
	}
	fmt.Println(c.Stats().Messages, "message")
	// Output: 1 message
}

// The destinations come from files, folders and URLs, whose changes the client follows. The
// sample file has none, and sources without any are an error.
func ExampleOpen() {
	c, err := apmon.Open(context.Background(), "../conf/destinations.conf")
	if err != nil {
		fmt.Println("no destination:", errors.Is(err, conf.ErrNoDestination))
		return
	}
	defer c.Close()
	_ = c.Send("MySite_Jobs", "123456", apmon.Int("events", 1200))
	// Output: no destination: true
}

// queue is a source of reports.
type queue struct{ waiting int }

func (q *queue) Collect(_ context.Context, params []apmon.Param) ([]apmon.Param, error) {
	return append(params, apmon.Int("waiting", q.waiting)), nil
}

func ExampleClient_AddSource() {
	show := apmon.WithTap(func(datagram []byte) {
		if d, err := xdr.Parse(datagram); err == nil {
			fmt.Println(d.Cluster, d.Node, d.Params[0].Name, d.Params[0].Int())
		}
	})
	c, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "192.0.2.1"}}}, show, apmon.Options{WithoutHost: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	source, err := c.AddSource(&queue{waiting: 3}, apmon.ReportOptions{Cluster: "MySite_Queues", Node: "batch", Interval: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Remove()
	if err := c.Monitor(context.Background()); err != nil { // report every minute from now on
		fmt.Println(err)
	}
	if err := c.Report(context.Background(), apmon.ReportNow); err != nil { // and once now
		fmt.Println(err)
	}
	// Output: MySite_Queues batch waiting 3
}

func ExampleClient_SendMap() {
	show := apmon.WithTap(func(datagram []byte) {
		if d, err := xdr.Parse(datagram); err == nil {
			for _, p := range d.Params {
				fmt.Println(p.Name, p.Type())
			}
		}
	})
	c, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "192.0.2.1"}}}, show)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	err = c.SendMap("MySite_Jobs", "123456", map[string]any{"events": 1200, "cpu_eff": 0.93, "status": "RUNNING", "files": []string{"a", "b"}})
	fmt.Println(err)
	// Output:
	// cpu_eff real64
	// events int32
	// status string
	// apmon: parameter "files": bad value: a []string cannot travel
}
