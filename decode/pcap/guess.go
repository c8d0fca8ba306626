package pcap

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A guess looks for frames of WebSocket (RFC 6455 §5.2) in what an end says, where
// nobody knows whether there are any, or where one begins. Frames begin at most where
// segments do. It counts what speaks for frames, about in bits: so much that another
// protocol, of which a capture may have a million segments, is not taken for WebSocket.
type guess struct {
	buf   []byte
	from  int    // where buf begins, as marks count
	marks []mark // where segments begin in buf

	pass func(at place, b []byte) // is given what is passed over; nil for nothing
	late bool                     // the other end no longer waits for what is held
}

// A mark is where a segment begins.
type mark struct {
	pos int // from the start of what was added first
	place
}

const (
	maxGuess  = 64 << 10 // bytes that are looked at
	maxFrames = 64       // frames, too

	// What is enough to take bytes for frames, and to take them for the beginning of
	// frames in what is WebSocket.
	enough      = 40
	enoughBegin = 16
)

// add adds what an end says.
func (g *guess) add(p *player, at place, b []byte, start bool) {
	if len(g.buf)+len(b) > maxGuess || p.full(len(b)) {
		g.reset(p)
	}
	if len(g.buf) == 0 && !start || len(b) > maxGuess || p.full(len(b)) {
		if g.pass != nil {
			g.pass(at, b)
		}
		return
	}
	if start {
		g.marks = append(g.marks, mark{g.from + len(g.buf), at})
	}
	g.buf = append(g.buf, b...)
	p.cost += len(b)
}

// reset forgets everything.
func (g *guess) reset(p *player) {
	p.cost -= len(g.buf)
	if g.pass != nil && len(g.buf) > 0 {
		g.pass(g.marks[0].place, g.buf)
	}
	*g = guess{pass: g.pass}
}

// skip moves on to the next segment.
func (g *guess) skip(p *player) {
	if len(g.marks) < 2 {
		g.reset(p)
		return
	}
	n := g.marks[1].pos - g.from
	p.cost -= n
	if g.pass != nil {
		g.pass(g.marks[0].place, g.buf[:n])
	}
	g.buf, g.marks, g.from = g.buf[n:], g.marks[1:], g.from+n
}

// find reports whether frames begin at the start of buf, which moves on until they can.
func (g *guess) find(p *player, enough int) (masked, ok bool) {
	for len(g.buf) > 0 {
		bits, masked, ok := g.weigh()
		switch {
		case !ok:
			g.skip(p)
		case bits >= enough:
			return masked, true
		default:
			return false, false
		}
	}
	return false, false
}

// weigh returns how much speaks for frames at the start of buf; nothing may speak
// against them.
func (g *guess) weigh() (bits int, masked, ok bool) {
	const header, end, length16, length64, closing = 5, 6, 8, 20, 8
	open, text := false, false
	for pos, n := 0, 0; pos < len(g.buf); n++ {
		b := g.buf[pos:]
		if len(b) < 2 {
			return bits, masked, true
		}
		op, fin, rsv := ws.OpCode(b[0]&0xf), b[0]&0x80 != 0, b[0]>>4&7
		size, at := uint64(b[1]&0x7f), 2
		mask := b[1]&0x80 != 0
		weight := header
		switch {
		case n == 0:
			masked = mask
		case n == maxFrames || mask != masked:
			return 0, false, false
		}
		first := op == ws.OpText || op == ws.OpBinary
		switch {
		case op.IsReserved(), rsv != 0 && (rsv != 4 || !first), first && open:
			return 0, false, false
		case op.IsControl() && (!fin || size > ws.MaxControlFramePayloadSize):
			return 0, false, false
		case op == ws.OpContinuation && !open && n > 0:
			return 0, false, false
		case op == ws.OpContinuation && !open:
			weight = 0 // it may be of a message that began before
		}
		switch size {
		case 126:
			if len(b) < 4 {
				return bits, masked, true
			}
			size, at, weight = uint64(binary.BigEndian.Uint16(b[2:])), 4, weight+length16
			if size < 126 {
				return 0, false, false
			}
		case 127:
			if len(b) < 10 {
				return bits, masked, true
			}
			size, at, weight = binary.BigEndian.Uint64(b[2:]), 10, weight+length64
			if size < 1<<16 || size > 1<<40 {
				return 0, false, false
			}
		}
		var key [4]byte
		if mask {
			if len(b) < at+4 {
				return bits, masked, true
			}
			key, at = [4]byte(b[at:]), at+4
		}
		if size > uint64(len(b)-at) {
			return bits, masked, true // the rest has not come
		}
		if !op.IsControl() {
			if first {
				text = op == ws.OpText && rsv == 0
			}
			open = !fin
		}
		payload := b[at : at+int(size)]
		switch {
		case !op.IsControl() && (size == 0 || op == ws.OpContinuation && !fin):
			weight = 0
		case text && first:
			likely, is := isText(payload, key, mask)
			if !is {
				return 0, false, false
			}
			weight += likely
		case op == ws.OpClose && size > 0:
			if !isClose(payload, key, mask) {
				return 0, false, false
			}
			weight += closing
		}
		pos += at + int(size)
		if weight > 0 && g.ends(pos) {
			weight += end
		}
		bits += weight
	}
	return bits, masked, true
}

// ends reports whether a segment ends at pos in buf.
func (g *guess) ends(pos int) bool {
	if pos == len(g.buf) {
		return true
	}
	_, ok := slices.BinarySearchFunc(g.marks, g.from+pos, func(m mark, pos int) int { return cmp.Compare(m.pos, pos) })
	return ok
}

// isText returns how likely payload is text; ok is false if it is none.
func isText(payload []byte, key [4]byte, masked bool) (bits int, ok bool) {
	const most = 24
	var buf [most + utf8.UTFMax]byte
	b := buf[:copy(buf[:], payload)]
	if masked {
		ws.Cipher(b, key, 0)
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			return min(bits, most), !utf8.FullRune(b) // it may be cut
		case r >= ' ' && r != 0x7f:
			bits += n
		}
		b = b[n:]
	}
	return min(bits, most), true
}

// isClose reports whether payload may be that of a Close frame.
func isClose(payload []byte, key [4]byte, masked bool) bool {
	b := bytes.Clone(payload)
	if masked {
		ws.Cipher(b, key, 0)
	}
	code, reason, ok := decode.CloseBody(b)
	return ok && code >= 1000 && code < 5000 && utf8.Valid(reason)
}

// resetGuesses forgets what is held, and plays what has waited for it.
func (s *stream) resetGuesses() {
	for side := range s.guesses {
		s.guesses[side].reset(s.player)
	}
	s.playWaiting()
}

// seek takes what an end says where the beginning is missing.
func (s *stream) seek(side int, at place, b []byte, start bool) {
	if s.relayed == nil && start && s.resumes(side, at, b) {
		return
	}
	g := &s.guesses[side]
	g.add(s.player, at, b, start)
	need := enough
	if s.relayed != nil {
		need = enoughBegin
	}
	masked, ok := g.find(s.player, need)
	if !ok {
		s.settle()
		return
	}
	client := side
	if !masked {
		client = 1 - side
	}
	if s.client >= 0 && s.client != client { // they are none, or nobody would understand them
		g.reset(s.player)
		s.settle()
		return
	}
	if s.relayed == nil {
		s.client = client
		began := g.marks[0].place
		if h := &s.guesses[1-side]; len(h.buf) > 0 && h.marks[0].offset < began.offset {
			began = h.marks[0].place
		}
		s.missed(began).Upgraded()
	}
	s.begins(side)
	if other := 1 - side; s.lacks[other] && len(s.guesses[other].buf) > 0 {
		if masked, ok := s.guesses[other].find(s.player, enoughBegin); ok && masked == (other == s.client) {
			s.begins(other)
		}
	}
	s.settle()
}

// unframed says that it is not known where the next frame begins of what an end says.
func (s *stream) unframed(side int) {
	s.lacks[side] = true
	s.guesses[side].pass = func(at place, b []byte) {
		if x := s.relayed; x != nil {
			x.place(at)
			x.Data(s.dir(side), at.time, b)
		}
	}
}

// missed begins a session without its request.
func (s *stream) missed(at place) *exchange {
	x := &exchange{websocket: true}
	s.open(x, "", true, at)
	s.mode, s.relayed, s.lacks = modeHTTP, x, [2]bool{true, true}
	return x
}

// A chunk is what an end has said, which waits until it is known what the other said
// before it.
type chunk struct {
	place
	side   int
	data   []byte
	begins bool // a frame, behind what is missing
}

// maxWaiting is how many chunks wait.
const maxWaiting = 1024

// maxLate is how long, by the times of the packets, chunks wait. The chunks before may
// be a lone Pong, which is too short to be taken for one, and the next heartbeat comes
// after half a minute or so.
const maxLate = time.Minute

// begins lets the frames that were found wait, in the order of the packets.
func (s *stream) begins(side int) {
	g := &s.guesses[side]
	all := make([]chunk, 0, len(s.waiting)+len(g.marks))
	for i, m := range g.marks {
		to := g.from + len(g.buf)
		if i+1 < len(g.marks) {
			to = g.marks[i+1].pos
		}
		for len(s.waiting) > 0 && s.waiting[0].offset <= m.offset {
			all, s.waiting = append(all, s.waiting[0]), s.waiting[1:]
		}
		all = append(all, chunk{m.place, side, g.buf[m.pos-g.from : to-g.from], i == 0})
	}
	s.waiting = append(all, s.waiting...)
	s.player.cost += len(g.buf) // which reset takes away
	s.lacks[side] = false
	g.pass = nil
	g.reset(s.player)
}

// follows reports whether what side says, in frames, comes behind what is held of the
// other end, and lets it wait for that. If that takes too much, or too long, what is
// held comes late: out of order, and with the time of what was shown by then.
func (s *stream) follows(side int, at place, b []byte) bool {
	g := &s.guesses[1-side]
	if !s.lacks[1-side] || len(g.buf) == 0 || g.late {
		return false
	}
	waits := len(b)
	for _, c := range s.waiting {
		waits += len(c.data)
	}
	if waits > maxGuess || len(s.waiting) == maxWaiting || s.player.full(len(b)) || at.time.Sub(g.marks[0].time) > maxLate {
		g.late = true
		s.playWaiting()
		return false
	}
	s.player.cost += len(b)
	s.waiting = append(s.waiting, chunk{at, side, bytes.Clone(b), false})
	return true
}

// settle gives to the session what no longer has to wait.
func (s *stream) settle() {
	var held *guess
	for side := range s.guesses {
		if g := &s.guesses[side]; s.lacks[side] && len(g.buf) > 0 && !g.late {
			held = g
		}
	}
	for len(s.waiting) > 0 && (held == nil || s.waiting[0].offset <= held.marks[0].offset) {
		s.playChunk()
	}
}

// playWaiting gives all that waits to the session.
func (s *stream) playWaiting() {
	for len(s.waiting) > 0 {
		s.playChunk()
	}
}

func (s *stream) playChunk() {
	c := s.waiting[0]
	if s.waiting = s.waiting[1:]; len(s.waiting) == 0 {
		s.waiting = nil
	}
	s.player.cost -= len(c.data)
	if x := s.relayed; x != nil {
		x.place(c.place)
		if c.begins {
			x.Resume(s.dir(c.side), c.time)
		}
		x.Data(s.dir(c.side), c.time, c.data)
	}
}

// resumes reports whether something begins with b, a segment, that needs nothing from
// before, and takes it.
func (s *stream) resumes(side int, at place, b []byte) bool {
	asks := s.client < 0 || side == s.client
	switch line, _, whole := bytes.Cut(b, []byte("\n")); {
	case asks && whole && decode.MayBeRequest(b, false) && b[0] > ' ':
		s.resetGuesses()
		s.client, s.mode = side, modeHTTP
		s.http(side, at, b, true)
	case asks && isHello(b):
		s.resetGuesses()
		s.client = side
		s.beginTLS(side, at, b)
	case asks && beginsHTTP2(b):
		s.pass(PassedHTTP2)
	case !s.showed && isRecord(b):
		s.pass(PassedMidTLS)
	case (s.client < 0 || side != s.client) && whole && strings.HasPrefix(string(line), "HTTP/1.1 101"):
		n := decode.HeadLen(b, 0)
		if n == 0 {
			return false
		}
		h, err := decode.ParseResponse(string(b[:n]))
		if err != nil || !h.HasToken("Upgrade", "websocket") {
			return false
		}
		s.resetGuesses()
		s.client = 1 - side
		x := s.missed(at)
		s.lacks[side] = false
		x.Head(decode.FromServer, at.time, h, nil)
		s.http(side, at, b[n:], false)
	default:
		return false
	}
	return true
}
