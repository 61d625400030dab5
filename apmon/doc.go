// Package apmon sends parameters to MonALISA's ApMon receivers.
//
//	c, err := apmon.New(conf.Config{Destinations: []conf.Destination{{Host: "ml.example.org"}}})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	err = c.Send("MySite_Jobs", "123456",
//		apmon.Int("events", 1200),
//		apmon.Float("cpu_eff", 0.93),
//		apmon.String("status", "RUNNING"))
//
// # How it works
//
// [Client.Send] works in one pass and one buffer, without a queue or a goroutine. It
// encodes the message once, split into datagrams below a limit, asks the rate
// limiter once for the whole message, and writes the datagrams to the socket of
// each destination, with its own header and sequence number. Sending does not
// wait for the network, a name server or another destination, and does not
// allocate.
//
// Send returns errors of the caller's own message: a parameter that cannot be
// sent, a message over the rate limit, a closed client, no destination. Errors of
// the network (refused, unreachable, a full socket) are counted by
// [Client.Stats], logged at a bounded rate, and never stop other destinations.
//
// Names are looked up in parallel by [New], and again from time to time, off the
// sending path; a failed look-up keeps the last good address. Sequence numbers
// belong to a destination as it is written (host:port), and continue when its
// address changes.
//
// [Client.Monitor] reports in the background: on this host, as configured, and on
// every [Source] and [Job] that was added. One goroutine waits until
// something is due: a report, or reading a configuration again. Each source
// collects in a goroutine of its own, so that a source that hangs or panics is skipped
// and counted, and the others continue. Destinations whose configurations ask for the
// same reports share one collection.
//
// A Client is safe for concurrent use.
package apmon
