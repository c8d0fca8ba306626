package decode

import (
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// reservedBits returns the reserved bits of a frame, RSV1 being 4, that the
// extensions in force define (RFC 6455 §5.2): RSV1 for permessage-deflate
// (RFC 7692 §6), perhaps all for one that we do not know.
func reservedBits(extensions string) byte {
	var bits byte
	for ext := range strings.SplitSeq(extensions, ",") {
		name, _, _ := strings.Cut(ext, ";")
		switch strings.TrimSpace(name) {
		case "":
		case "permessage-deflate":
			bits |= 4
		default:
			bits |= 7
		}
	}
	return bits
}

// checkFrame reports what is wrong with a frame, as far as the frames of its
// own direction tell, and follows the fragments of messages.
func (s *Session) checkFrame(f *Frame) {
	if f.Rsv&^s.rsv != 0 {
		s.checkReserved(f)
	}
	switch op := f.OpCode; {
	case op.IsReserved():
		s.report("frame-opcode-reserved", f.Dir, f.N, "opcode %d, which is not defined", op)
	case f.Control():
	default:
		s.checkFragment(f)
	}
	if f.Control() {
		if !f.Fin {
			s.report("control-fragmented", f.Dir, f.N, "%s without FIN, control frames are not fragmented", OpName(f.OpCode))
		}
		if f.Length > ws.MaxControlFramePayloadSize {
			s.report("control-too-long", f.Dir, f.N, "%s with %d byte payload, limit is %d", OpName(f.OpCode), f.Length, ws.MaxControlFramePayloadSize)
		}
	}
	if !f.MinimalLength() {
		s.report("frame-length-not-minimal", f.Dir, f.N, "%d byte payload in a %d-bit length", f.Length, f.LengthBits())
	}
	switch {
	case f.Dir == FromClient && !f.Masked:
		s.report("frame-client-unmasked", f.Dir, f.N, "frame without a masking key")
	case f.Dir == FromServer && f.Masked:
		s.report("frame-server-masked", f.Dir, f.N, "frame with masking key %X", f.Mask)
	}
	if f.OpCode == ws.OpClose {
		s.checkClose(f)
	}
}

func (s *Session) checkReserved(f *Frame) {
	var names []string
	for i, name := range [...]string{"RSV1", "RSV2", "RSV3"} {
		if f.Rsv&^s.rsv&(4>>i) != 0 {
			names = append(names, name)
		}
	}
	text := strings.Join(names, ", ") + " set, and no extension in force defines it"
	if names[0] == "RSV1" && !f.Control() {
		text += "; it looks like compression, but permessage-deflate was not negotiated"
	}
	s.report("frame-rsv-set", f.Dir, f.N, "%s", text)
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
	}
	sd.open = !f.Fin
	sd.text = sd.text && sd.open
}

// checkClose looks into a Close frame and keeps the first for the verdict.
func (s *Session) checkClose(f *Frame) {
	sd := &s.sides[f.Dir]
	body := f.AppendPayload(s.scratch[:0], len(s.scratch))
	code, reason, ok := CloseBody(body)
	if s.totals.Code == 0 && (f.Complete || ok) {
		s.totals.Code, s.totals.By = CodeNoStatus, f.Dir
		if ok {
			s.totals.Code = code
		}
	}
	sd.closed = true
	switch {
	case f.Rsv != 0:
		return
	case f.Length == 1:
		s.report("close-body-one-byte", f.Dir, f.N, "body of 1 byte, a code takes 2")
	case ok:
		if id := closeCodeRule(code); id != "" {
			s.report(id, f.Dir, f.N, "code %s", CloseName(code))
		}
		if f.Complete && f.Length <= ws.MaxControlFramePayloadSize && !utf8.Valid(reason) {
			s.report("close-reason-invalid-utf8", f.Dir, f.N, "reason %q is not UTF-8", reason)
		}
	}
}
