package replay

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// An equality says what counts as equal.
type equality struct {
	exact       bool // frames, to the byte
	anyOrder    bool // of messages
	stream      bool // the messages of the other side are one stream of bytes
	ignore      []pick.Selector
	captures    []capture
	auto        bool                              // what looks made up is captured too
	madeUp      []string                          // places in JSON where the protocol has what is made up anew
	headerNames []string                          // of the handshake, compared too
	optional    []pick.Selector                   // messages that have what one selects may come or not
	optionals   []func() func(*decode.Event) bool // and those of events for which one returns true
	redacted    *redaction                        // nil for a trace that was not
	sent        [2]bool                           // by Dir: of what it sent, that counts which its peer was sent

	wrong []error // options
}

func (e *equality) fault(err error) {
	if err != nil {
		e.wrong = append(e.wrong, err)
	}
}

// err returns what is wrong with the options.
func (e *equality) err() error { return errors.Join(e.wrong...) }

// compare reports whether what came is what was recorded, or says in what they
// differ, if that is not plain to see.
func (e *equality) compare(want, got *unit, subs *values) (ok bool, why string) {
	if want.kind != got.kind {
		return false, ""
	}
	switch {
	case want.kind == unitEnd:
		return !e.exact || want.how == got.how, ""
	case want.op != got.op || want.cut != got.cut:
		return false, ""
	case e.exact && (want.flags != got.flags || want.masked != got.masked || want.lenBits != got.lenBits):
		return false, ""
	case want.re() != nil && got.long != nil:
		return false, "which is " + whyLong
	case want.re() != nil:
		return want.re().Match(got.data), ""
	case want.long != nil || got.long != nil:
		why := longDiffer(want, got)
		return why == "", why
	case want.kind == unitClose:
		return e.closesAlike(want.data, got.data, subs), ""
	case want.kind == unitControl:
		return bytes.Equal(want.data, got.data) || e.likesContent(want.data, got.data), ""
	case e.exact && e.redacted == nil && len(e.ignore) == 0 && len(e.captures) == 0 && subs.empty():
		why := bytesDiffer(want.data, got.data)
		return why == "", why
	}
	data, _ := subs.putIn(want, true)
	if why = e.differs(data, got.data, want.textual()); why != "" && e.auto && !e.exact && subs != nil {
		why = e.madeDiffer(subs, want, data, got.data, why)
	}
	return why == "", why
}

// closesAlike compares the bodies of two Close frames: the code, and in the reason what
// expressions leave to be compared.
func (e *equality) closesAlike(want, got []byte, subs *values) bool {
	code, reason, ok := decode.CloseBody(want)
	gotCode, gotReason, gotOK := decode.CloseBody(got)
	if !ok || !gotOK || code != gotCode {
		return bytes.Equal(want, got) || e.likesContent(want, got)
	}
	return e.differs(put(reason, subs), gotReason, true) == ""
}

// differs compares a message that came with the recorded one, in which values
// captured earlier have their place already. It returns "" if they are equal,
// and otherwise where they are not, to be put behind what came.
func (e *equality) differs(want, got []byte, text bool) string {
	if bytes.Equal(want, got) || e.likesContent(want, got) {
		return ""
	}
	if !text {
		return bytesDiffer(e.withoutMatches(want), e.withoutMatches(got))
	}
	want, got = e.withoutMatches(want), e.withoutMatches(got)
	if w, g := pick.ParseXML(want), pick.ParseXML(got); w != nil && g != nil {
		return e.xmlDiffers(w, g)
	}
	return e.textDiffers(want, got)
}

// textDiffers compares two texts that are not both XML.
func (e *equality) textDiffers(want, got []byte) string {
	ws, gs := pick.Parts(want), pick.Parts(got)
	alike := len(ws) == len(gs)
	for i := 0; alike && i < len(ws); i++ {
		alike = ws[i].JSON == gs[i].JSON
	}
	if !alike {
		return bytesDiffer(want, got)
	}
	at := 0
	for i, w := range ws {
		g := gs[i]
		if w.JSON {
			if why := e.documentsDiffer(w.Bytes, g.Bytes); why != "" {
				return why
			}
		} else if n := common(w.Bytes, g.Bytes); (n < len(w.Bytes) || n < len(g.Bytes)) && !e.likesContent(w.Bytes, g.Bytes) {
			return differAt(at + n)
		}
		at += len(g.Bytes)
	}
	return ""
}

// documentsDiffer says where two JSON documents differ, if they do.
func (e *equality) documentsDiffer(want, got []byte) string {
	cmp := comparison{ignored: e.ignores, captured: e.isCaptured, like: e.likesValue, shown: e.hiddenValue}
	if d := cmp.values(pick.Decode(want), pick.Decode(got)); d != nil {
		return d.String()
	}
	return ""
}

// compared returns a text with … for each value, and in what is no JSON for each
// match, that is not compared.
func (e *equality) compared(b []byte) []byte {
	if len(e.ignore) == 0 && len(e.captures) == 0 {
		return b
	}
	if root := pick.ParseXML(b); root != nil {
		return e.comparedXML(b, root)
	}
	out := []byte{}
	for _, p := range pick.Parts(b) {
		if !p.JSON {
			out = append(out, e.mapMatches(p.Bytes, []byte("…"))...)
			continue
		}
		var edits []pick.Edit
		v := pick.Visitor{
			Enter: func(at pick.Place, span pick.Span) bool {
				if !e.mayVary(at) {
					return true
				}
				edits = append(edits, pick.Edit{Span: span, Text: []byte(`"…"`)})
				return false
			},
			Scalar: func(s pick.Scalar) {
				if e.mayVary(s.At) {
					edits = append(edits, pick.Edit{Span: s.Span, Text: []byte(`"…"`)})
				}
			},
		}
		v.Walk(p.Bytes)
		out = pick.Apply(out, p.Bytes, edits)
	}
	return out
}

// ignores reports whether the value at a place is not compared, and may be
// missing.
func (e *equality) ignores(at pick.Place) bool {
	return e.redacted.covers(at) || slices.ContainsFunc(e.ignore, func(s pick.Selector) bool { return s.Path != nil && s.Path.Matches(at) })
}

// isCaptured reports whether the value at a place is captured, so that it may be
// another one.
func (e *equality) isCaptured(at pick.Place) bool {
	return slices.ContainsFunc(e.captures, func(c capture) bool { return c.from.Path != nil && c.from.Path.Matches(at) })
}

// mayVary reports whether the value at a place need not be the recorded one.
func (e *equality) mayVary(at pick.Place) bool { return e.ignores(at) || e.isCaptured(at) }

// withoutMatches returns b with what the regular expressions match taken out.
func (e *equality) withoutMatches(b []byte) []byte { return e.mapMatches(b, nil) }

// mapMatches returns b with text in place of what the regular expressions match.
func (e *equality) mapMatches(b, text []byte) []byte {
	b = e.withoutBytes(b)
	for i := range e.ignore {
		if expr := e.ignore[i].Expr; expr != nil {
			b = expr.ReplaceAllLiteral(b, text)
		}
	}
	for i := range e.captures {
		from := e.captures[i].from
		if from.Expr == nil {
			continue
		}
		var edits []pick.Edit
		for _, span := range from.Spans(b) {
			edits = append(edits, pick.Edit{Span: span, Text: text})
		}
		b = pick.Apply(nil, b, edits)
	}
	return b
}

// withoutBytes returns b with zeros in place of the bytes that selectors name, which stay
// as many.
func (e *equality) withoutBytes(b []byte) []byte {
	out := b
	zero := func(s *pick.Selector) {
		if s.Bytes == nil {
			return
		}
		for _, at := range s.Spans(b) {
			if sameMemory(out, b) {
				out = bytes.Clone(b)
			}
			for i := at.Start; i < at.End; i++ {
				out[i] = '0'
			}
		}
	}
	for i := range e.ignore {
		zero(&e.ignore[i])
	}
	for i := range e.captures {
		zero(&e.captures[i].from)
	}
	return out
}

// ignoresHeader reports whether a header is not compared.
func (e *equality) ignoresHeader(name string) bool {
	return slices.ContainsFunc(e.ignore, func(s pick.Selector) bool { return strings.EqualFold(s.Header, name) })
}

func bytesDiffer(want, got []byte) string {
	n := common(want, got)
	if n == len(want) && n == len(got) {
		return "" // but for what is ignored
	}
	return differAt(n)
}

func differAt(n int) string { return fmt.Sprintf("which differs at byte %d", n) }

// common returns how many bytes a and b have in common at their start.
func common(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// maxShown is how many bytes of a payload or value are shown in a sentence.
const maxShown = 120
