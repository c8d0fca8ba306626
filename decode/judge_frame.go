package decode

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/gobwas/ws"
)

// frame judges a frame when its header has come; of a control frame the payload
// too. p is the place of a data frame in its message, fact what a control frame
// means. The facts of the connection include the frame already.
func (j *judge) frame(f *Frame, p place, fact *controlFact) {
	if j.connection.muted[f.Dir] {
		return
	}
	own, peer := &j.verdict.closes[f.Dir], &j.verdict.reached[f.Dir.Peer()]
	closed := own.sent && own.frame < f.N // before this frame
	if j.hs.Request != nil && j.hs.Response == nil {
		j.at(f, Span{}, "req-early-data", "%s frame before the answer to the handshake", OpName(f.OpCode))
	}
	if closed && peer.sent && !j.repeated("bytes-after-close", f.Dir) {
		j.at(f, flagsOf(f), "bytes-after-close", "%s frame after both close frames", OpName(f.OpCode))
	}
	if f.Dir == FromClient && j.rejected != "" && !f.Control() {
		j.at(f, Span{}, "res-client-ignored-failure", "%s frame after a 101 that a client must reject", OpName(f.OpCode))
	}
	j.checkBits(f)
	if f.Control() {
		j.checkControlSize(f)
	}
	if !f.MinimalLength() {
		j.fatal(SeverityWarning, f, lengthOf(f), "frame-length-not-minimal", "%d byte payload in a %d-bit length", f.Length, f.LengthBits())
	}
	j.checkMask(f)
	switch {
	case closed && !f.Control():
		if !j.repeated("data-after-close", f.Dir) {
			j.at(f, flagsOf(f), "data-after-close", "%s frame after the close frame %d", OpName(f.OpCode), own.frame)
		}
	case !f.Control():
		j.checkFragment(f, p)
	default:
		if closed && f.OpCode != ws.OpClose && !j.repeated("control-after-close", f.Dir) {
			j.at(f, flagsOf(f), "control-after-close", "%s after the close frame %d", OpName(f.OpCode), own.frame)
		}
		switch f.OpCode {
		case ws.OpClose:
			j.close(f, &fact.close)
		case ws.OpPing:
			j.advisePing(f)
		case ws.OpPong:
			j.pong(f, &fact.pong)
		}
	}
}

// partial judges a header that the connection ends inside of, by what came of it.
func (j *judge) partial(f *Frame, p place) {
	if j.connection.muted[f.Dir] {
		return
	}
	if j.verdict.closes[f.Dir].sent {
		j.beginsAfterClose(f)
	}
	j.checkBits(f)
	if f.Control() && !f.Fin {
		j.checkControlFin(f)
	}
	if p == placeOrphan || p == placeInterrupts {
		j.checkFragment(f, p)
	}
	if len(f.Head) < 2 {
		return
	}
	if f.Control() && f.Head[1]&0x7f > ws.MaxControlFramePayloadSize {
		j.fatal(SeverityWarning, f, maskBitOf(f), "control-too-long", "%s with a length in more than 7 bits, limit is %d", OpName(f.OpCode), ws.MaxControlFramePayloadSize)
	}
	j.partialLength(f)
	switch {
	case f.Dir == FromServer && f.Masked && !j.repeated("frame-server-masked", f.Dir):
		j.fatal(SeverityError, f, maskBitOf(f), "frame-server-masked", "frame with a masking key")
	case f.Dir == FromClient && !f.Masked:
		j.fatal(SeverityError, f, maskBitOf(f), "frame-client-unmasked", "frame without a masking key")
	}
}

// partialLength judges the octets that came of a length in 16 or 64 bits.
func (j *judge) partialLength(f *Frame) {
	octets := f.Head[2:]
	where := Span{From: 1, N: len(f.Head) - 1}
	switch f.Head[1] & 0x7f {
	case 126:
		if len(octets) >= 2 && binary.BigEndian.Uint16(octets) < 126 {
			j.fatal(SeverityWarning, f, where, "frame-length-not-minimal", "%d byte payload in a 16-bit length", binary.BigEndian.Uint16(octets))
		}
	case 127:
		octets = octets[:min(len(octets), 8)]
		switch zeros := len(octets) - len(bytes.TrimLeft(octets, "\x00")); {
		case len(octets) > 0 && octets[0]&0x80 != 0:
			j.lost(f.Dir, f.N, f.Head)
		case zeros >= 6:
			j.fatal(SeverityWarning, f, where, "frame-length-not-minimal", "less than 65536 bytes of payload in a 64-bit length")
		}
	}
}

// alien finds that what begins with f are no frames.
func (j *judge) alien(f *Frame, a *alien) {
	text := "this is no WebSocket: its frames break the framing in several ways"
	if a.what != alienNoise {
		text = a.what + " stands where a frame should begin"
		if len(a.line) > 0 {
			text += ", " + strconv.Quote(string(a.line))
		}
		if a.hint != "" {
			text += ": " + a.hint
		}
	}
	j.fatal(SeverityError, f, Span{}, "frame-not-websocket", "%s", text)
}

// checkBits reports reserved bits and opcodes in use (RFC 6455 §5.2,
// RFC 7692 §6.1).
func (j *judge) checkBits(f *Frame) {
	undefined := f.Rsv &^ j.conn.rsv[f.Dir]
	if j.conn.agreed[f.Dir].On && f.Rsv&4 != 0 {
		switch {
		case f.Control():
			j.fatal(SeverityError, f, flagsOf(f), "pmd-rsv1-control", "%s with RSV1, control frames are not compressed", OpName(f.OpCode))
		case f.OpCode == ws.OpContinuation:
			j.fatal(SeverityError, f, flagsOf(f), "pmd-rsv1-continuation", "continuation with RSV1, which belongs to the first frame of a message")
		}
	}
	if undefined != 0 {
		j.checkReserved(f, undefined)
	}
	if f.OpCode.IsReserved() {
		j.fatal(SeverityError, f, flagsOf(f), "frame-opcode-reserved", "opcode %d, which is not defined", f.OpCode)
		if undefined != 0 { // the framing is probably lost
			j.connection.muted[f.Dir] = true
		}
	}
}

// checkReserved reports reserved bits that no extension defines (RFC 6455 §5.2).
func (j *judge) checkReserved(f *Frame, undefined byte) {
	if j.repeated("frame-rsv-set", f.Dir) {
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
	j.fatal(SeverityError, f, flagsOf(f), "frame-rsv-set", "%s", text)
}

// checkControlSize reports control frames that are fragmented or too long
// (RFC 6455 §5.5).
func (j *judge) checkControlSize(f *Frame) {
	if !f.Fin {
		j.checkControlFin(f)
	}
	if f.Length > ws.MaxControlFramePayloadSize {
		j.fatal(SeverityWarning, f, lengthOf(f), "control-too-long", "%s with %d byte payload, limit is %d", OpName(f.OpCode), f.Length, ws.MaxControlFramePayloadSize)
	}
}

func (j *judge) checkControlFin(f *Frame) {
	j.fatal(SeverityWarning, f, flagsOf(f), "control-fragmented", "%s without FIN, control frames are not fragmented", OpName(f.OpCode))
}

// checkFragment judges the place of a data frame in its message
// (RFC 6455 §5.4).
func (j *judge) checkFragment(f *Frame, p place) {
	switch p {
	case placeNone:
		return
	case placeOrphan:
		j.fatal(SeverityWarning, f, flagsOf(f), "frag-orphan-continuation", "continuation without a message to continue")
		return
	case placeInterrupts:
		j.fatal(SeverityWarning, f, flagsOf(f), "frag-interleaved", "%s frame before the last message ended, a cont frame was due", OpName(f.OpCode))
	}
	m := &j.connection.fragments[f.Dir]
	if p != placeContinues {
		j.tolerance(f)
		if f.Fin { // one frame, as most messages are
			m.length = f.Length
			return
		}
		*m = fragments{}
	}
	j.adviseFragment(f, m)
}

// lost judges the header at which the framing of d is lost, that of frame n
// (RFC 6455 §5.2).
func (j *judge) lost(d Dir, n int64, head []byte) {
	const id = "frame-length-msb"
	j.add(ruleByID[id].Severity, id, d, n, Span{From: 2, N: 1}, "64-bit payload length with its top bit set, % x", []any{head})
}
