// Package metrics holds the metrics of a program: counters, sums, gauges, measures, caches and
// functions in a [Registry], which are reported through ApMon ([Publish]) or to any function
// ([PublishFunc]) and shown by package statusz.
//
//	client, err := apmon.Open(ctx, "/etc/apmon/destinations.conf")
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	if err := client.Monitor(ctx); err != nil { // reports in the background
//		return err
//	}
//
//	reg := metrics.New()
//	reg.AddRuntime() // memory, CPU time, threads, latency of the scheduler …
//	defer reg.Close()
//	pub, err := metrics.Publish(client, reg, metrics.PublishOptions{Cluster: "MySite_Services", Node: "catalogue"})
//	if err != nil {
//		return err
//	}
//	defer pub.Stop(ctx) // sends a last report
//
//	requests, queue, lookup := reg.Counter("requests"), reg.Gauge("queue_len"), reg.Measure("lookup")
//	for job := range jobs {
//		requests.Add(1)
//		queue.Set(float64(len(jobs)))
//		timer := lookup.Start()
//		find(job)
//		timer.Stop()
//	}
//
// [Registry.Describe] states the unit and the meaning of a metric, for the status page and
// Prometheus. [Markdown] returns the table of the parameters of each kind (docs/metrics.md). Their
// suffixes are the same as in the services of ALICE.
//
// # How it works
//
// Counting never waits for reading. A counter is 16 numbers, each on its own cache line;
// a goroutine adds to the one that its stack address selects, so that goroutines on
// different processors seldom share one. A measure is 16 sums in the same way, and a
// histogram of 8 KB, from which the percentiles come. A gauge is one number and its extremes.
//
// Each [Reader] has its own periods: rates and extremes "since the last report" are
// since that reader last read. The publisher and each path of a status page have one,
// and do not affect each other. A read takes the sums and extremes collected so far and
// keeps a copy for every other reader, so that counting costs the same with any number of
// readers. A reader holds 64 bytes for each metric, and 4 KB for each measure once it has read
// it; one that the program no longer references is dropped. [Registry.Totals] has the values
// since the start, which affect no reader.
//
// The publisher has no goroutine and no clock: it is a source of the client, which calls
// it when a report is due.
//
// # Names
//
// The first call with a name makes the metric, which lasts as long as the registry. Keep
// the metric: looking it up costs more than counting. A name may be invalid, belong to
// another kind of metric, or lead to a parameter that another metric sends. Then the
// metric works but is not reported, and [Registry.Err] and the error of each report name
// it. The number of names is not limited: do not make a metric for each user.
package metrics
