// Package inflate decodes the compressed messages of permessage-deflate
// (RFC 7692) as they come.
package inflate

import "errors"

// MaxWindow is how many bytes a match of DEFLATE can reach back (RFC 1951 §2).
const MaxWindow = 32 << 10

// A Stream decodes the endless DEFLATE stream (RFC 1951) that the compressed
// messages of one direction make up (RFC 7692 §7.2). It takes its input in
// pieces of any size, stops wherever one ends, and goes on from there; what it
// reports does not depend on where they end. It allocates its window, which
// grows up to 32 KiB, and nothing else.
//
// It is forgiving where decoding can go on: a match that reaches farther back
// than was agreed is decoded and noted.
type Stream struct {
	Limit int  // how far back a match may reach: 2 to the power of the agreed window bits
	Alone bool // no context takeover: no match may reach into earlier messages

	window []byte // ring of the latest output; its length is a power of two
	pos    int    // in window, of the next byte
	total  int64  // output of the stream
	begin  int64  // total at the start of the message
	taken  int64  // input bytes taken of the message
	from   int    // pos at the start of the call
	remain int    // input not taken, at the time of a check

	bits  uint64 // input taken and not used yet, lowest bit first
	nbits uint

	step   step
	final  bool          // the block at hand has BFINAL set
	last   blockEnd      // how the latest block ended
	length int           // bytes to come of a stored block or of a match
	dist   int           // of that match
	lit    *litTable     // in force
	off    *distTable    // in force
	codes  *dynamicCodes // of the dynamic block at hand; from codesPool

	// What was seen in the message that is not allowed, or is worth a remark.
	Finals  int      // blocks with BFINAL
	FinalAt int64    // offset in the message of the input byte with the first such BFINAL
	Far     FarMatch // first match beyond Limit
	Kept    FarMatch // first match into an earlier message despite Alone
}

type step uint8

const (
	stepHeader  step = iota // before the header of a block
	stepStored              // before the length of a stored block
	stepCopy                // in the bytes of a stored block
	stepCounts              // before the counts of codes in a dynamic block
	stepMeta                // in the lengths of the code length codes
	stepLengths             // in the code lengths
	stepSymbols             // between symbols
	stepMatch               // in a match
	stepFailed
)

// blockEnd says how a block ended, as far as the end of a message cares.
type blockEnd uint8

const (
	endPlain blockEnd = iota
	endEmpty          // it was stored, empty and not final: the marker of a flush
	endFinal          // it was final
)

// A FarMatch is a match that reaches too far back.
type FarMatch struct {
	Dist int   // how far; 0 if there is none
	At   int64 // offset in the message of the input byte that it ends in
}

var (
	errType   = errors.New("block type 3, which is not defined")
	errStored = errors.New("lengths of a stored block do not match")
	errCounts = errors.New("too many length or distance codes")
	errCodes  = errors.New("code lengths that make no code")
	errNoEnd  = errors.New("no code for the end of a block")
	errRepeat = errors.New("code length repeated too often")
	errSymbol = errors.New("code that stands for nothing")
	errCut    = errors.New("cut off inside a block")
)

// ErrDistance is the error for a match that refers to what was there before the
// first byte.
var ErrDistance = errors.New("match reaches back beyond the first byte")

// ErrEmpty is the error of [Stream.End] for a message without a byte: an empty
// message is one byte 00 (RFC 7692 §7.2.3.6).
var ErrEmpty = errors.New("no bytes, where an empty message is one byte 00")

// Next inflates bytes of in. It returns how many of them it took, and the output,
// which is valid until the next call. Call it again with the rest until it has
// taken all of in and returns no output.
func (z *Stream) Next(in []byte) (n int, out []byte, err error) {
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
		z.Release()
		z.step = stepFailed
	}
	return len(in) - len(rest), z.window[z.from:z.pos], err
}

// room makes room at pos, which is the end of the window.
func (z *Stream) room() {
	if z.pos == MaxWindow {
		z.pos = 0
		return
	}
	w := make([]byte, max(1<<10, 2*z.pos))
	copy(w, z.window)
	z.window = w
}

// Recent appends the latest output, up to [MaxWindow] bytes of it, as far as the
// window holds it.
func (z *Stream) Recent(dst []byte) []byte {
	if z.total > int64(z.pos) { // the ring has come round
		dst = append(dst, z.window[z.pos:]...)
	}
	return append(dst, z.window[:z.pos]...)
}

// Offset returns where in the message the next bit to use is.
func (z *Stream) Offset() int64 { return z.taken - int64(z.remain) - int64(z.nbits+7)/8 }

// Full reports whether the latest output ends with the window.
func (z *Stream) Full() bool { return z.pos == MaxWindow }

// Start begins a new message. The stream must not have failed.
func (z *Stream) Start() {
	z.begin, z.taken, z.Finals = z.total, 0, 0
	z.Far, z.Kept = FarMatch{}, FarMatch{}
	z.last = endPlain
}

// Reset makes the stream a new one that has seen nothing.
func (z *Stream) Reset() {
	z.Release()
	*z = Stream{Limit: z.Limit, Alone: z.Alone, window: z.window}
}

// Release gives the tables of a block back.
func (z *Stream) Release() {
	if z.codes != nil {
		codesPool.Put(z.codes)
		z.codes, z.lit, z.off = nil, nil, nil
	}
}

// flushMarker ends every message of the stream and is left out on the wire
// (RFC 7692 §7.2.1).
var flushMarker = []byte{0, 0, 0xff, 0xff}

// Tail returns what must be inflated after the last byte of a message: the flush
// marker, unless the message already has it or ends in a final block.
func (z *Stream) Tail() []byte {
	if z.taken == 0 || z.aligned() && z.last != endPlain {
		return nil
	}
	return flushMarker
}

// TailKept reports whether the message ends in the flush marker, which should have
// been left out. Call it before the tail is inflated.
func (z *Stream) TailKept() bool { return z.taken > 0 && z.aligned() && z.last == endEmpty }

// End says that the message with its tail is complete.
func (z *Stream) End() error {
	switch {
	case z.step == stepFailed:
		return errCut
	case z.taken == 0:
		return ErrEmpty
	case !z.aligned():
		z.step = stepFailed
		return errCut
	}
	z.Release()
	return nil
}

// aligned reports whether the input so far ends where a block ends.
func (z *Stream) aligned() bool { return z.step == stepHeader && z.nbits == 0 }

// need collects at least n ≤ 48 bits and reports whether there are that many.
func (z *Stream) need(in *[]byte, n uint) bool {
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
func (z *Stream) take(n uint) int {
	v := z.bits & (1<<n - 1)
	z.bits >>= n
	z.nbits -= n
	return int(v)
}

// run inflates in until it is used up or the window is full, and returns what
// is left of it.
func (z *Stream) run(in []byte) ([]byte, error) {
	for z.pos < len(z.window) {
		switch z.step {
		case stepHeader:
			if !z.need(&in, 3) {
				return in, nil
			}
			z.remain = len(in)
			if err := z.header(); err != nil {
				return in, err
			}
		case stepStored:
			if !z.need(&in, 32) {
				return in, nil
			}
			if n := z.take(16); n != z.take(16)^0xffff {
				return in, errStored
			} else if z.length = n; n > 0 {
				z.step = stepCopy
			} else {
				z.blockDone(endEmpty)
			}
		case stepCopy:
			if in = z.stored(in); z.length > 0 && z.pos < len(z.window) {
				return in, nil
			}
		case stepCounts:
			if !z.need(&in, 14) {
				return in, nil
			}
			if err := z.counts(); err != nil {
				return in, err
			}
		case stepMeta:
			if !z.need(&in, 3) {
				return in, nil
			}
			if err := z.meta(); err != nil {
				return in, err
			}
		case stepLengths:
			if done, err := z.codeLength(&in); err != nil {
				return in, err
			} else if !done {
				return in, nil
			}
		case stepSymbols:
			if z.fast(&in); z.pos == len(z.window) || z.step != stepSymbols {
				continue
			}
			if done, err := z.symbol(&in); err != nil {
				return in, err
			} else if !done {
				return in, nil
			}
		case stepMatch:
			z.match()
		case stepFailed:
			return nil, errCut
		}
	}
	return in, nil
}

// header begins a block (RFC 1951 §3.2.3).
func (z *Stream) header() error {
	at := z.Offset()
	z.final = z.take(1) == 1
	if z.final {
		if z.Finals++; z.Finals == 1 {
			z.FinalAt = at
		}
	}
	switch z.take(2) {
	case 0:
		z.take(z.nbits & 7)
		z.step = stepStored
	case 1:
		z.lit, z.off = &fixedLit, &fixedDist
		z.step = stepSymbols
	case 2:
		z.step = stepCounts
	default:
		return errType
	}
	return nil
}

// blockDone ends a block. After a final one the stream goes on at the next byte
// (RFC 7692 §7.2.3.4).
func (z *Stream) blockDone(how blockEnd) {
	z.Release()
	z.step, z.last = stepHeader, how
	if z.final {
		z.take(z.nbits & 7)
		z.last = endFinal
	}
}

// stored copies bytes of a stored block (RFC 1951 §3.2.4).
func (z *Stream) stored(in []byte) []byte {
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
func (z *Stream) counts() error {
	c := codesPool.Get().(*dynamicCodes)
	z.codes = c
	c.nlit, c.ndist, c.nmeta, c.n = 257+z.take(5), 1+z.take(5), 4+z.take(4), 0
	c.metaLengths = [19]uint8{}
	if c.nlit > 286 || c.ndist > 30 {
		return errCounts
	}
	z.step = stepMeta
	return nil
}

// metaOrder is the order of the lengths of the code length codes.
var metaOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// meta takes one length of a code length code.
func (z *Stream) meta() error {
	c := z.codes
	c.metaLengths[metaOrder[c.n]] = uint8(z.take(3))
	if c.n++; c.n < c.nmeta {
		return nil
	}
	c.n = 0
	z.step = stepLengths
	return buildTable(c.meta[:], metaBits, c.metaLengths[:], metaEntries[:], false)
}

// codeLength takes one code length, or a run of them, and builds the tables
// after the last.
func (z *Stream) codeLength(in *[]byte) (done bool, err error) {
	c := z.codes
	e := c.meta[z.bits&(1<<metaBits-1)]
	for {
		if e&entryKind != 0 && e.drop()+e.extra() <= z.nbits {
			break
		}
		if e&entryKind == 0 && z.nbits >= metaBits {
			return false, errSymbol
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
			return false, errRepeat
		}
		n, length = 3+z.take(2), c.lengths[c.n-1]
	case 17:
		n, length = 3+z.take(3), 0
	case 18:
		n, length = 11+z.take(7), 0
	}
	all := c.nlit + c.ndist
	if n > all-c.n {
		return false, errRepeat
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
func (z *Stream) tables() error {
	c := z.codes
	if c.lengths[256] == 0 {
		return errNoEnd
	}
	if err := buildTable(c.lit[:], litBits, c.lengths[:c.nlit], litEntries[:], true); err != nil {
		return err
	}
	if err := buildTable(c.off[:], distBits, c.lengths[c.nlit:c.nlit+c.ndist], distEntries[:], true); err != nil {
		return err
	}
	z.lit, z.off, z.step = &c.lit, &c.off, stepSymbols
	return nil
}
