// Package xdr encodes and decodes the datagrams of the ApMon protocol: parameters
// in XDR (RFC 4506), as MonALISA's monXDRUDP module reads them.
//
// One UDP datagram holds a header with version and password, the sender's
// instance id and sequence number, the names of a cluster and a node, parameters,
// and optionally a time:
//
//	string  "v:" VERSION "p:" PASSWORD
//	int32   instance id
//	int32   sequence number
//	string  cluster
//	string  node
//	int32   n
//	n ×     { string name, int32 type, value }
//	int32   time, seconds since the Epoch; only for timed results
//
// Numbers are big-endian. A string is its length in bytes, the bytes, and 0 to 3
// bytes of padding. There is no end mark, so the count must be exact.
//
// # Encoding
//
// [Encoder] splits one message into as many datagrams as its size limit requires.
// It appends each parameter and checks the size; a parameter that does not fit
// begins the next datagram. The prefix of a destination (header, instance id,
// sequence number) is put before the body when the datagram is sent, so a message
// for many destinations is encoded once:
//
//	var e xdr.Encoder
//	prefix := xdr.AppendPrefix(nil, xdr.Version, "", instance, seq)
//	e.Begin(len(prefix), xdr.DefaultLimit, "MySite_Jobs", "123456")
//	events := xdr.Int("events", 1200)
//	if err := e.Add(&events); err != nil { // or AddPlain, for many
//		… // too large for any datagram; the other parameters are sent
//	}
//	e.End()
//	for i := range e.Len() {
//		conn.Write(e.Datagram(i, prefix))
//	}
//
// [AppendParam] and [Datagram.Append] do not check their input. [Param.Check] and
// [CheckName] report values and names that a receiver does not accept.
//
// # Decoding
//
// [Datagram.Decode] refers to the buffer and allocates nothing once its parameter
// slice is large enough; [Parse] copies. Both are strict, never panic, and never
// allocate more memory than the length of the datagram justifies.
package xdr
