// Package accesslog sums up the access log of a server, above all of one that
// streams HLS or DASH, in windows of time: how many clients each stream had, what
// was sent to them, and how many requests there were.
//
//	log, err := accesslog.New(accesslog.Options{
//		Input: "/var/log/nginx/access.json", // or -, a URL, unixgram:PATH
//		IDs:   []string{"film1,film2/hls,dash/480p,720p"},
//	})
//	if err != nil {
//		return err
//	}
//	go log.Run(ctx)
//	_, err = client.AddMessenger(log, apmon.ReportOptions{
//		Name:     "access log",
//		Cluster:  "MySite_Streams",
//		Interval: log.Window(),
//	})
//	if err != nil {
//		return err
//	}
//	err = client.Monitor(ctx)
//
// The command apmon-bg does that with --accesslog.
//
// # What is reported
//
// Each stream is told by content, format and quality, which a regular expression
// finds in the URL, from its beginning on, and has a node of its own, HOST_CONTENT_FORMAT_QUALITY unless
// a template says otherwise. Once for each window, with the time at which the
// window began, it has
//
//	client_count  distinct clients, told by address and user agent
//	bytes_sent    bytes
//	bytes_sent_R  bytes/s
//	requests      requests
//	requests_R    requests/s
//
// also if all of them are 0. The log itself has, on the node HOST and with the
// same time, what was counted since the window before was closed:
//
//	unmatched     lines whose URL is that of no stream, or of one not declared
//	late          lines whose window was closed already
//	bad_lines     lines that are malformed, over 64 KiB, or ahead of the clock
//	windows_lost  windows in which there was no input, or nobody to count
//	truncated     times that the file was truncated: some lines may be lost
//
// A line counts where its own time belongs, whatever its order and time zone. One
// whose status is not declared is passed over; of the others it is seen first
// whether they are malformed, then whether they are late, then whether they match.
//
// # Windows
//
// A window of 15 s begins when the seconds since 1970 are a multiple of 15; a line
// of exactly that time is in it. It is closed 5 s after its end (half its length
// if that is shorter than 10 s): so long a server may keep lines in a buffer. A
// line may be ahead of this host's clock by up to the next window, and one that
// is further ahead is a bad one. So three windows are open at most.
//
// What is unknown is not reported as 0: of a window during which there never was
// an input (a file that is not there, a server that does not answer) streams say
// nothing, and windows_lost counts it. One that was seen in part, as the first one,
// is reported with what was seen. When standard input has ended, or the context of
// [Log.Run], the open window is the last; a program that ends before that window
// is over does not report it. If the clock is set by more than a window, what is
// open is closed, and it goes on with the new time: what lies between is neither
// reported nor lost.
//
// # How many clients
//
// Up to 512 clients of a stream and window are counted exactly, by 64-bit hashes;
// more are estimated by a HyperLogLog sketch of 8192 registers, with a standard
// error of 1.15 %: 95 of 100 values are off by less than 2.3 %. The hash has a
// random seed of its own in each Log, so that nobody can make up clients that
// collide. Either takes 8 KiB at most, so that the memory is bounded by the number
// of streams, which is 1000 at most: 24 MB for all windows that may be open,
// whatever the number of clients. (A process that has counted 10 000 000 clients in
// each of two open windows takes 12 MB with 1 stream, and 37 to 41 MB with 1000.)
//
// # Inputs
//
// One goroutine reads, in pieces of up to 64 KiB, and takes line by line without
// allocating; a longer line is skipped as it comes. 1 000 000 lines of JSON take
// less than a second of one core with the default expression, which is matched by
// hand, and some more with any other.
//
// A file is looked at every half second. If another one has come to its path (it
// was renamed and created, or the path is a link that was changed), the old one is
// read on until nothing has come for one such time, 10 s at most, and then the new
// one from its beginning; one that was truncated is read from its beginning as
// well. It is known to be truncated by its size, or by the last 1024 bytes that were
// read, which stand there no longer.
//
// Of a file that was truncated since the last look, the lines that were written
// since then are gone. If it was copied first, as logrotate does with copytruncate,
// they are read from the copy, a file beside it whose name begins as its own does
// (access.log.1 or access-20261121.log for access.log) and that holds the same bytes
// where it was read last; a copy that is compressed at once or is put into another
// folder (logrotate's olddir) is not found. Lines written after the copy was made
// and before the file was truncated are in neither, and nobody can count them: so
// truncated counts each time. Where every line counts, the file should be renamed
// instead.
//
// A response by HTTP is read as it comes, and asked for again 3 s after it ends
// or fails; half a line at its end is a bad one. A server may send the headers of
// its response as late as it likes, such as with the first line; until then it is
// no input, since it may as well hang, and windows are lost. A socket is made with mode 0660
// and the user's group, so that the server needs to be in that; one that was left
// behind is replaced, and anything else at its path is left alone. A datagram holds
// lines, of which the last needs no end, and may have a syslog header. The kernel
// keeps few of them for a reader that is busy (sysctl net.unix.max_dgram_qlen, often
// 10), and a server that does not wait, such as nginx, drops the others unseen:
// where every request counts, a file is better.
package accesslog
