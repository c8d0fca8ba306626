package trace

import (
	"cmp"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// Options are settings of a [Writer]. With the zero value it records.
type Options struct {
	By   string // the program that writes: "wstrace 0.3.0"
	Mode string // what it does: "proxy"

	Redact []string // the selectors of what the events have placeholders for

	// A recording in several files, each readable by itself: the name of the run,
	// which all of them have, and the number of the first file, from 1. With 0
	// there is one file, and [Writer.Rotate] must not be called.
	Run  string
	Part int

	Seed int64 // of the changes in force, from 1; 0 if there are none

	// Derived adds what follows from the bytes, for programs that read lines
	// as they come: violations, the text of compressed messages, and the
	// totals of each session.
	Derived bool

	// Messages writes a line for a message in place of the lines of its frames,
	// if Derived is set. The sessions must put messages together.
	Messages bool

	// Preview is how many bytes of payload a line has at most, if Derived is
	// set; a negative number means all of them.
	Preview int
}

// A Writer writes events as a trace. It makes one Write call for the lines of
// an event, and none for an event that needs no line. Like every
// [decode.Sink] that sessions share, it is called for one event at a time.
type Writer struct {
	w     io.Writer
	o     Options
	begun bool
	t0    time.Time
	ended decode.PerSession[int] // directions that have ended
	sink  decode.Sink            // what Emit gives events to: emit, or only those of messages
	err   error

	written  int64                  // bytes, of the part at hand
	open     map[int64]*openSession // nil if there is only one part
	inFlight int                    // frames in flight, of those
	refused  bool                   // the last event is a response whose body comes next
	closing  *openSession           // the one of the last event, if its end was the last

	rec     Record
	buf     []byte
	payload []byte
	msg     Message
}

// NewWriter returns a Writer to w. The header of the trace is written with the
// first event, whose time it has.
func NewWriter(w io.Writer, o Options) *Writer {
	if !o.Derived {
		o.Preview, o.Messages = -1, false
	}
	wr := &Writer{w: w, o: o, ended: decode.PerSession[int]{Max: 16 * decode.MaxOpen}}
	if o.Part > 0 {
		wr.open = map[int64]*openSession{}
	}
	wr.sink = decode.SinkFunc(wr.emit)
	if o.Messages {
		wr.sink = decode.MessagesOnly(wr.sink)
	}
	return wr
}

// SetMode replaces the Mode of the options, for what is not known earlier. It must be
// called before the first event.
func (w *Writer) SetMode(mode string) { w.o.Mode = mode }

// Err returns the first error of writing. After it, nothing more was written.
// It must not be called during Emit.
func (w *Writer) Err() error { return w.err }

// Emit writes the lines of ev.
func (w *Writer) Emit(ev *decode.Event) { w.sink.Emit(ev) }

func (w *Writer) emit(ev *decode.Event) {
	if w.err != nil {
		return
	}
	t0 := w.t0
	w.buf = w.buf[:0]
	if !w.begun {
		t0 = ev.Time
		if w.o.Derived && !ev.Start.IsZero() { // times stay those of the file
			t0 = ev.Start
		}
		w.buf = w.appendHeader(w.buf, t0)
	}
	n := len(w.buf)
	w.rec = Record{T: ev.Time.Sub(t0), HasT: true, C: ev.Conn}
	w.line(ev)
	if w.open != nil {
		w.reopen(ev, n)
		w.follow(ev)
	}
	if w.o.Derived {
		w.derived(ev)
	}
	if len(w.buf) == n {
		return
	}
	w.begun, w.t0 = true, t0
	n, err := w.w.Write(w.buf)
	w.written += int64(n)
	if err != nil {
		w.err = err
	} else if n < len(w.buf) {
		w.err = io.ErrShortWrite
	}
}

func (w *Writer) appendHeader(dst []byte, t0 time.Time) []byte {
	r := Record{Version: Version, T0: t0.UTC().Format(time.RFC3339Nano), By: w.o.By, Mode: w.o.Mode, Redact: w.o.Redact, Run: w.o.Run, Part: int64(w.o.Part), Seed: w.o.Seed}
	return r.Append(dst)
}

// line appends the record of ev, which may be none or two lines.
func (w *Writer) line(ev *decode.Event) {
	r := &w.rec
	switch ev.Kind {
	case decode.KindOpen:
		r.Kind = KindOpen
		r.setInfo(ev.Info)
	case decode.KindRequest:
		r.Kind = KindReq
		r.setHead(ev.Handshake.Request)
		r.setFate(ev)
		if fwd := ev.Handshake.Forwarded; fwd != nil && ev.Fate.FX != decode.FXDrop {
			r.FX = cmp.Or(r.FX, decode.FXReplace.String())
			w.buf = r.Append(w.buf)
			r.FX, r.Leg = "", LegOut
			r.setHead(fwd)
		}
	case decode.KindResponse:
		r.Kind = KindRes
		r.setHead(ev.Head)
		r.setFate(ev)
		r.BodyLen = ev.BodyLen
		if hs := ev.Handshake; hs != nil && hs.Relayed != nil && ev.Head == hs.Response && ev.Fate.FX != decode.FXDrop {
			r.FX = cmp.Or(r.FX, decode.FXReplace.String())
			w.buf = r.Append(w.buf)
			r.FX, r.Leg = "", LegOut
			r.setHead(hs.Relayed)
		}
	case decode.KindBody:
		if ev.BodyLen == 0 && !ev.CutOff && !isChunked(ev) && (ev.Body == nil || !w.o.Messages) {
			return // it ended with the piece before
		}
		w.body(ev)
	case decode.KindFrame:
		switch m := ev.Message; {
		case m != nil && w.o.Messages:
			w.message(m)
		case ev.Part && w.o.Messages && ev.Fate.FX == decode.FXNone:
			return // it has violations
		default:
			w.frame(ev.Frame)
			if m != nil && w.o.Derived {
				w.inflated(m)
			}
		}
		r.setFate(ev)
	case decode.KindMessage:
		if ev.Message.Frames > 0 && !w.o.Messages {
			return // its frames were written
		}
		w.message(ev.Message)
	case decode.KindJunk:
		r.Kind = KindJunk
		r.setFate(ev)
		r.Dir, r.HasDir = ev.Dir, true
		r.Payload, r.Len, r.Why = w.cut(ev.Data), uint64(len(ev.Data)), ev.Text
		r.Cut = len(r.Payload) < len(ev.Data)
	case decode.KindOpaque:
		r.Kind = KindOpaque
		r.Dir, r.HasDir = ev.Dir, true
		r.Why = ev.Text
	case decode.KindGap:
		r.Kind = KindGap
		r.Dir, r.HasDir = ev.Dir, true
		r.N = ev.Lost
	case decode.KindNotice:
		r.Kind = KindNote
		r.Text, r.Change = ev.Text, ev.Fate.Change
		r.Dir, r.HasDir = ev.Dir, r.Change != ""
	case decode.KindEnd:
		r.Kind = KindEnd
		r.Dir, r.HasDir = ev.Dir, !ev.Both
		r.How, r.Err, r.Status = ev.How.String(), ev.Text, int64(ev.Status)
		ended := w.ended.OfConn(ev.Conn)
		if *ended++; ev.Both {
			*ended++
		}
	case decode.KindClosed:
		if ends := w.ended.Of(ev); *ends == 2 && accepted(ev) {
			return // as the two ends say
		}
		r.Kind = KindDone
		r.Sent, r.Got = ev.Totals.Bytes[decode.FromClient], ev.Totals.Bytes[decode.FromServer]
	default:
		return
	}
	w.buf = r.Append(w.buf)
}

// setInfo sets what an open record says.
func (r *Record) setInfo(i *decode.Info) {
	r.Client, r.Server, r.URL, r.Via, r.Ext = i.Client, i.Server, i.URL, i.Via, i.Ext
	r.PID, r.Process = int64(i.PID), i.Process
	r.NoFrames, r.Cont = i.NoFrames, i.Cont
	r.TLS = appendTLS(nil, i.ClientTLS, i.ServerTLS)
}

// appendTLS appends what the handshakes of both legs agreed on, or nothing if
// both are in plain.
func appendTLS(dst []byte, client, server *decode.TLS) []byte {
	sep := byte('{')
	for _, leg := range [...]struct {
		name string
		*decode.TLS
	}{{"client", client}, {"server", server}} {
		if leg.TLS == nil {
			continue
		}
		dst = append(dst, sep)
		sep = ','
		dst = appendString(dst, leg.name)
		dst = append(dst, `:{`...)
		n := len(dst)
		dst = appendText(dst, `,"ver":`, leg.Version)
		dst = appendText(dst, `,"cipher":`, leg.Cipher)
		dst = appendText(dst, `,"alpn":`, leg.ALPN)
		dst = appendText(dst, `,"sni":`, leg.SNI)
		if len(dst) > n {
			dst = slices.Delete(dst, n, n+1) // the first comma
		}
		dst = append(dst, '}')
	}
	if sep == ',' {
		dst = append(dst, '}')
	}
	return dst
}

// inflated adds the text of a message that is compressed, or packed, to the record of
// its final frame. All of it is there, or as much as Preview allows; or just a mark if
// it is too long.
func (w *Writer) inflated(m *decode.Message) {
	if m.Unread || m.Op == ws.OpText && !m.Compressed {
		return
	}
	c := m.Content()
	if m.Op != ws.OpText && c.Packed == "" {
		return
	}
	text := w.cut(c.Data)
	cut := c.Cut || len(text) < len(c.Data)
	if cut {
		text = decode.WholeChars(text)
	}
	if !utf8.Valid(text) {
		return
	}
	r := &w.rec
	r.Packed = c.Packed
	r.InflatedCut = cut
	if !cut || w.o.Preview >= 0 {
		r.Inflated, r.HasInflated = text, true
	}
}

// message makes the record that of a message.
func (w *Writer) message(m *decode.Message) {
	r := &w.rec
	r.Kind = KindMessage
	r.Dir, r.HasDir = m.Dir, true
	w.msg = Message{Op: decode.OpName(m.Op), Len: &m.Len, Compressed: m.Compressed, Unread: m.Unread, Unfinished: m.Unfinished}
	if m.Frames > 0 { // else they are not known
		w.msg.Frames, w.msg.Wire = &m.Frames, &m.Wire
	}
	r.Message = &w.msg
	c := m.Content()
	p := w.cut(c.Data)
	r.Op, r.Cut, r.Packed = m.Op, c.Cut || len(p) < len(c.Data), c.Packed
	if whole := decode.WholeChars(p); r.Cut && utf8.Valid(whole) {
		p = whole
	}
	r.Payload = p
	if c.Packed != "" {
		r.Form = FormText // if it is UTF-8
	}
}

// body makes the record that of a piece of a body or, in place of the pieces, of all of
// it.
func (w *Writer) body(ev *decode.Event) {
	r := &w.rec
	r.Kind = KindBody
	r.Dir, r.HasDir = ev.Dir, true
	p, n := ev.Data, ev.BodyLen
	if w.o.Messages && ev.Body != nil {
		c := ev.Body.Content()
		p, n = c.Data, ev.Body.Len
		if r.Packed = c.Packed; c.Packed != "" {
			n = int64(len(p))
			if c.Cut {
				n++ // how much is not known
			}
		}
	}
	r.Payload, r.Len = w.cut(p), uint64(n)
	if r.Cut = int64(len(r.Payload)) < n || ev.CutOff; int64(len(r.Payload)) < n {
		if whole := decode.WholeChars(r.Payload); utf8.Valid(whole) {
			r.Payload = whole
		}
	}
	r.Last = !ev.Part && !r.Cut && isChunked(ev)
}

// isChunked reports whether the body of ev ends where the transfer coding says.
func isChunked(ev *decode.Event) bool {
	hs := ev.Handshake
	if hs == nil {
		return false
	}
	h := hs.Response
	if ev.Dir == decode.FromClient {
		h = hs.Request
	}
	return h != nil && h.HasToken("Transfer-Encoding", "chunked")
}

func accepted(ev *decode.Event) bool { return ev.Handshake != nil && ev.Handshake.Accepted }

// setFate sets what became of what came, or that this was sent in its place.
func (r *Record) setFate(ev *decode.Event) {
	r.FX, r.Change = ev.Fate.FX.String(), ev.Fate.Change
	if ev.Out {
		r.Leg = LegOut
	}
}

func (r *Record) setHead(h *decode.Head) {
	r.Head = h
	r.RawHead = h.Raw != "" && (!utf8.ValidString(h.Raw) || !h.Canonical())
}

// cut returns what Preview leaves of p.
func (w *Writer) cut(p []byte) []byte {
	if w.o.Preview >= 0 && len(p) > w.o.Preview {
		return p[:w.o.Preview]
	}
	return p
}

func (w *Writer) frame(f *decode.Frame) {
	r := &w.rec
	r.Kind = KindFrame
	r.Dir, r.HasDir = f.Dir, true
	r.Op, r.Fin, r.Rsv = f.OpCode, f.Fin, f.Rsv
	r.Masked, r.Mask = f.Masked, f.Mask
	r.LenBits, r.Len = f.LengthBits(), uint64(f.Length)
	w.payload = f.AppendPayload(w.payload[:0], w.o.Preview)
	r.Payload = w.payload
	if f.OpCode == ws.OpContinuation && f.Message == ws.OpBinary {
		r.Form = FormBase64 // as its message, whatever it looks like
	}
	r.Cut = len(r.Payload) < f.Len()
	if f.More {
		r.Kind, r.Len = KindMore, uint64(f.Len())
	}
	if r.Cut {
		if p := decode.WholeChars(r.Payload); utf8.Valid(p) {
			r.Payload = p
		}
	}
}

// derived appends the lines that say what follows from ev.
func (w *Writer) derived(ev *decode.Event) {
	r := &w.rec
	for i := range ev.Violations {
		v := &ev.Violations[i]
		*r = Record{Kind: KindViolation, T: r.T, HasT: true, C: ev.Conn, From: v.From.String(), Frame: v.Frame, HasFrame: v.Frame >= 0,
			Rule: string(v.ID), Severity: v.Severity.String(), Section: v.Section, Text: v.Text}
		w.buf = r.Append(w.buf)
	}
	if ev.Kind == decode.KindClosed {
		*r = Record{Kind: KindClosed, T: r.T, HasT: true, C: ev.Conn, Closed: closed(ev.Totals, accepted(ev))}
		if ev.Info.NoFrames {
			r.Closed.Frames = nil
		}
		w.buf = r.Append(w.buf)
	}
}

// closed returns the close verdict, if there was a WebSocket connection, and
// how much there was. It refers to t.
func closed(t *decode.Totals, accepted bool) *Closed {
	took, violations := t.Closed.Sub(t.Opened), int64(t.Violations())
	c := &Closed{Status: int64(t.Status), Took: &took, Bytes: &t.Bytes, Violations: &violations, Rules: sumRules(t.Rules)}
	if accepted {
		if code := int64(t.Code); code != 0 || t.Said {
			c.Code = &code
		}
		c.By, c.Answered = t.Closer(), &t.Answered
		if utf8.ValidString(t.Reason) {
			c.Reason = t.Reason
		}
		c.Frames, c.Messages = &t.Frames, &t.Messages
	}
	if t.Unchecked != [2]int64{} {
		c.Unread = &t.Unchecked
	}
	if d := &t.Deflate; d[0].Messages+d[1].Messages > 0 {
		c.Compressed, c.Inflated = &[2]int64{d[0].Wire, d[1].Wire}, &[2]int64{d[0].Len, d[1].Len}
	}
	if h := &t.Heartbeat; h[0].Pings+h[1].Pings > 0 {
		c.Pings, c.Pongs = &[2]int64{h[0].Pings, h[1].Pings}, &[2]int64{h[0].Pongs, h[1].Pongs}
	}
	return c
}

// sumRules returns how often each rule was broken, by either side and however
// badly, in the order in which they were broken first.
func sumRules(counts []decode.RuleCount) []RuleCount {
	var sums []RuleCount
	for _, c := range counts {
		i := slices.IndexFunc(sums, func(s RuleCount) bool { return s.ID == string(c.ID) })
		if i < 0 {
			i = len(sums)
			sums = append(sums, RuleCount{ID: string(c.ID)})
		}
		sums[i].N += c.N
	}
	return sums
}
