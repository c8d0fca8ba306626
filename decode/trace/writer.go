package trace

import (
	"io"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
)

// Options are settings of a [Writer]. With the zero value it records.
type Options struct {
	By   string // the program that writes: "wstrace 0.3.0"
	Mode string // what it does: "proxy"

	// Derived adds what follows from the bytes, for programs that read lines
	// as they come: violations, and the totals of each session.
	Derived bool

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
		r.Body, r.BodyLen = w.cut(ev.Data), ev.N
	case decode.KindFrame:
		w.frame(ev.Frame)
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
		r.N = ev.N
	case decode.KindNotice:
		r.Kind = "note"
		r.Text = ev.Text
	case decode.KindEnd:
		r.Kind = "end"
		r.Dir, r.HasDir = ev.Dir, true
		r.How, r.Err = ev.How.String(), ev.Text
		w.ended[ev.Conn]++
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
		if p := wholeChars(r.Payload); utf8.Valid(p) {
			r.Payload = p
		}
	}
}

// wholeChars returns p without the beginning of a character at its end.
func wholeChars(p []byte) []byte {
	for i := len(p) - 1; i >= 0 && i > len(p)-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				return p[:i]
			}
			break
		}
	}
	return p
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
		w.buf = w.buf[:len(w.buf)-len("}\n")]
		w.buf = appendTotals(w.buf, ev.Totals, accepted(ev))
		w.buf = append(w.buf, '}', '\n')
	}
}

// appendTotals appends the keys of a closed record: the close verdict, if
// there was a WebSocket connection, the seconds from open to closed, and how
// much there was, the client's first.
func appendTotals(dst []byte, t *decode.Totals, accepted bool) []byte {
	if accepted {
		dst = appendInt(dst, `,"code":`, int64(t.Code))
		dst = appendText(dst, `,"by":`, t.By.String())
	}
	dst = append(dst, `,"seconds":`...)
	dst = appendSeconds(dst, t.Closed.Sub(t.Opened))
	if accepted {
		dst = appendPair(dst, `,"frames":[`, t.Frames)
	}
	dst = appendPair(dst, `,"bytes":[`, t.Bytes)
	return appendInt(dst, `,"violations":`, int64(t.Violations()))
}

func appendPair(dst []byte, key string, n [2]int64) []byte {
	dst = appendInt(dst, key, n[decode.FromClient])
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, n[decode.FromServer], 10)
	return append(dst, ']')
}
