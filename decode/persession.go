package decode

import "slices"

// MaxOpen is how many sessions of a file may be open at the same time, for all of
// their state to be kept: more than one machine has ports for. Of more, the one
// that was silent for longest is taken for one that never ends.
const MaxOpen = 1 << 16

// PerSession keeps a T for each open session, by the session's number. The zero
// value is ready for use.
type PerSession[T any] struct {
	// Max is how many are kept at most; 0 means MaxOpen. Of more, the one that
	// was not asked for for longest is forgotten.
	Max int

	// Forgotten, if not nil, is given each of those.
	Forgotten func(conn int64, v *T)

	m    map[int64]*kept[T]
	last *kept[T] // asked for; those before it are a ring that the next in turn begins
}

// A kept T stands in a ring, between those that were asked for before and after it.
type kept[T any] struct {
	v            T
	conn         int64
	before, next *kept[T]
}

// Of returns the T of the session of ev, a new one if there is none yet. Session
// numbers start over with each recording, so an open event always makes a new one.
// A closed event removes it; it is then the caller's.
func (p *PerSession[T]) Of(ev *Event) *T {
	switch {
	case ev.Kind == KindClosed:
		v := p.Lookup(ev.Conn)
		p.Forget(ev.Conn)
		if v == nil {
			v = new(T)
		}
		return v
	case ev.Kind == KindOpen:
		p.Forget(ev.Conn)
	}
	return p.OfConn(ev.Conn)
}

// OfConn returns the T of a session, a new one if there is none yet.
func (p *PerSession[T]) OfConn(conn int64) *T {
	if v := p.Lookup(conn); v != nil {
		return v
	}
	most := p.Max
	if most == 0 {
		most = MaxOpen
	}
	if len(p.m) >= most {
		oldest := p.last.next
		p.Forget(oldest.conn)
		if p.Forgotten != nil {
			p.Forgotten(oldest.conn, &oldest.v)
		}
	}
	if p.m == nil {
		p.m = make(map[int64]*kept[T])
	}
	k := &kept[T]{conn: conn}
	p.m[conn] = k
	p.join(k)
	return &k.v
}

// join makes k the last of the ring.
func (p *PerSession[T]) join(k *kept[T]) {
	if p.last == nil {
		k.before, k.next = k, k
	} else {
		k.before, k.next = p.last, p.last.next
		k.before.next, k.next.before = k, k
	}
	p.last = k
}

// leave takes k out of the ring, and the ring out of k: whoever keeps the T of a
// session must not keep all others.
func (p *PerSession[T]) leave(k *kept[T]) {
	k.before.next, k.next.before = k.next, k.before
	if p.last == k {
		p.last = k.before
	}
	if p.last == k {
		p.last = nil
	}
	k.before, k.next = nil, nil
}

// Lookup returns the T of a session, or nil.
func (p *PerSession[T]) Lookup(conn int64) *T {
	k := p.m[conn]
	if k == nil {
		return nil
	}
	if p.last != k {
		p.leave(k)
		p.join(k)
	}
	return &k.v
}

// Forget removes the T of a session.
func (p *PerSession[T]) Forget(conn int64) {
	if k := p.m[conn]; k != nil {
		p.leave(k)
		delete(p.m, conn)
	}
}

// Clear removes all.
func (p *PerSession[T]) Clear() { p.m, p.last = nil, nil }

// Open returns the numbers of the sessions that have a T, in ascending order.
func (p *PerSession[T]) Open() []int64 {
	numbers := make([]int64, 0, len(p.m))
	for n := range p.m {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}
