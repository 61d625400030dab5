package receiver

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/apmon-go/apmon/internal/safetext"
)

// ErrAccess is the error of a datagram that the access rules refuse; see [Access]. The whole
// error names the rule and its line.
var ErrAccess = errors.New("refused by an access rule")

// Access are access rules: which addresses, clusters and nodes a receiver accepts. The file
// format is that of the MonALISA service. Lines are trimmed; empty lines and those that begin
// with # are ignored; case is ignored except in names, expressions and passwords.
//
//	Password = WORD
//	192.0.2.0/24 allow
//	2001:db8::/32 allow
//	10.0.0.0/255.0.0.0 deny
//	* deny
//	allow ClusterNames = Site_.*, ApMon_.*
//	deny NodeNames = test[0-9]+
//	default_clusters_policy = deny
//
// Each datagram is checked against the rules for addresses, for clusters and for nodes. Of
// each kind the first rule that matches decides, in the order of the file. If none does,
// default_ip_policy, default_clusters_policy or default_nodes_policy decides; they are allow
// if not given. Without any rule for addresses all are accepted, as in the service, even if
// default_ip_policy is deny.
//
// An address is *, ADDRESS, ADDRESS/BITS or ADDRESS/MASK. IPv4 rules match IPv4 addresses
// only, and IPv6 rules IPv6 addresses only; * matches both.
//
// An expression has the syntax of [regexp], and must match the whole name; a dot matches a
// line break, too. Expressions are separated by commas, except commas between braces.
//
// With a password all datagrams must carry it. If there are several, the last one counts.
// Options.Password has precedence over that of the rules.
//
// The parser of the service has faults: it ignores a default policy of deny, and its rules
// for names never match. [Access.Notes] lists the lines that work here and not there.
type Access struct {
	nets            []netRule
	clusters, nodes []nameRule
	// The default policies; nil allows.
	netDefault, clusterDefault, nodeDefault *accessError

	hasPassword bool
	password    [sha256.Size]byte
	notes       []string
}

// accessError is the error of all datagrams that one rule refuses.
type accessError struct {
	text      string
	byAddress bool
}

func (e *accessError) Error() string        { return e.text }
func (e *accessError) Is(target error) bool { return target == ErrAccess }

// netRule is a rule for addresses. IPv4 addresses are compared in their IPv6 form.
type netRule struct {
	any, is4 bool
	net      address
	mask     address
	deny     *accessError // nil allows
}

type address struct{ high, low uint64 }

func toAddress(a netip.Addr) address {
	b := a.As16()
	return address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a address) and(mask address) address { return address{a.high & mask.high, a.low & mask.low} }

// nameRule is a rule for names of clusters or nodes.
type nameRule struct {
	re   *regexp.Regexp
	deny *accessError // nil allows
}

// address returns why an address is refused.
func (a *Access) address(addr netip.Addr) error {
	if a == nil || len(a.nets) == 0 {
		return nil
	}
	is4, b := addr.Is4(), toAddress(addr)
	for i := range a.nets {
		if r := &a.nets[i]; r.any || r.is4 == is4 && b.and(r.mask) == r.net {
			return r.deny.error()
		}
	}
	return a.netDefault.error()
}

// names returns why a cluster or node is refused.
func (a *Access) names(cluster, node string) error {
	if a == nil {
		return nil
	}
	if err := match(cluster, a.clusters, a.clusterDefault); err != nil {
		return err
	}
	return match(node, a.nodes, a.nodeDefault)
}

func match(name string, rules []nameRule, otherwise *accessError) error {
	for i := range rules {
		if rules[i].re.MatchString(name) {
			return rules[i].deny.error()
		}
	}
	return otherwise.error()
}

// error avoids an interface that holds a nil pointer.
func (e *accessError) error() error {
	if e == nil {
		return nil
	}
	return e
}

// HasPassword reports whether the rules define a password.
func (a *Access) HasPassword() bool { return a.hasPassword }

// Notes returns a line for each rule that the MonALISA service reads differently, for the
// log. They contain no password.
func (a *Access) Notes() []string { return slices.Clone(a.notes) }

// maxAccessLine is the length in bytes of the longest line of access rules.
const maxAccessLine = 1 << 20

// ParseAccess reads access rules, see [Access]. Each error names the source and the line, and
// contains no password; all other lines are used.
func ParseAccess(name string, r io.Reader) (*Access, []error) {
	p := accessParser{name: name, access: new(Access)}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxAccessLine)
	for lines.Scan() {
		p.line++
		if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
			p.parse(line)
		}
	}
	if err := lines.Err(); err != nil {
		p.line++
		p.fail(err)
	}
	a := p.access
	if a.netDefault != nil && len(a.nets) == 0 {
		a.notes = append(a.notes, name+": default_ip_policy has no effect without a rule for an address")
	}
	return a, p.errs
}

type accessParser struct {
	name   string
	line   int
	access *Access
	errs   []error
}

func (p *accessParser) at() string { return p.name + ":" + strconv.Itoa(p.line) + ": " }

func (p *accessParser) fail(err error) { p.errs = append(p.errs, fmt.Errorf("%s%w", p.at(), err)) }

func (p *accessParser) note(text string) {
	p.access.notes = append(p.access.notes, p.at()+text)
}

// policy returns the error of a rule, nil if it allows.
func (p *accessParser) policy(allow bool, rule string) *accessError {
	if allow {
		return nil
	}
	return &accessError{text: ErrAccess.Error() + ": " + p.at() + rule}
}

// parse reads a rule. An error may quote the first word before "=", but not a line without
// it: that could be a password.
func (p *accessParser) parse(line string) {
	key, value, assigned := strings.Cut(line, "=")
	words := strings.Fields(strings.ToLower(key))
	value = strings.TrimSpace(value)
	a := p.access
	switch {
	case !assigned && len(words) == 2:
		p.net(strings.Fields(line)[0], words[1])
	case !assigned:
		p.fail(errors.New("not a rule: use NET allow, NET deny, or KEY = VALUE"))
	case len(words) == 2:
		p.names(words[0], words[1], value)
	case len(words) == 0:
		p.unknown("")
	case len(words) > 2:
		p.unknown(words[0])
	case words[0] == "password":
		p.password(value)
	case words[0] == "default_ip_policy":
		p.defaultPolicy(&a.netDefault, words[0], value)
		if a.netDefault != nil {
			a.netDefault.byAddress = true
		}
	case words[0] == "default_clusters_policy":
		p.defaultPolicy(&a.clusterDefault, words[0], value)
	case words[0] == "default_nodes_policy":
		p.defaultPolicy(&a.nodeDefault, words[0], value)
	default:
		p.unknown(words[0])
	}
}

func (p *accessParser) unknown(key string) {
	p.fail(fmt.Errorf("%s is not a rule", safetext.Quote(key)))
}

func (p *accessParser) password(word string) {
	if word == "" {
		p.fail(errors.New("the password is empty"))
		return
	}
	if p.access.hasPassword {
		p.fail(errors.New("the password is defined again; the last one counts"))
	}
	p.access.hasPassword, p.access.password = true, digest(word)
}

// allows reads a policy.
func (p *accessParser) allows(policy string) (allow, ok bool) {
	switch strings.ToLower(policy) {
	case "allow":
		return true, true
	case "deny":
		return false, true
	}
	p.fail(fmt.Errorf("policy %s is not allow or deny", safetext.Quote(policy)))
	return false, false
}

func (p *accessParser) defaultPolicy(to **accessError, key, value string) {
	allow, ok := p.allows(value)
	if !ok {
		return
	}
	*to = p.policy(allow, key+" = deny")
	if !allow {
		p.note(key + " = deny applies; the MonALISA service ignores it")
	}
}

// net reads "NET allow" or "NET deny".
func (p *accessParser) net(net, policy string) {
	if policy != "allow" && policy != "deny" {
		p.fail(errors.New("not a rule: the second word is not allow or deny"))
		return
	}
	r, err := parseNet(net)
	if err != nil {
		p.fail(err)
		return
	}
	r.deny = p.policy(policy == "allow", net+" deny")
	if r.deny != nil {
		r.deny.byAddress = true
	}
	p.access.nets = append(p.access.nets, r)
}

// parseNet reads *, ADDRESS, ADDRESS/BITS or ADDRESS/MASK.
func parseNet(s string) (netRule, error) {
	if s == "*" {
		return netRule{any: true}, nil
	}
	host, suffix, cut := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return netRule{}, fmt.Errorf("%s is not an address", safetext.Quote(host))
	}
	addr = addr.Unmap()
	bits := addr.BitLen()
	mask, err := netip.ParseAddr(suffix)
	switch {
	case !cut:
	case err == nil && mask.BitLen() == bits && mask.Zone() == "":
		return newNetRule(addr, toAddress(mask)), nil
	default:
		n, err := strconv.ParseUint(suffix, 10, 8)
		if err != nil || int(n) > bits {
			return netRule{}, fmt.Errorf("%s is not a number of bits up to %d or a mask", safetext.Quote(suffix), bits)
		}
		bits = int(n)
	}
	bits += 128 - addr.BitLen()
	return newNetRule(addr, address{^(^uint64(0) >> min(bits, 64)), ^(^uint64(0) >> max(bits-64, 0))}), nil
}

func newNetRule(addr netip.Addr, mask address) netRule {
	return netRule{is4: addr.Is4(), net: toAddress(addr).and(mask), mask: mask}
}

// names reads "allow ClusterNames = RE, RE…" and the like.
func (p *accessParser) names(policy, kind, value string) {
	allow, ok := p.allows(policy)
	if !ok {
		return
	}
	var to *[]nameRule
	switch kind {
	case "clusternames":
		to, kind = &p.access.clusters, "ClusterNames"
	case "nodenames":
		to, kind = &p.access.nodes, "NodeNames"
	default:
		p.unknown(kind)
		return
	}
	for _, e := range splitExpressions(value) {
		e = strings.TrimSpace(e)
		if e == "" {
			p.fail(fmt.Errorf("%s: an expression is empty", kind))
			continue
		}
		_, err := regexp.Compile(e) // alone: it must not close the group
		if err != nil {
			p.fail(fmt.Errorf("%s: %w", kind, err))
			continue
		}
		re, err := regexp.Compile(`\A(?s:` + e + `)\z`)
		if err != nil { // it is too large
			p.fail(fmt.Errorf("%s: %w", kind, err))
			continue
		}
		*to = append(*to, nameRule{re, p.policy(allow, "deny "+kind+" = "+safetext.Quote(e))})
	}
	p.note(kind + " applies; in the MonALISA service such a rule never matches")
}

// splitExpressions splits at commas that are not between braces.
func splitExpressions(s string) []string {
	var all []string
	start, braces := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			braces++
		case '}':
			braces = max(braces-1, 0)
		case ',':
			if braces == 0 {
				all = append(all, s[start:i])
				start = i + 1
			}
		}
	}
	return append(all, s[start:])
}
