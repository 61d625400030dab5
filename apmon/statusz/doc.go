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
// The JSON is
//
//	{"process": {"uptime": s, "num_fds": n, "meminfo": {"rss_bytes": …, "vsz_bytes": …},
//	             "cpu": {"user_time": s, "system_time": s, "num_threads": n}},
//	 "counters": {name: total}, "gauges": {name: value}, "max_gauges": {…}, "min_gauges": {…},
//	 "texts": {name: text}, "registry": {"ignored": n, "panics": n, "error": text},
//	 "sender": {…}}
//
// where counters is whatever only goes up, max_gauges and min_gauges the extremes
// of the gauges by their own names, gauges everything else, under the names it is
// sent under, and sender the client's [apmon.Stats], field by field. What is
// unknown is absent. No password is in it.
//
// # How it works
//
// Each of the two formats has a [metrics.Reader] of its own: rates, extremes and
// the rest that is "since the last report" is since that format was last asked
// for, and neither takes anything from the other or from what is published. Two
// who ask for the same format share its periods.
//
// # Access
//
// [Loopback] decides, unless the caller brings a filter: the peer must be this
// machine, and so must every hop that a proxy names. Others get 403.
package statusz
