package replay

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/wstrace/wstrace/decode/pick"
)

var (
	uuids = regexp.MustCompile(`[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`)
	runs  = regexp.MustCompile(`[A-Za-z0-9_-]{6,}`)
)

// madeUp reports whether two values differ and look as if programs had made them up, in
// the same way: UUIDs, as much hexadecimal, at least eight digits, or other characters of
// base64url without a pattern.
func madeUp(recorded, live string) bool {
	if recorded == live {
		return false
	}
	if isUUID(recorded) || isUUID(live) {
		return isUUID(recorded) && isUUID(live)
	}
	if isDigits(recorded) && isDigits(live) {
		return madeUpDigits(recorded, live)
	}
	if len(recorded) == len(live) && len(live) >= 8 && isHexDigits(recorded) && isHexDigits(live) && strings.ContainsAny(recorded+live, "0123456789") {
		return true
	}
	return sameSize(recorded, live) && looksRandom(recorded) && mayBeRandom(live)
}

// madeUpDigits is madeUp for numbers.
func madeUpDigits(recorded, live string) bool {
	more := len(live) - len(recorded)
	const least = 8 // an amount has less, or is round
	return recorded != live && len(recorded) >= least && len(live) >= least && more >= -1 && more <= 1 && isDigits(recorded) && isDigits(live) &&
		!strings.HasSuffix(recorded, "000") && !strings.HasSuffix(live, "000")
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

// times is a time as of RFC 3339, or as HTTP has it (RFC 9110 §5.6.7).
var times = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?([.,][0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT)$`)

func isTime(s string) bool { return len(s) < 40 && times.MatchString(s) }

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
