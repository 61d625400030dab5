package apmon_test

import (
	"context"
	"fmt"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

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
