package metrics_test

import (
	"context"
	"fmt"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/apmon/metrics"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/xdr"
)

func Example() {
	show := apmon.WithTap(func(datagram []byte) {
		d, err := xdr.Parse(datagram)
		if err != nil {
			return
		}
		for _, p := range d.Params {
			switch p.Name {
			case "requests", "queue_len", "queue_len_min", "queue_len_max", "lookup_cnt", "lookup_avg":
				fmt.Println(d.Cluster, d.Node, p.Name, p.Float())
			}
		}
	})
	client, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "192.0.2.1"}}}, show, apmon.Options{WithoutHost: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	ctx := context.Background()
	if err := client.Monitor(ctx); err != nil { // reports in the background
		fmt.Println(err)
		return
	}

	reg := metrics.New()
	pub, err := metrics.Publish(client, reg, metrics.PublishOptions{Cluster: "MySite_Services", Node: "catalogue"})
	if err != nil {
		fmt.Println(err)
		return
	}
	requests, queue, lookup := reg.Counter("requests"), reg.Gauge("queue_len"), reg.Measure("lookup")
	for i := range 3 {
		requests.Add(1)
		queue.Set(float64(7 - i))
		lookup.Observe(2 * float64(i)) // ms; or: timer := lookup.Start(); …; timer.Stop()
	}
	if err := pub.Stop(ctx); err != nil { // sends a last report
		fmt.Println(err)
	}
	// Output:
	// MySite_Services catalogue requests 3
	// MySite_Services catalogue queue_len 5
	// MySite_Services catalogue queue_len_min 5
	// MySite_Services catalogue queue_len_max 7
	// MySite_Services catalogue lookup_cnt 3
	// MySite_Services catalogue lookup_avg 2
}

func ExampleRegistry_AddFunc() {
	reg := metrics.New()
	sessions := map[string]bool{"a": true, "b": true}
	reg.AddFunc(func(add func(apmon.Param)) {
		add(apmon.Int("sessions", len(sessions)))
		add(apmon.String("state", "RUNNING"))
	})
	values, err := reg.NewReader().Read()
	for _, v := range values {
		if v.Text() != "" {
			fmt.Println(v.Name, v.Text())
		} else {
			fmt.Println(v.Name, v.Float())
		}
	}
	fmt.Println(err)
	// Output:
	// sessions 2
	// state RUNNING
	// <nil>
}

func ExampleCache() {
	reg := metrics.New()
	rd := reg.NewReader()
	names := reg.Cache("names")
	names.Hit()
	names.Hit()
	names.Hit()
	names.Miss()
	values, _ := rd.Read()
	for _, v := range values {
		if v.Suffix == "_hits" || v.Suffix == "_hit_percent" {
			fmt.Println(v.Name, v.Float(), v.Unit)
		}
	}
	// Output:
	// names_hits 3 count
	// names_hit_percent 75 %
}

// Another way to send reports: to a function.
func ExamplePublishFunc() {
	reg := metrics.New()
	reg.Counter("requests").Add(3)
	pub, err := metrics.PublishFunc(reg, metrics.PublishOptions{ChangesOnly: true}, func(_ context.Context, params []apmon.Param) error {
		for _, p := range params {
			if p.Name == "requests" {
				fmt.Println(p.Name, p.Float())
			}
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := pub.Stop(context.Background()); err != nil { // sends a last report
		fmt.Println(err)
	}
	// Output: requests 3
}

// Fractions and negative numbers.
func ExampleSum() {
	reg := metrics.New()
	balance := reg.Sum("balance")
	reg.Describe("balance", "EUR", "Money in the till.")
	balance.Add(12.5)
	balance.Add(-2.25)
	fmt.Println(balance.Total())
	// Output: 10.25
}

// Percentiles of the observations since a reader last read, within 2 %.
func ExampleMeasure() {
	reg := metrics.New()
	lookup := reg.Measure("lookup")
	reg.Describe("lookup", "ms", "Time of a look-up.")
	rd := reg.NewReader()
	for ms := range 100 {
		lookup.Observe(float64(ms + 1)) // or: timer := lookup.Start(); …; timer.Stop()
	}
	values, _ := rd.Read()
	for _, v := range values {
		switch v.Suffix {
		case "_p50", "_p90", "_p99":
			fmt.Printf("%s %.0f %s\n", v.Name, v.Float(), v.Unit)
		}
	}
	// Output:
	// lookup_p50 51 ms
	// lookup_p90 91 ms
	// lookup_p99 99 ms
}
