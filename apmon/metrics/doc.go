// Package metrics is what a program counts and measures of itself: counters,
// gauges, measures, caches and functions in a [Registry], reported through ApMon
// and shown by package statusz.
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
//	reg.Runtime() // memory, CPU time, threads, latency of the scheduler …
//	defer reg.Close()
//	pub, err := metrics.Publish(client, reg, metrics.Options{Cluster: "MySite_Services", Node: "catalogue"})
//	if err != nil {
//		return err
//	}
//	defer pub.Stop(ctx) // reports a last time
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
// [Markdown] makes the table of what each kind sends (docs/metrics.md); the
// suffixes are those that ALICE's services use.
//
// # How it works
//
// Whoever counts never waits for whoever reads. A counter is 16 numbers, each on
// a cache line of its own; a goroutine adds to the one that the address of its
// stack picks, so that goroutines on different processors seldom share one. A
// measure is 16 sums in the same way. A gauge is one number and its extremes.
//
// A [Reader] is one who reads, and what is "since the last report" is that
// reader's own: the publisher and each path of a status page have one, and take
// nothing from each other. Whoever reads takes the sums and extremes that have
// gathered, and leaves a copy with every other reader, so counting costs the same
// however many readers there are, and a reader that never reads holds 48 bytes
// for each metric. A reader that the program has forgotten is forgotten here.
//
// The publisher has no goroutine and no clock: it is a source of the client's
// monitor, which calls it when a report is due.
//
// # Names
//
// A metric is made by the first who asks for its name, and lasts as long as the
// registry; keep it, as asking costs more than counting. A name that cannot
// travel, or that stands for another kind already, or that would send a
// parameter which another metric sends, gives a metric that works and is not
// reported: the error is in [Registry.Err] and in each report's, and names it.
// Bounded names are the program's business: do not make a metric for each user.
package metrics
