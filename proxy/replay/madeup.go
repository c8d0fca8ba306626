package replay

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

var (
	uuids = regexp.MustCompile(`[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`)
	runs  = regexp.MustCompile(`[A-Za-z0-9_-]{6,}`)
)

// madeUp reports whether two values differ and look as if programs had made them up, in
// the same way: UUIDs, as much hexadecimal, at least six digits, or other characters of
// base64url without a pattern.
func madeUp(recorded, live string) bool {
	if recorded == live {
		return false
	}
	if isUUID(recorded) || isUUID(live) {
		return isUUID(recorded) && isUUID(live)
	}
	if len(recorded) == len(live) && len(live) >= 8 && isHexDigits(recorded) && isHexDigits(live) && strings.ContainsAny(recorded+live, "0123456789") {
		return true
	}
	if madeUpDigits(recorded, live) {
		return true
	}
	return sameSize(recorded, live) && looksRandom(recorded) && mayBeRandom(live)
}

// madeUpDigits is madeUp for numbers.
func madeUpDigits(recorded, live string) bool {
	more := len(live) - len(recorded)
	return recorded != live && len(recorded) >= 6 && len(live) >= 6 && more >= -1 && more <= 1 && isDigits(recorded) && isDigits(live)
}

// madeUpBase64 is madeUp for base64 with characters that stand in no word.
func madeUpBase64(recorded, live string) bool {
	return recorded != live && strings.ContainsAny(recorded+live, "+/=") && isBase64(recorded) && isBase64(live) &&
		sameSize(recorded, live) && looksRandom(recorded) && mayBeRandom(live)
}

// sameSize reports whether two lengths differ by no more than a quarter.
func sameSize(a, b string) bool {
	d := len(a) - len(b)
	return max(d, -d)*4 <= len(a)
}

func isUUID(s string) bool { return len(s) == 36 && uuids.MatchString(s) }

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func isHexDigits(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == "" || strings.Trim(s, "0123456789ABCDEF") == ""
}

func isBase64(s string) bool {
	body := strings.TrimRight(s, "=")
	return len(s) >= 8 && len(s)%4 == 0 && len(s)-len(body) <= 2 &&
		strings.IndexFunc(body, func(r rune) bool { return !isASCIIWord(r) && r != '+' && r != '/' }) < 0
}

func isASCIIWord(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// A mix is how the characters of a value follow each other.
type mix struct {
	letters, digits int
	turns           int // from a digit to a letter or back
	cases           int // from a small letter to a capital or back
	consonants      int // that follow each other, at most
	other           bool
}

func mixOf(s string) (m mix) {
	var before rune
	run := 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			m.digits++
			if isASCIILetter(before) {
				m.turns++
			}
			run = 0
		case isASCIILetter(r):
			m.letters++
			if before >= '0' && before <= '9' {
				m.turns++
			} else if isASCIILetter(before) && (before^r)&0x20 != 0 {
				m.cases++
			}
			if run++; strings.ContainsRune("aeiouyAEIOUY", r) {
				run = 0
			}
			m.consonants = max(m.consonants, run)
		case r == '-' || r == '_' || r == '+' || r == '/' || r == '=':
			continue
		default:
			m.other = true
		}
		before = r
	}
	return m
}

func isASCIILetter(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }

// looksRandom reports whether a value has no pattern that a person would give it.
func looksRandom(s string) bool {
	m := mixOf(s)
	return len(s) >= 8 && !m.other && (m.digits > 0 && m.turns >= 3 || m.cases >= 4 || m.consonants >= 6)
}

// mayBeRandom reports whether a value may have been made as one that looks random.
func mayBeRandom(s string) bool {
	m := mixOf(s)
	return len(s) >= 6 && !m.other && (m.digits > 0 && m.turns > 0 || m.cases >= 2 || m.consonants >= 4)
}

// tokens returns the stretches of a text that may be made up: UUIDs, and words of base64url.
func tokens(s string) (list []pick.Span) {
	from := 0
	add := func(to int) {
		for _, m := range runs.FindAllStringIndex(s[from:to], -1) {
			list = append(list, pick.Span{Start: from + m[0], End: from + m[1]})
		}
	}
	for _, m := range uuids.FindAllStringIndex(s, -1) {
		add(m[0])
		list = append(list, pick.Span{Start: m[0], End: m[1]})
		from = m[1]
	}
	add(len(s))
	return list
}

// parts returns the stretches of a token between its hyphens and underscores.
func parts(s string, of pick.Span) (list []pick.Span) {
	from := of.Start
	for i := of.Start; i <= of.End; i++ {
		if i == of.End || s[i] == '-' || s[i] == '_' {
			list = append(list, pick.Span{Start: from, End: i})
			from = i + 1
		}
	}
	return list
}

// madeIn returns what looks made up in a text, if all in which it differs from the
// recorded one does. anchor stands in an expression for the beginning of the text; of what
// stands before a value, an expression has nothing up to the last of stops.
func madeIn(recorded, live, anchor, stops string) (list []made) {
	rs, ls := tokens(recorded), tokens(live)
	if len(rs) != len(ls) {
		return nil
	}
	r, l := 0, 0
	for i := range rs {
		if recorded[r:rs[i].Start] != live[l:ls[i].Start] {
			return nil
		}
		found, ok := madeToken(recorded, live, rs[i], ls[i])
		if !ok {
			return nil
		}
		for _, f := range found {
			value := recorded[f[0].Start:f[0].End]
			list = append(list, made{recorded: value, live: live[f[1].Start:f[1].End], selector: expression(recorded, r, f[0].Start, value, anchor, stops)})
		}
		r, l = rs[i].End, ls[i].End
	}
	if recorded[r:] != live[l:] {
		return nil
	}
	return list
}

// madeInValue is madeIn for a value that a selector names: it names what is all of the value.
func madeInValue(recorded, live, selector, anchor, stops string) []made {
	if madeUpBase64(recorded, live) {
		return []made{{recorded: recorded, live: live, selector: selector}}
	}
	list := madeIn(recorded, live, anchor, stops)
	if len(list) == 1 && list[0].recorded == recorded {
		list[0].selector = selector
	}
	return list
}

// madeToken returns what is made up in a token: the parts of it that differ, or all.
func madeToken(recorded, live string, of, came pick.Span) (list [][2]pick.Span, ok bool) {
	r, l := recorded[of.Start:of.End], live[came.Start:came.End]
	if r == l {
		return nil, true
	}
	if isUUID(r) || isUUID(l) {
		return [][2]pick.Span{{of, came}}, madeUp(r, l)
	}
	rs, ls := parts(recorded, of), parts(live, came)
	ok = len(rs) == len(ls)
	for i := 0; ok && i < len(rs); i++ {
		a, b := recorded[rs[i].Start:rs[i].End], live[ls[i].Start:ls[i].End]
		if a != b {
			ok = madeUp(a, b)
			list = append(list, [2]pick.Span{rs[i], ls[i]})
		}
		if i > 0 && recorded[rs[i].Start-1] != live[ls[i].Start-1] {
			ok = false
		}
	}
	if ok {
		return list, true
	}
	return [][2]pick.Span{{of, came}}, madeUp(r, l)
}

// maxContext is how many bytes before a value an expression has.
const maxContext = 16

// expression returns a selector of a value that stands at an offset in a text, by what
// stands before it, from another offset on.
func expression(s string, from, at int, value, anchor, stops string) string {
	before := s[max(from, at-maxContext):at]
	whole := at <= maxContext && from == 0
	if i := strings.LastIndexFunc(before, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(stops, r)
	}); i >= 0 {
		before, whole = strings.TrimLeftFunc(before[i:], func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(stops, r) }), false
	}
	before = regexp.QuoteMeta(before)
	if whole {
		before = anchor + before
	}
	class := "[A-Za-z0-9_-]+"
	switch {
	case isUUID(value):
		class = "[0-9a-fA-F-]{36}"
	case isDigits(value):
		class = "[0-9]+"
	case isHexDigits(value):
		class = fmt.Sprintf("[0-9a-fA-F]{%d}", len(value))
	}
	return "/" + before + "(" + class + ")/"
}

// A recorded is the words of a session that look made up, and where they were recorded;
// and the numbers that count up.
type recorded struct {
	words    map[string]positions
	counters [2]map[string][]pick.Selector // by Dir and place
}

// positions are the first and the last of a word.
type positions struct{ first, last int }

// recordedOnce makes a recorded when it is needed first.
type recordedOnce struct {
	once sync.Once
	r    recorded
}

func (o *recordedOnce) of(s *Script) *recorded {
	o.once.Do(func() {
		o.r.words = map[string]positions{}
		for _, h := range append([]*head{s.request}, s.replies...) {
			if h != nil {
				o.r.addHead(h.at, h.Head)
				o.r.addBody(h.at, h.body)
			}
		}
		for d := range decode.Dir(2) {
			for i := range s.sides[d].units {
				u := &s.sides[d].units[i]
				o.r.add(u.at, u.data)
			}
			o.r.counters[d] = s.counters(d)
		}
	})
	return &o.r
}

// maxWords is how many words of a session are known at most.
const maxWords = 1 << 20

// word notes one word.
func (r *recorded) word(at int, word string) {
	p, ok := r.words[word]
	switch {
	case !ok && len(r.words) == maxWords:
	case !ok:
		r.words[strings.Clone(word)] = positions{at, at}
	default:
		r.words[word] = positions{min(p.first, at), max(p.last, at)}
	}
}

// add notes the words of a message or body.
func (r *recorded) add(at int, b []byte) { eachWord(b, func(word string) { r.word(at, word) }) }

// addBody is add for a body.
func (r *recorded) addBody(at int, b []byte) {
	r.add(at, b)
	if plain, err := url.QueryUnescape(string(b)); err == nil && plain != string(b) {
		r.add(at, []byte(plain))
	}
}

// addHead is add for a head.
func (r *recorded) addHead(at int, h *decode.Head) {
	text := func(s string) {
		wordsIn(s, func(word string) { r.word(at, word) })
		if isBase64(s) {
			r.word(at, s)
		}
	}
	path, query, _ := strings.Cut(originForm(h.Target), "?")
	for _, s := range append(strings.Split(path, "/"), strings.FieldsFunc(query, func(c rune) bool { return c == '&' || c == ';' || c == '=' })...) {
		text(unescaped(s))
	}
	for _, f := range h.Fields {
		if headerOfHandshake(f.Name) {
			continue
		}
		text(f.Value)
		if plain := unescaped(f.Value); plain != f.Value {
			text(plain)
		}
		for c := range strings.SplitSeq(f.Value, ";") {
			if _, value, ok := strings.Cut(c, "="); ok {
				text(value)
			}
		}
	}
}

// eachWord calls each with what looks made up in a message.
func eachWord(b []byte, each func(string)) {
	for _, part := range pick.Parts(b) {
		if !part.JSON {
			wordsIn(string(part.Bytes), each)
			continue
		}
		w := pick.Visitor{Scalar: func(s pick.Scalar) {
			switch value := s.Value.(type) {
			case string:
				wordsIn(value, each)
				if strings.ContainsAny(value, "+/=") && isBase64(value) && looksRandom(value) {
					each(value)
				}
			case json.Number:
				if len(value) >= 6 && isDigits(string(value)) {
					each(string(value))
				}
			}
		}, Name: func(name string, _ pick.Span) { wordsIn(name, each) }}
		w.Walk(part.Bytes)
	}
}

// wordsIn calls each with what looks made up in a text, and in base64 in it.
func wordsIn(s string, each func(string)) {
	one := func(word string) {
		if isUUID(word) || len(word) >= 8 && isHexDigits(word) || len(word) >= 6 && isDigits(word) || looksRandom(word) {
			each(word)
		}
	}
	both := func(s string) {
		for _, t := range tokens(s) {
			one(s[t.Start:t.End])
			if list := parts(s, t); len(list) > 1 && !isUUID(s[t.Start:t.End]) {
				for _, p := range list {
					one(s[p.Start:p.End])
				}
			}
		}
	}
	both(s)
	for _, m := range packed.FindAllStringIndex(s, -1) {
		if enc, plain := unpack(s[m[0]:m[1]]); enc != nil {
			both(plain)
		}
	}
}

// noteMade notes which items of d hold values that its peer seems to have made up, as
// noteCaptures does for those that are captured by selectors.
func (s *Script) noteMade(d decode.Dir) {
	if !s.auto || s.exact {
		return
	}
	said := map[string]int{} // how many units of the peer have to come for a word; 0 for one of ours
	units, next := s.sides[d.Peer()].units, 0
	for i := range s.sides[d].items {
		it := &s.sides[d].items[i]
		if it.unit < 0 {
			continue
		}
		for ; next < len(units) && units[next].at < it.at; next++ {
			eachWord(units[next].data, func(word string) {
				if _, known := said[word]; !known {
					said[strings.Clone(word)] = next + 1
				}
			})
		}
		eachWord(s.sides[d].units[it.unit].data, func(word string) {
			n, known := said[word]
			if !known {
				said[strings.Clone(word)] = 0
			}
			it.captures = max(it.captures, n)
		})
	}
}
