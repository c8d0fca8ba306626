package decode

import (
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// A cutter finds the frames of one direction (RFC 6455 §5.2) and cuts them into
// the pieces that events carry: a whole frame, or at most MaxPiece bytes of its
// payload, with text cut between characters. Where it cuts does not depend on
// how the bytes were split on their way. It also follows the message in flight
// (RFC 6455 §5.4).
type cutter struct {
	dec   Decoder
	fresh bool      // no piece of the frame in flight was handed out yet
	chars bool      // its payload is text, to be cut between characters
	cut   bool      // the beginning of a header, after which nothing comes, was emitted
	at    int64     // where in its payload hold begins
	hold  []byte    // its payload that waits for more; from piecePool
	spent int       // how much of hold was handed out
	since time.Time // since when something of the frame waits

	// The message in flight.
	open bool      // its first frame has come, its last has not
	op   ws.OpCode // of its first frame
	mid  bool      // its first frame may have come before the session began here
	text bool      // it is text that is not compressed

	lastData  time.Time // when the latest data frame began
	lastStart time.Time // and the latest message
}

// piecePool holds the buffers for frames in flight.
var piecePool = sync.Pool{New: func() any { return new([MaxPiece]byte) }}

// begin begins a frame, whose header came at now.
func (c *cutter) begin(f *Frame, now time.Time) {
	c.fresh, c.at, c.since = true, 0, now
	c.chars = f.Rsv == 0 && (f.OpCode == ws.OpText || f.OpCode == ws.OpContinuation && c.text)
}

// next takes from *p payload of the frame in flight, which ends with *p if
// complete, and sets the frame to the next piece to hand out. It returns false
// if more has to come first. The piece is valid until release.
func (c *cutter) next(p *[]byte, complete bool, now time.Time) bool {
	c.release()
	if len(c.hold) > 0 { // held payload goes first
		n := min(len(*p), MaxPiece-len(c.hold))
		c.hold, *p = append(c.hold, (*p)[:n]...), (*p)[n:]
		switch {
		case complete && len(*p) == 0:
			c.hand(c.hold, true)
			c.spent = len(c.hold)
			return true
		case len(c.hold) < MaxPiece:
			return false
		}
		c.spent = c.uncut(c.hold)
		c.hand(c.hold[:c.spent], false)
		c.since = now
		return true
	}
	b := *p
	switch {
	case len(b) > MaxPiece || len(b) == MaxPiece && !complete:
		n := c.uncut(b[:MaxPiece])
		c.hand(b[:n], false)
		*p = b[n:]
		return true
	case complete && (len(b) > 0 || c.fresh):
		c.hand(b, true)
		*p = nil
		return true
	case len(b) > 0:
		if !c.fresh { // otherwise the header is what has waited longest
			c.since = now
		}
		c.hold = append(piecePool.Get().(*[MaxPiece]byte)[:0], b...)
		*p = nil
	}
	return false
}

// flush sets the frame to the payload that is held: all of it, or, unless all is
// set, as much as cuts text between characters. It returns false if nothing
// waits. The piece is valid until release.
func (c *cutter) flush(all bool, now time.Time) bool {
	c.release()
	n := len(c.hold)
	if !all {
		n = c.uncut(c.hold)
	}
	c.since = now
	if !c.fresh && n == 0 {
		return false
	}
	c.spent = n
	c.hand(c.hold[:n], false)
	return true
}

// hand makes p the piece of the frame that is handed out.
func (c *cutter) hand(p []byte, complete bool) {
	f := &c.dec.frame
	f.payload, f.At, f.More, f.Complete = p, c.at, !c.fresh, complete
	c.fresh = false
	c.at += int64(len(p))
}

// release drops what was handed out of hold, and hold itself when it is empty.
// That happens before anything else is handed out, so a piece is handed out
// once, whatever became of it.
func (c *cutter) release() {
	if c.spent == 0 {
		return
	}
	n := c.spent
	c.spent = 0
	if n == len(c.hold) {
		piecePool.Put((*[MaxPiece]byte)(c.hold[:MaxPiece]))
		c.hold, c.dec.frame.payload = nil, nil
		return
	}
	c.hold = c.hold[:copy(c.hold, c.hold[n:])]
}

// whole hands out p if that is the payload of a whole frame that came in one
// chunk and is short enough. It reports whether it did.
func (c *cutter) whole(p []byte, complete bool) bool {
	if !complete || c.dec.frame.More || len(p) > MaxPiece {
		return false
	}
	c.fresh = false
	c.at = int64(len(p)) // the decoder has set the rest
	return true
}

// uncut returns the length of p, which begins at c.at in the payload; if p is
// text, without the character that it ends inside of.
func (c *cutter) uncut(p []byte) int {
	if !c.chars {
		return len(p)
	}
	f := &c.dec.frame
	var last [utf8.UTFMax - 1]byte
	tail := last[:copy(last[:], p[max(0, len(p)-len(last)):])]
	if f.Masked {
		ws.Cipher(tail, f.Mask, int((c.at+int64(len(p)-len(tail)))&3))
	}
	return len(p) - partial(tail)
}

// waits reports whether something of the frame in flight was not handed out.
func (c *cutter) waits() bool { return c.fresh || len(c.hold) > c.spent }

// resume begins anew with a frame, behind some that are missing.
func (c *cutter) resume() {
	c.dec.resume()
	c.cut, c.fresh, c.open, c.text, c.mid = false, false, false, false, true
}

// lost reports whether frames can't be told apart any more.
func (c *cutter) lost() bool { return c.dec.err != nil }

// A cut is what the bytes of a direction end inside of. The zero cut is nothing:
// they end between frames.
type cut struct {
	in    cutIn
	frame int64     // the number of the frame
	op    ws.OpCode // of the frame, or that of the first octet
	came  int64     // how much of its payload came, or of its header
	of    int64     // of how much; of a header 0 if one octet came, which does not tell
}

type cutIn uint8

const (
	cutNowhere cutIn = iota
	cutPayload
	cutHeader
)

// endsIn returns what the bytes so far end inside of.
func (c *cutter) endsIn() cut {
	f := &c.dec.frame
	switch p := c.dec.Partial(); {
	case c.dec.InPayload():
		return cut{in: cutPayload, frame: f.N, op: f.OpCode, came: f.Length - c.dec.left, of: f.Length}
	case len(p) > 0:
		x := cut{in: cutHeader, frame: c.dec.count, op: ws.OpCode(p[0] & 0xf), came: int64(len(p))}
		if len(p) > 1 {
			x.of = headerLen(p[1])
		}
		return x
	}
	return cut{}
}

// headerLen returns the length of a frame header by its second octet
// (RFC 6455 §5.2).
func headerLen(second byte) int64 {
	n := int64(2)
	switch second & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if second&0x80 != 0 {
		n += 4
	}
	return n
}

// A place is where a data frame stands in its message (RFC 6455 §5.4).
type place uint8

const (
	placeNone       place = iota // in none: a control frame, or a reserved opcode
	placeStart                   // it begins a message
	placeInterrupts              // it begins a message before the last one has ended
	placeContinues               // it continues a message
	placeOrphan                  // it is a continuation with nothing to continue
)

// follow takes a data frame, whose header has come. It returns the frame's place,
// and whether the frame ends a message.
func (c *cutter) follow(f *Frame, now time.Time) (p place, ends bool) {
	c.lastData = now
	switch p = c.placeOf(f); p {
	case placeNone:
		if f.OpCode.IsReserved() {
			return p, false
		}
		c.mid = !f.Fin // of a message that began before
		return p, f.Fin
	case placeOrphan:
		return p, false
	case placeStart, placeInterrupts:
		c.op = f.OpCode
		c.text = f.OpCode == ws.OpText && f.Rsv == 0
		c.lastStart, c.mid = now, false
	}
	f.Message = c.op
	c.open = !f.Fin
	c.text = c.text && c.open
	return p, f.Fin
}

// placeOf returns the place that a frame has, without following it.
func (c *cutter) placeOf(f *Frame) place {
	switch {
	case f.Control() || f.OpCode.IsReserved() || f.OpCode == ws.OpContinuation && c.mid:
		return placeNone
	case f.OpCode == ws.OpContinuation && c.open:
		return placeContinues
	case f.OpCode == ws.OpContinuation:
		return placeOrphan
	case c.open:
		return placeInterrupts
	}
	return placeStart
}
