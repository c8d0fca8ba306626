package replay

import (
	"bytes"

	"github.com/gobwas/ws"
)

// What is sent is what was recorded, to the byte. But the content of a message is kept
// once, in its unit, and what was sent is made of that again where it can be.

// A wire is what is sent for an item that is not one frame with all of its unit.
type wire struct {
	bytes    []byte // all of it, or what stands before a part of the content
	from, to int    // that part; none if they are equal
	masked   bool
	mask     [4]byte
	phase    int // how many bytes of its frame are before it
}

// wireOf returns the bytes that are sent for an item.
func (sd *side) wireOf(it *item) []byte {
	w := it.wire
	switch {
	case it.end:
		return nil
	case w == nil:
		u := &sd.units[it.unit]
		return appendFrame(nil, u.flags, u.data, u.masked, it.mask)
	case w.from == w.to:
		return w.bytes
	}
	b := append(append(make([]byte, 0, len(w.bytes)+w.to-w.from), w.bytes...), sd.units[it.unit].data[w.from:w.to]...)
	if w.masked {
		ws.Cipher(b[len(w.bytes):], w.mask, w.phase)
	}
	return b
}

// share lets the items of a unit, which are given by their numbers, use its content in
// place of bytes of their own, where those are the same.
func (b *builder) share(sd *side, u *unit, numbers []int) {
	if u.compressed || u.kind == unitEnd {
		return
	}
	if it := &sd.items[numbers[0]]; len(numbers) == 1 && u.kind != unitJunk && u.long == nil && it.wire != nil {
		b.scratch = appendFrame(b.scratch[:0], u.flags, u.data, u.masked, it.mask)
		if bytes.Equal(b.scratch, it.wire.bytes) {
			it.wire = nil
			return
		}
	}
	var w wire // of the frame at hand
	at := 0    // in the content
	for i, n := range numbers {
		it := &sd.items[n]
		if it.wire == nil {
			return
		}
		recorded, head := it.wire.bytes, 0
		if u.kind != unitJunk && (i == 0 || sd.items[numbers[i-1]].ends) {
			head = headerLen(recorded)
			if head == 0 {
				return
			}
			w = wire{masked: recorded[1]&0x80 != 0}
			if w.masked {
				w.mask = [4]byte(recorded[head-4 : head])
			}
		}
		size := len(recorded) - head
		if at+size > len(u.data) { // it is too long to be kept, or something else
			return
		}
		b.scratch = append(b.scratch[:0], recorded[head:]...)
		if w.masked {
			ws.Cipher(b.scratch, w.mask, w.phase)
		}
		if !bytes.Equal(b.scratch, u.data[at:at+size]) {
			return
		}
		part := w
		part.bytes, part.from, part.to = bytes.Clone(recorded[:head]), at, at+size
		it.wire = &part
		at += size
		w.phase += size
	}
}

// headerLen returns the length of the frame header that b begins with, or 0.
func headerLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	n := 2
	switch b[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if b[1]&0x80 != 0 {
		n += 4
	}
	if n > len(b) {
		return 0
	}
	return n
}
