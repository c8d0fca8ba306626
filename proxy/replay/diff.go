package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// Diff prints how session b differs from session a, both by message and by what
// the options of a say counts as equal, and reports whether it does:
//
//	  < text "Welcome John."  line 6
//	- > text "Good morning"  line 7
//	+ > text "Good evening"  line 9
//	~ < text "John says: …"  line 8, 10: 1 frame in A, 3 in B; compressed in A only
//
// Below two messages that differ where that is not plain to see stands where, as by
// [Difference.Diff] with a width.
//
// Each line is one of a only (-), of b only (+), of both with another frame
// shape (~), or of both and near a change. Messages of one side are compared in
// their order; how those of both sides interleave does not matter. What is not known
// of one of the sessions, because its file has messages and no frames, is not compared.
// Then there is an error if frames are to be compared, as with [Exact].
func Diff(w io.Writer, a, b *Script, width int) (differ bool, err error) {
	if len(b.selectors) > 0 { // neither's secrets are compared or shown
		both := *a
		both.selectors = slices.Concat(a.selectors, b.selectors)
		both.setRedacted(both.selectors)
		a = &both
	}
	subs := a.pairCaptures(b)
	if a.exact && a.info.NoFrames != b.info.NoFrames {
		return false, errNoFrames
	}
	var sides [2]alignment // by Dir
	in := [2]*Script{a.inRecords(), b.inRecords()}
	for d := range decode.Dir(2) {
		sides[d] = a.align(in, d, subs)
	}
	rows := merge(&sides)
	changed := func(i int) bool { return rows[i].mark != ' ' }
	var buf bytes.Buffer
	for i := range rows {
		r := &rows[i]
		differ = differ || changed(i)
		switch {
		case near(len(rows), i, changed):
			buf.WriteString(sides[r.dir].line(r))
			for line := range strings.Lines(sides[r.dir].inside(r, subs, width)) {
				buf.Write(append(decode.AppendEscaped([]byte("  "), []byte(strings.TrimSuffix(line, "\n")), false), '\n'))
			}
		case i > 0 && near(len(rows), i-1, changed):
			buf.WriteString("  …\n")
		}
	}
	if differ {
		_, err = w.Write(buf.Bytes())
	}
	return differ, err
}

var errNoFrames = errors.New("one of the files has messages, not frames, and can't be compared frame by frame")

// merge puts the rows of both directions into the order in which they stand in
// a or b. One of a only and one of b only have none: what is begun goes on.
func merge(sides *[2]alignment) []row {
	x, y := sides[decode.FromClient].rows, sides[decode.FromServer].rows
	rows := make([]row, 0, len(x)+len(y))
	for len(x) > 0 && len(y) > 0 {
		ahead := 0 // how far x is ahead of y
		xs, ys := sides[x[0].dir].lines(&x[0]), sides[y[0].dir].lines(&y[0])
		for k := range xs {
			if m, n := xs[k], ys[k]; m > 0 && n > 0 {
				ahead = m - n
				break
			}
		}
		if ahead > 0 {
			x, y = y, x
		}
		rows, x = append(rows, x[0]), x[1:]
	}
	return append(append(rows, x...), y...)
}

// around is how many lines without a change are shown around one.
const around = 3

// near reports whether line i of n is to be shown.
func near(n, i int, changed func(i int) bool) bool {
	for k := max(i-around, 0); k < min(i+around+1, n); k++ {
		if changed(k) {
			return true
		}
	}
	return false
}

// A row is a line of a diff. There may be one for each message, so it has no text.
type row struct {
	mark byte
	dir  decode.Dir
	a, b int32 // what d does; -1 for nothing
	old  int32 // what b took the place of; -1 for nothing
}

// An alignment is what one side does in both sessions, in pairs.
type alignment struct {
	s      *Script    // that says what counts as equal
	in     [2]*Script // the sessions, in records
	as, bs []step
	rows   []row
}

// align pairs what d does in two sessions, as s compares.
func (s *Script) align(in [2]*Script, d decode.Dir, subs *values) alignment {
	longs := longContents(in[:]...)
	al := alignment{s: s, in: in, as: s.steps(in[0], in[1], d, subs, longs), bs: s.steps(in[1], in[0], d, nil, longs)}
	list := s.reconcile(pairs(al.as, al.bs), al.as, al.bs)
	al.rows = make([]row, len(list))
	var dropped []int32 // not yet answered by one that was added
	for i, p := range list {
		r := row{' ', d, int32(p.a), int32(p.b), -1}
		switch {
		case p.b < 0:
			r.mark = '-'
			dropped = append(dropped, r.a)
		case p.a < 0:
			r.mark = '+'
			if len(dropped) > 0 {
				r.old, dropped = dropped[0], dropped[1:]
			}
		default:
			if al.shapes(p.a, p.b) != "" {
				r.mark = '~'
			}
			dropped = nil
		}
		al.rows[i] = r
	}
	return al
}

// lines returns the lines of a row in the files; 0 where it is not there.
func (al *alignment) lines(r *row) (lines [2]int) {
	if r.a >= 0 {
		lines[0] = al.as[r.a].line
	}
	if r.b >= 0 {
		lines[1] = al.bs[r.b].line
	}
	return lines
}

// line returns a row as it is printed.
func (al *alignment) line(r *row) string {
	var st *step
	note := ""
	switch {
	case r.a >= 0:
		st = &al.as[r.a]
		if r.mark == '~' {
			note = al.shapes(int(r.a), int(r.b))
		}
	default:
		if st = &al.bs[r.b]; r.old >= 0 {
			note = al.s.whyNot(&al.as[r.old], st)
		}
	}
	text := st.text
	if st.unit != nil {
		seen := *st.unit
		al.s.hide(&seen)
		text = seen.String()
	}
	b := fmt.Appendf(nil, "%c %s %s", r.mark, r.dir.Arrow(), text)
	sep := "  line "
	for _, n := range al.lines(r) {
		if n > 0 {
			b = append(b, sep...)
			b = strconv.AppendInt(b, int64(n), 10)
			sep = ", "
		}
	}
	if note != "" {
		b = append(append(b, ": "...), note...)
	}
	return string(append(decode.AppendEscaped(nil, b, false), '\n'))
}

// inside returns where a message differs from the one whose place it took.
func (al *alignment) inside(r *row, subs *values, width int) string {
	if r.old < 0 {
		return ""
	}
	return al.s.insideOf(al.as[r.old].unit, al.bs[r.b].unit, subs, width)
}

// reconcile pairs what differs only in that one has a placeholder where the other
// has any text, which keys can't tell.
func (e *equality) reconcile(ps []pair, as, bs []step) []pair {
	if e.redacted == nil {
		return ps
	}
	var out, dropped, added []pair
	flush := func() {
		for _, d := range dropped {
			n := slices.IndexFunc(added, func(p pair) bool { return e.alikeSteps(&as[d.a], &bs[p.b]) })
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
	if a.unit == nil || b.unit == nil || len(a.unit.data) < 40 && a.unit.long == nil && !bytes.ContainsAny(a.unit.data, "{[<") {
		return ""
	}
	_, why := s.compare(withAllIDs(a.unit, b.unit), b.unit, nil)
	if a.unit.long != nil || b.unit.long != nil {
		why += "; " + whyLong
	}
	return strings.TrimPrefix(why, "; ")
}

// insideOf returns where b differs from a, if their beginnings do not show that, or one
// has bytes that are no text.
func (s *Script) insideOf(a, b *unit, subs *values, width int) string {
	switch {
	case a == nil || b == nil || a.kind == unitEnd || b.kind == unitEnd || a.op != b.op || a.op > ws.OpBinary:
		return ""
	case len(a.data) <= maxShown && len(b.data) <= maxShown && isText(a.data) && isText(b.data):
		return ""
	}
	want, got := *a, *b
	want.data, _ = subs.putIn(a, true)
	s.hide(&want)
	s.hide(&got)
	d := Difference{Want: shown(&want), Got: shown(&got)}
	if a.op == ws.OpText && !s.exact {
		d.Want, d.Got = s.compared(d.Want), s.compared(d.Got)
	}
	return d.Diff(width)
}

// A step is one thing that a side does: a head or a unit.
type step struct {
	key  stepKey // equal for those that count as equal
	unit *unit   // nil for a head
	line int
	text string // of what is no unit
	full string // of a head, without anything hidden
}

// A stepKey stands for a string: it is the beginning of its hash.
type stepKey [16]byte

func keyOf(s string) stepKey {
	sum := sha256.Sum256([]byte(s))
	return stepKey(sum[:16])
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

// steps returns what d does in session of, which is in records, in order, with keys as s compares,
// with captured values in their place. What the other session can't tell is left out.
func (s *Script) steps(of, other *Script, d decode.Dir, subs *values, longs map[long]bool) []step {
	units := of.sides[d].units
	noFrames := of.info.NoFrames || other.info.NoFrames
	noClose := of.info.NoFrames && !of.closes(d) || other.info.NoFrames && !other.closes(d)
	list := make([]step, 0, len(units)+2)
	if d == decode.FromClient && of.request != nil && !of.request.out {
		list = append(list, s.headStep(of, of.request, subs))
	}
	for _, h := range of.replies {
		if d == decode.FromServer && !h.out {
			list = append(list, s.headStep(of, h, subs))
		}
	}
	key := func(u *unit) string { return s.key(u, subs, longs) }
	for i := range units {
		u := &units[i]
		if u.out || u.beat != noBeat || noFrames && unknown(u, noClose) {
			continue
		}
		name := fmt.Sprint(u.kind, u.op, u.cut, u.kind == unitEnd && s.exact && u.how == decode.EndRST, key(of.withoutIDs(u, key)))
		if s.exact {
			name += fmt.Sprint(" ", u.flags, u.masked, u.lenBits)
		}
		list = append(list, step{key: keyOf(name), line: of.line(u.at), unit: u})
	}
	return list
}

// unknown reports whether a file that has messages and no frames may lack u, which was
// there; its Close frames too if it has none of them.
func unknown(u *unit, noClose bool) bool {
	if u.op == ws.OpClose && u.kind != unitJunk && u.kind != unitEnd {
		return noClose
	}
	return u.cut || u.kind == unitEnd || u.kind == unitJunk || u.op > ws.OpBinary
}

// headStep returns the step that a head of a session is.
func (s *Script) headStep(of *Script, h *head, subs *values) step {
	st := step{line: of.line(h.at)}
	key := ""
	if h.Status == 0 {
		path, query, _ := strings.Cut(subs.putTarget(originForm(h.Target)), "?")
		st.text = h.Method + " " + s.hiddenText("", originForm(h.Target))
		st.full = h.Method + " " + originForm(h.Target)
		key = h.Method + " " + s.alikeText("", s.comparedTarget(path)) + "?" + s.queryKey(strings.TrimPrefix(s.alikeText("", "?"+s.comparedTarget(query)), "?"))
	} else {
		st.text = fmt.Sprint(h.Status, " ", h.Reason)
		st.full = fmt.Sprint(h.Status)
		key = fmt.Sprint(h.Status)
	}
	for _, name := range append([]string{"Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"}, s.headerNames...) {
		vs := h.Values(name)
		if s.ignoresHeader(name) || len(vs) == 0 {
			continue
		}
		st.text += fmt.Sprintf("  %s %s", strings.ToLower(strings.TrimPrefix(name, "Sec-WebSocket-")), strings.Join(s.hiddenList(name, splitList(name, h)), ", "))
		st.full += fmt.Sprintf("  %s %q", strings.ToLower(name), splitList(name, h))
		if es, err := parseExtensions(vs); err == nil && name == "Sec-WebSocket-Extensions" {
			key += fmt.Sprint(" ", es)
		} else {
			key += fmt.Sprintf(" %q", s.alikeList(name, h.Tokens(name)))
		}
	}
	st.key = keyOf(key)
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

// shapes says how step a of one session was sent in other frames than b of the other;
// "" if it was not, or where that does not count or is not known.
func (al *alignment) shapes(a, b int) string {
	u, v := al.as[a].unit, al.bs[b].unit
	if al.s.exact || u == nil || v == nil || u.kind != unitMessage || v.kind != unitMessage {
		return ""
	}
	for _, in := range al.in {
		if in.info.NoFrames || in.splitter() != nil {
			return ""
		}
	}
	var parts []string
	if u.frames != v.frames {
		noun := "frames"
		if u.frames == 1 {
			noun = "frame"
		}
		parts = append(parts, fmt.Sprintf("%d %s in A, %d in B", u.frames, noun, v.frames))
	}
	if u.compressed != v.compressed {
		name := "B"
		if u.compressed {
			name = "A"
		}
		parts = append(parts, "compressed in "+name+" only")
	}
	return strings.Join(parts, "; ")
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
	if root := pick.ParseXML(data); root != nil {
		return string(s.appendXMLKey(nil, root, root.Root()))
	}
	return string(s.appendTextKey(nil, data))
}

// appendTextKey appends a string that is the same for texts that count as equal.
func (s *Script) appendTextKey(dst, text []byte) []byte {
	for _, p := range pick.Parts(text) {
		if p.JSON {
			dst = s.appendKey(append(dst, 0), pick.Decode(p.Bytes), nil)
		} else {
			dst = append(dst, p.Bytes...)
		}
	}
	return dst
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
