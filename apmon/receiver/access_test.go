package receiver

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/xdr"
)

// rules parses access rules that have no errors.
func rules(t testing.TB, text string) *Access {
	t.Helper()
	a, errs := ParseAccess("rules", strings.NewReader(text))
	for _, err := range errs {
		t.Error(err)
	}
	return a
}

func TestAccessByAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rules string
		allowed     string // addresses
		denied      string // addresses@line of the rule
	}{
		{"no rules", "", "192.0.2.1 2001:db8::1", ""},
		{"comments and blank lines", "# 192.0.2.1 deny\n\n   \n\t# * deny\r\n", "192.0.2.1", ""},
		{"one address", "192.0.2.1 deny", "192.0.2.2 2001:db8::1", "192.0.2.1@1"},
		{"the first match decides", "192.0.2.1 allow\n192.0.2.0/24 deny\n192.0.2.2 allow", "192.0.2.1 192.0.3.1", "192.0.2.2@2 192.0.2.3@2"},
		{"only one", "192.0.2.1 allow\n* deny", "192.0.2.1", "192.0.2.2@2 2001:db8::1@2"},
		{"mask", "10.16.0.0/255.240.0.0 allow\n* deny", "10.16.0.1 10.31.255.255", "10.32.0.0@2 10.15.255.255@2"},
		{"a mask with holes", "10.0.0.1/255.0.0.255 deny", "10.2.3.4", "10.2.3.1@1"},
		{"bits of the host do not count", "192.0.2.77/24 deny", "192.0.3.77", "192.0.2.1@1"},
		{"no bits is one family", "0.0.0.0/0 deny", "2001:db8::1 ::1", "192.0.2.1@1"},
		{"no bits of IPv6", "::/0 deny", "192.0.2.1", "2001:db8::1@1 ::1@1"},
		{"IPv6", "2001:db8::/33 deny\nfe80::/ffc0:: deny", "2001:db8:8000::1 fec0::1", "2001:db8:7fff::1@1 fe80::1@2 fe80::1%eth0@2"},
		{"IPv4 in IPv6", "::ffff:192.0.2.1 deny", "192.0.2.2", "192.0.2.1@1"},
		{"all bits", "192.0.2.1/32 deny\n2001:db8::1/128 deny", "192.0.2.0 2001:db8::2", "192.0.2.1@1 2001:db8::1@2"},
		{"case and blanks", "  192.0.2.1 \t DENY  ", "192.0.2.2", "192.0.2.1@1"},
		{"default", "default_ip_policy = deny\n192.0.2.1 allow", "192.0.2.1", "192.0.2.2@1 ::1@1"},
		{"default of allow", "192.0.2.1 deny\nDEFAULT_IP_POLICY=Allow", "192.0.2.2", "192.0.2.1@1"},
		{"default without a rule", "default_ip_policy = deny", "192.0.2.1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := rules(t, c.rules)
			for _, s := range strings.Fields(c.allowed) {
				if err := a.address(netip.MustParseAddr(s)); err != nil {
					t.Errorf("%s: %v", s, err)
				}
			}
			for _, s := range strings.Fields(c.denied) {
				s, line, _ := strings.Cut(s, "@")
				err := a.address(netip.MustParseAddr(s))
				if !errors.Is(err, ErrAccess) || !strings.Contains(err.Error(), "rules:"+line+": ") || !byAddress(err) {
					t.Errorf("%s: %v, want line %s", s, err, line)
				}
			}
		})
	}
}

func TestAccessByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rules   string
		cluster, node string
		line          int // of the rule that refuses; 0 for none
	}{
		{"no rules", "", "C", "N", 0},
		{"denied", "deny ClusterNames = C", "C", "N", 1},
		{"the whole name must match", "deny ClusterNames = C", "CC", "N", 0},
		{"alternatives are of the whole name", "deny ClusterNames = A|C", "CA", "N", 0},
		{"alternatives", "deny ClusterNames = A|C", "C", "N", 1},
		{"expression", "deny ClusterNames = Site_.*", "Site_Jobs", "N", 1},
		{"list", "deny ClusterNames = A, B ,C", "C", "N", 1},
		{"the first match decides", "allow ClusterNames = Site_A\ndeny ClusterNames = Site_.*", "Site_A", "N", 0},
		{"the first match decides, other", "allow ClusterNames = Site_A\ndeny ClusterNames = Site_.*", "Site_B", "N", 2},
		{"default", "default_clusters_policy = deny\nallow ClusterNames = C", "D", "N", 1},
		{"default, allowed", "default_clusters_policy = deny\nallow ClusterNames = C", "C", "N", 0},
		{"default without a rule", "default_nodes_policy = deny", "C", "N", 1},
		{"node", "deny NodeNames = N", "C", "N", 1},
		{"node, and not cluster", "deny NodeNames = C", "C", "N", 0},
		{"cluster and node", "allow ClusterNames = C\ndeny NodeNames = N", "C", "N", 2},
		{"case of keys", "DENY clusternames=C", "C", "N", 1},
		{"case of names", "deny ClusterNames = c", "C", "N", 0},
		{"case by flag", "deny ClusterNames = (?i)c", "C", "N", 1},
		{"commas in braces", "deny ClusterNames = C{2,3}, D", "CCC", "N", 1},
		{"= in an expression", "deny ClusterNames = a=b", "a=b", "N", 1},
		{"escaped brace", `deny ClusterNames = \{, D`, "D", "N", 1},
		// A hostile name cannot avoid a rule.
		{"line break", "deny ClusterNames = C.*", "C\nx", "N", 1},
		{"line break at the end", "deny ClusterNames = C.*", "C\n", "N", 1},
		{"not UTF-8", "deny ClusterNames = C.*", "C\xff\xfe", "N", 1},
		{"empty name", "deny ClusterNames = .*", "", "N", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := rules(t, c.rules).names(c.cluster, c.node)
			switch {
			case c.line == 0 && err == nil:
			case c.line == 0:
				t.Error(err)
			case !errors.Is(err, ErrAccess) || !strings.Contains(err.Error(), fmt.Sprintf("rules:%d: ", c.line)) || byAddress(err):
				t.Errorf("error %v, want line %d", err, c.line)
			}
		})
	}
}

func TestAccessErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, want string }{
		{"192.0.2.300 deny", `"192.0.2.300" is not an address`},
		{"example.org deny", `"example.org" is not an address`},
		{"fe80::1%eth0 deny", `"fe80::1%eth0" is not an address`},
		{"192.0.2.0/33 deny", `"33" is not a number of bits up to 32`},
		{"192.0.2.0/ deny", `"" is not a number of bits`},
		{"192.0.2.0/-1 deny", `"-1" is not`},
		{"192.0.2.0/ffff:: deny", `"ffff::" is not`},
		{"2001:db8::/129 deny", `"129" is not a number of bits up to 128`},
		{"192.0.2.1 forbid", "not allow or deny"},
		{"192.0.2.1", "not a rule"},
		{"192.0.2.1 deny deny", "not a rule"},
		{"default_ip_policy = no", `policy "no" is not allow or deny`},
		{"default_names_policy = deny", `"default_names_policy" is not a rule`},
		{"deny Names = x", `"names" is not a rule`},
		{"refuse ClusterNames = x", `policy "refuse"`},
		{"deny ClusterNames =", "ClusterNames: an expression is empty"},
		{"deny ClusterNames = (", "ClusterNames: error parsing regexp"},
		{"deny ClusterNames = a)(b", "ClusterNames: error parsing regexp"},
		{"deny NodeNames = (?=x)y", "NodeNames: error parsing regexp"},
		{"Password =", "the password is empty"},
	} {
		a, errs := ParseAccess("f.conf", strings.NewReader("# 1\n"+c.line+"\n192.0.2.99 deny\n"))
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "f.conf:2: ") || !strings.Contains(errs[0].Error(), c.want) {
			t.Errorf("%s: errors %v, want %s", c.line, errs, c.want)
		}
		// The other lines are used.
		if a.address(netip.MustParseAddr("192.0.2.99")) == nil || a.address(netip.MustParseAddr("192.0.2.1")) != nil || a.names("x", "y") != nil {
			t.Errorf("%s: the other line is not used", c.line)
		}
	}
	_, errs := ParseAccess("f.conf", strings.NewReader("\n"+strings.Repeat("x", maxAccessLine+1)))
	if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "f.conf:2: ") {
		t.Errorf("a long line: %v", errs)
	}
}

func TestAccessPasswordsAreNotQuoted(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"Password = secret-A\nPassword = secret-B", "Password secret-A", "Password secret-A secret-B", "secret-A",
		"Password: secret-A", "Pasword = secret-A", "Password secret-A = secret-B", "Password x secret-A = secret-B",
	} {
		a, errs := ParseAccess("rules", strings.NewReader(text))
		if len(errs) != 1 {
			t.Errorf("%s: errors %v", text, errs)
		}
		if all := fmt.Sprint(errs, a.Notes()); strings.Contains(strings.ToLower(all), "secret-") {
			t.Errorf("%s: %s", text, all)
		}
	}
}

func TestAccessNotes(t *testing.T) {
	t.Parallel()
	a := rules(t, `Password = x
* allow
default_ip_policy = allow
default_clusters_policy = deny
allow ClusterNames = A, B
deny NodeNames = C
`)
	compare(t, a.Notes(), []string{
		"rules:4: default_clusters_policy = deny applies; the MonALISA service ignores it",
		"rules:5: ClusterNames applies; in the MonALISA service such a rule never matches",
		"rules:6: NodeNames applies; in the MonALISA service such a rule never matches",
	})
	compare(t, rules(t, "default_ip_policy = deny").Notes(), []string{
		"rules:1: default_ip_policy = deny applies; the MonALISA service ignores it",
		"rules: default_ip_policy has no effect without a rule for an address",
	})
}

// Passwords of the rules, with and without one of the options.
func TestAccessPassword(t *testing.T) {
	t.Parallel()
	own := "secret-A"
	for _, c := range []struct {
		option   *string
		rules    string
		accepted string
	}{
		{nil, "* allow", "secret-A secret-B none"},
		{nil, "Password = secret-B", "secret-B"},
		{nil, "password=  secret-B \r\n", "secret-B"},
		{&own, "Password = secret-B", "secret-A"},
		{&own, "* allow", "secret-A"},
	} {
		r := listen(t, "127.0.0.1:0", Options{Password: c.option, Access: rules(t, c.rules)})
		if got := r.access.Load().HasPassword(); got != strings.Contains(strings.ToLower(c.rules), "password") {
			t.Errorf("%q: HasPassword returns %v", c.rules, got)
		}
		conn := dial(t, r)
		for _, password := range []string{"secret-A", "secret-B", "none"} {
			send(t, conn, datagram(password, 1))
		}
		var accepted []string
		all(t, r, func(p *Packet) {
			switch {
			case p.Datagram != nil:
				accepted = append(accepted, strings.Clone(p.Datagram.Password))
			case p.Err != ErrPassword:
				t.Errorf("%q: %v", c.rules, p.Err)
			}
		})
		if got := strings.Join(accepted, " "); got != c.accepted {
			t.Errorf("%q: accepted %s, want %s", c.rules, got, c.accepted)
		}
	}
}

// Refusals are counted by reason and sender; a denied address is not decoded.
func TestAccessRefusals(t *testing.T) {
	t.Parallel()
	r := listen(t, "127.0.0.1:0", Options{Access: rules(t, "Password = p\ndeny ClusterNames = C")})
	c := dial(t, r)
	allow := xdr.Datagram{Version: xdr.Version, Password: "p", Instance: 17, Seq: 1, Cluster: "D", Node: "N", Params: []xdr.Param{xdr.Int("x", 1)}}
	send(t, c, []byte("garbage"))
	send(t, c, datagram("q", 1))
	send(t, c, datagram("p", 1))
	send(t, c, allow.Append(nil))
	n := 0
	all(t, r, func(p *Packet) {
		if n++; n == 3 && (!errors.Is(p.Err, ErrAccess) || p.Refused == nil || p.Refused.Cluster != "C" || len(p.Refused.Params) != 0) {
			t.Errorf("by name: %+v", p)
		}
		// An output that decodes once more gets the same.
		again := Packet{Raw: p.Raw}
		var refused error
		if p.Datagram == nil {
			refused = p.Err
		}
		var d xdr.Datagram
		again.Decode(&d, refused)
		if (again.Refused == nil) != (p.Refused == nil) || (again.Datagram == nil) != (p.Datagram == nil) || fmt.Sprint(again.Err) != fmt.Sprint(p.Err) {
			t.Errorf("decoded again: %+v, first %+v", again, p)
		}
	})
	s := r.Stats()
	compare(t, s.Refusals, Refusals{Malformed: 1, Password: 1, Access: 1})
	if s.Refused != 3 || s.Received != 1 {
		t.Errorf("stats %+v", s)
	}
	if got := r.Senders()[0]; got.Sequenced || got.Refused != 3 || !errors.Is(got.Refusal, ErrAccess) || !strings.Contains(got.Refusal.Error(), "rules:2: deny ClusterNames = \"C\"") {
		t.Errorf("sender %+v", got)
	}

	byAddr := listen(t, "127.0.0.1:0", Options{Access: rules(t, "127.0.0.0/8 deny")})
	send(t, dial(t, byAddr), datagram("", 1))
	all(t, byAddr, func(p *Packet) {
		if !errors.Is(p.Err, ErrAccess) || p.Refused != nil || p.Datagram != nil {
			t.Errorf("by address: %+v", p)
		}
	})
	compare(t, byAddr.Stats().Refusals, Refusals{Access: 1})
}

func FuzzParseAccess(f *testing.F) {
	f.Add("Password = x\n192.0.2.0/24 allow\n* deny\nallow ClusterNames = A{1,2}, B\ndefault_nodes_policy = deny\n", "A", "B")
	f.Add("::/0 deny\r\n# x\n1/2 allow\n= =\n\\,", "", "\xff")
	f.Fuzz(func(t *testing.T, text, cluster, node string) {
		a, errs := ParseAccess("f", strings.NewReader(text))
		for _, err := range errs {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("%v", err)
			}
		}
		for _, s := range []string{"192.0.2.1", "2001:db8::1"} {
			if err := a.address(netip.MustParseAddr(s)); err != nil && !errors.Is(err, ErrAccess) {
				t.Error(err)
			}
		}
		_ = a.names(cluster, node)
	})
}

func BenchmarkAccess(b *testing.B) {
	a := rules(b, "10.0.0.0/8 allow\n192.0.2.0/24 allow\n* deny\nallow ClusterNames = Site_.*, ApMon_.*\n")
	addr := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if a.address(addr) != nil || a.names("Site_Jobs", "123456") != nil {
			b.Fatal("refused")
		}
	}
}
