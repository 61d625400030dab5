package procinfo_test

import (
	"fmt"

	"github.com/apmon-go/apmon/procinfo"
)

// A host is sampled again and again. Rates and shares are known from the second sample on.
func Example() {
	// procinfo.DefaultFS(os.Getenv) is this host; here are the files of another one.
	host := procinfo.NewHost(procinfo.DirFS("testdata/x86"))
	defer host.Close()
	if err := host.Sample(nil); err != nil {
		fmt.Println(err) // the known values are set
	}
	s := &host.System
	fmt.Println("load over 5 minutes:", s.Load[1].V)
	fmt.Println("CPU usage is known:", s.CPU.Usage.OK)

	// As parameters, here only the load averages.
	onlyLoad := func(option string) (on bool, spelled string) {
		return option == "sys_load1" || option == "sys_load5" || option == "sys_load15", ""
	}
	for _, p := range s.Append(nil, onlyLoad) {
		fmt.Println(p.Name, p.Float())
	}
	// Output:
	// load over 5 minutes: 1.25
	// CPU usage is known: false
	// load1 0.52
	// load5 1.25
	// load15 10
}
