package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// Diff prints how session b differs from session a, both by message and by what
// the options of a say counts as equal, and reports whether it does:
//
//	  < text "Welcome John."  line 6
//	- > text "Good morning"  line 7
//	+ > text "Good evening"  line 9
//	~ < text "John says: …"  line 8, 10: compressed; in 3 frames
//
// Each line is one of a only (-), of b only (+), of both with another frame
// shape (~), or of both and near a change. Messages of one side are compared in
// their order; how those of both sides interleave does not matter.
func Diff(w io.Writer, a, b *Script) (differ bool, err error) {
	if len(b.selectors) > 0 { // neither's secrets are compared or shown
		both := *a
		both.selectors = slices.Concat(a.selectors, b.selectors)
		both.setRedacted(both.selectors)
		a = &both
	}
	subs := a.pairCaptures(b)
	rows := merge(a.align(b, decode.FromClient, subs), a.align(b, decode.FromServer, subs))
	var buf bytes.Buffer
	for i := range rows {
		r := &rows[i]
		differ = differ || r.mark != ' '
		switch {
		case near(rows, i):
			buf.WriteString(r.String())
		case i > 0 && near(rows, i-1):
			buf.WriteString("  …\n")
		}
	}
	if differ {
		_, err = w.Write(buf.Bytes())
	}
	return differ, err
}

// merge puts the rows of both directions into the order in which they stand in
// a or b. One of a only and one of b only have none: what is begun goes on.
func merge(x, y []row) []row {
	var rows []row
	for len(x) > 0 && len(y) > 0 {
		ahead := 0 // how far x is ahead of y
		for k := range x[0].lines {
			if m, n := x[0].lines[k], y[0].lines[k]; m > 0 && n > 0 {
				ahead = m - n
				break
			}
		}
		if ahead > 0 {
			x, y = y, x
		}
		rows, x = append(rows, x[0]), x[1:]
	}
	return slices.Concat(rows, x, y)
}

// around is how many lines without a change are shown around one.
const around = 3

// near reports whether row i is to be shown.
func near(rows []row, i int) bool {
	return slices.ContainsFunc(rows[max(i-around, 0):min(i+around+1, len(rows))], func(r row) bool { return r.mark != ' ' })
}

// A row is a line of a diff.
type row struct {
	mark  byte
	dir   decode.Dir
	text  string
	lines [2]int // in a and b; 0 if it is not there
	note  string
}

func (r *row) String() string {
	b := fmt.Appendf(nil, "%c %s %s", r.mark, r.dir.Arrow(), r.text)
	sep := "  line "
	for _, n := range r.lines {
		if n > 0 {
			b = append(b, sep...)
			b = strconv.AppendInt(b, int64(n), 10)
			sep = ", "
		}
	}
	if r.note != "" {
		b = append(append(b, ": "...), r.note...)
	}
	return string(append(decode.AppendEscaped(nil, b, false), '\n'))
}

// align pairs what d does in both sessions.
func (s *Script) align(other *Script, d decode.Dir, subs *values) []row {
	longs := longContents(s, other)
	as, bs := s.steps(s, d, subs, longs), s.steps(other, d, nil, longs)
	var rows []row
	var dropped []*step // not yet answered by one that was added
	for _, p := range s.reconcile(pairs(as, bs), as, bs) {
		var r row
		switch {
		case p.b < 0:
			a := as[p.a]
			r = row{mark: '-', text: a.text, lines: [2]int{a.line, 0}}
			dropped = append(dropped, a)
		case p.a < 0:
			b := bs[p.b]
			r = row{mark: '+', text: b.text, lines: [2]int{0, b.line}}
			if len(dropped) > 0 {
				r.note = s.whyNot(dropped[0], b)
				dropped = dropped[1:]
			}
		default:
			a, b := as[p.a], bs[p.b]
			r = row{mark: ' ', text: a.text, lines: [2]int{a.line, b.line}}
			if a.shape != b.shape {
				r.mark, r.note = '~', a.shape+"; "+b.shape
			}
			dropped = nil
		}
		r.dir = d
		rows = append(rows, r)
	}
	return rows
}

// reconcile pairs what differs only in that one has a placeholder where the other
// has any text, which keys can't tell.
func (e *equality) reconcile(ps []pair, as, bs []*step) []pair {
	if e.redacted == nil {
		return ps
	}
	var out, dropped, added []pair
	flush := func() {
		for _, d := range dropped {
			n := slices.IndexFunc(added, func(p pair) bool { return e.alikeSteps(as[d.a], bs[p.b]) })
			if n < 0 {
				out = append(out, d)
				continue
			}
			out = append(append(out, added[:n]...), pair{d.a, added[n].b})
			added = added[n+1:]
		}
		out = append(out, added...)
		dropped, added = dropped[:0], added[:0]
	}
	for _, p := range ps {
		switch {
		case p.b < 0:
			dropped = append(dropped, p)
		case p.a < 0:
			added = append(added, p)
		default:
			flush()
			out = append(out, p)
		}
	}
	flush()
	return out
}

// alikeSteps reports whether two steps differ in placeholders only.
func (e *equality) alikeSteps(a, b *step) bool {
	switch {
	case a.unit == nil || b.unit == nil:
		return a.unit == b.unit && (e.likes(a.full, b.full) || e.likes(b.full, a.full))
	case a.unit.kind == unitEnd:
		return false
	}
	ok, _ := e.compare(withAllIDs(a.unit, b.unit), b.unit, nil)
	if !ok {
		ok, _ = e.compare(withAllIDs(b.unit, a.unit), a.unit, nil)
	}
	return ok
}

// whyNot says in what b differs from a, if that is not plain to see.
func (s *Script) whyNot(a, b *step) string {
	if a.unit == nil || b.unit == nil || len(a.unit.data) < 40 && a.unit.long == nil && !bytes.ContainsAny(a.unit.data, "{[") {
		return ""
	}
	_, why := s.compare(withAllIDs(a.unit, b.unit), b.unit, nil)
	if a.unit.long != nil || b.unit.long != nil {
		why += "; " + whyLong
	}
	return strings.TrimPrefix(why, "; ")
}

// A step is one thing that a side does: a head or a unit.
type step struct {
	key   string // equal for those that count as equal
	text  string
	full  string // of a head, without anything hidden
	shape string
	line  int
	unit  *unit
}

// pairCaptures returns what the captures find in both sessions: the first in one
// stands for the first in the other, and so on.
func (s *Script) pairCaptures(other *Script) *values {
	subs := newValues()
	if len(s.captures) == 0 {
		return subs
	}
	if s.request != nil && other.request != nil {
		s.learnHead(subs, nil, 0, s.request.Head, other.request.Head, nil, nil)
	}
	if len(s.replies) > 0 && len(other.replies) > 0 {
		s.learnHead(subs, nil, 0, s.final().Head, other.final().Head, s.final().body, other.final().body)
	}
	for i := range s.captures {
		c := &s.captures[i]
		for d := range s.sides {
			var values [2][]any
			for k, of := range []*Script{s, other} {
				for _, u := range of.sides[d].units {
					values[k] = append(values[k], c.values(u.data)...)
				}
			}
			for n := range min(len(values[0]), len(values[1])) {
				subs.add([]substitution{c.substitute(values[0][n], values[1][n])})
			}
		}
	}
	return subs
}

// steps returns what d does in session of, in order, with keys as s compares,
// with captured values in their place.
func (s *Script) steps(of *Script, d decode.Dir, subs *values, longs map[long]bool) []*step {
	var list []*step
	if d == decode.FromClient && of.request != nil && !of.request.out {
		list = append(list, s.headStep(of, of.request, subs))
	}
	for _, h := range of.replies {
		if d == decode.FromServer && !h.out {
			list = append(list, s.headStep(of, h, subs))
		}
	}
	of = of.inRecords()
	units := of.sides[d].units
	key := func(u *unit) string { return s.key(u, subs, longs) }
	for i := range units {
		u := &units[i]
		if u.out || u.beat != noBeat {
			continue
		}
		seen := *u
		s.hide(&seen)
		st := &step{text: seen.String(), line: of.line(u.at), unit: u}
		st.key = fmt.Sprint(u.kind, u.op, u.cut, u.kind == unitEnd && s.exact && u.how == decode.EndRST, key(of.withoutIDs(u, key)))
		st.key = shortKey(st.key)
		if s.exact {
			st.key += fmt.Sprint(u.flags, u.masked, u.lenBits)
		} else if u.kind == unitMessage && of.splitter() == nil {
			st.shape = shapeOf(u)
		}
		list = append(list, st)
	}
	return list
}

// headStep returns the step that a head of a session is.
func (s *Script) headStep(of *Script, h *head, subs *values) *step {
	st := &step{line: of.line(h.at)}
	if h.Status == 0 {
		path, query, _ := strings.Cut(subs.putTarget(originForm(h.Target)), "?")
		st.text = h.Method + " " + s.hiddenText("", originForm(h.Target))
		st.full = h.Method + " " + originForm(h.Target)
		st.key = h.Method + " " + s.alikeText("", s.comparedTarget(path)) + "?" + s.queryKey(strings.TrimPrefix(s.alikeText("", "?"+s.comparedTarget(query)), "?"))
	} else {
		st.text = fmt.Sprint(h.Status, " ", h.Reason)
		st.full = fmt.Sprint(h.Status)
		st.key = fmt.Sprint(h.Status)
	}
	for _, name := range append([]string{"Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"}, s.headerNames...) {
		vs := h.Values(name)
		if s.ignoresHeader(name) || len(vs) == 0 {
			continue
		}
		st.text += fmt.Sprintf("  %s %s", strings.ToLower(strings.TrimPrefix(name, "Sec-WebSocket-")), strings.Join(s.hiddenList(name, splitList(name, h)), ", "))
		st.full += fmt.Sprintf("  %s %q", strings.ToLower(name), splitList(name, h))
		if es, err := parseExtensions(vs); err == nil && name == "Sec-WebSocket-Extensions" {
			st.key += fmt.Sprint(" ", es)
		} else {
			st.key += fmt.Sprintf(" %q", s.alikeList(name, h.Tokens(name)))
		}
	}
	return st
}

// splitList returns the values of a header as they are shown: those of a list one
// by one.
func splitList(name string, h *head) []string {
	if name == "Sec-WebSocket-Protocol" {
		return h.Tokens(name)
	}
	return h.Values(name)
}

// shapeOf says in what frames a message was sent.
func shapeOf(u *unit) string {
	shape := "one frame"
	if u.frames != 1 {
		shape = fmt.Sprintf("%d frames", u.frames)
	}
	if u.compressed {
		shape += ", compressed"
	}
	return shape
}

// shortKey returns a string that is the same for the same keys: that of a message
// is as long as the message.
func shortKey(key string) string {
	if len(key) <= 2*sha256.Size {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return string(sum[:])
}

// longContents returns the contents of which one of the sessions has only the
// beginning. The other may have the same one whole.
func longContents(sessions ...*Script) map[long]bool {
	longs := map[long]bool{}
	for _, s := range sessions {
		for d := range s.sides {
			for i := range s.sides[d].units {
				if u := &s.sides[d].units[i]; u.long != nil {
					longs[*u.long] = true
				}
			}
		}
	}
	return longs
}

// key returns a string that is the same for the contents that count as equal. Those
// that are equal to the byte to one of longs count as that.
func (s *Script) key(u *unit, subs *values, longs map[long]bool) string {
	if len(longs) > 0 {
		if l := (long{u.length(), u.digest()}); longs[l] {
			return fmt.Sprintf("%d %x", l.size, l.sum)
		}
	}
	data, _ := subs.putIn(u, true)
	data = []byte(s.alike(s.withoutMatches(data)))
	if !u.textual() || s.exact || !utf8.Valid(data) {
		return string(data)
	}
	var key []byte
	for _, p := range pick.Parts(data) {
		if !p.JSON {
			key = append(key, p.Bytes...)
			continue
		}
		key = s.appendKey(append(key, 0), pick.Decode(p.Bytes), nil)
	}
	return string(key)
}

// appendKey appends a string that is the same for JSON values that count as equal.
// It may write behind what at has.
func (s *Script) appendKey(dst []byte, v any, at pick.Place) []byte {
	if s.mayVary(at) {
		return append(dst, '*')
	}
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		dst = append(dst, '{')
		for _, name := range names {
			if in := append(at, name); !s.mayVary(in) {
				dst = append(append(dst, pick.Encode(name)...), ':')
				dst = append(s.appendKey(dst, v[name], in), ',')
			}
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if in := append(at, i); !s.mayVary(in) {
				dst = append(s.appendKey(dst, e, in), ',')
			}
		}
		return append(dst, ']')
	case json.Number:
		if f, err := v.Float64(); err == nil && f < 1<<53 && f > -1<<53 {
			return strconv.AppendFloat(dst, f, 'g', -1, 64)
		}
		return append(dst, v...)
	}
	return append(dst, pick.Encode(v)...)
}
