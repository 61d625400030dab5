package procinfo

import "github.com/apmon-go/apmon/internal/kernel"

// devices remembers devices by name, in the order in which they were last seen. In every
// pass, call begin, see for each device, and end.
type devices[T any] struct {
	byName map[string]*T
	order  []*T
	next   int
	seen   uint64
}

// named is the part that all types of devices have.
type named struct {
	name string
	seen uint64
}

func (n *named) id() *named { return n }

// begin starts a pass over all devices.
func (k *devices[T]) begin() { k.next, k.seen = 0, k.seen+1 }

// see returns the device of this name, and calls fresh if it is new.
func see[T any, P interface {
	*T
	id() *named
}](k *devices[T], name []byte, fresh func(P)) P {
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

// end forgets the devices that were not seen in this pass.
func end[T any, P interface {
	*T
	id() *named
}](k *devices[T]) {
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

// A netIf is a network interface.
type netIf struct {
	named
	physical        bool
	hasRoute        bool
	counters        kernel.NetCounters
	inRate, outRate rate
	in, out, errs   string
}

// A disk is a block device.
type disk struct {
	named
	physical    bool
	read, write rate
}
