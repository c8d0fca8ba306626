package decode

import (
	"bytes"
	"mime"
	"strings"
)

// givenHost returns the Host that the server was told in place of the client's,
// or "".
func (x *exchange) givenHost() string {
	if x.hs.Forwarded == nil {
		return ""
	}
	host := x.hs.Forwarded.Get("Host")
	if strings.EqualFold(host, x.hs.Request.Get("Host")) {
		return ""
	}
	return host
}

// namesItself notes a URL in a response by which the server names itself with the
// Host that it was told in place of the client's. It stands in Location, or in a
// JSON body, which is then kept until it ends, up to MaxPiece bytes.
func (s *Session) namesItself(h *Head) {
	host := s.givenHost()
	if host == "" {
		return
	}
	s.totals.OwnURL = urlOf(host, []byte(h.Get("Location")))
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	p := &s.halves[FromServer]
	p.scan = err == nil && h.Status < 300 && (media == "application/json" || strings.HasSuffix(media, "+json")) && h.Get("Content-Encoding") == ""
}

// bodyNamesItself is namesItself for the body that was kept, and forgets it.
func (s *Session) bodyNamesItself() {
	p := &s.halves[FromServer]
	if p.scan && s.totals.OwnURL == "" {
		s.totals.OwnURL = urlOf(s.givenHost(), p.buf)
	}
	p.scan, p.buf = false, nil
}

// urlOf returns the first absolute URL in text whose authority is host, or "". JSON
// may have escaped its slashes.
func urlOf(host string, text []byte) string {
	for from := 0; ; {
		i := bytes.Index(text[from:], []byte(host))
		if i < 0 {
			return ""
		}
		i += from
		from = i + len(host)
		before, ok := bytes.CutSuffix(text[:i], []byte("//"))
		if !ok {
			before, ok = bytes.CutSuffix(text[:i], []byte(`\/\/`))
		}
		if !ok {
			continue
		}
		for _, scheme := range []string{"ws:", "wss:", "http:", "https:"} {
			if start := bytes.TrimSuffix(before, []byte(scheme)); len(start) < len(before) && !endsInLetter(start) {
				if end := urlEnd(text[from:]); end >= 0 {
					return scheme + "//" + host + strings.ReplaceAll(string(text[from:from+end]), `\/`, "/")
				}
			}
		}
	}
}

func endsInLetter(b []byte) bool {
	return len(b) > 0 && (b[len(b)-1]|0x20 >= 'a' && b[len(b)-1]|0x20 <= 'z')
}

// urlEnd returns where a URL ends whose authority has just ended, or -1 if that
// goes on.
func urlEnd(b []byte) int {
	if len(b) > 0 && bytes.IndexByte([]byte(`/?#"\`+" "), b[0]) < 0 {
		return -1
	}
	end := bytes.IndexAny(b, "\" \t\r\n<>")
	if end < 0 {
		end = len(b)
	}
	return end
}
