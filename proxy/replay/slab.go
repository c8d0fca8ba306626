package replay

import (
	"bytes"
	"slices"
)

// A slab is memory for contents that stay, which nobody changes. Small ones stand one
// behind the other in it. Those of a long trace are in a file.
type slab struct {
	free  []byte
	held  int64 // bytes in memory
	spool spool
}

const (
	slabSize  = 64 << 10 // bytes
	slabSmall = 2 << 10  // bytes of a content that gets no memory of its own
)

// spoolAfter is how many bytes of contents are held in memory before a file is used.
var spoolAfter int64 = 64 << 20

// keep returns b in memory that has no more room than b needs.
func (s *slab) keep(b []byte) []byte {
	n := len(b)
	if s.held >= spoolAfter {
		if kept := s.spool.keep(b); kept != nil {
			return kept
		}
	}
	s.held += int64(n)
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
