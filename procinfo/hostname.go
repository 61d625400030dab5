package procinfo

import (
	"os"
	"strings"
)

// Hostname returns the fully qualified name of this host, as "hostname -f" does, but from
// local files alone: it never waits for DNS, and does not change when DNS fails. It is the
// kernel's host name if that contains a dot, otherwise the first name in its line of
// /etc/hosts, otherwise the name with the first domain of /etc/resolv.conf. If no domain
// is known, it is the bare name, and "localhost" if the kernel has none.
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

// qualify adds the domain to a name without one. hosts and resolv are the contents of
// /etc/hosts and /etc/resolv.conf. See hosts(5).
func qualify(name, hosts, resolv string) string {
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		for _, alias := range f[1:] {
			if strings.EqualFold(alias, name) {
				// "127.0.0.1 localhost myhost" does not contain the full name.
				if f[1] == "localhost" || strings.HasPrefix(f[1], "localhost.") {
					return name
				}
				return f[1]
			}
		}
	}
	domain := ""
	for line := range strings.Lines(resolv) {
		// The last of the two directives is used: see resolv.conf(5).
		if f := strings.Fields(line); len(f) > 1 && (f[0] == "domain" || f[0] == "search") {
			domain = strings.Trim(f[1], ".")
		}
	}
	if domain == "" {
		return name
	}
	return name + "." + domain
}
