package filter

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

var kindWords = []string{"open", "req", "res", "frame", "violation", "opaque", "junk", "gap", "note", "end", "closed", "message", "body"}

func opWords() (words []string) {
	for op := range 16 {
		words = append(words, decode.OpName(ws.OpCode(op)))
	}
	return words
}

func ruleWords() (words []string) {
	for i := range decode.Rules {
		words = append(words, string(decode.Rules[i].ID))
	}
	return words
}

var (
	content  = Needs{Messages: true, Keep: decode.MaxMessageData}
	messages = Needs{Messages: true, Keep: 1}
	bodies   = Needs{Messages: true, Keep: decode.MaxMessageData, Bodies: true}
)

func init() {
	for _, f := range []Field{
		{Name: "session", Doc: "number of the session", Type: Number, Min: 1, Get: one(func(s *Subject) (int64, bool) { return s.Conn, true })},
		{Name: "websocket", Doc: "the session asked for websocket", Type: Bool, Get: flag(isWebSocket, func(*Subject) bool { return true })},
		{Name: "from", Doc: "who sent it; of a finding, who is at fault", Type: Word, Words: []string{"client", "server"}, Get: one(from)},
		{Name: "kind", Doc: "what happened; violation where a rule was broken, message where one is complete, too", Type: Word, Words: kindWords, Get: kind, single: true},
		{Name: "op", Doc: "opcode of the frame, with -m of the message", Type: Word, Words: opWords(), Get: one(op)},
		{Name: "fin", Doc: "FIN of the frame", Type: Bool, Get: flag(func(s *Subject) bool { return s.Frame.Fin }, hasFrame)},
		{Name: "rsv1", Doc: "RSV1 of the frame", Type: Bool, Get: flag(func(s *Subject) bool { return s.Frame.Rsv&4 != 0 }, hasFrame)},
		{Name: "rsv2", Doc: "RSV2 of the frame", Type: Bool, Get: flag(func(s *Subject) bool { return s.Frame.Rsv&2 != 0 }, hasFrame)},
		{Name: "rsv3", Doc: "RSV3 of the frame", Type: Bool, Get: flag(func(s *Subject) bool { return s.Frame.Rsv&1 != 0 }, hasFrame)},
		{Name: "masked", Doc: "the frame is masked", Type: Bool, Get: flag(func(s *Subject) bool { return s.Frame.Masked }, hasFrame)},
		{Name: "key", Doc: "masking key of the frame", Type: Binary, Get: text(func(s *Subject) (string, bool) {
			if !hasFrame(s) || !s.Frame.Masked {
				return "", false
			}
			return view(s.Frame.Mask[:]), true
		})},
		{Name: "len", Doc: "length of the frame's payload, with -m of the message, inflated; of an HTTP body", Type: Size, Get: one(func(s *Subject) (int64, bool) {
			if s.Kind == decode.KindBody {
				return bodyLen(s), true
			}
			if onlyMessage(s) || s.messages && s.Message != nil {
				return s.Message.Len, true
			}
			return frame(s, func(f *decode.Frame) int64 { return f.Length })
		})},
		{Name: "wire", Doc: "length of the frame with its header", Type: Size, Get: one(func(s *Subject) (int64, bool) {
			return frame(s, (*decode.Frame).WireLen)
		})},
		{Name: "frame", Doc: "number of the frame in its direction, from 0; those of leg out by themselves", Type: Number, Get: one(func(s *Subject) (int64, bool) {
			return frame(s, func(f *decode.Frame) int64 { return f.N })
		})},
		{Name: "message", Doc: "number of the message in its direction, from 0, on each of its frames", Type: Number, Get: one(number), remembers: true},
		{Name: "message.len", Doc: "length of the message, inflated, on its final frame", Type: Size, Needs: messages, Get: one(func(s *Subject) (int64, bool) {
			if s.Message == nil {
				return 0, false
			}
			return s.Message.Len, true
		})},
		{Name: "text", Doc: "the message, or body, as text, on its final frame; of a Close frame, and the closed session, the reason; what is told of a change", Type: Text, Needs: content, searches: true, Get: text(textOf)},
		{Name: "binary", Doc: "the message as bytes, packed or not, on its final frame; of a control frame the payload", Type: Binary, Needs: content, Get: text(bytesOf)},
		{Name: "packed", Doc: "what the binary message, or body, is packed with, on its final frame: gzip, zlib, zstd", Type: Text, Needs: content, searches: true, Get: text(func(s *Subject) (string, bool) {
			m := said(s)
			if m == nil {
				return "", false
			}
			format := m.Content().Packed
			return format, format != ""
		})},
		{Name: "json.PATH", Doc: "value in the JSON of the message, or body, on its final frame; json[0], json..id, json['a b']", Type: JSON, Needs: content, searches: true, Make: jsonAt},
		{Name: "json", Doc: "the message, or body, has JSON", Type: Bool, Needs: content, searches: true, Get: flag(hasJSON, func(s *Subject) bool { return said(s) != nil })},
		{Name: "body", Doc: "the HTTP body, unpacked, when all of it has come", Type: Text, Needs: bodies, Get: text(func(s *Subject) (string, bool) {
			if s.Body == nil {
				return "", false
			}
			return view(s.Body.Content().Data), true
		})},
		{Name: "code", Doc: "status code of the Close frame, and of the closed session", Type: Number, Max: 65535, Get: one(code)},
		{Name: "reason", Doc: "reason with that code", Type: Text, Get: text(reason)},
		{Name: "url", Doc: "what the client asked for", Type: Text, Get: text(func(s *Subject) (string, bool) { return s.Info.URL, s.Info.URL != "" })},
		{Name: "host", Doc: "host in it, without the port", Type: Text, Get: text(host)},
		{Name: "path", Doc: "path in it, without the query", Type: Text, Get: text(func(s *Subject) (string, bool) { p, _, ok := target(s); return p, ok })},
		{Name: "query.NAME", Doc: "parameter of the query", Type: Text, Make: query},
		{Name: "header.NAME", Doc: "header of the request or of the response", Type: Text, Make: header},
		{Name: "method", Doc: "method of the request", Type: Text, Get: text(func(s *Subject) (string, bool) {
			h := request(s)
			return method(h), h != nil && !h.Cut
		})},
		{Name: "status", Doc: "status of the response, and of the closed session", Type: Number, Min: 100, Max: 999, Get: one(status)},
		{Name: "subprotocol", Doc: "subprotocol that was chosen", Type: Text, Get: text(func(s *Subject) (string, bool) {
			return agreed(s, func(h *decode.Handshake) string { return h.Subprotocol })
		})},
		{Name: "extension", Doc: "extensions that were chosen", Type: Text, Get: text(func(s *Subject) (string, bool) {
			return agreed(s, func(h *decode.Handshake) string { return h.Extensions })
		})},
		{Name: "via", Doc: "how the session came to wstrace: forward, reverse, connect, direct; pcap, har, saz or mitmproxy, whose file it was in", Type: Text, Get: text(func(s *Subject) (string, bool) { return s.Info.Via, s.Info.Via != "" })},
		{Name: "pid", Doc: "process that is the client, its number", Type: Number, Min: 1, Get: one(func(s *Subject) (int64, bool) { return int64(s.Info.PID), s.Info.PID > 0 })},
		{Name: "process", Doc: "process that is the client, its name", Type: Text, Get: text(func(s *Subject) (string, bool) { return s.Info.Process, s.Info.Process != "" })},
		{Name: "tls.version", Doc: "version of TLS with the client, with the server: TLS1.3", Type: Text, Get: tlsVersion},
		{Name: "client", Doc: "address of the client, with its port", Type: Text, Get: text(func(s *Subject) (string, bool) { return s.Info.Client, s.Info.Client != "" })},
		{Name: "server", Doc: "address of the server, with its port", Type: Text, Get: text(func(s *Subject) (string, bool) { return s.Info.Server, s.Info.Server != "" })},
		{Name: "time", Doc: `time, or time of day: "2026-11-21 19:28", 19:28:31; local unless it has a zone`, Type: Time, Get: one(func(s *Subject) (int64, bool) { return s.Time.UnixNano(), true })},
		{Name: "since", Doc: "since the session began", Type: Duration, Get: one(func(s *Subject) (int64, bool) { return int64(s.Time.Sub(s.Info.Time)), true })},
		{Name: "delta", Doc: "since the event before in the session, shown or not", Type: Duration, remembers: true, Get: one(func(s *Subject) (int64, bool) {
			return int64(s.Time.Sub(s.memory.last)), s.memory.some
		})},
		{Name: "rule", Doc: "rule that was broken", Type: Text, Words: ruleWords(), Needs: messages,
			Advised: func(id string) bool {
				r := decode.LookupRule(decode.RuleID(id))
				return r != nil && r.Severity == decode.SeverityInfo
			},
			Get: func(s *Subject, i int) (Value, bool) {
				if i >= len(s.Violations) {
					return Value{}, false
				}
				return Value{S: string(s.Violations[i].ID)}, true
			}},
		{Name: "severity", Doc: "how bad that is", Type: Word, Words: []string{"info", "warning", "error"}, Ordered: true, Needs: messages,
			Advised: func(v string) bool { return v == "info" },
			Get: func(s *Subject, i int) (Value, bool) {
				if i >= len(s.Violations) {
					return Value{}, false
				}
				return Value{N: 2 - int64(s.Violations[i].Severity)}, true
			}},
		{Name: "rtt", Doc: "round trip of the ping, on the pong that answers it", Type: Duration, Get: one(func(s *Subject) (int64, bool) { return int64(s.RTT), s.RTT > 0 })},
		{Name: "by", Doc: "who closed the session", Type: Word, Words: []string{"client", "server", "wstrace", "change"}, Get: one(func(s *Subject) (int64, bool) {
			if s.Totals == nil || !isWebSocket(s) {
				return 0, false
			}
			i := slices.Index([]string{"client", "server", "wstrace", "change"}, s.Totals.Closer())
			return int64(i), i >= 0
		})},
		{Name: "idle", Doc: "how long the closed session had been quiet", Type: Duration, Get: total(func(t *decode.Totals) int64 { return int64(t.Idle) })},
		{Name: "seconds", Doc: "how long the closed session lasted", Type: Seconds, Get: total(func(t *decode.Totals) int64 { return int64(t.Closed.Sub(t.Opened)) })},
		{Name: "frames", Doc: "frames in the closed session, of both sides", Type: Number, Get: total(func(t *decode.Totals) int64 { return t.Frames[0] + t.Frames[1] })},
		{Name: "bytes", Doc: "bytes in the closed session, of both sides", Type: Size, Get: total(func(t *decode.Totals) int64 { return t.Bytes[0] + t.Bytes[1] })},
		{Name: "fx", Doc: "what a change did to it", Type: Word, Words: []string{"", "drop", "delay", "replace", "hold"}, Get: one(func(s *Subject) (int64, bool) { return int64(s.Fate.FX), s.Fate.FX != decode.FXNone })},
		{Name: "leg", Doc: "out: it was sent in place of what came", Type: Word, Words: []string{"out"}, Get: one(func(s *Subject) (int64, bool) { return 0, s.Out })},
		{Name: "change", Doc: "the change that did it", Type: Text, Get: text(func(s *Subject) (string, bool) { return s.Fate.Change, s.Fate.Change != "" })},
	} {
		Register(f)
	}
}

func one(get func(*Subject) (int64, bool)) Get {
	return func(s *Subject, i int) (Value, bool) {
		if i > 0 {
			return Value{}, false
		}
		n, ok := get(s)
		return Value{N: n}, ok
	}
}

func text(get func(*Subject) (string, bool)) Get {
	return func(s *Subject, i int) (Value, bool) {
		if i > 0 {
			return Value{}, false
		}
		t, ok := get(s)
		return Value{S: t}, ok
	}
}

func flag(is, has func(*Subject) bool) Get {
	return one(func(s *Subject) (int64, bool) {
		switch {
		case !has(s):
			return 0, false
		case is(s):
			return 1, true
		}
		return 0, true
	})
}

func total(of func(*decode.Totals) int64) Get {
	return one(func(s *Subject) (int64, bool) {
		if s.Totals == nil {
			return 0, false
		}
		return of(s.Totals), true
	})
}

func hasFrame(s *Subject) bool { return s.Kind == decode.KindFrame }

func onlyMessage(s *Subject) bool { return s.Kind == decode.KindMessage && s.Message.Frames == 0 }

// said returns the message, or the body, that an event has all of; nil for none.
func said(s *Subject) *decode.Message {
	if s.Message != nil {
		return s.Message
	}
	return s.Body
}

// bodyLen returns the length of a body, or of a piece of one that is not put together.
func bodyLen(s *Subject) int64 {
	if s.Body != nil {
		return s.Body.Len
	}
	return s.BodyLen
}

func frame(s *Subject, of func(*decode.Frame) int64) (int64, bool) {
	if !hasFrame(s) {
		return 0, false
	}
	return of(s.Frame), true
}

func isWebSocket(s *Subject) bool {
	return s.Info.NoFrames || s.Handshake != nil && (s.Handshake.WebSocket || s.Handshake.Accepted)
}

func from(s *Subject) (int64, bool) {
	if s.Finding != nil {
		return int64(s.Finding.From), true
	}
	switch s.Kind {
	case decode.KindRequest, decode.KindResponse, decode.KindFrame, decode.KindJunk, decode.KindGap, decode.KindMessage, decode.KindBody, decode.KindOpaque:
		return int64(s.Dir), true
	case decode.KindViolation:
		if len(s.Violations) > 0 {
			return int64(s.Violations[0].From), true
		}
	case decode.KindEnd:
		return int64(s.Dir), !s.Both
	case decode.KindNotice:
		return int64(s.Dir), s.Fate.Change != ""
	}
	return 0, false
}

// kind returns what an event is and, behind that, what else it has.
func kind(s *Subject, i int) (Value, bool) {
	for _, k := range [...]struct {
		kind decode.Kind
		has  bool
	}{
		{s.Kind, true},
		{decode.KindViolation, s.Kind != decode.KindViolation && len(s.Violations) > 0},
		{decode.KindMessage, s.Kind != decode.KindMessage && s.Message != nil},
	} {
		if k.has {
			if i == 0 {
				return Value{N: int64(k.kind)}, true
			}
			i--
		}
	}
	return Value{}, false
}

func op(s *Subject) (int64, bool) {
	switch {
	case s.messages && s.Message != nil:
		return int64(s.Message.Op), true
	case s.Kind == decode.KindFrame:
		return int64(s.Frame.OpCode), true
	case s.Kind == decode.KindMessage:
		return int64(s.Message.Op), true
	}
	return 0, false
}

func number(s *Subject) (int64, bool) {
	switch {
	case s.Message != nil:
		return s.Message.N, true
	case !hasFrame(s) || s.Out || s.Frame.Control() || !s.memory.open[s.Dir]:
		return 0, false
	}
	return s.memory.begun[s.Dir] - 1, true
}

// payload returns the payload at hand of a control frame, if that is all of it.
func payload(s *Subject) ([]byte, bool) {
	f := s.Frame
	if !hasFrame(s) || !f.Control() || f.More || !f.Complete {
		return nil, false
	}
	s.buf = f.AppendPayload(s.buf[:0], -1)
	return s.buf, true
}

func textOf(s *Subject) (string, bool) {
	b, ok := []byte(nil), false
	switch m := s.Message; {
	case s.Totals != nil, m != nil && m.Op == ws.OpClose, hasFrame(s) && s.Frame.OpCode == ws.OpClose:
		return reason(s)
	case s.Kind == decode.KindNotice:
		return s.Text, s.Fate.Change != ""
	case m != nil:
		b = m.Content().Data
		ok = !m.Unread && (m.Op == ws.OpText || utf8.Valid(b))
	case s.Body != nil:
		c := s.Body.Content()
		if b = c.Data; c.Cut {
			b = decode.WholeChars(b)
		}
		ok = utf8.Valid(b)
	default:
		b, ok = payload(s)
		ok = ok && utf8.Valid(b)
	}
	return view(b), ok
}

func bytesOf(s *Subject) (string, bool) {
	if m := s.Message; m != nil {
		return view(m.Data), !m.Unread
	}
	b, ok := payload(s)
	return view(b), ok
}

func closeBody(s *Subject) (int, []byte, bool) {
	switch {
	case hasFrame(s) && s.Frame.OpCode == ws.OpClose:
		b, _ := payload(s)
		return decode.CloseBody(b)
	case s.Kind == decode.KindMessage && s.Message.Op == ws.OpClose:
		return decode.CloseBody(s.Message.Data)
	}
	return 0, nil, false
}

func code(s *Subject) (int64, bool) {
	if s.Totals != nil {
		return int64(s.Totals.Code), s.Totals.Code != 0 || s.Totals.Said
	}
	n, _, ok := closeBody(s)
	return int64(n), ok
}

func reason(s *Subject) (string, bool) {
	if s.Totals != nil {
		return s.Totals.Reason, s.Totals.Reason != ""
	}
	_, r, ok := closeBody(s)
	return view(r), ok
}

func hasJSON(s *Subject) bool {
	m := said(s)
	return !m.Unread && pick.Path{}.Find(m.Content().Data, func([]byte) bool { return true })
}

func jsonAt(path string) (Get, error) {
	p, err := pick.ParsePath("$" + path)
	if err != nil {
		return nil, err
	}
	if len(p) > pick.MaxFind {
		return nil, fmt.Errorf("a path has at most %d steps", pick.MaxFind)
	}
	return func(s *Subject, i int) (v Value, ok bool) {
		m := said(s)
		if m == nil || m.Unread {
			return v, false
		}
		ok = p.Find(m.Content().Data, func(b []byte) bool {
			v.S = view(b)
			i--
			return i < 0
		})
		return v, ok
	}, nil
}

func request(s *Subject) *decode.Head {
	if s.Handshake == nil {
		return nil
	}
	return s.Handshake.Request
}

func method(h *decode.Head) string {
	if h == nil {
		return ""
	}
	return h.Method
}

func status(s *Subject) (int64, bool) {
	n := 0
	switch {
	case s.Kind == decode.KindResponse:
		n = s.Head.Status
	case s.Totals != nil && s.Totals.Status != 0:
		n = s.Totals.Status
	case s.Totals != nil && s.Handshake != nil && s.Handshake.Response != nil:
		n = s.Handshake.Response.Status
	}
	return int64(n), n != 0
}

func agreed(s *Subject, of func(*decode.Handshake) string) (string, bool) {
	if s.Handshake == nil || !s.Handshake.Accepted {
		return "", false
	}
	v := of(s.Handshake)
	return v, v != ""
}

func tlsVersion(s *Subject, i int) (Value, bool) {
	for _, t := range [...]*decode.TLS{s.Info.ClientTLS, s.Info.ServerTLS} {
		if t == nil || t.Version == "" {
			continue
		}
		if i == 0 {
			return Value{S: t.Version}, true
		}
		i--
	}
	return Value{}, false
}

// target returns path and query of what was asked for.
func target(s *Subject) (path, query string, ok bool) {
	t := s.Info.URL
	if h := request(s); t == "" && h != nil {
		t = h.Target
	}
	if t == "" {
		return "", "", false
	}
	if _, rest, ok := strings.Cut(t, "://"); ok {
		i := strings.IndexAny(rest, "/?#")
		if i < 0 {
			return "/", "", true
		}
		t = rest[i:]
	}
	t, _, _ = strings.Cut(t, "#")
	path, query, _ = strings.Cut(t, "?")
	if path == "" {
		path = "/"
	}
	return path, query, true
}

func host(s *Subject) (string, bool) {
	h := s.Info.URL
	if _, rest, ok := strings.Cut(h, "://"); ok {
		h = rest
		if i := strings.IndexAny(h, "/?#"); i >= 0 {
			h = h[:i]
		}
		h = h[strings.LastIndexByte(h, '@')+1:]
	} else {
		h = request(s).Get("Host")
	}
	if strings.HasPrefix(h, "[") {
		h, _, _ = strings.Cut(h[1:], "]")
	} else if i := strings.LastIndexByte(h, ':'); i >= 0 {
		h = h[:i]
	}
	return h, h != ""
}

func query(name string) (Get, error) {
	return func(s *Subject, i int) (Value, bool) {
		_, q, _ := target(s)
		for q != "" {
			var p string
			p, q, _ = strings.Cut(q, "&")
			k, v, _ := strings.Cut(p, "=")
			if unescaped(k) != name {
				continue
			}
			if i == 0 {
				return Value{S: unescaped(v)}, true
			}
			i--
		}
		return Value{}, false
	}, nil
}

// unescaped returns what a part of a query stands for; the part itself, if it is
// not escaped as it should be.
func unescaped(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

func header(name string) (Get, error) {
	return func(s *Subject, i int) (Value, bool) {
		if s.Handshake == nil {
			return Value{}, false
		}
		for _, h := range [...]*decode.Head{s.Handshake.Request, s.Handshake.Response} {
			if h == nil {
				continue
			}
			for _, f := range h.Fields {
				if !strings.EqualFold(f.Name, name) {
					continue
				}
				if i == 0 {
					return Value{S: f.Value}, true
				}
				i--
			}
		}
		return Value{}, false
	}, nil
}
