package procinfo

import (
	"os"
	"strings"
)

// Hostname returns the fully qualified name of this host, as "hostname -f"
// would, but from local files alone, so that it never waits for DNS and does
// not change when DNS fails: the kernel's host name where it has a dot, else
// the first name of its line in /etc/hosts, else the name with the first
// domain of /etc/resolv.conf. Where none is known it returns the bare name,
// and "localhost" where there is not even that.
func Hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	if strings.Contains(name, ".") {
		return name
	}
	hosts, _ := os.ReadFile("/etc/hosts")
	resolv, _ := os.ReadFile("/etc/resolv.conf")
	return qualify(name, string(hosts), string(resolv))
}

// qualify looks for the domain of a name without one.
func qualify(name, hosts, resolv string) string {
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		for _, alias := range f[1:] {
			if strings.EqualFold(alias, name) {
				// "127.0.0.1 localhost myhost" says nothing of the name.
				if f[1] == "localhost" || strings.HasPrefix(f[1], "localhost.") {
					return name
				}
				return f[1]
			}
		}
	}
	domain := ""
	for line := range strings.Lines(resolv) {
		// The last of the two directives counts, as in resolv.conf(5).
		if f := strings.Fields(line); len(f) > 1 && (f[0] == "domain" || f[0] == "search") {
			domain = strings.Trim(f[1], ".")
		}
	}
	if domain == "" {
		return name
	}
	return name + "." + domain
}
