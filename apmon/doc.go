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
// One pass, one buffer, no queue and no goroutine: [Client.Send] encodes the
// message once, split into datagrams below a limit, asks the rate limiter once
// for the whole message, and writes the datagrams to the socket of every
// destination, each with its own header and sequence number. Sending never
// waits for the network, a name server or another destination, and allocates
// nothing.
//
// What Send returns is the truth about the caller's own message: a parameter
// that cannot travel, a message over the rate, a closed client, nobody to send
// to. What the network did to it is not known when Send returns, if ever: what
// can be known (refused, unreachable, a full socket) is counted by
// [Client.Stats], logged at a bounded rate, and never stops the other
// destinations.
//
// Names are looked up in parallel by [New], and again, off the sending path,
// from time to time; a failed look-up keeps the last good address. Sequence
// numbers belong to a destination as it was written (host:port), and survive a
// changed address.
//
// [Client.Monitor] reports in the background: on this host, as the
// configurations tell, and on every [Source] that was added. One goroutine knows
// what is due; each source collects in a goroutine of its own while it does, so
// that one that hangs or panics is skipped and counted, and the others go on.
// Destinations whose sources ask for the same reports share one collection.
//
// A Client is safe for concurrent use.
package apmon
