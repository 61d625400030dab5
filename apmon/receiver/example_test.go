package receiver_test

import (
	"context"
	"fmt"
	"net"

	"github.com/apmon-go/apmon/apmon/receiver"
	"github.com/apmon-go/apmon/xdr"
)

func Example() {
	r, err := receiver.Listen("127.0.0.1:0", receiver.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()

	// A client; a real one uses package apmon. One datagram does not arrive.
	conn, err := net.Dial("udp", r.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	for _, seq := range []int32{1, 3} {
		d := xdr.Datagram{Version: xdr.Version, Instance: 17, Seq: seq, Cluster: "MySite_Jobs", Node: "123456", Params: []xdr.Param{xdr.Int("events", seq*100)}}
		if _, err := conn.Write(d.Append(nil)); err != nil {
			fmt.Println(err)
		}
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	err = r.Serve(ctx, func(p *receiver.Packet) {
		if p.Err != nil {
			fmt.Println(p.From, p.Err)
		}
		if p.Datagram == nil { // a truncated one has an error, and parameters
			return
		}
		for i := range p.Datagram.Params {
			param := &p.Datagram.Params[i]
			fmt.Println(p.Datagram.Cluster, p.Datagram.Node, param.Name, param.Int())
		}
		if p.Datagram.Seq == 3 {
			stop()
		}
	})
	if err != nil {
		fmt.Println(err)
	}
	for _, s := range r.Senders() {
		fmt.Println(s.Addr, "received", s.Received, "lost", s.Lost)
	}
	// Output:
	// MySite_Jobs 123456 events 100
	// MySite_Jobs 123456 events 300
	// 127.0.0.1 received 2 lost 1
}
