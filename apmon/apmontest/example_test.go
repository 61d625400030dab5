package apmontest_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
	"github.com/apmon-go/apmon/xdr"
)

// report stands for the tested program, which sends with ApMon.
func report(destination string) error {
	conn, err := net.Dial("udp", destination)
	if err != nil {
		return err
	}
	defer conn.Close()
	d := xdr.Datagram{
		Version: xdr.Version, Cluster: "MySite_Jobs", Node: "123456",
		Params: []xdr.Param{xdr.Int("events", 1200), xdr.Float("cpu_eff", 0.93), xdr.String("status", "RUNNING")},
	}
	_, err = conn.Write(d.Append(nil))
	return err
}

// testReport is TestReport(t *testing.T) in a real program.
func testReport(t testing.TB) {
	recv := apmontest.New(t)
	if err := report(recv.Addr()); err != nil {
		t.Fatalf("report: %v", err)
	}
	d := recv.Wait(1)[0]
	fmt.Println(d.Cluster, d.Node, len(d.Params))

	params := recv.Params("MySite_Jobs", "123456")
	fmt.Println(params["events"] == 1200, params["cpu_eff"] == 0.93, params["status"])
}

func Example() {
	fmt.Print(new(fake).run(testReport))
	// Output:
	// MySite_Jobs 123456 3
	// true true RUNNING
}
