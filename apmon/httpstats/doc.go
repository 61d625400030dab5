// Package httpstats counts the requests of an HTTP server, and writes its access log.
//
//	stats := httpstats.New(httpstats.Options{IdleLimit: 30 * time.Second})
//	server := &http.Server{Addr: ":8080", Handler: stats.Wrap(mux)}
//	_, err := client.AddSource(stats, apmon.ReportOptions{Cluster: "MySite_Web", Node: "www1", Interval: time.Minute})
//
// With an access log that is rotated:
//
//	access, err := httpstats.OpenLogFile("/var/log/app/access.log", httpstats.AppendJSON)
//	if err != nil {
//		return err
//	}
//	defer access.Close()
//	stats := httpstats.New(httpstats.Options{
//		Log:   []func(*httpstats.Record){access.Log},
//		NoLog: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}, // the load balancer's checks
//	})
//	rotated := make(chan os.Signal, 1)
//	signal.Notify(rotated, syscall.SIGHUP)
//	go func() {
//		for range rotated {
//			if err := access.Reopen(); err != nil {
//				slog.Error("access log", "error", err) // the old file is still written to
//			}
//		}
//	}()
//
// [Metrics] lists the parameters.
//
// # How it works
//
// [Stats.Wrap] wraps the ResponseWriter of each request: one allocation, and a short lock
// when the request begins, writes and ends. Nothing runs in the background. A current rate is
// that of the last complete second of the monotonic clock, and unknown in the first second.
// Means, extremes and percentiles are since the last report to the same [Reader], so that
// reports every two minutes cover all requests; percentiles come from a histogram of 8 KB.
// Totals and peaks are since [New].
//
// [Stats.Snapshot] has the totals as Go values, the requests by status, method and route, and
// those in progress, each of which [Stats.End] can end.
//
// The handler gets a writer that implements http.Flusher, http.Hijacker, io.ReaderFrom
// and http.Pusher exactly if the original writer does. http.ResponseController reaches
// other methods through Unwrap. (The deprecated http.CloseNotifier is not implemented:
// use the context of the request.) Bytes that a
// handler writes to the unwrapped writer are not counted, nor is a connection hijacked
// that way. ReadFrom passes the source to the original in pieces of 64 KiB, which the
// kernel can still copy (sendfile), and a large Write is done in such pieces, so that
// the bytes of a long response count while it lasts.
//
// # When a request ends
//
// A request begins when the wrapped handler is called and ends when the handler returns,
// panics or calls runtime.Goexit, even if the client has disconnected. This also applies
// to hijacked connections: they are in progress until the handler returns, and bytes
// written to them are not counted.
//
// The status is the first that is not informational (1xx except 101), or 200 if the handler
// wrote or returned without one. If the handler did not return and has not sent a status,
// it counts as 500, also for http.ErrAbortHandler. There is no status if the connection
// was hijacked, or the request was cancelled, before one was sent.
//
// Bytes are the bytes of bodies that the ResponseWriter accepted: without headers and
// TLS, and before an outer handler compresses them. Some kilobytes may still be in the buffers of
// the server and the kernel. Wrap the handler of a server once: a request that is wrapped
// twice counts twice.
//
// # Clients
//
// The client is the peer of the connection, http.Request.RemoteAddr. Forwarding
// headers are ignored; behind a proxy, set RemoteAddr in a handler around the wrapped
// one. Loopback is 127.0.0.0/8, ::1 and unix sockets. Private networks are
// those of RFC 1918, IPv6's unique local addresses, link-local addresses of both,
// with or without a zone, and loopback. A request from loopback counts in both
// localhost_requests and private_requests. IPv4-mapped addresses count as IPv4.
package httpstats
