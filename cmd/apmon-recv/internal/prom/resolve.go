package prom

import (
	"time"

	"github.com/apmon-go/apmon/internal/history"
)

// rules are compiled rules and the metrics that they have led to. The renderer uses them, one
// rendering at a time.
type rules struct {
	list []*rule
	// The rules by their only parameter, and those that have patterns for it, as indices of
	// list, ascending.
	byParam map[string][]int
	others  []int

	unmapped, dropped *mark
	// Of a series whose name, made from captures, another rule has with another type or
	// other labels.
	conflict *mark
	lastSeen *family

	families map[string]*family // by familyName
	order    []*family          // by name, unless unsorted
	unsorted bool

	// Of resolve, used again.
	captured []string
	buf      []byte
	taken    map[claimed]struct{}
}

// mark is what a series leads to. It is attached to the series in the store, so that it is
// found once per series. A mark of type *lost says that another parameter of the node has the
// same metric and labels.
type mark struct {
	rules  *rules // to which it belongs: others are out of date
	rule   *rule
	family *family // nil if the series is not exported
	labels string  // beside cluster and node: each with a comma before it
}

type lost mark

// current returns the mark of a series, nil if it has none or that is out of date, and
// whether it is lost.
func (rs *rules) current(s *history.Series) (m *mark, isLost bool) {
	switch v := s.Mark().(type) {
	case *mark:
		m = v
	case *lost:
		m, isLost = (*mark)(v), true
	}
	if m == nil || m.rules != rs || m.family != nil && m.family.dead {
		return nil, false
	}
	return m, isLost
}

// claimed identifies a series among those of its node.
type claimed struct {
	family *family
	labels string
}

// claims returns what a mark claims for itself. A parameter without a rule has its name
// as label, and so has no rival.
func (m *mark) claims(rs *rules) (c claimed, ok bool) {
	return claimed{m.family, m.labels}, m.family != nil && m != rs.unmapped
}

// settle gives a mark to each series of a node that has none, unless there is no memory for
// it, and to those that are lost a chance to be exported.
func (rs *rules) settle(n *history.Node) {
	settled := true
	for s := range n.Series() {
		if m, isLost := rs.current(s); m == nil || isLost {
			settled = false
			break
		}
	}
	if settled {
		return
	}
	clear(rs.taken)
	for s := range n.Series() {
		if m, isLost := rs.current(s); m != nil && !isLost {
			if c, ok := m.claims(rs); ok {
				rs.taken[c] = struct{}{}
			}
		}
	}
	for s := range n.Series() {
		m, isLost := rs.current(s)
		if m != nil && !isLost {
			continue
		}
		if m == nil {
			m = rs.resolve(n, s)
		}
		var value any = m
		if c, ok := m.claims(rs); ok {
			if _, rival := rs.taken[c]; rival {
				value = (*lost)(m)
			} else {
				rs.taken[c] = struct{}{}
			}
		}
		if value != s.Mark() {
			n.Mark(s, value, m.cost(), m.expire())
		}
	}
}

// Memory of a mark of one series, and of a metric whose name a capture determines, in bytes.
const (
	markCost   = 64
	familyCost = 400
)

// cost returns the memory that a series needs for its mark, in bytes.
func (m *mark) cost() int {
	if m.family == nil || m == m.rules.unmapped || m == m.rule.static {
		return 0
	}
	n := markCost + len(m.labels)
	if m.family.rule != nil {
		n += familyCost + 2*len(m.family.name)
	}
	return n
}

// expire returns the time without a value after which a series ends, 0 for that of the store.
func (m *mark) expire() time.Duration {
	if m.rule == nil {
		return 0
	}
	return m.rule.Expire
}

// resolve finds the mark of a series: the first rule that matches decides.
func (rs *rules) resolve(n *history.Node, s *history.Series) *mark {
	exact := rs.byParam[s.Name]
	others := rs.others
	for len(exact)+len(others) > 0 {
		var i int
		if len(others) == 0 || len(exact) > 0 && exact[0] < others[0] {
			i, exact = exact[0], exact[1:]
		} else {
			i, others = others[0], others[1:]
		}
		if m := rs.apply(rs.list[i], n, s); m != nil {
			return m
		}
	}
	return rs.unmapped
}

// apply returns the mark of a series if a rule matches.
func (rs *rules) apply(r *rule, n *history.Node, s *history.Series) *mark {
	captured := rs.captured[:0]
	for i, name := range [3]string{n.Cluster, n.Name, s.Name} {
		var ok bool
		if captured, ok = r.patterns[i].match(name, captured); !ok {
			return nil
		}
	}
	rs.captured = captured
	if r.static != nil {
		return r.static
	}
	names := &names{n.Cluster, n.Name, s.Name, captured}
	f := r.family
	if f == nil {
		f = rs.dynamic(r, names)
	}
	if f == nil {
		return rs.conflict
	}
	return &mark{rules: rs, rule: r, family: f, labels: string(r.appendLabels(nil, names))}
}

// dynamic returns the family whose name captures determine, nil for a conflict.
func (rs *rules) dynamic(r *rule, n *names) *family {
	rs.buf = r.name.expand(rs.buf[:0], n)
	name := notInName.ReplaceAllString(string(rs.buf), "_")
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	f := rs.families[familyName(name, r.Type)]
	switch {
	case reserved(name) || f != nil && f.differs(name, r) != nil:
		return nil
	case f == nil:
		f = rs.addFamily(name, r.Type, r.Help, r.key)
		f.rule = r
	}
	return f
}

// appendLabels appends the labels of the rule as an exposition has them, each after a comma.
func (r *rule) appendLabels(b []byte, n *names) []byte {
	var value []byte
	for _, l := range r.labels {
		value = l.value.expand(value[:0], n)
		b = append(b, ',')
		b = append(b, l.name...)
		b = append(b, `="`...)
		b = appendLabel(b, string(value), true)
		b = append(b, '"')
	}
	return b
}
