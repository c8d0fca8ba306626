package replay

import (
	"crypto/rand"
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/wstrace/wstrace/decode"
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

// requestFor returns the request that a client sends to u, with its body: the
// recorded one with the host of u, also in an Origin that was the same, with its
// path and query if it has them, and with a key of its own. A recorded key that
// is none is sent as it is.
func (s *Script) requestFor(u *url.URL, set []decode.Field, v *values) []byte {
	key := newKey()
	if s.request == nil {
		return withFields(v.putHead(s.plainRequest(u, key)), set).Append(nil)
	}
	recorded := s.request
	if s.edited != nil {
		recorded = s.edited
	}
	target := v.putTarget(originForm(recorded.Target))
	if u.RawQuery != "" {
		target = u.RequestURI()
	} else if u.Path != "" && u.Path != "/" {
		_, query, some := strings.Cut(target, "?")
		if target = u.EscapedPath(); some {
			target += "?" + query
		}
	}
	h := s.addressed(recorded, v.putHead(recorded.Head), u, target)
	if validKey(recorded.Get("Sec-WebSocket-Key")) {
		h = h.WithValue("Sec-WebSocket-Key", key)
	}
	return recorded.bytes(withFields(h, set))
}

// addressed returns a recorded request, with the values of live, with the host of u and
// with a target.
func (s *Script) addressed(recorded *head, live *decode.Head, u *url.URL, target string) *decode.Head {
	h := live.WithTarget(target).WithValue("Host", u.Host)
	// A page of the server's own stays one, as servers check that.
	if o, err := url.Parse(recorded.Get("Origin")); err == nil && o.Host != "" && strings.EqualFold(o.Host, recorded.Get("Host")) {
		o.Host = u.Host
		if o.Scheme = "http"; u.Scheme == "wss" || u.Scheme == "https" {
			o.Scheme = "https"
		}
		h = h.WithValue("Origin", o.String())
	}
	return h
}

// withFields returns h with values that are to take the place of others.
func withFields(h *decode.Head, set []decode.Field) *decode.Head {
	for _, f := range set {
		h = h.WithField(f.Name, f.Value)
	}
	return h
}

// plainRequest returns a request for a trace that has none.
func (s *Script) plainRequest(u *url.URL, key string) *decode.Head {
	target := u.RequestURI()
	if recorded, err := url.Parse(s.info.URL); err == nil && s.info.URL != "" && u.RawQuery == "" && (u.Path == "" || u.Path == "/") {
		target = recorded.RequestURI()
	}
	h := &decode.Head{Method: "GET", Target: target, Proto: "HTTP/1.1", Fields: []decode.Field{
		{Name: "Host", Value: u.Host}, {Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"},
		{Name: "Sec-WebSocket-Key", Value: key}, {Name: "Sec-WebSocket-Version", Value: "13"},
	}}
	if len(s.replies) > 0 {
		if v := s.final().Get("Sec-WebSocket-Protocol"); v != "" {
			h = h.WithField("Sec-WebSocket-Protocol", v)
		}
	}
	if ext := strings.Join(s.extensions(), ", "); ext != "" {
		h = h.WithField("Sec-WebSocket-Extensions", ext)
	}
	return h
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
func (s *Script) answerTo(req *decode.Head, set []decode.Field, v *values) (b []byte, extensions []string) {
	accept := decode.AcceptKey(req.Get("Sec-WebSocket-Key"))
	extensions = s.extensions()
	if !s.offers(req) && !accepts(req.Values("Sec-WebSocket-Extensions"), extensions) {
		extensions = nil // if it is ignored, the messages go without
	}
	if len(s.replies) == 0 {
		h := &decode.Head{Proto: "HTTP/1.1", Status: 101, Reason: "Switching Protocols", Fields: []decode.Field{
			{Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"}, {Name: "Sec-WebSocket-Accept", Value: accept},
		}}
		if len(extensions) > 0 {
			h = h.WithField("Sec-WebSocket-Extensions", strings.Join(extensions, ", "))
		}
		return withFields(h, set).Append(nil), extensions
	}
	for _, recorded := range s.replies {
		h := v.putHead(recorded.Head)
		if recorded == s.final() {
			if s.acceptsKey() {
				h = h.WithValue("Sec-WebSocket-Accept", accept)
			}
			h = s.chosen(h, req)
			if len(extensions) == 0 {
				h = h.Without("Sec-WebSocket-Extensions")
			}
			h = withFields(h, set)
		}
		b = append(b, recorded.bytes(h)...)
	}
	return b, extensions
}

// acceptsKey reports whether the recorded response has the accept for the key of
// the recorded request.
func (s *Script) acceptsKey() bool {
	return s.request != nil && s.final().Get("Sec-WebSocket-Accept") == decode.AcceptKey(s.request.Get("Sec-WebSocket-Key"))
}

// offers reports whether a client offers the recorded extensions. Then it gets
// the recorded answer, be it right or wrong, as it does if a trace made by hand
// has the answer only.
func (s *Script) offers(req *decode.Head) bool {
	if s.request == nil {
		return len(s.replies) > 0
	}
	const name = "Sec-WebSocket-Extensions"
	return sameExtensions(s.request.Values(name), req.Values(name))
}
