package replay

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode/pick"
)

// A substitution is a value that was captured: it takes the place of the
// recorded one.
type substitution struct {
	recorded, live any             // string or json.Number
	into           []pick.Selector // where; nil: anywhere
	own            bool            // it is of no use to other sessions
}

// values are those that were captured so far: the live ones take the place of the
// recorded ones in all that is sent and expected. Each session has its own, which
// count first, and those of all sessions that are played together. Nil has none.
type values struct {
	mu      sync.Mutex             // locked before that of shared
	subs    map[any][]substitution // by what was recorded
	lengths []int                  // of the strings among that, longest first
	placed  bool                   // some go where a selector of bytes says
	shared  *values                // of all sessions that are played together; nil if this is it, or there is one session
	auto    autoValues
}

// newValues returns values that sessions played together have in common, or one has for
// itself.
func newValues(subs ...substitution) *values {
	v := &values{subs: map[any][]substitution{}}
	v.add(subs)
	return v
}

// ofSession returns the values of one session, of those in v.
func (v *values) ofSession() *values {
	own := newValues()
	own.shared = v
	return own
}

// all returns what the sessions that are played together have in common.
func (v *values) all() *values {
	if v.shared != nil {
		return v.shared
	}
	return v
}

// minShared is how long a value is at least, as a text, to be looked for in other
// sessions too: ids such as 1 are of one session each.
const minShared = 4

// add adds substitutions; of two for the same recorded value the later one stays.
func (v *values) add(subs []substitution) {
	for _, sub := range subs {
		v.addOne(sub)
		if v.shared != nil && !sub.own && len(fmt.Sprint(sub.recorded)) >= minShared {
			v.shared.addOne(sub)
		}
	}
}

func (v *values) addOne(sub substitution) {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := slices.DeleteFunc(v.subs[sub.recorded], func(o substitution) bool {
		return len(o.into) == 0 || len(sub.into) == 0 || &o.into[0] == &sub.into[0]
	})
	v.subs[sub.recorded] = append(list, sub)
	v.placed = v.placed || slices.ContainsFunc(sub.into, func(s pick.Selector) bool { return s.Bytes != nil })
	if s, ok := sub.recorded.(string); ok && s != "" && !slices.Contains(v.lengths, len(s)) {
		v.lengths = append(v.lengths, len(s))
		slices.Sort(v.lengths)
		slices.Reverse(v.lengths)
	}
}

// empty reports whether nothing was captured yet.
func (v *values) empty() bool {
	if v == nil {
		return true
	}
	v.mu.Lock()
	n := len(v.subs)
	v.mu.Unlock()
	return n == 0 && (v.shared == nil || v.shared.empty())
}

// lookup returns what takes the place of a recorded value, or nil.
func (v *values) lookup(recorded any, at place) *substitution {
	for ; v != nil; v = v.shared {
		v.mu.Lock()
		list := v.subs[recorded]
		for i := range list {
			if list[i].goes(at) {
				sub := list[i]
				v.mu.Unlock()
				return &sub
			}
		}
		v.mu.Unlock()
	}
	return nil
}

// lookupText returns what takes the place of the recorded value that stands in s at i,
// and the length of that: the longest of the session, or else of all. stands reports
// whether a value stands there by itself.
func (v *values) lookupText(s string, i int, at place, stands func(s string, i int, word string) bool) (*substitution, int) {
	for ; v != nil; v = v.shared {
		v.mu.Lock()
		for _, n := range v.lengths {
			if n > len(s)-i {
				continue
			}
			list := v.subs[s[i:i+n]]
			for k := range list {
				if list[k].goes(at) && stands(s, i, s[i:i+n]) {
					sub := list[k]
					v.mu.Unlock()
					return &sub, n
				}
			}
		}
		v.mu.Unlock()
	}
	return nil, 0
}

// A place is where a text or number stands in documents: one of JSON, one of XML, or one
// of JSON in a text of one of XML. Nil is outside of one.
type place struct {
	json pick.Place
	xml  pick.XMLPlace
}

// goes reports whether sub is to be put at a place. What goes to a text of XML goes
// anywhere in it.
func (sub *substitution) goes(at place) bool {
	return sub.into == nil || slices.ContainsFunc(sub.into, func(s pick.Selector) bool {
		return at.json != nil && s.Path != nil && s.Path.Matches(at.json) || at.xml != nil && s.XML != nil && s.XML.Matches(at.xml)
	})
}

// isWord reports whether word stands in s at i, and neither a letter nor a
// digit is next to it.
func isWord(s string, i int, word string) bool {
	if !strings.HasPrefix(s[i:], word) {
		return false
	}
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i+len(word):])
	return !isWordRune(before) && !isWordRune(after)
}

func isWordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// isInBinary is isWord for binary messages, where what looks like a letter may be a
// length or a number.
func isInBinary(s string, i int, word string) bool {
	switch {
	case len(word) >= minAnywhere:
		return true
	case len(word) < minBinary:
		return false
	}
	return isWord(s, i, word) || i > 0 && int(s[i-1]) == len(word)
}
