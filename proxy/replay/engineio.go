package replay

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// An engineIO is a session of Engine.IO 4 that begins by polling: requests that bring and
// fetch packets, and mostly a WebSocket connection to which it is upgraded. How many
// requests there are, what each has, and when the upgrade comes, differs from run to run.
// So it is played as if all packets were messages of one WebSocket connection, of which a
// script is made; what goes over the network is requests all the same.
type engineIO struct {
	sid      string
	opening  *Script
	polls    []*Script
	posts    []*Script
	upgrade  *Script   // nil if there was none
	probes   []*Script // WebSocket connections that came to nothing
	refused  bool      // as the server has it
	numbers  []int64   // of all these, in order
	requests int       // how many of these are no WebSocket connections
	before   int       // packets of the client, without heartbeats, that went before the upgrade
}

// A packet is one of Engine.IO: a digit and what it brings, or bytes.
type packet struct {
	op   ws.OpCode
	data []byte
}

func (p packet) is(text string) bool { return p.op == ws.OpText && string(p.data) == text }

// isBeat reports whether a packet may come or not.
func (p packet) isBeat() bool { return p.is("2") || p.is("3") }

// Packets about the transport.
const (
	packetClose   = "1"
	packetProbe   = "2probe"
	packetProbed  = "3probe"
	packetUpgrade = "5"
	packetNoop    = "6"
)

// packetEnd stands between packets in the body of a request or an answer.
const packetEnd = "\x1e"

// splitPayload returns the packets in a body; ok is false if it has anything else.
func splitPayload(b []byte) (list []packet, ok bool) {
	for part := range bytes.SplitSeq(b, []byte(packetEnd)) {
		switch {
		case len(part) > 0 && part[0] == 'b':
			data, err := base64.StdEncoding.DecodeString(string(part[1:]))
			if err != nil {
				return nil, false
			}
			list = append(list, packet{ws.OpBinary, data})
		case len(part) > 0 && part[0] >= '0' && part[0] <= '6' && utf8.Valid(part):
			list = append(list, packet{ws.OpText, part})
		default:
			return nil, false
		}
	}
	return list, true
}

// appendPayload appends packets as the body of a request or an answer.
func appendPayload(dst []byte, list []packet) []byte {
	for i, p := range list {
		if i > 0 {
			dst = append(dst, packetEnd...)
		}
		if p.op == ws.OpBinary {
			dst = append(dst, 'b')
			dst = base64.StdEncoding.AppendEncode(dst, p.data)
		} else {
			dst = append(dst, p.data...)
		}
	}
	return dst
}

// engineQuery returns what a request says of Engine.IO 4. ok is false if it is none of it.
func engineQuery(req *decode.Head) (transport, sid string, ok bool) {
	_, query, _ := strings.Cut(originForm(req.Target), "?")
	if !strings.Contains(query, "EIO=4") {
		return "", "", false
	}
	q, err := url.ParseQuery(query)
	if err != nil || q.Get("EIO") != "4" || q.Has("j") { // JSONP has another form
		return "", "", false
	}
	return q.Get("transport"), q.Get("sid"), true
}

// upgrades reports whether the client of a WebSocket connection goes on there.
func (s *Script) upgrades() bool {
	return slices.ContainsFunc(s.sides[decode.FromClient].units, func(u unit) bool {
		return u.kind == unitMessage && packet{u.op, u.data}.is(packetUpgrade)
	})
}

// sidOf returns the id of a session that a packet opens; "" if it opens none.
func sidOf(p packet) string {
	var open struct {
		Sid string `json:"sid"`
	}
	if p.op != ws.OpText || !bytes.HasPrefix(p.data, []byte("0{")) || json.Unmarshal(p.data[1:], &open) != nil {
		return ""
	}
	return open.Sid
}

// packetsOf returns the packets that d sent in an exchange; ok is false if they are not
// known.
func (s *Script) packetsOf(d decode.Dir) (list []packet, ok bool) {
	h := s.request
	if d == decode.FromServer {
		h = s.final()
	}
	body := &s.plain.bodies[d]
	content, known := contentOf(h.Head, body.bytes())
	if !known || body.missing > 0 || body.cutOff {
		return nil, false
	}
	return splitPayload(content)
}

// playsEngines puts scripts of whole Engine.IO sessions in place of those of their parts.
func (l *library) playsEngines(scripts []*Script) ([]*Script, error) {
	if l.exact || l.stream {
		return scripts, nil
	}
	bySid := map[string]*engineIO{}
	var engines []*engineIO
	for _, s := range scripts {
		if s.request == nil {
			continue
		}
		transport, sid, ok := engineQuery(s.request.Head)
		switch e := bySid[sid]; {
		case !ok || s.plain != nil && s.plain.foreign:
		case sid == "" && s.plain != nil && transport == "polling" && s.request.Method == "GET" && s.answered() && s.final().Status == 200:
			list, ok := s.packetsOf(decode.FromServer)
			if !ok || sidOf(list[0]) == "" {
				continue
			}
			e := &engineIO{sid: sidOf(list[0]), opening: s}
			bySid[e.sid] = e
			engines = append(engines, e)
		case e == nil:
		case s.plain == nil && e.upgrade == nil && s.upgrades():
			e.upgrade = s
		case s.plain == nil:
			e.probes = append(e.probes, s)
		case transport != "polling":
			e.refused = true
		case s.request.Method == "GET":
			e.polls = append(e.polls, s)
		case s.request.Method == "POST":
			e.posts = append(e.posts, s)
		}
	}
	for _, e := range engines {
		s, err := l.playEngine(e)
		if err != nil {
			return nil, err
		}
		if s == nil { // as they are, then
			continue
		}
		parts := e.parts()
		i := slices.Index(scripts, e.opening)
		scripts[i] = s
		scripts = slices.DeleteFunc(scripts, func(s *Script) bool { return slices.Contains(parts, s) })
	}
	return scripts, nil
}

func (e *engineIO) parts() []*Script {
	list := slices.Concat([]*Script{e.opening}, e.polls, e.posts, e.probes)
	if e.upgrade != nil {
		list = append(list, e.upgrade)
	}
	slices.SortFunc(list, func(a, b *Script) int { return a.at - b.at })
	return list
}

// A move is something that a side does in a session of Engine.IO.
type move struct {
	dir decode.Dir
	at  int
	t   time.Duration
	packet
	kind unitKind // unitMessage, unitClose or unitEnd
	how  decode.End
}

// playEngine returns the script of a session; nil if something of it is not known.
func (l *library) playEngine(e *engineIO) (*Script, error) {
	moves, ok := e.moves()
	if !ok {
		return nil, nil
	}
	o := e.opening
	s := &Script{equality: l.equality, number: o.number, info: o.info, engine: e}
	b := l.newBuilder(s, o.at, o.lines, o.begin)
	s.request = &head{Head: asHandshake(o.request.Head), at: o.request.at, out: o.request.out}
	if o.edited != nil {
		s.edited = &head{Head: asHandshake(o.edited.Head), at: o.edited.at}
	}
	answer := o.final()
	b.response(&head{Head: asUpgraded(answer.Head, decode.AcceptKey(anyKey)), at: answer.at, out: answer.out}, o.start)
	for _, m := range moves {
		switch m.kind {
		case unitMessage:
			if err := b.message(&decode.Message{Dir: m.dir, Op: m.op, Data: m.data, Len: int64(len(m.data))}, m.at, m.t); err != nil {
				return nil, err
			}
		case unitClose:
			u := &unit{kind: unitClose, op: ws.OpClose, data: m.data, frames: 1, flags: 0x80 | byte(ws.OpClose), masked: m.dir == decode.FromClient, lenBits: 7}
			b.add(m.dir, item{at: m.at, t: m.t, wire: &wire{bytes: appendFrame(nil, u.flags, u.data, u.masked, [4]byte{})}, isClose: true, ends: true, need: b.have(m.dir.Peer())})
			b.unit(m.dir, u, []int{b.assemblers[m.dir].item})
		case unitEnd:
			if b.end(m.dir, false, m.at, m.t, m.how) {
				b.assemblers[m.dir].take(&decode.Event{Kind: decode.KindEnd, Dir: m.dir, How: m.how})
			}
		}
		if b.err != nil {
			return nil, b.err
		}
	}
	for _, part := range e.parts() {
		e.numbers = append(e.numbers, part.number)
		if part.plain != nil {
			e.requests++
		}
	}
	s, err := b.finish()
	if err == nil {
		s.selectors, s.warning, s.sessions = o.selectors, o.warning, o.sessions
	}
	return s, err
}

// moves returns what both sides do, in the order of the recording; ok is false if
// something of it is not known.
func (e *engineIO) moves() (list []move, ok bool) {
	for _, s := range slices.Concat([]*Script{e.opening}, e.polls, e.posts) {
		from := decode.FromServer
		if s.request.Method == "POST" {
			from = decode.FromClient
		}
		if s.answered() && s.final().Status != 200 {
			return nil, false
		}
		if from == decode.FromServer && !s.answered() {
			continue // a poll that was given up
		}
		packets, ok := s.packetsOf(from)
		if !ok {
			return nil, false
		}
		at, t := s.headAt(from), s.begin
		if from == decode.FromServer {
			t = s.start
		}
		for _, p := range s.plain.bodies[from].pieces {
			at, t = p.at, p.t
		}
		for _, p := range packets {
			if p.is(packetNoop) {
				continue
			}
			if from == decode.FromClient && !p.isBeat() {
				e.before++
			}
			list = append(list, move{dir: from, at: at, t: t, packet: p})
		}
	}
	if e.upgrade != nil {
		for d := range decode.Dir(2) {
			for _, u := range e.upgrade.sides[d].units {
				p := packet{u.op, u.data}
				switch {
				case u.kind != unitMessage && u.kind != unitClose && u.kind != unitEnd, u.long != nil, u.cut, u.rare != nil:
					return nil, false
				case u.kind == unitMessage && (p.is(packetProbe) || p.is(packetProbed) || p.is(packetUpgrade) || p.is(packetNoop)):
					continue
				}
				list = append(list, move{dir: d, at: u.at, t: u.t, packet: p, kind: u.kind, how: u.how})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b move) int { return cmp.Compare(a.at, b.at) })
	return list, true
}

// headAt returns the position of the head in front of what d sends in an exchange.
func (s *Script) headAt(d decode.Dir) int {
	if d == decode.FromClient {
		return s.request.at
	}
	return s.final().at
}

// anyKey is a Sec-WebSocket-Key that nobody has sent.
const anyKey = "AAAAAAAAAAAAAAAAAAAAAA=="

// ofConnection are the fields that a handshake has for itself, and a body.
var ofConnection = []string{"Connection", "Upgrade", "Keep-Alive", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding",
	"Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Accept", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Date", "Etag", "Vary"}

// parsed returns a head without its spelling and without some of its fields.
func parsed(h *decode.Head, without ...string) *decode.Head {
	c := *h
	c.Raw, c.Proto = "", "HTTP/1.1"
	c.Fields = slices.DeleteFunc(slices.Clone(h.Fields), func(f decode.Field) bool {
		return slices.ContainsFunc(without, func(name string) bool { return strings.EqualFold(name, f.Name) })
	})
	return &c
}

// asHandshake returns the request that opens a session by polling as one for websocket.
func asHandshake(h *decode.Head) *decode.Head {
	return withFields(parsed(h, ofConnection...), []decode.Field{{Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"},
		{Name: "Sec-WebSocket-Key", Value: anyKey}, {Name: "Sec-WebSocket-Version", Value: "13"}})
}

// asUpgraded returns the answer to such a request as one to that for websocket.
func asUpgraded(h *decode.Head, accept string) *decode.Head {
	c := parsed(h, ofConnection...)
	c.Status, c.Reason = 101, "Switching Protocols"
	return withFields(c, []decode.Field{{Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"}, {Name: "Sec-WebSocket-Accept", Value: accept}})
}

// withSid returns a target with a session id in place of the recorded one.
func (e *engineIO) withSid(target, sid string) string {
	return strings.Replace(target, "sid="+url.QueryEscape(e.sid), "sid="+url.QueryEscape(sid), 1)
}

// nextNumber returns the number of the next exchange of a session that is played: those
// of the recording come first.
func (c *cast) nextNumber(numbers *[]int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(*numbers) > 0 {
		n := (*numbers)[0]
		*numbers = (*numbers)[1:]
		return c.base + n
	}
	c.number++
	return c.base + c.number
}

// maxSpare is how many exchanges more than recorded have numbers of their own, where
// sessions are played many times.
const maxSpare = 1 << 20

// quiet returns how a session is played of which others tell the events.
func (p *playing) quiet() *playing {
	q := *p
	q.events = nil
	return &q
}

// urlOf returns the URL of a request on a connection.
func urlOf(conn net.Conn, host, target string, websocket bool) string {
	scheme := "http"
	if websocket {
		scheme = "ws"
	}
	if tlsOf(conn) != nil {
		scheme += "s"
	}
	return scheme + "://" + host + target
}
