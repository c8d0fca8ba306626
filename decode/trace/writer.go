package trace

import (
	"io"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// Options are settings of a [Writer]. With the zero value it records.
type Options struct {
	By   string // the program that writes: "wstrace 0.3.0"
	Mode string // what it does: "proxy"

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
	ended map[int64]int // directions that have ended, of sessions that are not closed
	err   error

	rec     Record
	buf     []byte
	payload []byte
}

// NewWriter returns a Writer to w. The header of the trace is written with the
// first event, whose time it has.
func NewWriter(w io.Writer, o Options) *Writer {
	if !o.Derived {
		o.Preview = -1
	}
	return &Writer{w: w, o: o, ended: map[int64]int{}}
}

// Err returns the first error of writing. After it, nothing more was written.
// It must not be called during Emit.
func (w *Writer) Err() error { return w.err }

// Emit writes the lines of ev.
func (w *Writer) Emit(ev *decode.Event) {
	if w.err != nil {
		return
	}
	t0 := w.t0
	w.buf = w.buf[:0]
	if !w.begun {
		t0 = ev.Time
		w.buf = w.appendHeader(w.buf, t0)
	}
	n := len(w.buf)
	w.rec = Record{T: ev.Time.Sub(t0), HasT: true, C: ev.Conn}
	w.line(ev)
	if w.o.Derived {
		w.derived(ev)
	}
	if len(w.buf) == n {
		return
	}
	w.begun, w.t0 = true, t0
	if n, err := w.w.Write(w.buf); err != nil {
		w.err = err
	} else if n < len(w.buf) {
		w.err = io.ErrShortWrite
	}
}

func (w *Writer) appendHeader(dst []byte, t0 time.Time) []byte {
	r := Record{Version: Version, T0: t0.UTC().Format(time.RFC3339Nano), By: w.o.By, Mode: w.o.Mode}
	return r.Append(dst)
}

// line appends the record of ev, which may be none or two lines.
func (w *Writer) line(ev *decode.Event) {
	r := &w.rec
	switch ev.Kind {
	case decode.KindOpen:
		r.Kind = "open"
		i := ev.Info
		r.Client, r.Server, r.URL, r.Via, r.Ext = i.Client, i.Server, i.URL, i.Via, i.Ext
		r.TLS = appendTLS(nil, i.ClientTLS, i.ServerTLS)
	case decode.KindRequest:
		r.Kind = "req"
		r.setHead(ev.Handshake.Request)
		if ev.Handshake.Forwarded != nil {
			r.FX = "replace"
			w.buf = r.Append(w.buf)
			r.FX, r.Leg = "", "out"
			r.setHead(ev.Handshake.Forwarded)
		}
	case decode.KindResponse:
		r.Kind = "res"
		r.setHead(ev.Head)
		r.Body, r.BodyLen = w.cut(ev.Data), ev.BodyLen
	case decode.KindFrame:
		if ev.Part && w.o.Derived && w.o.Messages {
			if ev.Message != nil {
				w.message(ev.Message)
			}
			return
		}
		w.frame(ev.Frame)
	case decode.KindMessage:
		if ev.Message.Unfinished && w.o.Derived && w.o.Messages {
			w.message(ev.Message) // others have come with their final frames
		}
		return
	case decode.KindJunk:
		r.Kind = "junk"
		r.Dir, r.HasDir = ev.Dir, true
		r.Payload, r.Len, r.Why = w.cut(ev.Data), uint64(len(ev.Data)), ev.Text
		r.Cut = len(r.Payload) < len(ev.Data)
	case decode.KindOpaque:
		r.Kind = "opaque"
		r.Dir, r.HasDir = ev.Dir, true
		r.Why = ev.Text
	case decode.KindGap:
		r.Kind = "gap"
		r.Dir, r.HasDir = ev.Dir, true
		r.N = ev.Lost
	case decode.KindNotice:
		r.Kind = "note"
		r.Text = ev.Text
	case decode.KindEnd:
		r.Kind = "end"
		r.Dir, r.HasDir = ev.Dir, !ev.Both
		r.How, r.Err, r.Status = ev.How.String(), ev.Text, int64(ev.Status)
		if w.ended[ev.Conn]++; ev.Both {
			w.ended[ev.Conn]++
		}
	case decode.KindClosed:
		ends := w.ended[ev.Conn]
		delete(w.ended, ev.Conn)
		if ends == 2 && accepted(ev) {
			return // as the two ends say
		}
		r.Kind = "done"
		r.Sent, r.Got = ev.Totals.Bytes[decode.FromClient], ev.Totals.Bytes[decode.FromServer]
	default:
		return
	}
	w.buf = r.Append(w.buf)
	if m := ev.Message; m != nil && w.o.Derived {
		w.inflated(m)
	}
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

// inflated adds the text of a compressed message to the line of its final
// frame. All of it is there, or as much as Preview allows; or just a mark if
// it is too long.
func (w *Writer) inflated(m *decode.Message) {
	text := w.cut(m.Data)
	cut := m.Cut || len(text) < len(m.Data)
	if cut {
		text = decode.WholeChars(text)
	}
	if !m.Compressed || m.Op != ws.OpText || m.Unread || !utf8.Valid(text) {
		return
	}
	w.reopen()
	if !cut || w.o.Preview >= 0 {
		w.buf = append(w.buf, `,"=text":`...)
		w.buf = appendString(w.buf, text)
	}
	if cut {
		w.buf = append(w.buf, `,"=cut":true`...)
	}
	w.close()
}

// message appends the line of a message.
func (w *Writer) message(m *decode.Message) {
	r := &w.rec
	r.Kind = "message"
	r.Dir, r.HasDir = m.Dir, true
	w.buf = r.Append(w.buf)
	w.reopen()
	w.buf = appendText(w.buf, `,"op":`, decode.OpName(m.Op))
	w.buf = appendInt(w.buf, `,"frames":`, m.Frames)
	w.buf = appendInt(w.buf, `,"wire":`, m.Wire)
	w.buf = appendInt(w.buf, `,"len":`, m.Len)
	p := w.cut(m.Data)
	cut := m.Cut || len(p) < len(m.Data)
	if whole := decode.WholeChars(p); cut && utf8.Valid(whole) {
		p = whole
	}
	if len(p) > 0 {
		if m.Op == ws.OpText && utf8.Valid(p) {
			w.buf = append(w.buf, `,"text":`...)
			w.buf = appendString(w.buf, p)
		} else {
			w.buf = appendBase64(w.buf, `,"b64":`, p)
		}
	}
	for _, flag := range [...]struct {
		key string
		on  bool
	}{{`,"compressed":true`, m.Compressed}, {`,"cut":true`, cut}, {`,"unread":true`, m.Unread}, {`,"unfinished":true`, m.Unfinished}} {
		if flag.on {
			w.buf = append(w.buf, flag.key...)
		}
	}
	w.close()
}

// reopen takes back the end of the last line, for more keys before close.
func (w *Writer) reopen() { w.buf = w.buf[:len(w.buf)-len("}\n")] }

func (w *Writer) close() { w.buf = append(w.buf, "}\n"...) }

func accepted(ev *decode.Event) bool { return ev.Handshake != nil && ev.Handshake.Accepted }

func (r *Record) setHead(h *decode.Head) {
	r.Head = h
	r.RawHead = !utf8.ValidString(h.Raw) || !h.Canonical()
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
	r.Kind = "frame"
	r.Dir, r.HasDir = f.Dir, true
	r.Op, r.Fin, r.Rsv = f.OpCode, f.Fin, f.Rsv
	r.Masked, r.Mask = f.Masked, f.Mask
	r.LenBits, r.Len = f.LengthBits(), uint64(f.Length)
	w.payload = f.AppendPayload(w.payload[:0], w.o.Preview)
	r.Payload = w.payload
	r.Cut = len(r.Payload) < f.Len()
	if f.More {
		r.Kind, r.Len = "more", uint64(f.Len())
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
		*r = Record{Kind: "violation", T: r.T, HasT: true, C: ev.Conn, From: v.From.String(), Frame: v.Frame, HasFrame: v.Frame >= 0,
			Rule: string(v.ID), Severity: v.Severity.String(), Section: v.Section, Text: v.Text}
		w.buf = r.Append(w.buf)
	}
	if ev.Kind == decode.KindClosed {
		*r = Record{Kind: "closed", T: r.T, HasT: true, C: ev.Conn}
		w.buf = r.Append(w.buf)
		w.reopen()
		w.buf = appendTotals(w.buf, ev.Totals, accepted(ev))
		w.close()
	}
}

// appendTotals appends the keys of a closed record: the close verdict, if
// there was a WebSocket connection, the status if the proxy answered, the seconds from open to closed, and how
// much there was, the client's first.
func appendTotals(dst []byte, t *decode.Totals, accepted bool) []byte {
	if accepted {
		dst = appendInt(dst, `,"code":`, int64(t.Code))
		dst = appendText(dst, `,"by":`, t.Closer())
		if utf8.ValidString(t.Reason) {
			dst = appendText(dst, `,"reason":`, t.Reason)
		}
		dst = append(dst, `,"answered":`...)
		dst = strconv.AppendBool(dst, t.Answered)
	}
	if t.Status != 0 {
		dst = appendInt(dst, `,"status":`, int64(t.Status))
	}
	dst = append(dst, `,"seconds":`...)
	dst = appendSeconds(dst, t.Closed.Sub(t.Opened))
	if accepted {
		dst = appendPair(dst, `,"frames":[`, t.Frames)
	}
	dst = appendPair(dst, `,"bytes":[`, t.Bytes)
	if accepted {
		dst = appendPair(dst, `,"messages":[`, t.Messages)
	}
	if t.Unchecked != [2]int64{} {
		dst = appendPair(dst, `,"unread":[`, t.Unchecked)
	}
	if c, s := t.Deflate[decode.FromClient], t.Deflate[decode.FromServer]; c.Messages+s.Messages > 0 {
		dst = appendPair(dst, `,"compressed":[`, [2]int64{c.Wire, s.Wire})
		dst = appendPair(dst, `,"inflated":[`, [2]int64{c.Len, s.Len})
	}
	if c, s := &t.Heartbeat[decode.FromClient], &t.Heartbeat[decode.FromServer]; c.Pings+s.Pings > 0 {
		dst = appendPair(dst, `,"pings":[`, [2]int64{c.Pings, s.Pings})
		dst = appendPair(dst, `,"pongs":[`, [2]int64{c.Pongs, s.Pongs})
	}
	dst = appendInt(dst, `,"violations":`, int64(t.Violations()))
	return appendRules(dst, t.Rules)
}

// appendRules appends how often each rule was broken.
func appendRules(dst []byte, counts []decode.RuleCount) []byte {
	sep := `,"rules":{"`
	for i, c := range counts {
		n, first := int64(0), true
		for j, o := range counts { // both sides may have broken it
			if o.Rule == c.Rule {
				n += o.N
				first = first && j >= i
			}
		}
		if !first {
			continue
		}
		dst = append(dst, sep...)
		dst = append(dst, c.ID...)
		dst = appendInt(dst, `":`, n)
		sep = `,"`
	}
	if len(counts) > 0 {
		dst = append(dst, '}')
	}
	return dst
}

func appendPair(dst []byte, key string, n [2]int64) []byte {
	dst = appendInt(dst, key, n[decode.FromClient])
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, n[decode.FromServer], 10)
	return append(dst, ']')
}
