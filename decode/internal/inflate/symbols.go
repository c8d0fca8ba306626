package inflate

import "encoding/binary"

// symbol takes one literal, match or end of block, bit by bit as far as needed.
// Nothing of it is used before all of it is there.
func (z *Stream) symbol(in *[]byte) (done bool, err error) {
	for {
		z.remain = len(*in)
		done, err = z.trySymbol()
		if done || err != nil || !z.need(in, z.nbits+1) {
			return done, err
		}
	}
}

func (z *Stream) trySymbol() (done bool, err error) {
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
			return false, errSymbol
		}
		if dist, ok = based(e, &bits, &nbits); !ok {
			return false, nil
		}
	default:
		return false, errSymbol
	}
	z.bits, z.nbits = bits, nbits
	switch {
	case length > 0:
		if !z.reaches(dist, z.pos) {
			return false, ErrDistance
		}
		z.length, z.dist, z.step = length, dist, stepMatch
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
		return 0, *nbits >= root // with fewer bits, more of them may still make a code
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
func (z *Stream) fast(input *[]byte) {
	const most = 258 // longest match
	in, w, pos := *input, z.window, z.pos
	if len(in) < 8 || pos+most > len(w) {
		return
	}
	bits, nbits := z.bits, z.nbits
	lit, off := z.lit, z.off
	past := z.total - int64(z.from) // with pos, how far back matches may reach
	if z.Alone {
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
		if dist > z.Limit || int64(dist) > past+int64(pos) {
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
func (z *Stream) reaches(dist, pos int) bool {
	total := z.total + int64(pos-z.from)
	if int64(dist) > total {
		return false
	}
	if dist > z.Limit && z.Far.Dist == 0 {
		z.Far = FarMatch{dist, z.Offset()}
	}
	if z.Alone && int64(dist) > total-z.begin && z.Kept.Dist == 0 {
		z.Kept = FarMatch{dist, z.Offset()}
	}
	return true
}

// match copies what there is room for of the match at hand.
func (z *Stream) match() {
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
		z.step = stepSymbols
	}
}
