package profiler_test

import (
	"fmt"
	"io"
	"net/http"

	"github.com/apmon-go/apmon/apmon/profiler"
)

func ExampleListen() {
	p, err := profiler.Listen("127.0.0.1:0", profiler.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	resp, err := http.Get("http://" + p.Addr().String() + "/goroutine") // or: go tool pprof http://…/profile?seconds=10
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)

	resp, err = http.Get("http://" + p.Addr().String() + "/last") // the last profile as text
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	fmt.Print(string(text))

	_, err = profiler.Listen("192.0.2.1:6060", profiler.Options{})
	fmt.Println(err)
	// Output:
	// 200 OK
	// No profiling data
	// profiler: 192.0.2.1:6060 is not a loopback address
}
