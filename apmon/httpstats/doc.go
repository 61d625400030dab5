// Package httpstats counts what an HTTP server does, and writes its access log.
//
//	stats := httpstats.New(httpstats.Options{IdleLimit: 30 * time.Second})
//	server := &http.Server{Addr: ":8080", Handler: stats.Wrap(mux)}
//	_, err := client.AddSource(stats, apmon.SourceOptions{Cluster: "MySite_Web", Node: "www1", Interval: time.Minute})
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
// [Stats.Wrap] puts itself around the ResponseWriter, once for each request: one
// allocation, and a short lock when the request begins, writes and ends. Counts
// are kept in slots of one second of the monotonic clock, the last ten of which
// are the window; nothing runs in the background. A rate is that of a whole
// second, so there is none in the first. A mean is what happened in the whole
// seconds of the window by their number. Totals and peaks are those since [New], so
// that a report every two minutes misses none.
//
// The handler sees a writer that offers http.Flusher, http.Hijacker, io.ReaderFrom
// and http.Pusher where the original does, and only there; the rest is reached
// with http.ResponseController, through Unwrap. (The deprecated
// http.CloseNotifier is not offered: a request's context tells the same.) What is
// written past the wrapper, by unwrapping it, is not seen, nor is a connection
// hijacked that way. ReadFrom hands the
// source to the original in pieces of 64 KiB that the kernel can still send by
// itself (sendfile), and a large Write is written in such pieces, so that the
// bytes of a long answer count while it lasts.
//
// # When a request ends
//
// A request begins when the wrapped handler is called and ends when that returns,
// panics or calls runtime.Goexit, whatever became of the client: an answer to a
// client that has gone ends when the handler notices. That holds for hijacked
// connections too: they are left to the handler as they are, are in progress
// until it returns, and what is written to them is not counted.
//
// The status is the first that is not informational (1xx, but for 101), and 200
// where the handler only wrote, or returned. A handler that did not return and has
// sent no status counts as 500, http.ErrAbortHandler included. There is no
// status where the connection was hijacked before one was sent, and where the
// request was cancelled before.
//
// Bytes are those of bodies, as the ResponseWriter took them: without headers and
// TLS, before an outer handler compresses them, and some kilobytes may still lie
// in the server's and the kernel's buffers. Wrap a server's handler once: what is
// wrapped twice counts twice.
//
// # Clients
//
// The client is the peer of the connection, http.Request.RemoteAddr. Forwarding
// headers are not believed; behind a proxy, set RemoteAddr in a handler around the
// wrapped one. Loopback is 127.0.0.0/8, ::1 and unix sockets. Private networks are
// those of RFC 1918, IPv6's unique local addresses, link-local addresses of both,
// with or without a zone, and loopback: a request from there counts in
// localhost_requests and in private_requests. IPv4-mapped addresses are taken as
// IPv4.
package httpstats
