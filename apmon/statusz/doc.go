// Package statusz serves a status page to clients on the same machine: the metrics of a
// program (package metrics), its process, the requests to its HTTP server (package httpstats)
// and the statistics of its ApMon client.
//
//	reg := metrics.New()
//	page := statusz.New(reg, statusz.Options{Client: client, HTTP: stats})
//	mux := http.NewServeMux()
//	mux.Handle("/status", page)  // a page for browsers, JSON for others
//	mux.Handle("/metrics", page) // Prometheus's text format
//	go http.ListenAndServe("127.0.0.1:8080", mux)
//
// The JSON has the form
//
//	{"process": {"uptime": s, "num_fds": n, "meminfo": {"rss_bytes": …, "vsz_bytes": …},
//	             "cpu": {"user_time": s, "system_time": s, "num_threads": n}},
//	 "counters": {name: total}, "gauges": {name: value}, "max_gauges": {…}, "min_gauges": {…},
//	 "texts": {name: text}, "registry": {"ignored": n, "panics": n, "error": text},
//	 "http": {"total_request_count": n, "duration_p99_ms": ms, …, "routes": […], "in_progress": […]},
//	 "sender": {"messages": n, …}}
//
// Counters holds the values that only go up, max_gauges and min_gauges the extremes of
// the gauges under the names of the gauges, and gauges all other values, under the names
// of the sent parameters; sums are in counters. HTTP holds the parameters of package httpstats,
// with units in their names, and sender the fields of the client's [apmon.Stats]. All names
// are in snake case. Unknown values are absent. The page contains no passwords.
//
// # Prometheus
//
// The values are those since the start, which no scrape resets: counters end in "_total",
// measures and the time of requests are histograms, gauges have their present value. Units
// are base units: the unit of [metrics.Registry.Describe], or else that at the end of a name
// such as "queue_wait_ms", is converted and becomes the end of the name: "queue_wait_seconds".
// Names become snake case; parts of a name that mean something else to Prometheus, such as "ms"
// within it, lose the "_" before them. Buckets go from 1/16 ms to 131 s for times in ms, and else
// from 2⁻¹⁰ to 2³⁰ of the unit of the program. The sum of a measure that has negative values may go
// down.
//
//	http_requests_total{code,method,route}, http_request_duration_seconds, http_requests_in_flight,
//	http_requests_in_flight_peak, http_response_bytes_total, http_requests_local_total, http_requests_private_total
//
// # How it works
//
// JSON and the page for people have their own [metrics.Reader] and [httpstats.Reader]: rates,
// extremes and other values "since the last report" are since the last request of that format.
// The formats do not affect each other, nor the published reports. Two clients that request the
// same format share its periods.
//
// The page for people shows what fails, the requests of the server, the metrics in their units
// ([metrics.Registry.Describe]), the process and the destinations of the reports. It is rendered
// once a second at most, while one is open. Its graphs show ten minutes; they begin when the
// page is first opened, and have a gap while it was closed. Its style sheet and script are
// answered at its own address, with the parameter "file".
//
// # Access
//
// By default [Loopback] filters the requests: the peer must be on this machine, and so
// must every hop that a proxy names. Requests of pages of other sites in a browser are
// refused too. Other requests get 403. [Options].Filter replaces the filter, for example to
// admit a Prometheus on another host.
package statusz
