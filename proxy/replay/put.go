package replay

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode/pick"
)

// A putting puts values into one text or message.
type putting struct {
	v      *values
	theirs bool                // it is expected of the other side
	used   func(*substitution) // is told each that is put; may be nil
	misfit *misfit             // the first value that does not fit; nil for none
	b      []byte              // the message, or a text in its XML
	xml    pick.XMLPlace       // where that stands
}

// A misfit is a value that can't be put because it is longer or shorter than the one it
// replaces.
type misfit struct {
	recorded, live string
	why            string
}

func (m *misfit) String() string {
	return fmt.Sprintf("%s can't be put in the place of %s: %s", quoted([]byte(m.live)), quoted([]byte(m.recorded)), m.why)
}

// put returns a text with the live values in place of those recorded, however long they
// are. It returns b itself if there are none in it.
func put(b []byte, v *values) []byte {
	p := putting{v: v, theirs: true}
	return p.text(b)
}

// putIn returns the content of a message with the live values in place. Of a message that
// is expected of the other side what does not fit stays.
func (v *values) putIn(u *unit, theirs bool) ([]byte, *misfit) {
	if v.empty() {
		return u.data, nil
	}
	p := putting{v: v, theirs: theirs}
	if !u.textual() {
		if !u.opaque() {
			return p.binary(u.data), p.misfit
		}
		return u.data, nil
	}
	return p.text(u.data), p.misfit
}

// find calls each with the values that a message of ours has.
func (v *values) find(u *unit, each func(*substitution)) {
	if v.empty() || u.opaque() {
		return
	}
	p := putting{v: v, used: each}
	if u.textual() {
		p.text(u.data)
	} else {
		p.binary(u.data)
	}
}

// textual reports whether the content of u is a text: that of a text message, or a JSON
// document in a binary one.
func (u *unit) textual() bool {
	if u.opaque() {
		return false
	}
	t := bytes.TrimLeft(u.data, " \t\r\n")
	return u.op == ws.OpText || u.op == ws.OpBinary && len(t) > 0 && (t[0] == '{' || t[0] == '[') && json.Valid(u.data)
}

// opaque reports whether u is a compressed frame, of frames that are compared one by one,
// or something else that is no data of the application.
func (u *unit) opaque() bool {
	return u.kind != unitMessage && (u.kind != unitFrame || u.flags&0x40 != 0) || u.op > ws.OpBinary || u.op == ws.OpContinuation
}

// text puts values into a text, and into what of it is JSON or XML.
func (p *putting) text(b []byte) []byte {
	if p.v.empty() {
		return b
	}
	p.b = b
	var edits []pick.Edit
	if root := pick.ParseXML(b); root != nil {
		edits = p.xmlDocument(root)
	} else {
		edits = p.parts(b)
	}
	if edits == nil { // by offset: only where those of the recording still hold
		edits = p.bytes(b)
	}
	if edits == nil {
		return b
	}
	return pick.Apply(nil, b, edits)
}

// parts returns the edits that put values into a text that is no XML.
func (p *putting) parts(b []byte) (all []pick.Edit) {
	at := 0
	for _, part := range pick.Parts(b) {
		var edits []pick.Edit
		if part.JSON {
			edits = p.document(part.Bytes)
		} else {
			edits = p.words(string(part.Bytes), nil)
		}
		for _, e := range edits {
			e.Span = pick.Span{Start: at + e.Start, End: at + e.End}
			before := at // what stands before the document
			if !part.JSON {
				before = e.Start
			}
			p.checkLength(e, before, at+len(part.Bytes))
			all = append(all, e)
		}
		at += len(part.Bytes)
	}
	return all
}

// document returns the edits that put values into a JSON document.
func (p *putting) document(doc []byte) (edits []pick.Edit) {
	w := pick.Visitor{Scalar: func(s pick.Scalar) {
		var live any
		switch value := s.Value.(type) {
		case string:
			live = p.string(value, s.At)
		case json.Number:
			live = value
			if sub := p.v.lookup(value, place{s.At, p.xml}); sub != nil {
				p.uses(sub)
				live = sub.live
			}
		default:
			return
		}
		if live != s.Value {
			edits = append(edits, pick.Edit{Span: s.Span, Text: pick.Encode(live)})
		}
	}, Name: func(name string, span pick.Span) {
		if live := p.string(name, nil); live != name {
			edits = append(edits, pick.Edit{Span: span, Text: pick.Encode(live)})
		}
	}}
	w.Walk(doc)
	return edits
}

func (p *putting) uses(sub *substitution) {
	if p.used != nil {
		p.used(sub)
	}
}

// string returns a text with values in place.
func (p *putting) string(s string, at pick.Place) string {
	edits := p.words(s, at)
	if edits == nil {
		return s
	}
	return string(pick.Apply(nil, []byte(s), edits))
}

// packed is base64 of what may hold a value: of nine bytes and more.
var packed = regexp.MustCompile(`[A-Za-z0-9+/_-]{12,}={0,2}`)

// words returns the edits that put values where the recorded ones stand in s as a word,
// or in base64.
func (p *putting) words(s string, at pick.Place) (edits []pick.Edit) {
	wordBefore := false // what stands before i is a letter or a digit
	for i := 0; i < len(s); {
		if !wordBefore {
			if sub, n := p.v.lookupText(s, i, place{at, p.xml}, isWord); sub != nil {
				p.uses(sub)
				edits = append(edits, pick.Edit{Span: pick.Span{Start: i, End: i + n}, Text: fmt.Append(nil, sub.live)})
				i += n
				r, _ := utf8.DecodeLastRuneInString(s[:i])
				wordBefore = isWordRune(r)
				continue
			}
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		wordBefore = isWordRune(r)
		i += n
	}
	words := edits
	for _, m := range packed.FindAllStringIndex(s, -1) {
		if m[0] > 0 && s[m[0]-1] == '.' || m[1] < len(s) && s[m[1]] == '.' { // of a JWT: what is signed
			continue
		}
		if slices.ContainsFunc(words, func(e pick.Edit) bool { return e.Start < m[1] && m[0] < e.End }) {
			continue
		}
		enc, plain := unpack(s[m[0]:m[1]])
		if enc == nil {
			continue
		}
		inner := putting{v: p.v, used: p.used, xml: p.xml}
		if inside := inner.plain(plain); inside != plain {
			edits = append(edits, pick.Edit{Span: pick.Span{Start: m[0], End: m[1]}, Text: []byte(enc.EncodeToString([]byte(inside)))})
		}
	}
	slices.SortFunc(edits, func(x, y pick.Edit) int { return x.Start - y.Start })
	return edits
}

// plain puts values into what stood in base64, which may be JSON.
func (p *putting) plain(s string) string {
	var out []byte
	for _, part := range pick.Parts([]byte(s)) {
		var edits []pick.Edit
		if part.JSON {
			edits = p.document(part.Bytes)
		} else {
			for i := 0; i < len(part.Bytes); i++ {
				if sub, n := p.v.lookupText(string(part.Bytes), i, place{xml: p.xml}, isWord); sub != nil {
					p.uses(sub)
					edits = append(edits, pick.Edit{Span: pick.Span{Start: i, End: i + n}, Text: fmt.Append(nil, sub.live)})
					i += n - 1
				}
			}
		}
		out = pick.Apply(out, part.Bytes, edits)
	}
	return string(out)
}

// unpack returns the text that stands in base64, and its encoding; nil if it is none.
func unpack(s string) (*base64.Encoding, string) {
	enc := base64.StdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.URLEncoding
	}
	if !strings.HasSuffix(s, "=") && len(s)%4 != 0 {
		enc = enc.WithPadding(base64.NoPadding)
	}
	b, err := enc.DecodeString(s)
	if err != nil || !utf8.Valid(b) || bytes.IndexFunc(b, unicode.IsControl) >= 0 || enc.EncodeToString(b) != s {
		return nil, ""
	}
	return enc, string(b)
}

// minAnywhere is how many bytes a value has at least that is found in binary messages
// wherever it stands. Shorter ones, of minBinary bytes and more, must stand there as a
// word.
const (
	minAnywhere = 8
	minBinary   = 4
)

// binary puts values of the same length into a binary message.
func (p *putting) binary(b []byte) []byte {
	var edits []pick.Edit
	s := string(b)
	for i := 0; i < len(s); i++ {
		sub, n := p.v.lookupText(s, i, place{}, isInBinary)
		if sub == nil {
			continue
		}
		p.uses(sub)
		live := fmt.Sprint(sub.live)
		if len(live) == n {
			edits = append(edits, pick.Edit{Span: pick.Span{Start: i, End: i + n}, Text: []byte(live)})
		} else if p.misfit == nil {
			p.misfit = &misfit{s[i : i+n], live, "in a binary message only a value of the same length can be"}
		}
		i += n - 1
	}
	if len(edits) > 0 {
		b = pick.Apply(nil, b, edits)
	}
	if edits := p.bytes(b); edits != nil {
		b = pick.Apply(nil, b, edits)
	}
	return b
}

// bytes returns the edits that put what was captured by selectors of bytes where those
// find the recorded bytes.
func (p *putting) bytes(b []byte) (edits []pick.Edit) {
	for v := p.v; v != nil; v = v.shared {
		v.mu.Lock()
		if v.placed {
			for _, list := range v.subs {
				for i := range list {
					edits = p.bytesOf(&list[i], b, edits)
				}
			}
		}
		v.mu.Unlock()
	}
	slices.SortFunc(edits, func(x, y pick.Edit) int { return x.Start - y.Start })
	end := 0
	return slices.DeleteFunc(edits, func(e pick.Edit) bool { // that of the session is before those of others
		if e.Start < end {
			return true
		}
		end = e.End
		return false
	})
}

func (p *putting) bytesOf(sub *substitution, b []byte, edits []pick.Edit) []pick.Edit {
	for _, sel := range sub.into {
		if sel.Bytes == nil {
			continue
		}
		recorded, live := fmt.Sprint(sub.recorded), fmt.Sprint(sub.live)
		each := func(at pick.Span) {
			switch {
			case string(b[at.Start:at.End]) != recorded:
			case len(live) == len(recorded):
				p.uses(sub)
				if live != recorded {
					edits = append(edits, pick.Edit{Span: at, Text: []byte(live)})
				}
			case p.misfit == nil:
				p.misfit = &misfit{recorded, live, "only a value of the same length can be"}
			}
		}
		if !sel.Bytes.MQTTID {
			for _, at := range sel.Spans(b) {
				each(at)
			}
			continue
		}
		// An id that they made up: in our answers, and in what they say about it later.
		pick.MQTTIDs(b, func(kind byte, at pick.Span) {
			if p.theirs == (kind == mqttPubrel) && !madeMQTTID(kind) {
				each(at)
			}
		})
	}
	return edits
}

// mqttPubrel is the kind of a packet PUBREL (MQTT 5.0 §2.1.2).
const mqttPubrel = 6

// madeMQTTID reports whether the sender of a packet of this kind makes its id up:
// PUBLISH, SUBSCRIBE, UNSUBSCRIBE.
func madeMQTTID(kind byte) bool { return kind == 3 || kind == 8 || kind == 10 }

var (
	statedLength  = regexp.MustCompile(`([0-9]{1,9})(?:~m~|\r?\n|[:;|, ])`)
	contentLength = regexp.MustCompile(`(?im)^content-length[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?$`)
)

// checkLength notes a misfit if a value in a text takes the place of one of another
// length, and that length stands before it, alone or of what it is in: as in 5:hello,
// ~m~5~m~hello, or a header content-length. It may stand before an offset, and what the
// value is in may end at another.
func (p *putting) checkLength(e pick.Edit, before, end int) {
	if p.theirs || p.misfit != nil || e.End-e.Start == len(e.Text) {
		return
	}
	note := func(digits []byte) {
		p.misfit = &misfit{string(p.b[e.Start:e.End]), string(e.Text), fmt.Sprintf("%s, the length of what it is in, stands before it, so only a value of the same length can be", digits)}
	}
	head := p.b[:before]
	if i := bytes.LastIndex(head, []byte("\n\n")); i >= 0 {
		head = head[:i+1]
	} else {
		head = head[:bytes.LastIndex(head, []byte("\n\r\n"))+1]
	}
	if m := contentLength.FindSubmatch(head); m != nil {
		note(m[1])
		return
	}
	from := max(0, before-maxStated)
	for _, m := range statedLength.FindAllSubmatchIndex(p.b[from:before], -1) {
		digits, start := p.b[from+m[2]:from+m[3]], from+m[1]
		if from+m[2] > 0 && (isWordRune(rune(p.b[from+m[2]-1])) || p.b[from+m[2]-1] == '.') {
			continue
		}
		for _, to := range []int{len(p.b), end, e.End} {
			if to < e.End || to <= start {
				continue
			}
			if stretch := p.b[start:to]; fmt.Sprint(len(stretch)) == string(digits) || fmt.Sprint(utf16Len(stretch)) == string(digits) {
				note(digits)
				return
			}
		}
	}
}

// maxStated is how far before a value its length is looked for, in bytes.
const maxStated = 1 << 10

// utf16Len returns how long a text is in JavaScript.
func utf16Len(b []byte) (n int) {
	for _, r := range string(b) {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}
