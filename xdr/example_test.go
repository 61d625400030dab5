package xdr_test

import (
	"fmt"

	"github.com/apmon-go/apmon/xdr"
)

func Example() {
	params := []xdr.Param{
		xdr.Int("events", 1200),
		xdr.Float("cpu_eff", 0.93),
		xdr.String("status", "RUNNING"),
	}
	prefix := xdr.AppendPrefix(nil, xdr.Version, "", 17, 1)
	var e xdr.Encoder
	if err := e.BeginTimed(len(prefix), xdr.DefaultLimit, "MySite_Jobs", "123456", 1700000000); err != nil {
		fmt.Println(err)
		return
	}
	for i := range params {
		if err := e.Add(&params[i]); err != nil {
			fmt.Println(err) // the others are sent
		}
	}
	for i := range e.End() {
		d, err := xdr.Parse(e.Datagram(i, prefix))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", d.AppendJSON(nil, "127.0.0.1:4242"))
	}
	// Output:
	// {"from":"127.0.0.1:4242","version":"2.2.20_go","instance":17,"seq":1,"cluster":"MySite_Jobs","node":"123456","time":1700000000,"params":[{"name":"events","type":"int32","value":1200},{"name":"cpu_eff","type":"real64","value":0.93},{"name":"status","type":"string","value":"RUNNING"}]}
}
