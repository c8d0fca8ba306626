package replay

import (
	"crypto/rand"
	"fmt"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// bytesOf returns what is sent for an item: the recorded bytes, unless the
// message that they belong to has to be another one.
func (p *player) bytesOf(it *item) []byte {
	if it.unit < 0 {
		return p.s.sides[p.role].wireOf(it)
	}
	u := &p.s.sides[p.role].units[it.unit]
	if u.kind == unitClose {
		return p.closeOf(u, it)
	}
	switch {
	case p.replaced == it.unit:
		return nil // the whole message went with its first item
	case u.long != nil && u.compressed && p.uncompressed:
		p.fail(fmt.Errorf("the %s takes no compressed messages, and %s is too long to be sent in another form", p.peer, p.nameOurs(it)))
		return nil
	case u.kind != unitMessage && u.kind != unitFrame || u.cut || u.long != nil || &p.s.sides[p.role].items[u.firstItem] != it:
		return p.s.sides[p.role].wireOf(it)
	}
	data, ok := p.dataOf(u)
	if !ok {
		return nil
	}
	changed := !sameMemory(data, u.data)
	if !changed && !(u.compressed && p.uncompressed) {
		return p.s.sides[p.role].wireOf(it)
	}
	// The peer's window lacks this message from here on, so what is recorded
	// of later ones can't be inflated any more.
	p.uncompressed = p.uncompressed || u.compressed
	p.replaced = it.unit
	flags := u.flags
	if u.kind == unitMessage {
		flags = 0x80 | u.flags&0x3f
	}
	return appendFrame(nil, flags, data, u.masked, it.mask)
}

// closeOf returns a Close frame with captured values in its reason, if they fit.
func (p *player) closeOf(u *unit, it *item) []byte {
	code, reason, ok := decode.CloseBody(u.data)
	live := put(reason, p.subs)
	if !ok || sameMemory(live, reason) || len(live) > 123 || u.cut || u.firstItem != u.lastItem {
		return p.s.sides[p.role].wireOf(it)
	}
	return appendFrame(nil, u.flags, ws.NewCloseFrameBody(ws.StatusCode(code), string(live)), u.masked, it.mask)
}

// sameMemory reports whether a and b are the same memory.
func sameMemory(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// appendFrame appends a frame with the given first byte.
func appendFrame(dst []byte, flags byte, payload []byte, masked bool, mask [4]byte) []byte {
	h := ws.Header{Fin: flags&0x80 != 0, Rsv: flags >> 4 & 7, OpCode: ws.OpCode(flags & 15), Masked: masked, Mask: mask, Length: int64(len(payload))}
	var buf sliceWriter = dst
	ws.WriteHeader(&buf, h)
	n := len(buf)
	buf = append(buf, payload...)
	if masked {
		ws.Cipher(buf[n:], mask, 0)
	}
	return buf
}

type sliceWriter []byte

func (w *sliceWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// ownFrame returns a control frame that is not recorded.
func (p *player) ownFrame(op ws.OpCode, payload []byte) []byte {
	return appendFrame(nil, 0x80|byte(op), payload, p.role == decode.FromClient, newMask())
}

// newMask returns a masking key for a frame whose key is not recorded.
func newMask() (mask [4]byte) {
	rand.Read(mask[:])
	return mask
}
