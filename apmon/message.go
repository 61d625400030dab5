package apmon

import (
	"time"

	"github.com/apmon-go/apmon/xdr"
)

// Param is one parameter of a message.
type Param = xdr.Param

// Int returns an integer parameter. It is sent as int32 if the value fits, else as
// real64, in which integers beyond ±2^53 lose precision: the receiver converts
// every number to a double.
func Int[T xdr.Integer](name string, v T) Param { return xdr.Int(name, v) }

// Float returns a real64 parameter. NaN and infinities are [ErrBadValue].
func Float(name string, v float64) Param { return xdr.Float(name, v) }

// String returns a text parameter. An empty or blank text, which the receiver
// would drop, is [ErrBadValue], as is one over 32767 bytes.
func String(name, v string) Param { return xdr.String(name, v) }

// Message is a set of parameters of one node of one cluster, sent together.
type Message struct {
	Cluster string    // empty for the client's default
	Node    string    // empty for the client's default
	Time    time.Time // zero to let the receiver stamp it
	Params  []Param
}
