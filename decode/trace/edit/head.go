package edit

import (
	"strings"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
)

// head puts placeholders into a head. The session is nil if it is not known.
func (r *rules) head(s *session, rec *trace.Record) {
	e := headEditor{rules: r, session: s, request: rec.Kind == trace.KindReq}
	if !rec.RawHead {
		h := *rec.Head
		h.Method, h.Target, h.Proto, h.Reason = r.word(h.Method), r.target(h.Target), r.word(h.Proto), r.text(h.Reason)
		h.Fields = make([]decode.Field, len(rec.Head.Fields))
		e.host = rec.Head.Get("Host")
		for i, f := range rec.Head.Fields {
			h.Fields[i] = decode.Field{Name: e.name(f.Name), Value: e.value(f.Name, f.Value)}
		}
		rec.Head = &h
		return
	}
	old := rec.Head.Raw
	rec.Head = parseHead(rec.Kind, old)
	e.host = rec.Head.Get("Host")
	raw := e.raw(old)
	if raw == old {
		return
	}
	rec.Head = parseHead(rec.Kind, raw)
	rec.RawHead = rec.Head.Cut || !utf8.ValidString(raw) || !rec.Head.Canonical()
}

// parseHead returns what there is of a head.
func parseHead(kind trace.Kind, raw string) *decode.Head {
	parse := decode.ParseRequest
	if kind == trace.KindRes {
		parse = decode.ParseResponse
	}
	h, err := parse(raw)
	h.Cut = err != nil || decode.HeadLen([]byte(raw), 0) == 0
	return h
}

// A headEditor puts placeholders into the parts of a head.
type headEditor struct {
	*rules
	session *session
	request bool
	host    string
}

// raw returns a head that is known by its bytes with placeholders.
func (e *headEditor) raw(raw string) string {
	var b strings.Builder
	n := len(raw) - len(strings.TrimLeft(raw, "\r\n"))
	b.WriteString(raw[:n])
	for first, rest := true, raw[n:]; rest != ""; first = false {
		n := lineLen(rest)
		for !first && n < len(rest) && (rest[n] == ' ' || rest[n] == '\t') {
			n += lineLen(rest[n:])
		}
		line := rest[:n]
		rest = rest[n:]
		if first {
			b.WriteString(e.startLine(line))
			continue
		}
		text := strings.TrimRight(line, "\r\n")
		if text == "" {
			b.WriteString(line)
			continue
		}
		name, after, ok := strings.Cut(text, ":")
		if !ok {
			b.WriteString(e.text(text) + line[len(text):])
			continue
		}
		value := strings.Trim(after, " \t\r\n")
		at := strings.Index(after, value)
		b.WriteString(e.name(name) + ":" + after[:at] + e.value(strings.TrimSpace(name), value) + after[at+len(value):] + line[len(text):])
	}
	return b.String()
}

// startLine returns a start line, which may be cut off, with placeholders.
func (e *headEditor) startLine(line string) string {
	text := strings.TrimRight(line, "\r\n")
	if method, rest, ok := strings.Cut(text, " "); e.request && ok {
		target, proto := rest, ""
		if i := strings.LastIndex(rest, " HTTP/"); i >= 0 {
			target, proto = rest[:i], rest[i:]
		}
		return e.word(method) + " " + e.target(target) + e.word(proto) + line[len(text):]
	}
	return e.text(text) + line[len(text):]
}

func lineLen(s string) int {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		return i + 1
	}
	return len(s)
}

// handshakeHeaders say how bytes are framed, and what both sides make of that.
// They hold no secrets, and a head without them is another one.
var handshakeHeaders = map[string]bool{"connection": true, "upgrade": true, "content-length": true, "transfer-encoding": true,
	"sec-websocket-key": true, "sec-websocket-accept": true, "sec-websocket-version": true, "sec-websocket-extensions": true}

// KeepsHeader reports whether the value of a header stays whatever selects it, as it
// makes the handshake.
func KeepsHeader(name string) bool { return handshakeHeaders[strings.ToLower(name)] }

// protocolWords mean something to HTTP, and an expression that happens to match in
// one does not ask for another.
var protocolWords = map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": true, "DELETE": true, "CONNECT": true,
	"OPTIONS": true, "TRACE": true, "PATCH": true, "HTTP/1.0": true, "HTTP/1.1": true}

// word returns a method or version with placeholders.
func (r *rules) word(s string) string {
	if protocolWords[strings.TrimSpace(s)] {
		return s
	}
	return r.text(s)
}

// name returns the name of a header with placeholders. One that makes a handshake,
// or that selects a value by its name, stays as it is.
func (e *headEditor) name(name string) string {
	lower := strings.ToLower(strings.TrimSpace(name))
	if handshakeHeaders[lower] || lower == "host" || lower == "origin" || lower == "sec-websocket-protocol" {
		return name
	}
	return e.text(name)
}

// extensions returns a list of extensions with placeholders in what is not known
// of compression (RFC 7692).
func (r *rules) extensions(value string) string {
	return mapList(value, func(_ int, element string) string {
		parts := strings.Split(element, ";")
		for i, p := range parts {
			name, _, _ := strings.Cut(p, "=")
			if !extensionWords[strings.ToLower(strings.TrimSpace(name))] {
				parts[i] = r.text(p)
			}
		}
		return strings.Join(parts, ";")
	})
}

var extensionWords = map[string]bool{"permessage-deflate": true, "x-webkit-deflate-frame": true, "deflate-frame": true,
	"server_no_context_takeover": true, "client_no_context_takeover": true,
	"server_max_window_bits": true, "client_max_window_bits": true}

// urlHeaders hold a URL, which may have the same secrets as the target.
var urlHeaders = map[string]bool{"referer": true, "location": true, "content-location": true}

// value returns the value of a header with placeholders.
func (e *headEditor) value(name, value string) string {
	lower := strings.ToLower(name)
	switch {
	case lower == "sec-websocket-extensions":
		return e.extensions(value)
	case value == "" || handshakeHeaders[lower]:
		return value
	}
	plain := unfold(value)
	clean := e.plainValue(name, lower, plain)
	if clean == plain {
		return value
	}
	return clean
}

func (e *headEditor) plainValue(name, lower, value string) string {
	selected := e.credentials && decode.CredentialHeader(name)
	for i := range e.selectors {
		selected = selected || e.selectors[i].Header != "" && strings.EqualFold(e.selectors[i].Header, name)
	}
	switch {
	case lower == "sec-websocket-protocol":
		return e.protocols(value, selected)
	case lower == "origin" || lower == "sec-websocket-origin":
		return e.origin(value, selected)
	case lower == "host" && selected:
		host, port := cutPort(value)
		return e.placeholders.text("host", host) + port
	case selected:
		if clean, ok := e.cookies(name, value); ok {
			return clean
		}
		return e.placeholders.text(lower, value)
	}
	clean := value
	if urlHeaders[lower] {
		clean = e.target(value)
	} else {
		clean = e.text(value)
	}
	if strings.IndexByte(clean, ',') < 0 {
		return clean
	}
	return mapList(clean, func(_ int, element string) string { return e.text(element) })
}

// cookies returns a Cookie or Set-Cookie with placeholders for the values in it; ok is
// false if it can't be read as such.
func (e *headEditor) cookies(name, value string) (clean string, ok bool) {
	var edits []pick.Edit
	ok = decode.CookieValues(name, value, func(from, to int) {
		p := e.placeholders.text("cookie", value[from:to])
		edits = append(edits, pick.Edit{Span: pick.Span{Start: from, End: to}, Text: []byte(p)})
	})
	if !ok {
		return "", false
	}
	return e.text(string(pick.Apply(nil, []byte(value), edits))), true
}

// origin returns an origin with placeholders: another origin.
func (e *headEditor) origin(value string, selected bool) string {
	scheme, rest, ok := strings.Cut(value, "://")
	if !ok {
		if selected && value != "null" {
			return "https://" + e.placeholders.text("origin", value)
		}
		return e.text(value)
	}
	host, port := cutPort(rest)
	if !selected {
		clean := e.text(value)
		if clean == value {
			return value
		}
		if after, ok := strings.CutPrefix(clean, scheme+"://"); ok && !strings.ContainsAny(after, "/?# ") {
			return clean
		}
	}
	p := e.placeholders.text("origin", host)
	// A page of the same site stays one, which the Host tells anyway.
	if h, _ := cutPort(e.host); h != "" && p != host {
		switch {
		case strings.EqualFold(h, host) && !e.selectsHost():
			p = host
		case site(h) == site(host) && !e.selectsHost():
			p += "." + site(h)
		}
	}
	return scheme + "://" + p + port
}

// selectsHost reports whether the Host is secret too.
func (e *headEditor) selectsHost() bool {
	for i := range e.selectors {
		if strings.EqualFold(e.selectors[i].Header, "Host") {
			return true
		}
	}
	return e.text(e.host) != e.host
}

func site(host string) string {
	labels := strings.Split(strings.ToLower(host), ".")
	if len(labels) < 2 || strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return host // an address
	}
	return strings.Join(labels[len(labels)-2:], ".")
}

func cutPort(host string) (name, port string) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.ContainsAny(host[i:], "]") && strings.Trim(host[i+1:], "0123456789") == "" {
		return host[:i], host[i:]
	}
	return host, ""
}

// protocols returns a list of subprotocols with placeholders. One that was offered
// has the same where it is chosen.
func (e *headEditor) protocols(value string, selected bool) string {
	var list []string
	mapList(value, func(_ int, p string) string {
		list = append(list, p)
		return p
	})
	return mapList(value, func(i int, p string) string {
		if !e.request && e.session != nil {
			if clean := e.session.offered[p]; clean != "" {
				return clean
			}
		}
		clean := p
		if selected {
			clean = e.placeholders.text("subprotocol", p)
		} else if from, ok := 0, false; e.credentials {
			if from, ok = decode.CredentialProtocol(list, i); ok {
				clean = p[:from] + e.placeholders.text("subprotocol", p[from:])
			}
		}
		if clean == p {
			clean = e.text(p)
		}
		if clean != p && e.request && e.session != nil && len(e.session.offered) < 16 {
			if e.session.offered == nil {
				e.session.offered = map[string]string{}
			}
			e.session.offered[p] = clean
		}
		return clean
	})
}

// mapList returns a list with each element replaced by what f makes of it.
func mapList(value string, f func(i int, element string) string) string {
	parts := strings.Split(value, ",")
	n := 0
	for i, p := range parts {
		element := strings.Trim(p, " \t\r\n")
		if element == "" {
			continue
		}
		at := strings.Index(p, element)
		parts[i] = p[:at] + f(n, element) + p[at+len(element):]
		n++
	}
	return strings.Join(parts, ",")
}

// unfold returns a value in one line, as it is meant (RFC 9112 §5.2).
func unfold(value string) string {
	lines := strings.Split(value, "\n")
	if len(lines) == 1 {
		return value
	}
	for i, line := range lines {
		lines[i] = strings.Trim(line, " \t\r")
	}
	return strings.Join(lines, " ")
}
