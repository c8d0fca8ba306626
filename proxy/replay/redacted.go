package replay

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

// A redaction is what is known of the secrets of a trace that was redacted. A
// placeholder in it is compared with nothing: any text may stand there. And what
// the selectors in its header cover is shown in no sentence, as it is live.
type redaction struct {
	untold    bool // an expression is not told, so that nothing live can be shown
	selectors []pick.Selector

	mu  sync.Mutex
	red *edit.Redactor // nil if no selector is known
}

// setRedacted takes the selectors in the header of a trace. What is none, as a
// person wrote it, is as good as one that is not told.
func (e *equality) setRedacted(selectors []string) {
	if len(selectors) == 0 {
		return
	}
	r := &redaction{}
	var known []string
	for _, text := range selectors {
		sel, err := pick.Parse(text)
		switch {
		case err != nil, sel.Bytes != nil:
		case sel.Untold:
			r.untold = true
		default:
			known = append(known, text)
			r.selectors = append(r.selectors, sel)
		}
	}
	if len(known) > 0 {
		r.red, _ = edit.NewRedactor(known...) // they are good
	}
	e.redacted = r
}

var placeholder = regexp.MustCompile(`redacted-[a-z0-9._-]+?-[0-9]+`)

// likes reports whether a recorded text with placeholders may stand for got.
func (e *equality) likes(want, got string) bool {
	if e.redacted == nil || !strings.Contains(want, "redacted-") {
		return want == got
	}
	rest, first := got, true
	for {
		span := placeholder.FindStringIndex(want)
		if span == nil {
			if first {
				return want == rest
			}
			return len(rest) > len(want) && strings.HasSuffix(rest, want)
		}
		before := want[:span[0]]
		want = want[span[1]:]
		if first {
			if !strings.HasPrefix(rest, before) {
				return false
			}
			rest = rest[len(before):]
		} else {
			i := strings.Index(rest[min(1, len(rest)):], before)
			if i < 0 || rest == "" {
				return false
			}
			rest = rest[1+i+len(before):]
		}
		if first = false; rest == "" {
			return false
		}
	}
}

// likesContent is likes for messages: what the selectors cover need not be where
// the placeholder is.
func (e *equality) likesContent(want, got []byte) bool {
	if e.redacted == nil {
		return false
	}
	return e.likes(string(want), string(got)) || e.alike(want) == e.alike(got)
}

// likesValue is likes for a value of JSON.
func (e *equality) likesValue(want, got any) bool {
	s, ok := want.(string)
	if e.redacted == nil || !ok {
		return false
	}
	if t, ok := got.(string); ok {
		return e.likes(s, t)
	}
	return decode.IsPlaceholder(s)
}

// alike returns a content that is the same for those that differ in secrets only.
func (e *equality) alike(b []byte) string {
	if e.redacted == nil {
		return string(b)
	}
	return placeholder.ReplaceAllLiteralString(string(e.redacted.content(b)), "redacted-1")
}

func (r *redaction) content(b []byte) []byte {
	if r.red == nil {
		return b
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.red.Content(b)
}

// covers reports whether the value at a place of a message is a secret, by its
// place alone.
func (r *redaction) covers(at pick.Place) bool {
	if r == nil {
		return false
	}
	return slices.ContainsFunc(r.selectors, func(s pick.Selector) bool {
		return s.Path != nil && s.Path.Matches(at) || s.Credentials && edit.CredentialAt(at, "0123456789abcdef")
	})
}

// coversXML is covers for a place of a message that is XML.
func (r *redaction) coversXML(at pick.XMLPlace) bool {
	if r == nil {
		return false
	}
	return slices.ContainsFunc(r.selectors, func(s pick.Selector) bool {
		return s.XML != nil && s.XML.Matches(at) || s.Credentials && decode.CredentialKey(at[len(at)-1].Name, "0123456789abcdef")
	})
}

// hidden returns what came as it may be shown.
func (e *equality) hidden(b []byte) []byte {
	switch {
	case e.redacted == nil || len(b) == 0:
		return b
	case e.redacted.untold:
		return fmt.Appendf(nil, "… (%d bytes)", len(b))
	}
	return e.redacted.content(b)
}

// hiddenText is hidden for what stands in a head: a target, or the value of the
// header called name.
func (e *equality) hiddenText(name, s string) string {
	r := e.redacted
	switch {
	case r == nil || s == "":
		return s
	case r.untold || slices.ContainsFunc(r.selectors, func(sel pick.Selector) bool {
		return sel.Header != "" && strings.EqualFold(sel.Header, name) || sel.Credentials && decode.CredentialHeader(name)
	}):
		return "…"
	case r.red == nil:
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.red.Target(s)
}

// alikeText is alike for what stands in a head.
func (e *equality) alikeText(name, s string) string {
	r := e.redacted
	if r == nil || s == "" {
		return s
	}
	for _, sel := range r.selectors {
		if sel.Header != "" && strings.EqualFold(sel.Header, name) || sel.Credentials && decode.CredentialHeader(name) {
			return "redacted-1"
		}
	}
	if r.red != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		s = r.red.Target(s)
	}
	return placeholder.ReplaceAllLiteralString(s, "redacted-1")
}

// alikeList is alikeText for the values of a header.
func (e *equality) alikeList(name string, list []string) []string {
	return e.eachValue(name, list, e.alikeText, "redacted-1")
}

// hiddenQuery is hiddenText for a query.
func (e *equality) hiddenQuery(query string) string {
	return strings.TrimPrefix(e.hiddenText("", "?"+query), "?")
}

// hiddenList is hiddenText for the values of a header.
func (e *equality) hiddenList(name string, list []string) []string {
	return e.eachValue(name, list, e.hiddenText, "…")
}

// eachValue returns the values of a header with what is secret in each replaced by
// text, or by mark where only the list shows that it is a secret.
func (e *equality) eachValue(name string, list []string, text func(name, value string) string, mark string) []string {
	if e.redacted == nil {
		return list
	}
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = text(name, v)
		if from, ok := decode.CredentialProtocol(list, i); ok && strings.EqualFold(name, "Sec-WebSocket-Protocol") {
			out[i] = v[:from] + mark
		}
	}
	return out
}

// hiddenValue returns a value of JSON that came as it may be shown.
func (e *equality) hiddenValue(v any) []byte {
	if e.redacted != nil {
		switch v.(type) {
		case map[string]any:
			return []byte("{…}")
		case []any:
			return []byte("[…]")
		case string, json.Number:
			return e.hidden(pick.Encode(v))
		}
	}
	return pick.Encode(v)
}

// sameQuery compares a query with the recorded one.
func (e *equality) sameQuery(got, want string) bool {
	if e.redacted == nil {
		return e.queryKey(got) == e.queryKey(want)
	}
	g, err1 := url.ParseQuery(got)
	w, err2 := url.ParseQuery(want)
	if err1 != nil || err2 != nil {
		return e.likes(want, got)
	}
	for name, values := range w {
		if len(values) == len(g[name]) {
			for i, v := range values {
				if e.likes(v, g[name][i]) {
					g[name][i] = v
				}
			}
		}
	}
	return e.queryKey(g.Encode()) == e.queryKey(w.Encode())
}

// chosen returns a head with the subprotocol that the client offered in place of
// the placeholder of the one that was chosen.
func (s *Script) chosen(h, req *decode.Head) *decode.Head {
	const name = "Sec-WebSocket-Protocol"
	if s.redacted == nil || s.request == nil {
		return h
	}
	offered, now := s.request.Tokens(name), req.Tokens(name)
	i := slices.Index(offered, h.Get(name))
	if i < 0 || i >= len(now) || !strings.Contains(offered[i], "redacted-") {
		return h
	}
	return h.WithValue(name, now[i])
}
