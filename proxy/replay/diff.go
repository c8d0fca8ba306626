package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
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
	found := a.captured(b)
	rows := merge(a.align(b, decode.FromClient, found), a.align(b, decode.FromServer, found))
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
	return string(append(b, '\n'))
}

// align pairs what d does in both sessions.
func (s *Script) align(other *Script, d decode.Dir, found []found) []row {
	as, bs := s.steps(s, d, found), s.steps(other, d, nil)
	var rows []row
	var dropped []*diffStep // not yet answered by one that was added
	for _, p := range pairs(as, bs) {
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

// whyNot says in what b differs from a, if that is not plain to see.
func (s *Script) whyNot(a, b *diffStep) string {
	if a.unit == nil || b.unit == nil || len(a.unit.data) < 40 && !bytes.ContainsAny(a.unit.data, "{[") {
		return ""
	}
	_, why := s.compare(a.unit, b.unit, nil)
	return why
}

// A diffStep is one thing that a side does: a head or a unit.
type diffStep struct {
	key   string // equal for those that count as equal
	text  string
	shape string
	line  int
	unit  *unit
}

// captured returns what the captures find in both sessions: the first in one
// stands for the first in the other, and so on.
func (s *Script) captured(other *Script) []found {
	var fs []found
	for i := range s.captures {
		c := &s.captures[i]
		for d := range s.sides {
			var values [2][]any
			for k, of := range []*Script{s, other} {
				for _, u := range of.sides[d].units {
					values[k] = append(values[k], c.from.Values(u.data)...)
				}
			}
			for n := range min(len(values[0]), len(values[1])) {
				fs = remember(fs, []found{{values[0][n], values[1][n], c.into}})
			}
		}
	}
	return fs
}

// steps returns what d does in session of, in order, with keys as s compares,
// and with the values found in their place.
func (s *Script) steps(of *Script, d decode.Dir, found []found) []*diffStep {
	var list []*diffStep
	if d == decode.FromClient && of.request != nil {
		list = append(list, s.headStep(of.request))
	}
	for _, rec := range of.replies {
		if d == decode.FromServer {
			list = append(list, s.headStep(rec))
		}
	}
	for i := range of.sides[d].units {
		u := &of.sides[d].units[i]
		st := &diffStep{text: u.String(), line: u.line, unit: u}
		st.key = fmt.Sprint(u.kind, u.op, u.cut, u.kind == unitEnd && s.exact && u.how == decode.EndRST, s.key(u, found))
		if s.exact {
			st.key += fmt.Sprint(u.flags, u.masked, u.lenBits)
		} else if u.kind == unitMessage {
			st.shape = shapeOf(u)
		}
		list = append(list, st)
	}
	return list
}

// headStep returns the step that a head is.
func (s *Script) headStep(rec *trace.Record) *diffStep {
	h := rec.Head
	st := &diffStep{line: rec.Line}
	if rec.Kind == "req" {
		path, query, _ := strings.Cut(originForm(h.Target), "?")
		st.text = h.Method + " " + originForm(h.Target)
		st.key = h.Method + " " + path + "?" + s.queryKey(query)
	} else {
		st.text = fmt.Sprint(h.Status, " ", h.Reason)
		st.key = fmt.Sprint(h.Status)
	}
	for _, name := range append([]string{"Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"}, s.headers...) {
		vs := h.Values(name)
		if s.ignored(name) || len(vs) == 0 {
			continue
		}
		st.text += fmt.Sprintf("  %s %s", strings.ToLower(strings.TrimPrefix(name, "Sec-WebSocket-")), strings.Join(vs, ", "))
		if es, err := parseExtensions(vs); err == nil && name == "Sec-WebSocket-Extensions" {
			st.key += fmt.Sprint(" ", es)
		} else {
			st.key += fmt.Sprintf(" %q", h.Tokens(name))
		}
	}
	return st
}

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

// key returns a string that is the same for the contents that count as equal.
func (s *Script) key(u *unit, found []found) string {
	data := u.data
	if u.op == ws.OpText {
		data = put(data, found)
	}
	data = s.withoutMatches(data)
	if u.op != ws.OpText || s.exact || !utf8.Valid(data) {
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

func (s *Script) appendKey(dst []byte, v any, at pick.Place) []byte {
	if s.free(at) {
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
			if in := append(at[:len(at):len(at)], name); !s.free(in) {
				dst = append(append(dst, pick.Encode(name)...), ':')
				dst = append(s.appendKey(dst, v[name], in), ',')
			}
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if in := append(at[:len(at):len(at)], i); !s.free(in) {
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

// A pair is a step of either side, or of both. -1 stands for none.
type pair struct{ a, b int }

// maxEdits bounds the work of pairs: beyond it what is left of both sides
// counts as other.
const maxEdits = 2000

// pairs aligns two lists with as few differences as can be found, by Myers'
// greedy method.
func pairs(as, bs []*diffStep) []pair {
	var out []pair
	lead := 0
	for lead < len(as) && lead < len(bs) && as[lead].key == bs[lead].key {
		out = append(out, pair{lead, lead})
		lead++
	}
	tail := 0
	for tail < len(as)-lead && tail < len(bs)-lead && as[len(as)-1-tail].key == bs[len(bs)-1-tail].key {
		tail++
	}
	for _, p := range middle(as[lead:len(as)-tail], bs[lead:len(bs)-tail]) {
		if p.a >= 0 {
			p.a += lead
		}
		if p.b >= 0 {
			p.b += lead
		}
		out = append(out, p)
	}
	for i := range tail {
		out = append(out, pair{len(as) - tail + i, len(bs) - tail + i})
	}
	return out
}

func middle(as, bs []*diffStep) []pair {
	n, m := len(as), len(bs)
	most := min(n+m, maxEdits)
	off := most + 1
	far := make([]int, 2*most+3) // how far in as a path gets, by diagonal
	var before [][]int           // far before each edit, from diagonal -edit-1
	for edits := 0; edits <= most; edits++ {
		before = append(before, slices.Clone(far[off-edits-1:off+edits+2]))
		for k := -edits; k <= edits; k += 2 {
			x := far[off+k-1] + 1
			if k == -edits || k != edits && far[off+k-1] < far[off+k+1] {
				x = far[off+k+1]
			}
			for x < n && x-k < m && as[x].key == bs[x-k].key {
				x++
			}
			far[off+k] = x
			if x >= n && x-k >= m {
				return path(before, n, m)
			}
		}
	}
	var out []pair
	for i := range n {
		out = append(out, pair{i, -1})
	}
	for i := range m {
		out = append(out, pair{-1, i})
	}
	return out
}

// path follows the way to the end of both lists back.
func path(before [][]int, x, y int) []pair {
	var out []pair
	for edits := len(before) - 1; edits >= 0; edits-- {
		far := before[edits]
		k := x - y
		last := k - 1
		if i := k + edits + 1; k == -edits || k != edits && far[i-1] < far[i+1] {
			last = k + 1
		}
		lastX := far[last+edits+1]
		lastY := lastX - last
		for x > lastX && y > lastY {
			x, y = x-1, y-1
			out = append(out, pair{x, y})
		}
		switch {
		case edits == 0:
		case x == lastX:
			out = append(out, pair{-1, lastY})
		default:
			out = append(out, pair{lastX, -1})
		}
		x, y = lastX, lastY
	}
	slices.Reverse(out)
	return out
}
