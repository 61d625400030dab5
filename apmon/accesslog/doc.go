// Package accesslog sums up the access log of any web server in windows of time: the
// requests, their clients, statuses and durations, and the bytes sent, of the whole site or
// of parts of it, such as its applications or video streams.
//
//	log, err := accesslog.New(accesslog.Options{
//		Input: "/var/log/nginx/access.log", // or -, a URL, unixgram:PATH
//	})
//	if err != nil {
//		return err
//	}
//	go log.Run(ctx)
//	_, err = client.AddMessenger(log, apmon.ReportOptions{
//		Name:     "access log",
//		Cluster:  "MySite_Web",
//		Interval: log.Window(),
//	})
//	if err != nil {
//		return err
//	}
//	err = client.Monitor(ctx)
//
// The command apmon-bg does this with --accesslog.
//
// # Reports
//
// Without [Options].Match the whole site is one stream, on the node HOST. With it, a
// stream is identified by the named groups of a regular expression that matches the URL
// from its beginning. It has its own node, by default HOST and the values of the groups,
// such as HOST_CONTENT_FORMAT_QUALITY with the preset [HLS]. Each window is reported once,
// with the time at which it began and the parameters client_count (distinct clients,
// identified by address and user agent), bytes_sent, bytes_sent_R, requests, requests_R,
// window (its length), status_2xx to status_5xx, and, if the log has times, percentiles of
// request_time and upstream_response_time in ms, within 2 %, even if all of the counts are
// 0. The reports of the log itself have the node HOST, the same time, and unmatched, late,
// bad_lines, windows_lost and truncated since the previous window was closed.
// docs/accesslog.md and [Metrics] list all parameters with their units.
//
// A line counts in the window of its own time, in any order and time zone. A line is
// checked in this order: it is bad if it is malformed, late if it is too old, unmatched if
// its URL is of no stream, and counted otherwise. With a Match, a line with a status that is
// not in [Options].Statuses counts only in status_2xx and so on, of a stream that exists,
// and in nothing else.
//
// # Windows
//
// A window of 15 s begins when the seconds since 1970 are a multiple of 15; a line of
// exactly that time is in it. It is closed 5 s after its end (half its length if it is
// shorter than 10 s), since servers may buffer lines. The time of a line may be ahead of
// this host's clock, up to the next window; a line further ahead is bad. So at most
// three windows are open.
//
// Unknown values are not reported as 0: for a window without any input (a file that does
// not exist, a server that does not answer) streams are not reported, and windows_lost
// counts it. A window with an input for a part of it, such as the first one, is reported
// with the lines of that part. When standard input or the context of [Log.Run] ends, the
// open window is the last; a program that ends before that window is over does not
// report it. If the clock is set by more than a window, open windows are closed, and
// counting continues at the new time; windows in between are neither reported nor lost.
//
// # Number of clients
//
// Up to 512 clients of a stream in a window are counted exactly, by 64-bit hashes; more
// are estimated by a HyperLogLog sketch of 8192 registers, with a standard error of
// 1.15 %: 95 of 100 values have an error below 2.3 %. Each Log has its own random seed of
// the hash, so that clients cannot be constructed to collide. The hashes and the sketch
// take at most 8 KiB, so the number of streams, at most 1000, bounds the memory: 24 MB
// for all open windows, with any number of clients. (A process that has counted
// 10 000 000 clients in each of two open windows takes 12 MB with 1 stream, and 37 to
// 41 MB with 1000.) If the log has times, a histogram of 4 KiB for each of the two
// durations is added in each window: at most 24 MB for 1000 streams. Only a request with a
// status below 400 adds an undeclared stream, so a client cannot add one by requests for
// pages that do not exist. With [Options].Top, 20 clients and URLs are kept in each window
// for each one that is reported, with up to 200 bytes of their names; one that has more
// than its share of the bytes (1/20 of 1/Top) is not missed, and the bytes reported are
// never too large.
//
// # Inputs
//
// One goroutine reads, in pieces of up to 64 KiB, and parses each line without
// allocating; a longer line is skipped while it is read. 1 000 000 lines of an ordinary
// site take less than a second of one core in both formats; an expression other than the
// preset adds to that.
//
// A file is checked every half second. If another file is at its path (the file was
// renamed and created, or the path is a link that was changed), the old file is read
// until it does not grow between two checks, for at most 10 s, and then the new one from
// its beginning. A file that was truncated is also read from its beginning. A truncation
// is detected if the size is smaller, or if the file no longer has the last 1024 bytes
// that were read at their offset.
//
// Lines that were written between the last check and a truncation are no longer in the
// file. If it was copied first, as logrotate does with copytruncate, they are read from
// the copy: a file in the same folder whose name begins with the same word (access.log.1
// or access-20261121.log for access.log) and that has the same bytes at the offset last
// read. A copy that is compressed immediately or is in another folder (logrotate's
// olddir) is not found. Lines written after the copy was made and before the file was
// truncated are in neither file and cannot be counted. Therefore truncated counts
// every truncation. If every line counts, rename the file instead.
//
// A response by HTTP is read as it arrives, and requested again 3 s after it ends or
// fails; an incomplete line at its end is bad. A server may delay the headers of its
// response, for example until the first line. Until then there is no input, since the
// server may hang, and windows are lost. A socket is created with mode 0660 and the
// user's group; the server must be a member of that group. A socket without a listener at its path is
// replaced; any other file there is an error. A datagram holds lines, of which the last
// needs no line end, and may have a syslog header. The kernel keeps few datagrams for a
// busy reader (sysctl net.unix.max_dgram_qlen, often 10), and a server that does not
// wait, such as nginx, drops others without a count: if every request counts, use a file.
package accesslog
