package decode

import (
	"bytes"
	"time"
)

// An exchange is a request and its responses (RFC 9112 §2): it collects their
// heads, or takes them parsed, and follows the bodies behind them.
type exchange struct {
	hs        Handshake
	halves    [2]half   // by Dir
	requested time.Time // when the request came
}

// A half is the head and body that one side sends.
type half struct {
	buf     []byte // the head in flight, or a body that may name the server
	scanned int    // how much of buf HeadLen has seen
	body    Body
	scan    bool      // whether buf keeps a body that may name the server
	bodyLen int64     // bytes of body so far
	since   time.Time // when the head of a refused upgrade came, or what is no head
	given   bool      // the body was given without its transfer coding
	foreign bool      // what stands in buf is no head
	content *content  // of the body, for its events; nil if nobody wants them
}

// gather adds b to the head in flight. Once that is complete it returns the head
// and the bytes that follow it. tooLong says that no head ends within MaxHead
// bytes; rest is then what follows those.
func (p *half) gather(b []byte) (raw string, rest []byte, tooLong bool) {
	had := len(p.buf)
	p.buf = append(p.buf, b[:min(len(b), MaxHead-had)]...)
	n := HeadLen(p.buf, p.scanned)
	p.scanned = len(p.buf)
	switch {
	case n > 0:
		raw = string(p.buf[:n])
		p.buf, p.scanned = nil, 0
		return raw, b[n-had:], false
	case len(p.buf) < MaxHead:
		return "", nil, false
	}
	return "", b[len(p.buf)-had:], true
}

// maxForeign is how much is kept, in bytes, of what stands in place of a response.
const maxForeign = 256

// gatherForeign adds b to what is no head, up to the end of its first line. It
// returns what follows, and whether it has all that is kept.
func (p *half) gatherForeign(b []byte) (rest []byte, all bool) {
	had := len(p.buf)
	p.buf = append(p.buf, b[:min(len(b), maxForeign-had)]...)
	blank := len(p.buf) - len(bytes.TrimLeft(p.buf, "\r\n"))
	if i := bytes.IndexByte(p.buf[blank:], '\n'); i >= 0 {
		p.buf, all = p.buf[:blank+i+1], true
	}
	return b[len(p.buf)-had:], all || len(p.buf) == maxForeign
}

// cut returns the incomplete head in flight, or nil, and forgets it.
func (p *half) cut() *Head {
	if len(p.buf) == 0 {
		return nil
	}
	h := &Head{Raw: string(p.buf), Cut: true}
	p.buf, p.scanned = nil, 0
	return h
}

// keep adds b to a body that may name the server, up to MaxPiece bytes.
func (p *half) keep(b []byte) {
	p.buf = append(p.buf, b[:min(len(b), MaxPiece-len(p.buf))]...)
}

// method returns the method of the request, or "".
func (x *exchange) method() string {
	if x.hs.Request == nil {
		return ""
	}
	return x.hs.Request.Method
}
