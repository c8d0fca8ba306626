package decode

import (
	"fmt"
	"strings"

	"github.com/gobwas/ws"
)

// checkFrame reports what is wrong with a frame, as far as its header and, for
// a control frame, its payload tell.
func (s *Session) checkFrame(f *Frame) {
	sd := &s.sides[f.Dir]
	if sd.muted {
		return
	}
	if s.hs.Request != nil && s.hs.Response == nil {
		s.report("req-early-data", f.Dir, f.N, "%s frame before the answer to the handshake", OpName(f.OpCode))
	}
	if sd.closed && s.sides[f.Dir.Peer()].closed && !s.repeated("bytes-after-close", f.Dir) {
		s.report("bytes-after-close", f.Dir, f.N, "%s frame after both close frames", OpName(f.OpCode))
	}
	if f.Dir == FromClient && s.rejected && !f.Control() {
		s.report("res-client-ignored-failure", f.Dir, f.N, "%s frame after a 101 that a client must reject", OpName(f.OpCode))
	}
	s.checkBits(f)
	if f.Control() {
		s.checkControlSize(f)
	}
	if !f.MinimalLength() {
		s.report("frame-length-not-minimal", f.Dir, f.N, "%d byte payload in a %d-bit length", f.Length, f.LengthBits())
	}
	s.checkMask(f)
	if f.Control() {
		s.checkControl(f)
		return
	}
	sd.lastData = s.now
	switch {
	case sd.closed:
		if !s.repeated("data-after-close", f.Dir) {
			s.report("data-after-close", f.Dir, f.N, "%s frame after the close frame %d", OpName(f.OpCode), sd.closeFrame)
		}
	case !f.OpCode.IsReserved():
		s.checkFragment(f)
	}
}

// checkBits reports reserved bits and opcodes.
func (s *Session) checkBits(f *Frame) {
	undefined := f.Rsv &^ s.rsv
	if s.hs.Deflate.On && f.Rsv&4 != 0 {
		switch {
		case f.Control():
			s.report("pmd-rsv1-control", f.Dir, f.N, "%s with RSV1, control frames are not compressed", OpName(f.OpCode))
		case f.OpCode == ws.OpContinuation:
			s.report("pmd-rsv1-continuation", f.Dir, f.N, "continuation with RSV1, which belongs to the first frame of a message")
		}
	}
	if undefined != 0 {
		s.checkReserved(f, undefined)
	}
	if f.OpCode.IsReserved() {
		s.report("frame-opcode-reserved", f.Dir, f.N, "opcode %d, which is not defined", f.OpCode)
		if undefined != 0 { // framing is lost more likely than not
			s.sides[f.Dir].muted = true
		}
	}
}

func (s *Session) checkReserved(f *Frame, undefined byte) {
	if s.repeated("frame-rsv-set", f.Dir) {
		return
	}
	var names []string
	for i, name := range [...]string{"RSV1", "RSV2", "RSV3"} {
		if undefined&(4>>i) != 0 {
			names = append(names, name)
		}
	}
	text := strings.Join(names, ", ") + " set, and no extension in force defines it"
	if names[0] == "RSV1" && !f.Control() {
		text += "; it looks like compression, but permessage-deflate was not negotiated"
	}
	s.report("frame-rsv-set", f.Dir, f.N, "%s", text)
}

// checkMask reports what is wrong with masking (RFC 6455 §5.1, §5.3).
func (s *Session) checkMask(f *Frame) {
	switch {
	case f.Dir == FromServer && f.Masked:
		if !s.repeated("frame-server-masked", f.Dir) {
			s.report("frame-server-masked", f.Dir, f.N, "frame with masking key %s", keyText(f.Mask))
		}
	case f.Dir == FromClient && !f.Masked:
		s.report("frame-client-unmasked", f.Dir, f.N, "frame without a masking key")
	case f.Masked:
		s.checkKeys(f)
	}
}

// maskKeys is what is known of the masking keys of a client.
type maskKeys struct {
	n         int64  // keys so far
	last      uint32 // the latest
	diff, xor uint32 // between the latest two
	same      int64  // how often in a row the latest came
	diffs     int64  // how often in a row the latest two differed by diff
	xors      int64  // and by xor
	small     int64  // how often in a row keys were below 65536
	moved     bool   // not all keys were the same
	zero      bool   // one was 0
}

// checkKeys looks for keys that are not random. That 8 keys in a row follow
// such a simple pattern by chance does not happen.
func (s *Session) checkKeys(f *Frame) {
	const enough = 8
	k := &s.keys
	key := uint32(f.Mask[0])<<24 | uint32(f.Mask[1])<<16 | uint32(f.Mask[2])<<8 | uint32(f.Mask[3])
	diff, xor := key-k.last, key^k.last
	k.n++
	if k.n == 1 {
		s.adviseFirstKey(f, key)
	} else {
		k.diffs, k.xors = again(k.diffs, diff == k.diff), again(k.xors, xor == k.xor)
		k.same = again(k.same, diff == 0)
		k.moved = k.moved || diff != 0
	}
	if k.n == 1 || diff != 0 {
		k.same = 1
	}
	if k.small++; key >= 1<<16 {
		k.small = 0
	}
	k.last, k.diff, k.xor = key, diff, xor

	switch {
	case key != 0:
	case !k.zero:
		k.zero = true
		s.report("mask-key-zero", f.Dir, f.N, "masking key 00-00-00-00 masks nothing")
	default:
		s.reportAs(SeverityError, "mask-key-zero", f.Dir, f.N, "masking key 00-00-00-00 again, which chance does not bring twice")
	}
	switch {
	case k.same > 2 && !k.moved:
		if !s.repeated("mask-key-constant", f.Dir) {
			s.report("mask-key-constant", f.Dir, f.N, "the %d frames so far all have masking key %s", k.n, keyText(f.Mask))
		}
	case k.same > 1:
		if !s.repeated("mask-key-repeated", f.Dir) {
			s.report("mask-key-repeated", f.Dir, f.N, "masking key %s is that of the frame before", keyText(f.Mask))
		}
	case k.diffs+2 >= enough && k.n >= enough:
		if !s.repeated("mask-key-predictable", f.Dir) {
			s.report("mask-key-predictable", f.Dir, f.N, "the last %d masking keys are %d apart", k.diffs+2, int32(diff))
		}
	case k.xors+2 >= enough && k.n >= enough:
		if !s.repeated("mask-key-predictable", f.Dir) {
			s.report("mask-key-predictable", f.Dir, f.N, "the last %d masking keys differ in the same bits", k.xors+2)
		}
	case k.small >= enough:
		if !s.repeated("mask-key-predictable", f.Dir) {
			s.report("mask-key-predictable", f.Dir, f.N, "the last %d masking keys are all below 65536", k.small)
		}
	}
}

// again counts how often in a row something was so.
func again(n int64, so bool) int64 {
	if so {
		return n + 1
	}
	return 0
}

// checkFragment follows a data frame's place in its message (RFC 6455 §5.4).
func (s *Session) checkFragment(f *Frame) {
	sd := &s.sides[f.Dir]
	if f.OpCode == ws.OpContinuation {
		if !sd.open {
			s.report("frag-orphan-continuation", f.Dir, f.N, "continuation without a message to continue")
			return
		}
	} else {
		if sd.open {
			s.report("frag-interleaved", f.Dir, f.N, "%s frame before the last message ended, a cont frame was due", OpName(f.OpCode))
		}
		sd.text = f.OpCode == ws.OpText && f.Rsv == 0
		sd.fragments = fragments{}
		sd.lastStart = s.now
		s.checkTolerance(f)
	}
	if f.Fin {
		s.totals.Messages[f.Dir]++
	}
	sd.open = !f.Fin
	sd.text = sd.text && sd.open
	s.adviseFragment(f)
}

// checkControlSize reports control frames in fragments or longer than they may
// be (RFC 6455 §5.5).
func (s *Session) checkControlSize(f *Frame) {
	if !f.Fin {
		s.report("control-fragmented", f.Dir, f.N, "%s without FIN, control frames are not fragmented", OpName(f.OpCode))
	}
	if f.Length > ws.MaxControlFramePayloadSize {
		s.report("control-too-long", f.Dir, f.N, "%s with %d byte payload, limit is %d", OpName(f.OpCode), f.Length, ws.MaxControlFramePayloadSize)
	}
}

// checkControl looks at what a control frame does.
func (s *Session) checkControl(f *Frame) {
	sd := &s.sides[f.Dir]
	if sd.closed && f.OpCode != ws.OpClose && !s.repeated("control-after-close", f.Dir) {
		s.report("control-after-close", f.Dir, f.N, "%s after the close frame %d", OpName(f.OpCode), sd.closeFrame)
	}
	switch f.OpCode {
	case ws.OpClose:
		s.checkClose(f)
	case ws.OpPing:
		s.ping(f)
	case ws.OpPong:
		s.pong(f)
	}
}

// keyText spells a masking key as every output does: 16-39-8F-63.
func keyText(key [4]byte) string {
	return fmt.Sprintf("%02X-%02X-%02X-%02X", key[0], key[1], key[2], key[3])
}
