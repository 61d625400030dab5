package apmon

import (
	"sync"

	"github.com/apmon-go/apmon/procinfo"
)

// known maps each spelling of an option to the canonical one.
var known = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for _, metric := range procinfo.Metrics() {
		m[metric.Option] = metric.Option
		for _, a := range metric.Aliases {
			m[a.Option] = metric.Option
		}
	}
	return m
})

// KnownOption is a [conf.OptionLookup] for the monitoring options of this package.
func KnownOption(option string) (canonical string, ok bool) {
	canonical, ok = known()[option]
	return canonical, ok
}
