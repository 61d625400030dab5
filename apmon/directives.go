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

// KnownOption is a [conf.Known] for the monitoring options of this package.
func KnownOption(option string) (canonical string, ok bool) {
	canonical, ok = known()[option]
	return canonical, ok
}

// Directives are those of apmon-bg, for [conf.Reader]: they say what it monitors.
// A client accepts and ignores them, since it reads the same files.
var Directives = map[string]bool{
	"cluster": true, "node": true, "host_group": true,
	"service": true, "watch_job": true, "watch_cgroup": true,
}
