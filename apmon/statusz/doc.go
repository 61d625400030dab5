// Package statusz serves a status page to clients on the same machine: the metrics of a
// program (package metrics), its process, and the statistics of its ApMon client.
//
//	reg := metrics.New()
//	page := statusz.New(reg, statusz.Options{Client: client})
//	mux := http.NewServeMux()
//	mux.Handle("/status", page)  // JSON
//	mux.Handle("/metrics", page) // Prometheus's text format
//	go http.ListenAndServe("127.0.0.1:8080", mux)
//
// The JSON has the form
//
//	{"process": {"uptime": s, "num_fds": n, "meminfo": {"rss_bytes": …, "vsz_bytes": …},
//	             "cpu": {"user_time": s, "system_time": s, "num_threads": n}},
//	 "counters": {name: total}, "gauges": {name: value}, "max_gauges": {…}, "min_gauges": {…},
//	 "texts": {name: text}, "registry": {"ignored": n, "panics": n, "error": text},
//	 "sender": {…}}
//
// Counters holds the values that only go up, max_gauges and min_gauges the extremes of
// the gauges under the names of the gauges, and gauges all other values, under the names
// of the sent parameters. Sender holds the fields of the client's [apmon.Stats]. Unknown
// values are absent. The page contains no passwords.
//
// # How it works
//
// Each of the two formats has its own [metrics.Reader]: rates, extremes and other values
// "since the last report" are since the last request of that format. The formats do not
// affect each other, nor the published reports. Two clients that request the same format
// share its periods.
//
// # Access
//
// By default [Loopback] filters the requests: the peer must be on this machine, and so
// must every hop that a proxy names. Other requests get 403. [Options].Filter replaces
// the filter.
package statusz
