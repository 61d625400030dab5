package procinfo

import "github.com/apmon-go/apmon/internal/kernel"

// known remembers things by name, in the order in which they were last seen.
type known[T any] struct {
	byName map[string]*T
	order  []*T
	next   int
	seen   uint64
}

// named is what known remembers.
type named struct {
	name string
	seen uint64
}

func (n *named) id() *named { return n }

// begin starts a pass over all things.
func (k *known[T]) begin() { k.next, k.seen = 0, k.seen+1 }

// see returns the thing of this name, made if it is new.
func see[T any, P interface {
	*T
	id() *named
}](k *known[T], name []byte, fresh func(P)) P {
	if k.next < len(k.order) {
		if p := P(k.order[k.next]); p.id().name == string(name) && p.id().seen != k.seen {
			p.id().seen = k.seen
			k.next++
			return p
		}
	}
	p, ok := k.byName[string(name)]
	if !ok {
		if k.byName == nil {
			k.byName = map[string]*T{}
		}
		p = new(T)
		P(p).id().name = string(name)
		k.byName[P(p).id().name] = p
		fresh(p)
	}
	q := P(p)
	if q.id().seen != k.seen { // a name seen twice counts once
		q.id().seen = k.seen
		if k.next < len(k.order) {
			k.order[k.next] = p
		} else {
			k.order = append(k.order, p)
		}
		k.next++
	}
	return q
}

// end forgets what was not seen in this pass.
func end[T any, P interface {
	*T
	id() *named
}](k *known[T]) {
	clear(k.order[k.next:])
	k.order = k.order[:k.next]
	if len(k.byName) > len(k.order) {
		for name, p := range k.byName {
			if P(p).id().seen != k.seen {
				delete(k.byName, name)
			}
		}
	}
}

// netIf is an interface.
type netIf struct {
	named
	physical        bool
	hasRoute        bool
	counters        kernel.NetCounters
	inRate, outRate rate
	in, out, errs   string
}

// disk is a block device.
type disk struct {
	named
	physical    bool
	read, write rate
}
