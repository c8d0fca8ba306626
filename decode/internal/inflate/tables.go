package inflate

import "sync"

// An entry of a code table says what a code stands for and how many bits it has.
//
//	bits 0–3    code bits to drop
//	bits 4–7    extra bits that follow, or the index bits of a second table
//	bits 8–10   what it is
//	bits 16–31  literal, base of length or distance, or start of the second table
type entry uint32

const (
	entryLiteral entry = (iota + 1) << 8
	entryBase
	entryEnd
	entryLink
	entryKind entry = 7 << 8 // mask; 0 is a code that stands for nothing
)

func (e entry) drop() uint    { return uint(e & 15) }
func (e entry) extra() uint   { return uint(e >> 4 & 15) }
func (e entry) value() uint32 { return uint32(e >> 16) }

// Sizes of the tables: the most entries that a complete code can need, given
// the index bits of the first table (286 symbols, or 32, of at most 15 bits).
const (
	litBits  = 10
	distBits = 8
	metaBits = 7
)

type (
	litTable  [1334]entry
	distTable [402]entry
)

// dynamicCodes are the tables of a dynamic block, and what builds them.
type dynamicCodes struct {
	lit  litTable
	off  distTable
	meta [1 << metaBits]entry

	nlit, ndist, nmeta int
	n                  int // lengths read so far
	lengths            [286 + 30]uint8
	metaLengths        [19]uint8
}

var codesPool = sync.Pool{New: func() any { return new(dynamicCodes) }}

// What the codes stand for (RFC 1951 §3.2.5 to 3.2.7), without lengths.
var (
	litEntries  [288]entry
	distEntries [32]entry
	metaEntries [19]entry
	fixedLit    litTable
	fixedDist   distTable
)

func init() {
	for i := range 256 {
		litEntries[i] = entryLiteral | entry(i)<<16
	}
	litEntries[256] = entryEnd
	base := 3
	for i := range 28 { // 285 has a length of its own
		extra := max(0, i/4-1)
		litEntries[257+i] = entryBase | entry(extra)<<4 | entry(base)<<16
		base += 1 << extra
	}
	litEntries[285] = entryBase | 258<<16
	base = 1
	for i := range 30 {
		extra := max(0, i/2-1)
		distEntries[i] = entryBase | entry(extra)<<4 | entry(base)<<16
		base += 1 << extra
	}
	for i := range metaEntries {
		metaEntries[i] = entryLiteral | entry(i)<<16
	}
	metaEntries[16] |= 2 << 4
	metaEntries[17] |= 3 << 4
	metaEntries[18] |= 7 << 4

	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	if err := buildTable(fixedLit[:], litBits, lengths[:], litEntries[:], false); err != nil {
		panic(err)
	}
	for i := range 32 {
		lengths[i] = 5
	}
	if err := buildTable(fixedDist[:], distBits, lengths[:32], distEntries[:], false); err != nil {
		panic(err)
	}
}

// buildTable fills table with the canonical code of the given lengths
// (RFC 1951 §3.2.2): a first table for the low root bits, and second tables
// for longer codes. The code must be complete, empty, or, if sparse, a single
// code of one bit.
func buildTable(table []entry, root uint, lengths []uint8, entries []entry, sparse bool) error {
	var count, next [16]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	code, used, longest := 0, 0, 0
	for n := 1; n <= 15; n++ {
		next[n] = code
		code += count[n]
		if code > 1<<n {
			return errCodes
		}
		if count[n] > 0 {
			longest = n
		}
		used += count[n]
		code <<= 1
	}
	if complete := code == 1<<16; !complete && used > 0 && !(sparse && longest == 1) {
		return errCodes
	}
	first := table[:1<<root]
	clear(first)
	// The index bits of each second table: the longest of its codes decides.
	if longest > int(root) {
		starts := next
		for _, n := range lengths {
			if n := uint(n); n > root {
				low := reverse(starts[n], n) & (1<<root - 1)
				starts[n]++
				if e := first[low]; e.extra() < n-root {
					first[low] = entryLink | entry(n-root)<<4
				}
			}
		}
		size := len(first)
		for i, e := range first {
			if e != 0 {
				first[i] |= entry(size) << 16
				size += 1 << e.extra()
				if size > len(table) {
					return errCodes
				}
			}
		}
		clear(table[len(first):size])
	}
	for i, n := range lengths {
		n := uint(n)
		if n == 0 {
			continue
		}
		r := reverse(next[n], n)
		next[n]++
		if n <= root {
			for j := r; j < 1<<root; j += 1 << n {
				first[j] = entries[i] | entry(n)
			}
			continue
		}
		link := first[r&(1<<root-1)]
		second := table[link.value():][:1<<link.extra()]
		for j := r >> root; j < len(second); j += 1 << (n - root) {
			second[j] = entries[i] | entry(n-root)
		}
	}
	return nil
}

// reverse returns the low n bits of code in reverse order.
func reverse(code int, n uint) int {
	r := 0
	for ; n > 0; n-- {
		r = r<<1 | code&1
		code >>= 1
	}
	return r
}
