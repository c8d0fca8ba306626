package replay

import (
	"bytes"
	"slices"
)

// A slab is memory for contents that stay. Small ones stand one behind the other in it.
type slab struct{ free []byte }

const (
	slabSize  = 64 << 10 // bytes
	slabSmall = 2 << 10  // bytes of a content that gets no memory of its own
)

// keep returns b in memory that has no more room than b needs.
func (s *slab) keep(b []byte) []byte {
	n := len(b)
	switch {
	case n == 0:
		return b
	case n > slabSmall && cap(b)-n <= n/16:
		return b
	case n > slabSmall:
		return bytes.Clone(b)
	case len(s.free) < n:
		s.free = make([]byte, slabSize)
	}
	kept := s.free[:n:n]
	s.free = s.free[n:]
	copy(kept, b)
	return kept
}

// fitted returns a list in memory that has little more room than it needs.
func fitted[E any](list []E) []E {
	if cap(list)-len(list) <= len(list)/16 {
		return list
	}
	return slices.Clone(list)
}
