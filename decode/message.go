package decode

import (
	"crypto/sha256"
	"hash"
	"slices"
	"sync"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode/internal/inflate"
)

// MaxMessageData is how many bytes of a message [Message.Data] holds at most,
// unless [Look.Keep] says otherwise.
const MaxMessageData = 1 << 20

// Limits for inflating one message (RFC 6455 §10.4). Both are checked when the
// output fills the window, so a little more may come out.
const (
	MaxInflated     = 64 << 20 // bytes; then the message is given up
	MaxInflateRatio = 1000     // to the compressed bytes, past 4 MiB; this is only reported
)

// unmaskAtOnce is how much payload is unmasked before it is examined: little
// enough to be still in the fastest cache.
const unmaskAtOnce = 16 << 10

// A Message is a data message put together from its frames and, if it was
// compressed, inflated (RFC 6455 §5.4, RFC 7692 §6.2).
//
// It belongs to the [Session] and is valid during [Sink.Emit]; Clone keeps it.
type Message struct {
	Dir        Dir
	Op         ws.OpCode // text or binary; from a source without frames also a control opcode
	N          int64     // which data message of its direction this is, from 0
	First      int64     // number of its first frame
	Frames     int64     // how many frames it has, without control frames between them; 0 if not known
	Compressed bool
	Wire       int64  // bytes of payload that came
	Len        int64  // length in bytes, inflated
	Data       []byte // its beginning, inflated, up to Look.Keep
	Cut        bool   // Data is not all of it
	Sum        []byte // SHA-256 of all of it, if it is Cut and Look.Sums was set; nil if it could not be read
	Unread     bool   // it could not be inflated, or a part is missing: Len and Data cover only what could be read
	Unfinished bool   // the connection ended, or another message began, before its end

	unpack  func(data []byte, cut bool) ([]byte, string, bool) // Look.Unpack; nil once it was asked
	content Content                                            // what it said
}

// Content is what a message says: its Data or, where a binary message is in a format
// such as gzip, what that has packed.
type Content struct {
	Data   []byte // valid as long as the message
	Cut    bool   // Data is not all of it
	Packed string // the format; "" if Data is that of the message
}

// Content returns what m says.
func (m *Message) Content() Content {
	if m.unpack != nil {
		m.content = Content{}
		if m.Op == ws.OpBinary && !m.Unread && !m.Unfinished {
			data, format, less := m.unpack(m.Data, m.Cut)
			m.content = Content{data, less, format}
		}
		m.unpack = nil
	}
	if m.content.Packed == "" {
		return Content{Data: m.Data, Cut: m.Cut}
	}
	return m.content
}

// Clone returns a copy of m that shares no bytes with it.
func (m *Message) Clone() *Message {
	c := *m
	c.Data, c.Sum, c.content.Data = slices.Clone(m.Data), slices.Clone(m.Sum), slices.Clone(m.content.Data)
	return &c
}

// An assembly puts the messages of one direction together (RFC 6455 §5.4). As the
// bytes come, it inflates them, checks text, and notes the flaws that it finds.
type assembly struct {
	deflate *Deflate // of the session
	keep    int      // limit for m.Data, in bytes
	sums    bool     // sum up what is longer
	unpack  func(data []byte, cut bool) ([]byte, string, bool)
	pieces  bool // gather what each piece adds

	m     Message
	open  bool      // m has begun and not ended
	buf   *[]byte   // holds m.Data; from dataPool
	sum   hash.Hash // of m, which is longer than keep; nil if it is not, or nobody asks
	text  bool      // m should be UTF-8, and is so far
	utf8  utf8Check
	begun bytePlace // where the sequence begins that utf8 has open
	added *[]byte   // what the piece at hand has added to m; nil for nothing; from dataPool

	cont  bool // messages that the source lacks may have come before
	piece bool // or between them

	inflater *inflate.Stream // of the direction; nil before its first compressed message
	lost     bool            // the compressed stream can't be followed any more
	reasons  int             // times that a reason was looked for
	mixed    mixture         // if the compressed messages can refer to others

	flaws    []flaw // found in the piece at hand
	farNoted bool   // a match of m that reaches too far was noted
	bomb     int64  // 1 + N of the latest message whose growth was noted
}

// A bytePlace is where a byte of payload stands.
type bytePlace struct{ frame, offset int64 }

// dataPool holds buffers for messages in flight, and for what a piece adds to one.
// Those that have grown far beyond MaxMessageData do not come back.
var dataPool = sync.Pool{New: func() any { return new([]byte) }}

// putData puts a buffer of dataPool back, empty.
func putData(b *[]byte) {
	if *b = (*b)[:0]; cap(*b) <= 2*MaxMessageData {
		dataPool.Put(b)
	}
}

// take takes a piece of a data frame. It returns the message if this piece
// completes it; release must follow. scratch is room for unmasked payload.
func (a *assembly) take(f *Frame, scratch []byte) *Message {
	a.flaws = a.flaws[:0]
	a.letGo()
	if !f.More && f.OpCode != ws.OpContinuation {
		a.begin(f)
	}
	if !a.open {
		return nil
	}
	if !f.More {
		a.m.Frames++
		if !a.m.Compressed && f.Rsv != 0 { // of an extension that we do not know
			a.unread()
		}
	}
	a.m.Wire += int64(len(f.payload))
	a.payload(f, scratch)
	if !f.Fin || !f.Complete {
		return nil
	}
	a.end(f)
	return &a.m
}

// begin begins a message. The one before must have ended or been given up.
func (a *assembly) begin(f *Frame) {
	n := a.m.N
	a.m = Message{}
	a.m.Dir, a.m.Op, a.m.N, a.m.First, a.m.unpack = f.Dir, f.OpCode, n, f.N, a.unpack
	a.m.Compressed = a.deflate.On && f.Rsv&4 != 0
	a.open, a.farNoted, a.sum = true, false, nil
	a.text, a.utf8 = f.OpCode == ws.OpText, utf8Check{}
	if !a.m.Compressed {
		return
	}
	z := a.inflater
	if z == nil {
		z = &inflate.Stream{Limit: 1 << a.deflate.WindowBits[f.Dir], Alone: a.deflate.NoTakeover[f.Dir]}
		a.inflater = z
	}
	switch {
	case a.piece:
		z.Reset() // what the message refers to may be missing
		a.lost = false
	case !a.lost:
	case z.Alone: // the message refers to none before it
		z.Reset()
		a.lost = false
	default:
		a.unread()
		return
	}
	z.Start()
}

// unread gives up on reading the message.
func (a *assembly) unread() {
	a.m.Unread, a.text = true, false
}

// lose gives up on the compressed stream, and so on the message.
func (a *assembly) lose() {
	a.lost = true
	a.unread()
	if a.inflater != nil {
		a.inflater.Release()
	}
}

// miss notes that payload of the message in flight was lost.
func (a *assembly) miss() {
	switch {
	case !a.open:
	case a.m.Compressed:
		a.lose()
	default:
		a.unread()
	}
}

// resume says that messages may be missing before the next one.
func (a *assembly) resume() {
	a.cont = true
	if a.inflater != nil {
		a.inflater.Reset()
		a.lost = false
	}
}

// giveUp returns the message in flight, which will never be complete, or nil if
// there is none; release must follow.
func (a *assembly) giveUp() *Message {
	if !a.open {
		return nil
	}
	a.m.Unfinished = true
	if a.m.Compressed {
		a.lose()
	}
	return &a.m
}

// payload takes the payload at hand of f.
func (a *assembly) payload(f *Frame, scratch []byte) {
	p := f.payload
	if a.m.Unread || !a.m.Compressed && !a.text && !a.sums && !a.pieces && len(a.m.Data) == a.keep {
		if !a.m.Compressed {
			a.m.Len += int64(len(p))
			a.m.Cut = a.m.Cut || len(p) > 0
		}
		return
	}
	if !f.Masked {
		a.clear(f, p, f.At)
		return
	}
	if len(p) > len(scratch) {
		b := piecePool.Get().(*[MaxPiece]byte)
		defer piecePool.Put(b)
		scratch = b[:]
	}
	for at := f.At; len(p) > 0; {
		b := scratch[:copy(scratch[:min(len(scratch), unmaskAtOnce)], p)]
		ws.Cipher(b, f.Mask, int(at&3))
		a.clear(f, b, at)
		p = p[len(b):]
		at += int64(len(b))
	}
}

// clear takes unmasked payload that begins at offset at of frame f.
func (a *assembly) clear(f *Frame, p []byte, at int64) {
	if !a.m.Compressed {
		a.content(f, p, at)
		return
	}
	a.inflate(f, p)
}

// inflate takes compressed bytes, some of which have come in frame f.
func (a *assembly) inflate(f *Frame, p []byte) {
	z := a.inflater
	for !a.m.Unread {
		n, out, err := z.Next(p)
		p = p[n:]
		if len(out) > 0 {
			a.content(f, out, -1)
		}
		a.noteMatches(f)
		switch {
		case err != nil:
			a.inflateFailed(f, err)
		case z.Full() && a.m.Len > MaxInflated:
			a.note(flaw{kind: flawTooLarge, at: z.Offset()})
			a.lose()
		case z.Full() && a.m.Len > 4<<20 && a.m.Len/MaxInflateRatio > z.Offset() && a.bomb != a.m.N+1:
			a.bomb = a.m.N + 1
			a.note(flaw{kind: flawBomb, at: z.Offset(), n: a.m.Len})
		case len(p) == 0 && len(out) == 0:
			return
		}
	}
}

func (a *assembly) inflateFailed(f *Frame, err error) {
	if err == inflate.ErrEmpty {
		a.note(flaw{kind: flawEmpty, err: err})
		return
	}
	if err == inflate.ErrDistance && a.cont && !a.inflater.Alone {
		a.lose() // it refers to what is missing
		return
	}
	at := a.inflater.Offset()
	a.note(flaw{kind: flawInflate, err: err, at: at, offset: a.inFrame(f, at), reason: a.reason(f)})
	a.lose()
}

// inFrame returns where in the payload of frame f the byte at an offset of the
// compressed message is, or -1.
func (a *assembly) inFrame(f *Frame, offset int64) int64 {
	if a.m.First != f.N || offset > f.Length {
		return -1
	}
	return offset
}

// noteMatches notes the first match that reaches farther back than was agreed,
// and that the inflater could follow all the same.
func (a *assembly) noteMatches(f *Frame) {
	z := a.inflater
	if a.farNoted || z.Far.Dist == 0 && z.Kept.Dist == 0 {
		return
	}
	a.farNoted = true
	if z.Far.Dist != 0 {
		a.note(flaw{kind: flawFar, at: z.Far.At, offset: a.inFrame(f, z.Far.At), n: int64(z.Far.Dist)})
	} else {
		a.note(flaw{kind: flawKept, at: z.Kept.At, offset: a.inFrame(f, z.Kept.At), n: int64(z.Kept.Dist)})
	}
}

// content takes content of the message: payload of frame f that begins at offset
// at, or, if at is negative, the output of the inflater.
func (a *assembly) content(f *Frame, p []byte, at int64) {
	m := &a.m
	m.Len += int64(len(p))
	if n := min(len(p), a.keep-len(m.Data)); n > 0 {
		if a.buf == nil {
			a.buf = dataPool.Get().(*[]byte)
			m.Data = (*a.buf)[:0]
		}
		m.Data = append(m.Data, p[:n]...)
		*a.buf = m.Data
		m.Cut = n < len(p)
	} else {
		m.Cut = m.Cut || len(p) > 0
	}
	if a.pieces && len(p) > 0 {
		if a.added == nil {
			a.added = dataPool.Get().(*[]byte)
		}
		*a.added = append(*a.added, p...)
	}
	a.sumUp(p)
	if !a.text {
		return
	}
	before := a.utf8.n
	wrong, bad := a.utf8.add(p)
	if bad == nil {
		if open, _ := a.utf8.open(); open >= before {
			a.begun = bytePlace{f.N, at + open - before}
		}
		return
	}
	a.text = false
	x := flaw{kind: flawText, at: wrong, offset: -1, reason: a.reason(f)}
	x.seq(bad)
	if at >= 0 {
		x.place = a.begun // in an earlier piece
		if wrong >= before {
			x.place = bytePlace{f.N, at + wrong - before}
		}
		x.offset = 0
		if x.place.frame == f.N {
			x.offset = x.place.offset
		}
	} else {
		x.row = a.row(wrong)
	}
	a.note(x)
}

// row returns what the message has from at&^15 on, up to 16 bytes, as far as it
// is kept; "" if not even the byte at an offset of at is.
func (a *assembly) row(at int64) string {
	data := a.m.Data
	if at >= int64(len(data)) {
		return ""
	}
	from := at &^ 15
	return string(data[from:min(from+16, int64(len(data)))])
}

// sumUp takes the content of a message that ends in p, if it is longer than what
// is kept of it.
func (a *assembly) sumUp(p []byte) {
	if !a.sums || !a.m.Cut {
		return
	}
	if a.sum == nil {
		a.sum = sha256.New()
		a.sum.Write(a.m.Data)
		p = p[len(p)-int(a.m.Len-int64(len(a.m.Data))):]
	}
	a.sum.Write(p)
}

// end takes the end of a message in frame f.
func (a *assembly) end(f *Frame) {
	m := &a.m
	if m.Compressed && !m.Unread {
		a.inflateEnd(f)
	}
	if at, seq := a.utf8.open(); a.text && len(seq) > 0 {
		x := flaw{kind: flawTextCut, at: at, offset: -1}
		x.seq(seq)
		if m.Compressed {
			x.row = a.row(at)
		} else {
			x.offset = max(0, f.Length-int64(len(seq)))
		}
		a.note(x)
	}
	if a.drifted(f) {
		a.note(flaw{kind: flawDrift, offset: -1})
	}
	if a.deflate.On && !a.deflate.NoTakeover[f.Dir] {
		a.mixed.add(m, a.inflater)
	}
	if a.sum != nil && !m.Unread {
		m.Sum = a.sum.Sum(nil)
	}
}

// inflateEnd ends a compressed message.
func (a *assembly) inflateEnd(f *Frame) {
	z := a.inflater
	if z.TailKept() {
		a.note(flaw{kind: flawTail})
	}
	if z.Finals > 0 {
		a.note(flaw{kind: flawFinal, offset: a.inFrame(f, z.FinalAt)})
	}
	n, kept, added := a.m.Len, len(a.m.Data), len(a.gathered())
	a.inflate(f, z.Tail())
	if err := z.End(); err != nil && !a.m.Unread {
		a.inflateFailed(f, err)
	}
	if a.m.Unread { // what came out of the tail is not part of the message
		a.m.Len, a.m.Data = n, a.m.Data[:kept]
		if a.added != nil {
			*a.added = (*a.added)[:added]
		}
	}
}

// gathered returns what the piece at hand has added to the message. It is valid
// until letGo.
func (a *assembly) gathered() []byte {
	if a.added == nil {
		return nil
	}
	return *a.added
}

// letGo gives the buffer of gathered back.
func (a *assembly) letGo() {
	if a.added != nil {
		putData(a.added)
		a.added = nil
	}
}

// release ends the message that is complete, and gives its buffer back.
func (a *assembly) release() {
	a.open = false
	a.m.N++
	if a.buf != nil {
		*a.buf = a.m.Data
		putData(a.buf)
		a.buf, a.m.Data = nil, nil
	}
}

// A flaw is something wrong in the content of a message, or worth a remark.
type flaw struct {
	kind   flawKind
	at     int64     // offset in the compressed bytes of the message; for text, in the text
	offset int64     // of that byte in the payload of the frame at hand, or -1; 0 for text that began in an earlier frame
	n      int64     // a distance or a length
	err    error     // from the inflater
	place  bytePlace // of text that was not compressed
	bytes  [4]byte   // the first nbytes of it are the text at fault
	nbytes int
	row    string // of text that was inflated: Span.Inflated
	reason string // why that is, with a colon in front; "" if the bytes don't tell
}

type flawKind uint8

const (
	flawInflate  flawKind = iota // it can't be inflated
	flawEmpty                    // it is compressed to no bytes at all
	flawTooLarge                 // it inflates to more than MaxInflated
	flawBomb                     // it inflates to n bytes, over MaxInflateRatio times its size
	flawFar                      // a match reaches n bytes back, beyond the window agreed on
	flawKept                     // a match reaches n bytes back, into an earlier message, without context takeover
	flawTail                     // it ends in the flush marker, which should be left out
	flawFinal                    // it has a final block
	flawText                     // text is not UTF-8
	flawTextCut                  // text ends inside a character
	flawDrift                    // it is JSON only with messages in the window that came uncompressed
)

func (x *flaw) seq(b []byte) { x.nbytes = copy(x.bytes[:], b) }

func (a *assembly) note(x flaw) { a.flaws = append(a.flaws, x) }
