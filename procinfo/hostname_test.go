package procinfo

import "testing"

func TestQualify(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, hosts, resolv, want string }{
		{"n", "", "", "n"},
		{"n", "127.0.0.1 localhost\n10.0.0.1\tn.site.example n # us\n", "domain other", "n.site.example"},
		{"n", "10.0.0.1 n n.site.example\n", "domain other", "n"}, // as hostname -f says
		{"n", "127.0.0.1 localhost n\n", "domain other", "n"},
		{"n", "# 10.0.0.1 n.x n\n\nbroken\n", "nameserver 1.2.3.4\nsearch site.example. other\n", "n.site.example"},
		{"N", "10.0.0.1 n.site.example n", "", "n.site.example"},
		{"n", "10.0.0.1 nn.site.example nn", "domain a\nsearch b", "n.b"},
		{"n", "", "search .", "n"},
	} {
		if got := qualify(tt.name, tt.hosts, tt.resolv); got != tt.want {
			t.Errorf("%q %q: got %s, want %s", tt.hosts, tt.resolv, got, tt.want)
		}
	}
	if Hostname() == "" {
		t.Error("no name")
	}
}
