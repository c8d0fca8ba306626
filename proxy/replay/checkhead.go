package replay

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// checkRequest compares the request of a client with the recorded one, in which values
// have their place.
func (s *Script) checkRequest(req *decode.Head, v *values) error {
	if req.Cut {
		return s.differAt(s.request, "expected a request from the client, got %s, which is not a whole one", quoted(s.hidden([]byte(req.Raw))))
	}
	if s.request == nil {
		if !decode.AsksForWebSocket(req) {
			return fmt.Errorf("expected a request for websocket, got %s %s", req.Method, s.hiddenText("", req.Target))
		}
		if u, err := url.Parse(s.info.URL); err == nil && (u.Path != "" && u.Path != "/" || u.RawQuery != "") {
			return s.checkTarget(req.Target, u.RequestURI(), s.at, v)
		}
		return nil
	}
	want := s.request
	switch {
	case !decode.AsksForWebSocket(req):
		return s.differAt(want, "expected a request for websocket, got %s %s", req.Method, s.hiddenText("", req.Target))
	case req.Method != want.Method:
		return s.differAt(want, "expected method %s, got %s", want.Method, req.Method)
	}
	if err := s.checkTarget(req.Target, want.Target, want.at, v); err != nil {
		return err
	}
	if v := strings.Join(req.Values("Sec-WebSocket-Key"), ", "); validKey(want.Get("Sec-WebSocket-Key")) && !validKey(v) {
		return s.differAt(want, "expected a key, got %q, which is not 16 bytes in base64", v)
	}
	return s.checkHeaders(want, req, "offered")
}

// checkTarget compares path and query with those recorded at a position.
func (s *Script) checkTarget(target, recorded string, at int, v *values) error {
	got := originForm(target)
	want := s.targetFor(v, at, originForm(recorded), got)
	gotPath, gotQuery, _ := strings.Cut(got, "?")
	wantPath, wantQuery, _ := strings.Cut(want, "?")
	if !s.likes(s.comparedTarget(wantPath), s.comparedTarget(gotPath)) {
		return s.differAt(s.request, "expected path %q, got %q", wantPath, s.hiddenText("", gotPath))
	}
	if gotQuery == wantQuery {
		return nil
	}
	if !s.sameQuery(s.comparedTarget(gotQuery), s.comparedTarget(wantQuery)) {
		return s.differAt(s.request, "expected query %q, got %q", wantQuery, s.hiddenQuery(gotQuery))
	}
	return nil
}

// comparedTarget returns a part of a target without what is not compared: what
// expressions match, and the two segments that a client of SockJS makes up.
func (e *equality) comparedTarget(s string) string {
	s = string(e.withoutMatches([]byte(s)))
	if i := sockJSPath.FindStringIndex(s); i != nil {
		s = s[:i[0]] + "/000/session/websocket"
	}
	return s
}

// queryKey returns a string that is the same for queries that count as equal.
func (e *equality) queryKey(query string) string {
	vs, err := url.ParseQuery(query)
	if err != nil {
		return query
	}
	for i := range e.ignore {
		vs.Del(e.ignore[i].Param)
	}
	for name, values := range vs {
		if slices.Contains(cacheBusters, strings.ToLower(name)) && len(values) == 1 && (isRandom(values[0]) || name == "t" && vs.Has("EIO")) { // Engine.IO has any letters there
			delete(vs, name)
		}
	}
	for i := range e.captures {
		if name := e.captures[i].from.Param; vs.Has(name) {
			vs.Set(name, "…")
		}
	}
	return vs.Encode()
}

// cacheBusters are names of parameters that clients add with a value of the time or of
// chance, so that no cache has the answer.
var cacheBusters = []string{"t", "_", "ts", "cb", "rnd", "rand", "random", "timestamp", "nocache", "cachebust", "cachebuster", "_t", "_ts"}

// isRandom reports whether a value is a time, a number, or letters and digits without a
// word.
func isRandom(s string) bool {
	return randomValue.MatchString(s) && (strings.ContainsAny(s, "0123456789") || strings.ToLower(s[1:]) != s[1:])
}

// randomValue is what such a value looks like: a time, a number, a few letters and digits.
var randomValue = regexp.MustCompile(`^(0?\.[0-9]{4,}|[0-9]{5,20}|[0-9A-Za-z_.-]{5,16})$`)

// checkResponse compares the answer of a server with the recorded one. The key
// is the one that was sent.
func (s *Script) checkResponse(res *decode.Head, key string) error {
	want := 101
	var recorded *head
	if len(s.replies) > 0 {
		recorded = s.final()
		want = recorded.Status
	}
	if res.Cut {
		return s.differAt(recorded, "expected a response from the server, got %s, which is not a whole one", quoted(s.hidden([]byte(res.Raw))))
	}
	if res.Status != want {
		return s.differAt(recorded, "expected status %d, got %d %s", want, res.Status, s.hiddenText("", res.Reason))
	}
	if want != 101 {
		return s.checkHeaders(recorded, res, "")
	}
	accept := strings.Join(res.Values("Sec-WebSocket-Accept"), ", ")
	right := decode.AcceptKey(key)
	wasRight := recorded == nil || s.request == nil || s.acceptsKey()
	if wasRight && accept != right {
		return s.differAt(recorded, "expected accept %q for key %q, got %q", right, key, accept)
	}
	if recorded == nil {
		if ext := res.Values("Sec-WebSocket-Extensions"); !sameExtensions(ext, s.extensions()) {
			return s.differAt(recorded, "expected extensions %s, got %s", orNone(s.extensions()), orNone(ext))
		}
		return nil
	}
	return s.checkHeaders(recorded, res, "")
}

// checkHeaders compares subprotocols, extensions and the headers chosen.
func (s *Script) checkHeaders(recorded *head, got *decode.Head, offered string) error {
	word := func(w string) string { return strings.TrimSpace(offered + " " + w) }
	if !s.ignoresHeader("Sec-WebSocket-Protocol") {
		w, g := recorded.Tokens("Sec-WebSocket-Protocol"), got.Tokens("Sec-WebSocket-Protocol")
		if !slices.EqualFunc(w, g, s.likes) {
			return inHeader("Sec-WebSocket-Protocol", s.differAt(recorded, "expected %s %s, got %s", word("subprotocol"), orNone(w), orNone(s.hiddenList("Sec-WebSocket-Protocol", g))))
		}
	}
	if !s.ignoresHeader("Sec-WebSocket-Extensions") {
		w, g := recorded.Values("Sec-WebSocket-Extensions"), got.Values("Sec-WebSocket-Extensions")
		if !sameExtensions(w, g) {
			return inHeader("Sec-WebSocket-Extensions", s.differAt(recorded, "expected %s %s, got %s", word("extensions"), orNone(w), orNone(g)))
		}
	}
	return s.checkChosen(recorded, got)
}

// checkChosen compares the headers chosen by [Headers].
func (s *Script) checkChosen(recorded *head, got *decode.Head) error {
	for _, name := range s.headerNames {
		w, g := recorded.Values(name), got.Values(name)
		if !s.ignoresHeader(name) && !slices.EqualFunc(w, g, s.likes) {
			return inHeader(name, s.differAt(recorded, "expected %s %s, got %s", name, orNone(w), orNone(s.hiddenList(name, g))))
		}
	}
	return nil
}

// orNone returns a list in quotes, or "none".
func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return fmt.Sprintf("%q", strings.Join(list, ", "))
}

// inHeader notes which header differs.
func inHeader(name string, d *Difference) error {
	d.Header = name
	return d
}

// differAt returns an error that names the line of a recorded head, if there is
// one.
func (s *Script) differAt(h *head, format string, args ...any) *Difference {
	d := &Difference{Text: fmt.Sprintf(format, args...)}
	if h != nil {
		d.Line = s.line(h.at)
	}
	return d
}
