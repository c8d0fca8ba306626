package decode

import "strconv"

// content judges the flaws that the assembly found in a piece of a data frame,
// and the message m that this piece completes, if any.
func (j *judge) content(f *Frame, a *assembly, m *Message) {
	for i := range a.flaws {
		j.flaw(f, &a.m, &a.flaws[i])
	}
	if m != nil {
		j.adviseMessage(f, m)
	}
}

// flaw judges a flaw in the message m, found with frame f.
func (j *judge) flaw(f *Frame, m *Message, x *flaw) {
	if j.info.Piece && m.Frames > 1 {
		return // one between them may be missing
	}
	byteOf := payloadOf(f, x.offset, 1)
	if x.row != "" {
		byteOf = Span{From: x.at, N: x.nbytes, Inflated: x.row}
	}
	switch x.kind {
	case flawInflate:
		j.at(f, byteOf, "pmd-inflate-failed", "message %d at byte %d of it: %v%s%s", m.N, x.at, x.err, x.reason, j.consequence(f.Dir))
	case flawEmpty:
		j.at(f, Span{}, "pmd-inflate-failed", "message %d: %v", m.N, x.err)
	case flawTooLarge:
		j.at(f, Span{}, "pmd-bomb", "%d bytes inflate to more than %d, the limit%s", x.at, MaxInflated, j.consequence(f.Dir))
	case flawBomb:
		j.at(f, Span{}, "pmd-bomb", "%d bytes inflate to more than %d, over %d times as much", x.at, x.n, MaxInflateRatio)
	case flawFar:
		j.at(f, byteOf, "pmd-window-exceeded", "message %d at byte %d of it refers %d bytes back, the window that was agreed is %d", m.N, x.at, x.n, 1<<j.conn.agreed[f.Dir].WindowBits[f.Dir])
	case flawKept:
		j.at(f, byteOf, "pmd-context-kept", "message %d at byte %d of it refers %d bytes back, into an earlier message, and %s_no_context_takeover was agreed", m.N, x.at, x.n, f.Dir)
	case flawTail:
		where := Span{}
		if f.Length >= 4 {
			where = payloadOf(f, f.Length-4, 4)
		}
		j.at(f, where, "pmd-tail-not-stripped", "message %d ends in 00 00 ff ff, which is to be left out", m.N)
	case flawFinal:
		j.at(f, byteOf, "pmd-bfinal", "message %d has a final block, where many receivers stop", m.N)
	case flawText:
		if !j.repeated("text-invalid-utf8", f.Dir) {
			j.fatal(SeverityError, f, byteOf, "text-invalid-utf8", "% x at byte %d of message %d is not UTF-8 (%s)%s", x.bytes[:x.nbytes], x.at, m.N, x.in(f), x.reason)
		}
	case flawDrift:
		j.at(f, Span{}, "pmd-inflate-failed", "message %d is no JSON, and it is with the messages that came uncompressed in the window, where they don't belong", m.N)
	case flawTextCut:
		j.fatal(SeverityError, f, byteOf, "text-utf8-cut", "message %d ends inside a character, % x at byte %d of it", m.N, x.bytes[:x.nbytes], x.at)
	}
}

// in says where the text of x stands, for a violation in frame f.
func (x *flaw) in(f *Frame) string {
	switch {
	case x.offset < 0:
		return "after inflating"
	case x.place.frame == f.N:
		return "byte " + itoa(x.place.offset) + " of its frame"
	}
	return "byte " + itoa(x.place.offset) + " of frame " + itoa(x.place.frame)
}

// consequence says what happens to later messages of d when one can't be
// inflated.
func (j *judge) consequence(d Dir) string {
	if j.conn.agreed[d].NoTakeover[d] {
		return ""
	}
	return "; later messages refer to this one and are not inflated"
}

// notText judges a text message that is not UTF-8 and whose frames are not known
// (RFC 6455 §8.1).
func (j *judge) notText(m *Message, b []byte) {
	at, bad := new(utf8Check).add(b)
	if at < 0 {
		whole := WholeChars(b)
		at, bad = int64(len(whole)), b[len(whole):]
	}
	j.side(m.Dir, "text-invalid-utf8", "% x at byte %d of message %d is not UTF-8", bad, at, m.N)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
