package edit

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// rules say what is secret, and hold the placeholders of it.
type rules struct {
	selectors   []pick.Selector
	credentials bool // the list of package decode
	inMessages  bool // something concerns messages
	inForms     bool // something concerns forms
	placeholders
}

func newRules(selectors []string) (*rules, error) {
	list, err := pick.ParseAll(selectors)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(list, func(s pick.Selector) bool { return s.Bytes != nil }); i >= 0 {
		return nil, fmt.Errorf("%q names bytes, for which there is no placeholder", list[i])
	}
	r := &rules{selectors: slices.DeleteFunc(list, func(s pick.Selector) bool { return s.Untold })}
	if len(list) == 0 {
		return nil, ErrNoSelectors
	}
	r.credentials = slices.ContainsFunc(list, func(s pick.Selector) bool { return s.Credentials })
	r.inMessages = slices.ContainsFunc(list, pick.Selector.InMessages)
	r.inForms = slices.ContainsFunc(list, func(s pick.Selector) bool { return s.Param != "" })
	return r, nil
}

// A stretch of a text is to get a placeholder.
type stretch struct {
	pick.Span
	name string
}

// text returns a text, such as a URL, a value or a remark, with placeholders.
func (r *rules) text(s string) string {
	if s == "" {
		return s
	}
	for i := range r.selectors {
		if sel := &r.selectors[i]; sel.Expr != nil {
			s = string(pick.Apply(nil, []byte(s), r.matches(sel, []byte(s))))
		}
	}
	var found []stretch
	decode.Params(s, func(name string, from, to int) {
		if len(found) > 0 && from < found[len(found)-1].End {
			return
		}
		for i := range r.selectors {
			if r.selectors[i].Param == name && from < to {
				found = append(found, stretch{pick.Span{Start: from, End: to}, name})
				break
			}
		}
	})
	s = r.replace(s, found)
	if r.credentials {
		found = found[:0]
		for _, c := range decode.FindCredentials(s) {
			found = append(found, stretch{pick.Span{Start: c.From, End: c.To}, c.Name})
		}
		s = r.replace(s, found)
	}
	if edits := r.withKnown(s, 0, nil); edits != nil {
		s = string(pick.Apply(nil, []byte(s), edits))
	}
	return s
}

// withKnown adds, between edits of s, those for secrets that were selected
// elsewhere.
func (r *rules) withKnown(s string, offset int, edits []pick.Edit) []pick.Edit {
	var all []pick.Edit
	for _, span := range r.known.in(s) {
		span.Start, span.End = span.Start+offset, span.End+offset
		for len(edits) > 0 && edits[0].End <= span.Start {
			all, edits = append(all, edits[0]), edits[1:]
		}
		if len(edits) == 0 || span.End <= edits[0].Start {
			p := r.placeholders.text(otherName, s[span.Start-offset:span.End-offset])
			all = append(all, pick.Edit{Span: span, Text: []byte(p)})
		}
	}
	return append(all, edits...)
}

// replace puts placeholders into stretches of s, which are in order.
func (r *rules) replace(s string, found []stretch) string {
	if len(found) == 0 {
		return s
	}
	var edits []pick.Edit
	for _, f := range found {
		edits = append(edits, pick.Edit{Span: f.Span, Text: []byte(r.placeholders.text(f.name, unescape(s[f.Start:f.End])))})
	}
	return string(pick.Apply(nil, []byte(s), edits))
}

// matches returns the edits for what an expression matches.
func (r *rules) matches(sel *pick.Selector, b []byte) []pick.Edit {
	var edits []pick.Edit
	end := 0
	for _, span := range sel.Spans(b) {
		if span.Start < end || span.Start == span.End || r.inPlaceholder(b, span) {
			continue
		}
		edits = append(edits, pick.Edit{Span: span, Text: []byte(r.placeholders.text("text", string(b[span.Start:span.End])))})
		end = span.End
	}
	return edits
}

// inPlaceholder reports whether a stretch of b lies within a placeholder.
func (r *rules) inPlaceholder(b []byte, span pick.Span) bool {
	word := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	const most = 64 // bytes of a placeholder
	from, to := span.Start, span.End
	for from > 0 && span.Start-from < most && word(b[from-1]) {
		from--
	}
	for to < len(b) && to-span.End < most && word(b[to]) {
		to++
	}
	return to-from <= 2*most && r.is(string(b[from:to]))
}

// target returns a target or URL with placeholders. It stays one.
func (r *rules) target(old string) string {
	s := r.unescaped(r.text(r.query(old)))
	if s == old {
		return old
	}
	switch scheme, _, ok := strings.Cut(old, "://"); {
	case strings.HasPrefix(old, "/") && !strings.HasPrefix(s, "/"):
		s = "/" + s
	case ok && !strings.ContainsAny(scheme, "/?#") && !strings.HasPrefix(s, scheme+"://"):
		_, after, ok := strings.Cut(s, "://")
		if !ok {
			after = s
		}
		s = scheme + "://" + strings.TrimLeft(after, "/:")
	}
	return s
}

// query returns a URL with placeholders for its parameters. Here they end at the
// next one, whatever is in them.
func (r *rules) query(s string) string {
	path, query, ok := strings.Cut(s, "?")
	if !ok {
		return s
	}
	return path + "?" + r.params(query)
}

// params returns a query with placeholders.
func (r *rules) params(query string) string {
	var b []byte
	for {
		n := strings.IndexAny(query, "&;#")
		part := query
		if n >= 0 {
			part = query[:n]
		}
		if name, value, ok := strings.Cut(part, "="); ok {
			plain := unescape(name)
			selected := false
			if r.credentials {
				selected, _ = decode.CredentialParam(plain, unescape(value))
			}
			for i := range r.selectors {
				selected = selected || r.selectors[i].Param == plain && plain != ""
			}
			if selected {
				part = name + "=" + r.placeholders.text(plain, unescape(value))
			}
		}
		b = append(b, part...)
		if n < 0 {
			return string(b)
		}
		b = append(b, query[n])
		query = query[n+1:]
	}
}

// unescaped returns a target with placeholders for what is secret in the parts of
// it that are escaped, or JSON.
func (r *rules) unescaped(s string) string {
	if !strings.ContainsAny(s, "%+{") {
		return s
	}
	c := content{rules: r}
	var b strings.Builder
	for len(s) > 0 {
		n := strings.IndexAny(s, "/?&;#=")
		if n < 0 {
			n = len(s)
		}
		part := s[:n]
		if plain := unescape(part); plain != part {
			if clean := c.inString(plain, 0); clean != plain {
				part = url.QueryEscape(clean)
			}
		} else if strings.HasPrefix(part, "{") {
			part = c.inString(part, 0)
		}
		b.WriteString(part)
		if n < len(s) {
			b.WriteByte(s[n])
			n++
		}
		s = s[n:]
	}
	return b.String()
}

// unescape returns a part of a query as it was before it was escaped.
func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}
