package replay

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode/pick"
)

// A capture takes a value out of what the other side sends, which differs from
// the recorded one, to use it in place of the recorded one from then on.
type capture struct {
	from pick.Selector
	into []pick.Selector // where in later messages the value stands; nil: anywhere
}

// A substitution is a value that was captured: it takes the place of the
// recorded one.
type substitution struct {
	recorded, live any             // string or json.Number
	into           []pick.Selector // where; nil: anywhere
}

// substitutions returns what the captures find in a message that came and in
// the recorded one.
func (e *equality) substitutions(want, got []byte) []substitution {
	var subs []substitution
	for i := range e.captures {
		c := &e.captures[i]
		ws, gs := c.from.Values(want), c.from.Values(got)
		for i := range min(len(ws), len(gs)) {
			subs = append(subs, substitution{ws[i], gs[i], c.into})
		}
	}
	return subs
}

// put returns the recorded text with the live values in place of those recorded. It returns b itself if there are none in it.
func put(b []byte, subs []substitution) []byte {
	if len(subs) == 0 {
		return b
	}
	if root := pick.ParseXML(b); root != nil {
		return putXML(b, root, subs)
	}
	return putPlain(b, subs)
}

// putPlain is put for what is no XML.
func putPlain(b []byte, subs []substitution) []byte {
	var out []byte
	changed := false
	for _, p := range pick.Parts(b) {
		if !p.JSON {
			text := putText(string(p.Bytes), subs, nil)
			changed = changed || text != string(p.Bytes)
			out = append(out, text...)
			continue
		}
		var edits []pick.Edit
		v := pick.Visitor{Scalar: func(s pick.Scalar) {
			var live any
			switch value := s.Value.(type) {
			case string:
				live = putText(value, subs, s.At)
			case json.Number:
				live = putNumber(value, subs, s.At)
			default:
				return
			}
			if live != s.Value {
				edits = append(edits, pick.Edit{Span: s.Span, Text: pick.Encode(live)})
			}
		}, Name: func(name string, span pick.Span) {
			if live := putText(name, subs, nil); live != name {
				edits = append(edits, pick.Edit{Span: span, Text: pick.Encode(live)})
			}
		}}
		v.Walk(p.Bytes)
		changed = changed || len(edits) > 0
		out = pick.Apply(out, p.Bytes, edits)
	}
	if !changed {
		return b
	}
	return out
}

// goes reports whether sub is to be put at a place in a document, or at nil,
// outside of documents.
func (sub *substitution) goes(at pick.Place) bool {
	return sub.into == nil || at != nil && slices.ContainsFunc(sub.into, func(s pick.Selector) bool {
		return s.Path != nil && s.Path.Matches(at)
	})
}

func putNumber(n json.Number, subs []substitution, at pick.Place) any {
	for i := range subs {
		if sub := &subs[i]; sub.recorded == n && sub.goes(at) {
			return sub.live
		}
	}
	return n
}

// putText replaces the recorded strings where they stand in s as a word.
func putText(s string, subs []substitution, at pick.Place) string {
	var out []byte
	from := 0
next:
	for i := 0; i < len(s); i++ {
		for k := range subs {
			sub := &subs[k]
			rec, ok := sub.recorded.(string)
			if !ok || rec == "" || !sub.goes(at) || !isWord(s, i, rec) {
				continue
			}
			out = append(out, s[from:i]...)
			out = fmt.Append(out, sub.live)
			i += len(rec) - 1
			from = i + 1
			continue next
		}
	}
	if from == 0 {
		return s
	}
	return string(append(out, s[from:]...))
}

// isWord reports whether word stands in s at i, and neither a letter nor a
// digit is next to it.
func isWord(s string, i int, word string) bool {
	if len(s)-i < len(word) || s[i:i+len(word)] != word {
		return false
	}
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i+len(word):])
	return !unicode.IsLetter(before) && !unicode.IsDigit(before) && !unicode.IsLetter(after) && !unicode.IsDigit(after)
}

// remember adds substitutions; of two for the same recorded value the later one
// stays.
func remember(subs, more []substitution) []substitution {
	for _, f := range more {
		subs = slices.DeleteFunc(subs, func(o substitution) bool { return o.recorded == f.recorded })
		subs = append(subs, f)
	}
	return subs
}
