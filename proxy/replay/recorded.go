package replay

import (
	"encoding/json"
	"net/url"
	"strings"
	"sync"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// A recorded is the words of a session that look made up, and where they were recorded;
// and the numbers that count up.
type recorded struct {
	words    map[string]positions
	counters [2]map[string][]pick.Selector // by Dir and place
}

func newRecorded() *recorded { return &recorded{words: map[string]positions{}} }

// positions are the first and the last of a word.
type positions struct{ first, last int }

// recordedOnce makes a recorded when it is needed first.
type recordedOnce struct {
	once sync.Once
	r    *recorded
}

func (o *recordedOnce) of(s *Script) *recorded {
	o.once.Do(func() {
		o.r = newRecorded()
		for _, h := range append([]*head{s.request}, s.replies...) {
			if h != nil {
				o.r.addHead(h.at, h.Head)
				o.r.addBody(h.at, s.contentBehind(h))
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
	return o.r
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
	value := func(s string) {
		wordsIn(s, each)
		if strings.ContainsAny(s, "+/=") && isBase64(s) && looksRandom(s) {
			each(s)
		}
	}
	if root := pick.ParseXML(b); root != nil {
		eachXMLText(root, func(_ pick.XMLPlace, text string, _ bool) { value(text) })
		return
	}
	for _, part := range pick.Parts(b) {
		if !part.JSON {
			wordsIn(string(part.Bytes), each)
			continue
		}
		w := pick.Visitor{Scalar: func(s pick.Scalar) {
			switch v := s.Value.(type) {
			case string:
				value(v)
			case json.Number:
				if len(v) >= 6 && isDigits(string(v)) {
					each(string(v))
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
