package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
)

// Secrets are the selectors of what is secret in most traces: all that is in the
// list of package decode.
var Secrets = []string{pick.Credentials}

// ErrNoSelectors says that nothing is named that could be redacted.
var ErrNoSelectors = errors.New("nothing is to be redacted")

// Redact copies a trace like [trace.Format], with placeholders for what the
// selectors name, wherever it stands: in URLs, heads, bodies, messages, close
// reasons and remarks. A secret has the same placeholder wherever it is selected
// or, if it is no word, repeated later, so that a session still fits together; only
// that of a secret that was not met for long may be another one. In JSON a number
// stays a number, and in Cookie and Set-Cookie the names and attributes stay. The
// header of the trace gets the selectors, and [pick.Untold] in place of one that
// spells out what it selects.
//
// Where selectors concern messages, the records of a session wait while a message
// or a body is in flight. A message keeps its frames; if it was compressed and has changed,
// it is compressed anew, as those after it are. What can't be looked into keeps
// its frames and loses its payload, and a note says why: a message of more than
// [MaxMessage] bytes, one that is not complete, one that can't be inflated. An HTTP
// body, the length of which in the head follows, is looked into without its content
// coding and coded anew if it has changed; one that can't be is left out in the same
// way. Of one that was cut the end goes too: it may be the beginning of a secret.
func Redact(w io.Writer, r io.Reader, selectors ...string) error {
	red, err := NewRedactor(selectors...)
	if err != nil {
		return err
	}
	red.patient = true
	return trace.Rewrite(w, r, red.content, func(rec *trace.Record) ([]*trace.Record, error) { return red.Take(rec), nil })
}

// A RedactWriter redacts the lines of a trace that is being written. It holds
// the lines of a session back while a message is in flight.
type RedactWriter struct {
	w   io.Writer
	red *Redactor
	buf []byte
}

// NewRedactWriter returns a writer to w. Each Write must be of whole lines. An
// error is for selectors that are none.
func NewRedactWriter(w io.Writer, selectors ...string) (*RedactWriter, error) {
	red, err := NewRedactor(selectors...)
	if err != nil {
		return nil, err
	}
	return &RedactWriter{w: w, red: red}, nil
}

// Write redacts lines.
func (w *RedactWriter) Write(p []byte) (int, error) {
	w.buf = w.buf[:0]
	for line := range bytes.Lines(p) {
		rec, err := trace.Parse(line)
		if err != nil {
			return 0, err
		}
		w.add(rec)
	}
	if len(w.buf) == 0 {
		return len(p), nil
	}
	if _, err := w.w.Write(w.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what is held back. It does not close the writer below.
func (w *RedactWriter) Close() error {
	w.buf = w.buf[:0]
	if w.add(nil); len(w.buf) == 0 {
		return nil
	}
	_, err := w.w.Write(w.buf)
	return err
}

func (w *RedactWriter) add(rec *trace.Record) {
	for _, rec := range w.red.Take(rec) {
		w.buf = rec.Append(w.buf)
	}
	if cap(w.buf) > 2<<20 {
		w.buf = slices.Clip(w.buf)
	}
}

// A Redactor puts placeholders into the records of a trace, as [Redact] does. What
// it knows of a session it forgets when the session ends.
type Redactor struct {
	rules
	sessions map[int64]*session // that have not ended, by c
	patient  bool               // it waits for the end of junk
	in, out  position
	ready    []*trace.Record
}

// A position is what a line takes from those before it.
type position struct {
	t time.Duration
	c int64 // of the session opened last
}

// NewRedactor returns a Redactor. An error is for selectors that are none.
func NewRedactor(selectors ...string) (*Redactor, error) {
	r, err := newRules(selectors)
	if err != nil {
		return nil, err
	}
	return &Redactor{rules: *r, sessions: map[int64]*session{}}, nil
}

// Take takes a record, or nil at the end, and returns those that are ready, which
// are valid until the next call. It changes the record. Those of one session come
// in their order.
func (r *Redactor) Take(rec *trace.Record) []*trace.Record {
	r.ready = r.ready[:0]
	if rec == nil {
		r.forget()
		return r.ready
	}
	if rec.IsHeader() {
		r.forget()
		r.header(rec)
		r.in, r.out = position{}, position{}
		r.ready = append(r.ready, rec)
		return r.ready
	}
	if rec.HasT {
		r.in.t = rec.T
	}
	h := held{rec: rec, t: r.in.t, c: rec.C, hadT: rec.HasT, hadC: rec.C != 0}
	if h.c == 0 {
		h.c = r.in.c
	}
	s := r.sessions[h.c]
	if rec.Kind == trace.KindOpen {
		if s != nil {
			s.abandon()
		}
		r.in.c = rec.C
		s = &session{r: r}
		s.inflate.ext = rec.Ext
		r.sessions[rec.C] = s
	}
	if s == nil && carriesBytes(rec.Kind) { // its open record is missing
		s = &session{r: r}
		r.sessions[h.c] = s
	}
	r.redact(s, rec)
	if s == nil {
		r.emit(&h)
		return r.ready
	}
	s.take(&h)
	if s.over() {
		s.abandon()
		delete(r.sessions, h.c)
	}
	return r.ready
}

// carriesBytes reports whether records of a kind hold what a peer sent.
func carriesBytes(kind trace.Kind) bool {
	switch kind {
	case trace.KindReq, trace.KindRes, trace.KindBody, trace.KindFrame, trace.KindMore, trace.KindJunk, trace.KindGap:
		return true
	}
	return false
}

// Met makes Take call f for each secret when it meets that for the first time, with
// what the secret is called: the name of a parameter or a member, say, or what it looks
// like. It is not called for numbers, in place of which there are others.
func (r *Redactor) Met(f func(name string)) { r.met = f }

// Text returns a text that stands in no trace, such as a message to the user, with
// placeholders.
func (r *Redactor) Text(s string) string { return r.text(s) }

// Content returns the content of a message that stands in no trace with
// placeholders.
func (r *Redactor) Content(b []byte) []byte { return r.content(b) }

// Target is like Text for a target or URL.
func (r *Redactor) Target(s string) string { return r.target(s) }

// Told returns the selectors as the header of a trace has them.
func (r *Redactor) Told() (told []string) {
	for _, sel := range r.selectors {
		if text := sel.Told(); !slices.Contains(told, text) {
			told = append(told, text)
		}
	}
	return told
}

// forget forgets all sessions.
func (r *Redactor) forget() {
	numbers := make([]int64, 0, len(r.sessions))
	for c := range r.sessions {
		numbers = append(numbers, c)
	}
	slices.Sort(numbers)
	for _, c := range numbers {
		r.sessions[c].abandon()
	}
	clear(r.sessions)
}

// emit adds a record to those that are ready. What it left out to be taken from
// the lines before it is only left out if they are still the same.
func (r *Redactor) emit(h *held) {
	rec := h.rec
	if !h.hadT {
		rec.T, rec.HasT = h.t, h.t != r.out.t
	}
	if !h.hadC && h.c != r.out.c {
		rec.C = h.c
	}
	r.out.t = h.t
	if rec.Kind == trace.KindOpen {
		r.out.c = rec.C
	}
	r.ready = append(r.ready, rec)
}

// header adds the selectors to a header.
func (r *Redactor) header(rec *trace.Record) {
	r.again = len(rec.Redact) > 0
	for i, old := range rec.Redact {
		if sel, err := pick.Parse(old); err == nil {
			rec.Redact[i] = sel.Told()
		}
	}
	for _, sel := range r.selectors {
		if text := sel.Told(); !slices.Contains(rec.Redact, text) {
			rec.Redact = append(rec.Redact, text)
		}
	}
	rec.By, rec.Host, rec.Mode, rec.Run = r.text(rec.By), r.text(rec.Host), r.text(rec.Mode), r.text(rec.Run)
	r.extra(rec)
}

// redact puts placeholders into what rec has besides messages.
func (r *Redactor) redact(s *session, rec *trace.Record) {
	changed := func(old *string, clean string) {
		if *old != clean && s != nil {
			s.changed = true
		}
		*old = clean
	}
	rec.Change = r.text(rec.Change)
	switch rec.Kind {
	case trace.KindOpen:
		changed(&rec.URL, r.target(rec.URL))
		changed(&rec.Ext, r.extensions(rec.Ext))
		changed(&rec.Client, r.text(rec.Client))
		changed(&rec.Server, r.text(rec.Server))
		rec.TLS = r.strings(rec.TLS)
	case trace.KindReq, trace.KindRes:
		r.head(s, rec)
		grown := r.body(rec)
		if s != nil {
			s.grown[decode.FromServer] += grown
			s.changed = true // perhaps
		}
	case trace.KindViolation:
		text := r.text(rec.Text)
		if s == nil || s.changed {
			text = withoutQuotes(text) // which may have the beginning of a secret
		}
		rec.Text, rec.Section = text, r.text(rec.Section)
	case trace.KindClosed:
		if rec.Closed != nil {
			rec.Closed.Reason = string(r.content([]byte(rec.Closed.Reason)))
		}
	case trace.KindMessage:
		r.message(rec)
	case trace.KindNote, trace.KindEnd, trace.KindOpaque, trace.KindJunk:
		rec.Text, rec.Err, rec.Why = r.text(rec.Text), r.text(rec.Err), r.text(rec.Why)
	}
	r.extra(rec)
}

// message puts placeholders into a message of which there are no frames.
func (r *Redactor) message(rec *trace.Record) {
	if !r.inMessages {
		return
	}
	clean := r.content(rec.Payload)
	if bytes.Equal(clean, rec.Payload) {
		return
	}
	rec.Payload, rec.Form = clean, trace.FormAuto
	if rec.Message != nil && rec.Message.Len != nil && !rec.Cut {
		n := int64(len(clean))
		rec.Message.Len = &n
	}
}

// extra puts placeholders into keys that this package does not know.
func (r *Redactor) extra(rec *trace.Record) {
	for i := range rec.Extra {
		m := &rec.Extra[i]
		doc := append(append(append(pick.Encode(m.Key), ':'), m.Value...), '}')
		c := content{rules: &r.rules, b: append([]byte{'{'}, doc...)}
		c.apply(c.document(c.b, 0))
		d := json.NewDecoder(bytes.NewReader(c.b))
		d.Token()
		if name, _ := d.Token(); name != nil {
			at := int(d.InputOffset())
			m.Key, m.Value = name.(string), bytes.TrimLeft(c.b[at:len(c.b)-1], " :")
		}
	}
}

// strings returns a JSON value with placeholders in its strings.
func (r *Redactor) strings(value []byte) []byte {
	if len(value) == 0 {
		return value
	}
	var edits []pick.Edit
	look := func(s string, span pick.Span) {
		if clean := r.text(s); clean != s {
			edits = append(edits, pick.Edit{Span: span, Text: pick.Encode(clean)})
		}
	}
	v := pick.Visitor{
		Name: look,
		Scalar: func(x pick.Scalar) {
			if s, ok := x.Value.(string); ok {
				look(s, x.Span)
			}
		},
	}
	v.Walk(value)
	return pick.Apply(nil, value, edits)
}

// withoutQuotes returns a text with … in place of what stands in quotes.
func withoutQuotes(text string) string {
	var b []byte
	inside := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"':
			if inside = !inside; inside {
				b = append(b, `"…`...)
				continue
			}
		case inside:
			if c == '\\' {
				i++
			}
			continue
		}
		b = append(b, c)
	}
	return string(b)
}
