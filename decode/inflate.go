package decode

import (
	"encoding/binary"
	"errors"
	"sync"
)

// maxWindow is how far back a match of DEFLATE can reach (RFC 1951 §2).
const maxWindow = 32 << 10

// An inflater decodes the endless DEFLATE stream (RFC 1951) that the compressed
// messages of one direction make up (RFC 7692 §7.2). It takes its input in
// pieces of any size, stops wherever one ends, and goes on from there; what it
// reports does not depend on where they end. It allocates its window, which
// grows up to 32 KiB, and nothing else.
//
// It is forgiving where decoding can go on: a match that reaches farther back
// than was agreed is decoded and noted.
type inflater struct {
	limit int  // how far back a match may reach: 2 to the agreed window bits
	alone bool // no context takeover: nor may it reach into earlier messages

	window []byte // ring of the latest output; its length is a power of two
	pos    int    // in window, of the next byte
	total  int64  // output of the stream
	begin  int64  // total at the start of the message
	taken  int64  // input bytes taken of the message
	from   int    // pos at the start of the call
	remain int    // input not taken, at the time of a check

	bits  uint64 // input taken and not used yet, lowest bit first
	nbits uint

	step   inflateStep
	final  bool          // the block at hand has BFINAL set
	last   blockEnd      // how the latest block ended
	length int           // bytes to come of a stored block or of a match
	dist   int           // of that match
	lit    *litTable     // in force
	off    *distTable    // in force
	codes  *dynamicCodes // of the dynamic block at hand; from codesPool

	// What was seen in the message and is allowed in none, or worth a remark.
	finals  int      // blocks with BFINAL
	finalAt int64    // offset of the input byte that has the BFINAL of the first, in the message
	far     farMatch // first match beyond limit
	kept    farMatch // first match into an earlier message despite alone
}

type inflateStep uint8

const (
	inflateHeader  inflateStep = iota // before the header of a block
	inflateStored                     // before the length of a stored block
	inflateCopy                       // in the bytes of a stored block
	inflateCounts                     // before the counts of codes in a dynamic block
	inflateMeta                       // in the lengths of the code length codes
	inflateLengths                    // in the code lengths
	inflateSymbols                    // between symbols
	inflateMatch                      // in a match
	inflateFailed
)

// blockEnd says how a block ended, as far as the end of a message cares.
type blockEnd uint8

const (
	endPlain blockEnd = iota
	endEmpty          // it was stored, empty and not final: the marker of a flush
	endFinal          // it was final
)

// A farMatch is a match that reaches too far back.
type farMatch struct {
	dist int   // how far; 0 if there is none
	at   int64 // offset of the input byte it ends in, in the message
}

// Entries of the code tables: what to do and what to drop.
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

var (
	errInflateType     = errors.New("block type 3, which is not defined")
	errInflateStored   = errors.New("lengths of a stored block do not match")
	errInflateCounts   = errors.New("too many length or distance codes")
	errInflateCodes    = errors.New("code lengths that make no code")
	errInflateNoEnd    = errors.New("no code for the end of a block")
	errInflateRepeat   = errors.New("code length repeated too often")
	errInflateSymbol   = errors.New("code that stands for nothing")
	errInflateDistance = errors.New("match reaches back beyond the first byte")
	errInflateCut      = errors.New("ends inside a block")
	errInflateEmpty    = errors.New("no bytes, where an empty message is one byte 00")
)

// next inflates bytes of in. It returns how many of them it took and output,
// which is valid until the next call. There is nothing left to do once it took
// all of in and returns no output.
func (z *inflater) next(in []byte) (n int, out []byte, err error) {
	if z.pos == len(z.window) {
		z.room()
	}
	z.from = z.pos
	z.taken += int64(len(in))
	rest, err := z.run(in)
	z.taken -= int64(len(rest))
	z.remain = 0
	z.total += int64(z.pos - z.from)
	if err != nil {
		z.release()
		z.step = inflateFailed
	}
	return len(in) - len(rest), z.window[z.from:z.pos], err
}

// room makes room at pos, which is the end of the window.
func (z *inflater) room() {
	if z.pos == maxWindow {
		z.pos = 0
		return
	}
	w := make([]byte, max(1<<10, 2*z.pos))
	copy(w, z.window)
	z.window = w
}

// offset returns where in the message the next bit to use is.
func (z *inflater) offset() int64 { return z.taken - int64(z.remain) - int64(z.nbits+7)/8 }

// full reports whether the latest output ends with the window.
func (z *inflater) full() bool { return z.pos == maxWindow }

// start prepares for a new message. The stream must be sound.
func (z *inflater) start() {
	z.begin, z.taken, z.finals = z.total, 0, 0
	z.far, z.kept = farMatch{}, farMatch{}
	z.last = endPlain
}

// reset makes the stream a new one, without a past.
func (z *inflater) reset() {
	z.release()
	*z = inflater{limit: z.limit, alone: z.alone, window: z.window}
}

// release gives the tables of a block back.
func (z *inflater) release() {
	if z.codes != nil {
		codesPool.Put(z.codes)
		z.codes, z.lit, z.off = nil, nil, nil
	}
}

// flushMarker ends every message of the stream and is left out on the wire
// (RFC 7692 §7.2.1).
var flushMarker = []byte{0, 0, 0xff, 0xff}

// tail returns what is to be inflated after the last byte of a message: the
// marker, unless the message has it already or ends in a final block.
func (z *inflater) tail() []byte {
	if z.taken == 0 || z.aligned() && z.last != endPlain {
		return nil
	}
	return flushMarker
}

// tailKept reports whether the message ends in the marker that
// should have been left out. It is to be asked before the tail is inflated.
func (z *inflater) tailKept() bool { return z.taken > 0 && z.aligned() && z.last == endEmpty }

// end says that the message with its tail is complete.
func (z *inflater) end() error {
	switch {
	case z.step == inflateFailed:
		return errInflateCut
	case z.taken == 0:
		return errInflateEmpty
	case !z.aligned():
		z.step = inflateFailed
		return errInflateCut
	}
	z.release()
	return nil
}

// aligned reports whether the input so far ends where a block ends.
func (z *inflater) aligned() bool { return z.step == inflateHeader && z.nbits == 0 }

// need gathers at least n ≤ 48 bits and reports whether there are as many.
func (z *inflater) need(in *[]byte, n uint) bool {
	for z.nbits < n {
		if len(*in) == 0 {
			return false
		}
		z.bits |= uint64((*in)[0]) << z.nbits
		z.nbits += 8
		*in = (*in)[1:]
	}
	return true
}

// take uses n bits, which must be there.
func (z *inflater) take(n uint) int {
	v := z.bits & (1<<n - 1)
	z.bits >>= n
	z.nbits -= n
	return int(v)
}

// run inflates in until it is used up or the window is full, and returns what
// is left of it.
func (z *inflater) run(in []byte) ([]byte, error) {
	for z.pos < len(z.window) {
		switch z.step {
		case inflateHeader:
			if !z.need(&in, 3) {
				return in, nil
			}
			z.remain = len(in)
			if err := z.header(); err != nil {
				return in, err
			}
		case inflateStored:
			if !z.need(&in, 32) {
				return in, nil
			}
			if n := z.take(16); n != z.take(16)^0xffff {
				return in, errInflateStored
			} else if z.length = n; n > 0 {
				z.step = inflateCopy
			} else {
				z.blockDone(endEmpty)
			}
		case inflateCopy:
			if in = z.stored(in); z.length > 0 && z.pos < len(z.window) {
				return in, nil
			}
		case inflateCounts:
			if !z.need(&in, 14) {
				return in, nil
			}
			if err := z.counts(); err != nil {
				return in, err
			}
		case inflateMeta:
			if !z.need(&in, 3) {
				return in, nil
			}
			if err := z.meta(); err != nil {
				return in, err
			}
		case inflateLengths:
			if done, err := z.codeLength(&in); err != nil {
				return in, err
			} else if !done {
				return in, nil
			}
		case inflateSymbols:
			if z.fast(&in); z.pos == len(z.window) || z.step != inflateSymbols {
				continue
			}
			if done, err := z.symbol(&in); err != nil {
				return in, err
			} else if !done {
				return in, nil
			}
		case inflateMatch:
			z.match()
		case inflateFailed:
			return nil, errInflateCut
		}
	}
	return in, nil
}

// header begins a block (RFC 1951 §3.2.3).
func (z *inflater) header() error {
	at := z.offset()
	z.final = z.take(1) == 1
	if z.final {
		if z.finals++; z.finals == 1 {
			z.finalAt = at
		}
	}
	switch z.take(2) {
	case 0:
		z.take(z.nbits & 7)
		z.step = inflateStored
	case 1:
		z.lit, z.off = &fixedLit, &fixedDist
		z.step = inflateSymbols
	case 2:
		z.step = inflateCounts
	default:
		return errInflateType
	}
	return nil
}

// blockDone ends a block. After a final one the stream goes on at the next byte
// (RFC 7692 §7.2.3.4).
func (z *inflater) blockDone(how blockEnd) {
	z.release()
	z.step, z.last = inflateHeader, how
	if z.final {
		z.take(z.nbits & 7)
		z.last = endFinal
	}
}

// stored copies bytes of a stored block (RFC 1951 §3.2.4).
func (z *inflater) stored(in []byte) []byte {
	for z.nbits > 0 && z.length > 0 && z.pos < len(z.window) {
		z.window[z.pos] = byte(z.take(8))
		z.pos++
		z.length--
	}
	if z.nbits == 0 {
		n := copy(z.window[z.pos:], in[:min(len(in), z.length)])
		z.pos += n
		z.length -= n
		in = in[n:]
	}
	if z.length == 0 {
		z.blockDone(endPlain)
	}
	return in
}

// counts begins the codes of a dynamic block (RFC 1951 §3.2.7).
func (z *inflater) counts() error {
	c := codesPool.Get().(*dynamicCodes)
	z.codes = c
	c.nlit, c.ndist, c.nmeta, c.n = 257+z.take(5), 1+z.take(5), 4+z.take(4), 0
	c.metaLengths = [19]uint8{}
	if c.nlit > 286 || c.ndist > 30 {
		return errInflateCounts
	}
	z.step = inflateMeta
	return nil
}

// metaOrder is the order of the lengths of the code length codes.
var metaOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// meta takes one length of a code length code.
func (z *inflater) meta() error {
	c := z.codes
	c.metaLengths[metaOrder[c.n]] = uint8(z.take(3))
	if c.n++; c.n < c.nmeta {
		return nil
	}
	c.n = 0
	z.step = inflateLengths
	return buildTable(c.meta[:], metaBits, c.metaLengths[:], metaEntries[:], false)
}

// codeLength takes one code length, or a run of them, and builds the tables
// after the last.
func (z *inflater) codeLength(in *[]byte) (done bool, err error) {
	c := z.codes
	e := c.meta[z.bits&(1<<metaBits-1)]
	for {
		if e&entryKind != 0 && e.drop()+e.extra() <= z.nbits {
			break
		}
		if e&entryKind == 0 && z.nbits >= metaBits {
			return false, errInflateSymbol
		}
		if !z.need(in, z.nbits+1) {
			return false, nil
		}
		e = c.meta[z.bits&(1<<metaBits-1)]
	}
	z.take(e.drop())
	n, length := 1, uint8(e.value())
	switch e.value() {
	case 16:
		if c.n == 0 {
			return false, errInflateRepeat
		}
		n, length = 3+z.take(2), c.lengths[c.n-1]
	case 17:
		n, length = 3+z.take(3), 0
	case 18:
		n, length = 11+z.take(7), 0
	}
	all := c.nlit + c.ndist
	if n > all-c.n {
		return false, errInflateRepeat
	}
	for ; n > 0; n-- {
		c.lengths[c.n] = length
		c.n++
	}
	if c.n < all {
		return true, nil
	}
	return true, z.tables()
}

// tables builds the tables of a dynamic block.
func (z *inflater) tables() error {
	c := z.codes
	if c.lengths[256] == 0 {
		return errInflateNoEnd
	}
	if err := buildTable(c.lit[:], litBits, c.lengths[:c.nlit], litEntries[:], true); err != nil {
		return err
	}
	if err := buildTable(c.off[:], distBits, c.lengths[c.nlit:c.nlit+c.ndist], distEntries[:], true); err != nil {
		return err
	}
	z.lit, z.off, z.step = &c.lit, &c.off, inflateSymbols
	return nil
}

// symbol takes one literal, match or end of block, bit by bit as far as needed.
// Nothing of it is used before all of it is there.
func (z *inflater) symbol(in *[]byte) (done bool, err error) {
	for {
		z.remain = len(*in)
		done, err = z.trySymbol()
		if done || err != nil || !z.need(in, z.nbits+1) {
			return done, err
		}
	}
}

func (z *inflater) trySymbol() (done bool, err error) {
	bits, nbits := z.bits, z.nbits
	e, ok := lookup(z.lit[:], litBits, &bits, &nbits)
	if !ok {
		return false, nil
	}
	var length, dist int
	switch e & entryKind {
	case entryLiteral:
		z.window[z.pos] = byte(e.value())
		z.pos++
	case entryEnd:
	case entryBase:
		if length, ok = based(e, &bits, &nbits); !ok {
			return false, nil
		}
		if e, ok = lookup(z.off[:], distBits, &bits, &nbits); !ok {
			return false, nil
		}
		if e&entryKind != entryBase {
			return false, errInflateSymbol
		}
		if dist, ok = based(e, &bits, &nbits); !ok {
			return false, nil
		}
	default:
		return false, errInflateSymbol
	}
	z.bits, z.nbits = bits, nbits
	switch {
	case length > 0:
		if !z.reaches(dist, z.pos) {
			return false, errInflateDistance
		}
		z.length, z.dist, z.step = length, dist, inflateMatch
	case e&entryKind == entryEnd:
		z.blockDone(endPlain)
	}
	return true, nil
}

// lookup finds the code at the start of bits. ok is false if it takes more than
// there are.
func lookup(table []entry, root uint, bits *uint64, nbits *uint) (e entry, ok bool) {
	e = table[*bits&(1<<root-1)]
	if e&entryKind == entryLink {
		if *nbits < root {
			return 0, false
		}
		e = table[e.value()+uint32(*bits>>root&(1<<e.extra()-1))]
		if e&entryKind != 0 && e.drop()+root > *nbits {
			return 0, false
		}
		*bits >>= root
		*nbits -= root
	}
	if e&entryKind == 0 {
		return 0, *nbits >= root // what more bits would tell is not known before
	}
	if e.drop() > *nbits {
		return 0, false
	}
	*bits >>= e.drop()
	*nbits -= e.drop()
	return e, true
}

// based adds the extra bits of e to its base.
func based(e entry, bits *uint64, nbits *uint) (v int, ok bool) {
	n := e.extra()
	if *nbits < n {
		return 0, false
	}
	v = int(e.value()) + int(*bits&(1<<n-1))
	*bits >>= n
	*nbits -= n
	return v, true
}

// fast takes symbols as long as there is plenty of input and room. It leaves
// whatever is wrong to symbol.
func (z *inflater) fast(input *[]byte) {
	const most = 258 // longest match
	in, w, pos := *input, z.window, z.pos
	if len(in) < 8 || pos+most > len(w) {
		return
	}
	bits, nbits := z.bits, z.nbits
	lit, off := z.lit, z.off
	past := z.total - int64(z.from) // with pos, how far back matches may reach
	if z.alone {
		past -= z.begin
	}
	end := false
	for !end && len(in) >= 8 && pos+most <= len(w) {
		// 56 bits or more. What is above nbits is the same as what the next
		// round puts there.
		bits |= binary.LittleEndian.Uint64(in) << nbits
		in = in[(63-nbits)>>3:]
		nbits |= 56
		e := lit[bits&(1<<litBits-1)]
		if e&entryKind == entryLiteral { // a second one is likely, and 41 bits are left
			bits >>= e.drop()
			nbits -= e.drop()
			w[pos] = byte(e.value())
			pos++
			e = lit[bits&(1<<litBits-1)]
			if e&entryKind == entryLiteral {
				bits >>= e.drop()
				nbits -= e.drop()
				w[pos] = byte(e.value())
				pos++
			}
			continue
		}
		b, n := bits, nbits
		if e&entryKind == entryLink {
			b >>= litBits
			n -= litBits
			e = lit[e.value()+uint32(b&(1<<e.extra()-1))]
		}
		b >>= e.drop()
		n -= e.drop()
		if e&entryKind != entryBase {
			if e&entryKind == 0 {
				break
			}
			if end = e&entryKind == entryEnd; !end {
				w[pos] = byte(e.value())
				pos++
			}
			bits, nbits = b, n
			continue
		}
		length := int(e.value()) + int(b&(1<<e.extra()-1))
		b >>= e.extra()
		n -= e.extra()
		e = off[b&(1<<distBits-1)]
		if e&entryKind == entryLink {
			b >>= distBits
			n -= distBits
			e = off[e.value()+uint32(b&(1<<e.extra()-1))]
		}
		if e&entryKind != entryBase {
			break
		}
		b >>= e.drop()
		n -= e.drop()
		dist := int(e.value()) + int(b&(1<<e.extra()-1))
		b >>= e.extra()
		n -= e.extra()
		if dist > z.limit || int64(dist) > past+int64(pos) {
			z.nbits, z.remain = n, len(in)
			if !z.reaches(dist, pos) {
				break
			}
		}
		bits, nbits = b, n
		src := pos - dist
		if src < 0 {
			src += len(w)
		}
		switch {
		case src+length > len(w): // wraps
			z.pos, z.length, z.dist = pos, length, dist
			z.match()
			pos = z.pos
		case dist >= length || src > pos:
			copy(w[pos:pos+length], w[src:src+length])
			pos += length
		default: // repeats what it writes
			for to := pos + length; pos < to; {
				pos += copy(w[pos:to], w[src:pos])
			}
		}
	}
	z.pos, z.bits, z.nbits, *input = pos, bits&(1<<nbits-1), nbits, in
	if end {
		z.blockDone(endPlain)
	}
}

// reaches reports whether a match at pos can reach dist back, and notes it if
// it should not.
func (z *inflater) reaches(dist, pos int) bool {
	total := z.total + int64(pos-z.from)
	if int64(dist) > total {
		return false
	}
	if dist > z.limit && z.far.dist == 0 {
		z.far = farMatch{dist, z.offset()}
	}
	if z.alone && int64(dist) > total-z.begin && z.kept.dist == 0 {
		z.kept = farMatch{dist, z.offset()}
	}
	return true
}

// match copies what there is room for of the match at hand.
func (z *inflater) match() {
	w := z.window
	for z.length > 0 && z.pos < len(w) {
		src := z.pos - z.dist
		if src < 0 {
			src += len(w)
		}
		n := min(z.length, len(w)-z.pos, len(w)-src)
		if src < z.pos {
			n = min(n, z.dist) // the rest of it is what this copies
		}
		copy(w[z.pos:z.pos+n], w[src:src+n])
		z.pos += n
		z.length -= n
	}
	if z.length == 0 {
		z.step = inflateSymbols
	}
}

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
			return errInflateCodes
		}
		if count[n] > 0 {
			longest = n
		}
		used += count[n]
		code <<= 1
	}
	if complete := code == 1<<16; !complete && used > 0 && !(sparse && longest == 1) {
		return errInflateCodes
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
					return errInflateCodes
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
