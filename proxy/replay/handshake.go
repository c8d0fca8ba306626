package replay

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
)

// newKey returns a Sec-WebSocket-Key (RFC 6455 §4.1).
func newKey() string {
	var nonce [16]byte
	rand.Read(nonce[:])
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// validKey reports whether key is 16 bytes in base64.
func validKey(key string) bool {
	b, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(b) == 16
}

// requestFor returns the request that a client sends to u: the recorded one
// with the host of u, also in an Origin that was the same, with its path and
// query if it has them, and with a key of its own. A recorded key that is none is sent as it is.
func (s *Script) requestFor(u *url.URL) (head, body []byte) {
	key := newKey()
	if s.request == nil {
		return s.plainRequest(u, key), nil
	}
	rec := s.request
	if s.edited != nil {
		rec = s.edited
	}
	h := rec.Head
	target := u.RequestURI()
	if u.Path == "" && u.RawQuery == "" || u.Path == "/" && u.RawQuery == "" {
		target = originForm(h.Target)
	}
	h = h.WithTarget(target).WithValue("Host", u.Host)
	// A page of the server's own stays one, as servers check that.
	if o, err := url.Parse(rec.Head.Get("Origin")); err == nil && o.Host != "" && strings.EqualFold(o.Host, rec.Head.Get("Host")) {
		o.Host = u.Host
		if o.Scheme = "http"; u.Scheme == "wss" || u.Scheme == "https" {
			o.Scheme = "https"
		}
		h = h.WithValue("Origin", o.String())
	}
	if validKey(rec.Head.Get("Sec-WebSocket-Key")) {
		h = h.WithValue("Sec-WebSocket-Key", key)
	}
	return headBytes(s.withSet(h)), rec.Body
}

// withSet returns h with the headers that have been given another value.
func (s *Script) withSet(h *decode.Head) *decode.Head {
	for _, set := range s.set {
		h = h.WithField(set.name, set.value)
	}
	return h
}

// headBytes returns h as it is sent.
func headBytes(h *decode.Head) []byte {
	if h.Raw != "" {
		return []byte(h.Raw)
	}
	return h.Append(nil)
}

// plainRequest returns a request for a trace that has none.
func (s *Script) plainRequest(u *url.URL, key string) []byte {
	target := u.RequestURI()
	if recorded, err := url.Parse(s.url); err == nil && s.url != "" && u.RawQuery == "" && (u.Path == "" || u.Path == "/") {
		target = recorded.RequestURI()
	}
	h := &decode.Head{Method: "GET", Target: target, Proto: "HTTP/1.1", Fields: []decode.Field{
		{Name: "Host", Value: u.Host}, {Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"},
		{Name: "Sec-WebSocket-Key", Value: key}, {Name: "Sec-WebSocket-Version", Value: "13"},
	}}
	if len(s.replies) > 0 {
		if v := s.final().Head.Get("Sec-WebSocket-Protocol"); v != "" {
			h.Fields = append(h.Fields, decode.Field{Name: "Sec-WebSocket-Protocol", Value: v})
		}
	}
	if ext := strings.Join(s.extensions(), ", "); ext != "" {
		h.Fields = append(h.Fields, decode.Field{Name: "Sec-WebSocket-Extensions", Value: ext})
	}
	return headBytes(s.withSet(h))
}

// originForm returns the path and query of a target (RFC 9112 §3.2.1).
func originForm(target string) string {
	_, rest, ok := strings.Cut(target, "://")
	if !ok || strings.HasPrefix(target, "/") {
		return target
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		return "/" + strings.TrimPrefix(rest[i:], "/")
	}
	return "/"
}

// answerTo returns the heads, and the body, with which a server answers req,
// and the extensions that are in force from then on. An accept that was wrong
// in the recording stays as it is.
func (s *Script) answerTo(req *decode.Head) (b []byte, extensions []string) {
	accept := decode.AcceptKey(req.Get("Sec-WebSocket-Key"))
	extensions = s.extensions()
	if !s.offered(req) && !accepts(req.Values("Sec-WebSocket-Extensions"), extensions) {
		extensions = nil // if it is ignored, the messages go without
	}
	if len(s.replies) == 0 {
		h := decode.Head{Proto: "HTTP/1.1", Status: 101, Reason: "Switching Protocols", Fields: []decode.Field{
			{Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"}, {Name: "Sec-WebSocket-Accept", Value: accept},
		}}
		if len(extensions) > 0 {
			h.Fields = append(h.Fields, decode.Field{Name: "Sec-WebSocket-Extensions", Value: strings.Join(extensions, ", ")})
		}
		return h.Append(nil), extensions
	}
	for _, rec := range s.replies {
		h := rec.Head
		if rec == s.final() {
			if s.request != nil && h.Get("Sec-WebSocket-Accept") == decode.AcceptKey(s.request.Head.Get("Sec-WebSocket-Key")) {
				h = h.WithValue("Sec-WebSocket-Accept", accept)
			}
			if len(extensions) == 0 {
				h = h.Without("Sec-WebSocket-Extensions")
			}
			h = s.withSet(h)
		}
		b = append(append(b, headBytes(h)...), rec.Body...)
	}
	return b, extensions
}

// offered reports whether a client offers the recorded extensions. Then it gets
// the recorded answer, be it right or wrong, as it does if a trace made by hand
// has the answer only.
func (s *Script) offered(req *decode.Head) bool {
	if s.request == nil {
		return len(s.replies) > 0
	}
	const name = "Sec-WebSocket-Extensions"
	return sameExtensions(s.request.Head.Values(name), req.Values(name))
}

// checkRequest compares the request of a client with the recorded one.
func (s *Script) checkRequest(req *decode.Head) error {
	if req.Cut {
		return at(s.request, "expected a request from the client, got %s, which is not a whole one", appendQuoted(nil, []byte(req.Raw)))
	}
	if s.request == nil {
		if !decode.AsksForWebSocket(req) {
			return fmt.Errorf("expected a request for websocket, got %s %s", req.Method, req.Target)
		}
		if u, err := url.Parse(s.url); err == nil && (u.Path != "" && u.Path != "/" || u.RawQuery != "") {
			return s.checkTarget(req.Target, u.RequestURI())
		}
		return nil
	}
	rec := s.request
	want := rec.Head
	switch {
	case !decode.AsksForWebSocket(req):
		return at(rec, "expected a request for websocket, got %s %s", req.Method, req.Target)
	case req.Method != want.Method:
		return at(rec, "expected method %s, got %s", want.Method, req.Method)
	}
	if err := s.checkTarget(req.Target, want.Target); err != nil {
		return err
	}
	if v := strings.Join(req.Values("Sec-WebSocket-Key"), ", "); validKey(want.Get("Sec-WebSocket-Key")) && !validKey(v) {
		return at(rec, "expected a key, got %q, which is not 16 bytes in base64", v)
	}
	return s.checkHeaders(rec, req, "offered")
}

// checkTarget compares path and query with the recorded ones.
func (s *Script) checkTarget(target, recorded string) error {
	got, want := originForm(target), originForm(recorded)
	gotPath, gotQuery, _ := strings.Cut(got, "?")
	wantPath, wantQuery, _ := strings.Cut(want, "?")
	if gotPath != wantPath {
		return at(s.request, "expected path %q, got %q", wantPath, gotPath)
	}
	if gotQuery == wantQuery {
		return nil
	}
	if s.queryKey(gotQuery) != s.queryKey(wantQuery) {
		return at(s.request, "expected query %q, got %q", wantQuery, gotQuery)
	}
	return nil
}

// queryKey returns a string that is the same for queries that count as equal.
func (s *Script) queryKey(query string) string {
	vs, err := url.ParseQuery(query)
	if err != nil {
		return query
	}
	for i := range s.ignore {
		vs.Del(s.ignore[i].Param)
	}
	return vs.Encode()
}

// checkResponse compares the answer of a server with the recorded one. The key
// is the one that was sent.
func (s *Script) checkResponse(res *decode.Head, key string) error {
	want := 101
	var rec *trace.Record
	if len(s.replies) > 0 {
		rec = s.final()
		want = rec.Head.Status
	}
	if res.Cut {
		return at(rec, "expected a response from the server, got %s, which is not a whole one", appendQuoted(nil, []byte(res.Raw)))
	}
	if res.Status != want {
		return at(rec, "expected status %d, got %d %s", want, res.Status, res.Reason)
	}
	if want != 101 {
		return s.checkHeaders(rec, res, "")
	}
	accept := strings.Join(res.Values("Sec-WebSocket-Accept"), ", ")
	right := decode.AcceptKey(key)
	wasRight := rec == nil || s.request == nil || rec.Head.Get("Sec-WebSocket-Accept") == decode.AcceptKey(s.request.Head.Get("Sec-WebSocket-Key"))
	if wasRight && accept != right {
		return at(rec, "expected accept %q for key %q, got %q", right, key, accept)
	}
	if rec == nil {
		if ext := res.Values("Sec-WebSocket-Extensions"); !sameExtensions(ext, s.extensions()) {
			return at(rec, "expected extensions %s, got %s", orNone(s.extensions()), orNone(ext))
		}
		return nil
	}
	return s.checkHeaders(rec, res, "")
}

// checkHeaders compares subprotocols, extensions and the headers chosen.
func (s *Script) checkHeaders(rec *trace.Record, got *decode.Head, offered string) error {
	word := func(w string) string { return strings.TrimSpace(offered + " " + w) }
	if !s.ignored("Sec-WebSocket-Protocol") {
		w, g := rec.Head.Tokens("Sec-WebSocket-Protocol"), got.Tokens("Sec-WebSocket-Protocol")
		if !slices.Equal(w, g) {
			return at(rec, "expected %s %s, got %s", word("subprotocol"), orNone(w), orNone(g))
		}
	}
	if !s.ignored("Sec-WebSocket-Extensions") {
		w, g := rec.Head.Values("Sec-WebSocket-Extensions"), got.Values("Sec-WebSocket-Extensions")
		if !sameExtensions(w, g) {
			return at(rec, "expected %s %s, got %s", word("extensions"), orNone(w), orNone(g))
		}
	}
	for _, name := range s.headers {
		w, g := rec.Head.Values(name), got.Values(name)
		if !s.ignored(name) && !slices.Equal(w, g) {
			return at(rec, "expected %s %s, got %s", name, orNone(w), orNone(g))
		}
	}
	return nil
}

func (s *Script) ignored(header string) bool {
	return slices.ContainsFunc(s.ignore, func(sel pick.Selector) bool { return strings.EqualFold(sel.Header, header) })
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return fmt.Sprintf("%q", strings.Join(list, ", "))
}

// at returns an error that names the line of rec.
func at(rec *trace.Record, format string, args ...any) error {
	d := &Difference{Text: fmt.Sprintf(format, args...)}
	if rec != nil {
		d.Line = rec.Line
	}
	return d
}
