// Package xdr is the wire of ApMon: parameters, datagrams, and their encoding
// in XDR (RFC 4506) as MonALISA's monXDRUDP module reads it.
//
// One UDP datagram holds a header with version and password, the sender's
// instance id and sequence number, the names of a cluster and a node, a number
// of parameters, and perhaps a time:
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
// Everything is big-endian; a string is its length in bytes, the bytes, and 0
// to 3 bytes of padding. There is no end mark, so the count must be exact.
//
// # Encoding
//
// [Encoder] turns one message into as many datagrams as its size limit asks
// for: each parameter is appended, the size checked, and the parameter rolled
// back into a datagram of its own where it did not fit. What belongs to one
// destination (header, instance id, sequence number) is put before the body
// when it is sent, so a message for many destinations is encoded once:
//
//	var e xdr.Encoder
//	prefix := xdr.AppendPrefix(nil, xdr.Version, "", instance, seq)
//	e.Begin(len(prefix), xdr.DefaultLimit, "MySite_Jobs", "123456")
//	events := xdr.Int("events", 1200)
//	if err := e.Add(&events); err != nil { // or AddPlain, for many
//		… // too large for any datagram; the others are not harmed
//	}
//	e.End()
//	for i := range e.Len() {
//		conn.Write(e.Datagram(i, prefix))
//	}
//
// [AppendParam] and [Datagram.Append] encode what they are given, unchecked;
// [Param.Check] and [CheckName] say what a receiver would not take.
//
// # Decoding
//
// [Datagram.Decode] borrows from the buffer and allocates nothing once its
// parameter slice has grown; [Parse] copies. Both are strict, never panic, and
// never reserve more memory than the datagram's own length justifies.
package xdr
