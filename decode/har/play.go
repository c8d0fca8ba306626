package har

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// play gives an entry to a session. turn is asked before each step.
func (e *entry) play(turn func(time.Time) bool) error {
	begin := time.Unix(0, e.start)
	e.finishHeads()
	req, res := &e.request, &e.response
	asks := !e.bare && decode.AsksForWebSocket(&req.Head)
	accepted := asks && (res.Status == 101 || res.Proto == "HTTP/2" && res.Status/100 == 2)
	websocket := asks || e.bare || e.sent > 0 || e.kind == "websocket" && res.Status == 101
	bare := e.bare || websocket && (e.sent > 0 || res.Status == 101) && !accepted

	info := e.info
	info.Conn, info.Time, info.URL, info.NoFrames = e.source.After+e.stored.n, begin, req.url, websocket
	if !e.ours {
		info.Via, info.Server = "har", origin(req.url)
		if rest, ok := strings.CutPrefix(req.url, "http"); ok && websocket { // as proxies call it
			info.URL = "ws" + rest
		}
	}
	if websocket {
		e.source.messages = true
	}
	s := &decode.Session{Sink: e.sink, Look: e.look}
	s.At(0, e.at)
	s.Open(info)

	asked := begin.Add(e.untilAsked())
	answered := asked.Add(time.Duration(max(e.timings.wait, 0)))
	if first := e.first(); accepted && !first.IsZero() { // then the timings are those of more than the handshake
		asked = later(begin, earlier(asked, first))
		answered = later(begin, earlier(answered, first))
	}
	end := answered
	if e.ended > 0 {
		end = later(end, begin.Add(time.Duration(e.ended)))
	}
	given := [2]int64{}
	if bare {
		s.Upgraded()
		if !e.bare {
			s.Notice(begin, "the handshake is not whole in the file, and is left out")
		}
	} else {
		if !turn(asked) {
			return nil
		}
		e.head(s, decode.FromClient, asked, req)
		given[0] = e.body(s, decode.FromClient, asked, &req.body)
		if res.Status != 0 || res.raw != nil {
			if !turn(answered) {
				return nil
			}
			e.head(s, decode.FromServer, answered, res)
			if !accepted {
				if !turn(end) {
					return nil
				}
				given[1] = e.body(s, decode.FromServer, end, &res.body)
			}
		}
	}
	for _, notice := range e.notices(websocket, accepted || bare) {
		s.Notice(answered, notice)
	}
	last, more, err := e.happen(s, answered, turn)
	if end = later(end, last); !more || err != nil || e.open || !turn(end) {
		return err
	}
	for d, n := range e.bytes {
		if n -= given[d]; n > 0 && !websocket {
			s.Skip(decode.Dir(d), end, n)
		}
	}
	s.At(0, e.at)
	if e.closed.known {
		s.Notice(end, e.closed.String())
	}
	s.Done(end)
	return nil
}

func (c closing) String() string {
	text := "the connection was closed"
	if c.code != 0 {
		text += fmt.Sprintf(" with %d", c.code)
	}
	if c.reason != "" {
		text += " " + quoted(c.reason)
	}
	return text
}

func quoted(s string) string { return string(decode.AppendQuoted(nil, []byte(s))) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// notices are what a person should know of an entry.
func (e *entry) notices(websocket, upgraded bool) (list []string) {
	file := e.response.body.file
	switch {
	case file != "" && websocket:
		list = append(list, "its messages are in the file "+quoted(file)+", which is not read")
	case file != "":
		list = append(list, "its body is in the file "+quoted(file)+", which is not read")
	case upgraded && e.sent == 0 && !e.ours:
		list = append(list, "the file has no messages of it")
	}
	if e.failure != "" {
		list = append(list, "it failed: "+e.failure)
	}
	if e.long > 0 {
		list = append(list, tooLong(e.long))
	}
	switch {
	case e.garbled == 1:
		list = append(list, "1 binary message is not in base64, and taken as it is")
	case e.garbled > 1:
		list = append(list, fmt.Sprintf("%d binary messages are not in base64, and taken as they are", e.garbled))
	}
	if e.undated != "" {
		list = append(list, "its startedDateTime, "+quoted(e.undated)+", is no time")
	}
	return list
}

// first returns the time of the first message; zero if it has none.
func (e *entry) first() time.Time {
	if p := e.store.playback(&e.messages); p.ok && p.h.time >= 0 {
		return time.Unix(0, p.h.time)
	}
	return time.Time{}
}

// untilAsked is how long after the beginning of an entry its request was sent.
func (e *entry) untilAsked() time.Duration {
	t := &e.timings
	return time.Duration(max(t.blocked, 0)) + time.Duration(max(t.dns, 0)) + time.Duration(max(t.connect, 0)) + time.Duration(max(t.send, 0))
}

// finishHeads makes heads of what was read.
func (e *entry) finishHeads() {
	req, res := &e.request, &e.response
	req.Proto, res.Proto = proto(req.Proto), proto(res.Proto)
	if req.Proto == "HTTP/2" && upgrades(&req.Head) { // such a file calls it so all the same
		req.Proto = "HTTP/1.1"
	}
	if req.Proto == "HTTP/1.1" && res.Status == 101 {
		res.Proto = "HTTP/1.1"
	}
	if req.Method == "" && req.url != "" {
		req.Method = "GET"
	}
	if e.gori {
		req.extendedConnect()
	}
	if req.Target == "" {
		req.Target = targetOf(req.Method, req.url)
	}
	for _, h := range []*head{req, res} {
		if b := &h.body; e.gori && b.there { // as it came, but it may be cut off
			b.len = max(b.size, b.declared)
		}
		h.body.finish()
		switch {
		case !e.ours:
			h.fit(e.gori)
		case h.raw != nil:
			h.parse(h == req)
		case h.Proto != "HTTP/2" && (h == req && h.Method != "" || h.Status != 0):
			h.Raw = string(h.Append(nil))
		}
		if b := &h.body; len(b.data) > spoolFrom { // it may have to wait for its time
			e.store.add(&b.kept, b.data)
			b.data = nil
		}
	}
}

// extendedConnect gives a request of gori that opens a WebSocket connection in HTTP/2
// (RFC 8441) its target and its pseudo-header, which gori spells as a field.
func (h *head) extendedConnect() {
	i := slices.IndexFunc(h.Fields, func(f decode.Field) bool { return strings.EqualFold(f.Name, "X-Gori-Protocol") })
	if i < 0 || h.Method != "CONNECT" || h.Proto != "HTTP/2" {
		return
	}
	protocol := decode.Field{Name: ":protocol", Value: h.Fields[i].Value}
	h.Fields = slices.Insert(slices.Delete(h.Fields, i, i+1), 0, protocol)
	h.Target = targetOf("GET", h.url)
}

// parse makes a head of its bytes, if they are one.
func (h *head) parse(request bool) {
	parse := decode.ParseResponse
	if request {
		parse = decode.ParseRequest
	}
	if p, err := parse(string(h.raw)); err == nil && decode.HeadLen(h.raw, 0) == len(h.raw) {
		h.Head, h.raw = *p, nil
	}
}

func upgrades(h *decode.Head) bool { return h.HasToken("Upgrade", "websocket") }

// proto returns the version of HTTP, of which there are many spellings.
func proto(s string) string {
	switch s = strings.ToLower(s); {
	case s == "http/1.0":
		return "HTTP/1.0"
	case s == "h2", s == "h2c", strings.HasPrefix(s, "http/2"):
		return "HTTP/2"
	}
	return "HTTP/1.1" // HTTP/3 has no spelling of its own here
}

// targetOf returns the target of a request for a URL: its path and query.
func targetOf(method, url string) string {
	_, rest, ok := strings.Cut(url, "://")
	if method == "CONNECT" || !ok {
		return url
	}
	rest, _, _ = strings.Cut(rest, "#")
	i := strings.IndexAny(rest, "/?")
	switch {
	case i < 0:
		return "/"
	case rest[i] == '?':
		return "/" + rest[i:]
	}
	return rest[i:]
}

// fit makes the fields of a head those of the body that the file has: without its
// coding, unless that is still on it, and with its length.
func (h *head) fit(coded bool) {
	b := &h.body
	request := h.Status == 0
	if !b.there || request && b.all == 0 {
		return
	}
	if !coded {
		h.Fields = slices.DeleteFunc(h.Fields, func(f decode.Field) bool { return strings.EqualFold(f.Name, "Content-Encoding") })
	}
	n, sized := strconv.FormatInt(b.all, 10), h.HasToken("Transfer-Encoding", "chunked")
	for i, f := range h.Fields {
		if strings.EqualFold(f.Name, "Content-Length") {
			h.Fields[i].Value, sized = n, true
		}
	}
	if request && !sized { // nothing else says that there is one
		h.Fields = append(h.Fields, decode.Field{Name: "Content-Length", Value: n})
	}
}

// finish makes data of what was read of a body.
func (b *body) finish() {
	switch {
	case b.isCoded:
	case b.base64:
		data, ok := decodeBase64(b.data)
		if ok && b.all > int64(len(b.data)) {
			b.all = b.all / 4 * 3 // or up to 2 less
		} else if ok {
			b.all = int64(len(data))
		}
		if ok {
			b.data = data
		}
	}
	b.all = max(b.all, b.len, int64(len(b.data)))
}

// head gives a head to a session.
func (e *entry) head(s *decode.Session, d decode.Dir, t time.Time, h *head) {
	if h.raw == nil {
		s.Head(d, t, &h.Head, nil)
		return
	}
	n := decode.HeadLen(h.raw, 0)
	s.Data(d, t, h.raw)
	if n == 0 {
		s.FlushAll(d, t) // it is cut off
	}
}

// body gives a body to a session, and returns how long it is.
func (e *entry) body(s *decode.Session, d decode.Dir, t time.Time, b *body) int64 {
	if !b.there {
		n := b.size
		switch {
		case e.ours:
			n = b.len // what there is besides was not recorded
		case b.declared > 0:
			n = b.declared
		}
		if n > 0 {
			s.SkipBody(d, t, n)
			s.FlushAll(d, t)
		}
		return max(n, 0)
	}
	left, r := b.kept.n, e.store.reader(&b.kept)
	if left == 0 {
		left, r = int64(len(b.data)), bytesReader(b.data)
	}
	less := b.all - left
	for piece := make([]byte, min(left, decode.MaxPiece)); left > 0; {
		piece = piece[:min(left, decode.MaxPiece)]
		if _, err := io.ReadFull(r, piece); err != nil {
			e.store.err = cmp.Or(e.store.err, err)
			break
		}
		left -= int64(len(piece))
		s.Body(d, t, piece, left == 0 && less == 0 && !b.unended)
	}
	b.data = nil
	e.store.drop(&b.kept)
	if less > 0 {
		s.SkipBody(d, t, less)
	} else if b.unended {
		s.SkipBody(d, t, 0)
	}
	s.FlushAll(d, t)
	return b.all
}

// happen gives the messages, and what stands beside them, to a session. It returns the
// time of the last, and whether there may be a further step.
func (e *entry) happen(s *decode.Session, t time.Time, turn func(time.Time) bool) (time.Time, bool, error) {
	messages, events := e.store.playback(&e.messages), e.store.playback(&e.events)
	moved := int64(0)
	for n := int64(0); messages.ok || events.ok; {
		p := messages
		if events.ok && (!messages.ok || events.h.after <= n) {
			p = events
		}
		h := &p.h
		if h.time >= 0 {
			at := time.Unix(0, h.time)
			if at.Before(t) {
				moved++
			}
			t = later(t, at)
		}
		if !turn(t) {
			return t, false, nil
		}
		if p.load(); !p.ok {
			break
		}
		s.At(0, h.at)
		switch h.what {
		case isMessage:
			s.Message(h.dir, t, h.op, h.data)
		case isNote, isLess:
			s.Notice(t, string(h.data))
		case isEnd:
			if h.state != 0 {
				s.Answer(int(h.state))
			}
			if h.both {
				s.EndBoth(t, h.how, string(h.data))
			} else {
				s.End(h.dir, t, h.how, string(h.data))
			}
		}
		if p == messages {
			n++
		}
		p.next()
	}
	switch {
	case e.ours: // what happened at once
	case moved == 1:
		s.Notice(t, "the time of 1 message is before that of what precedes it, and is taken for the same")
	case moved > 1:
		s.Notice(t, fmt.Sprintf("the times of %d messages are before those of what precedes them, and are taken for the same", moved))
	}
	return t, true, cmp.Or(messages.err, events.err)
}

// origin returns the address that a URL names: "host:port".
func origin(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" || u.Scheme == "wss" {
			port = "443"
		}
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}
