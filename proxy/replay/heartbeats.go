package replay

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// A beat says what a message is to the heartbeat of an application.
type beat uint8

const (
	noBeat     beat = iota
	beatAlone       // nobody answers it
	beatAsk         // the other side answers it
	beatAnswer      // it is that answer
)

// A stack is a protocol on top of WebSocket that has a heartbeat in messages.
type stack struct {
	name  string
	is    func(*traits) bool
	beat  func(op ws.OpCode, data []byte) beat
	split splitter // nil if a message is a record
}

// traits are what a session is recognized by.
type traits struct {
	subprotocol string
	path, query string
	first       [2][]byte // by Dir: the first message
}

func subprotocol(names ...string) func(*traits) bool {
	return func(t *traits) bool { return slices.Contains(names, t.subprotocol) }
}

// texts returns what the texts that are asked with, answered with, and sent without
// either are to a heartbeat.
func texts(ask, answer, alone string) func(ws.OpCode, []byte) beat {
	return func(op ws.OpCode, data []byte) beat {
		switch s := string(data); {
		case op != ws.OpText || s == "":
		case s == ask:
			return beatAsk
		case s == answer:
			return beatAnswer
		case s == alone:
			return beatAlone
		}
		return noBeat
	}
}

// jsonTypes is like texts for JSON objects whose member called key has these values.
func jsonTypes(key, ask, answer, alone string) func(ws.OpCode, []byte) beat {
	return func(op ws.OpCode, data []byte) beat {
		var m map[string]json.RawMessage
		if op != ws.OpText || len(data) > maxBeat || json.Unmarshal(data, &m) != nil || m[key] == nil {
			return noBeat
		}
		return texts(ask, answer, alone)(op, m[key])
	}
}

// maxBeat is how long a heartbeat is at most, in bytes.
const maxBeat = 1 << 10

var (
	signalRPing = regexp.MustCompile(`^(\{\s*"type"\s*:\s*6\s*\}\x1e)+$`)
	sockJSPath  = regexp.MustCompile(`/[0-9]{3}/[^/]+/websocket$`)
	primusBeat  = regexp.MustCompile(`^"primus::(ping|pong)::[0-9]+"$`)
	phoenixV1   = regexp.MustCompile(`"event"\s*:\s*"(heartbeat|phx_reply)"`)
)

// stacks are the protocols whose heartbeats are known, with what they are recognized by
// and how they ask.
var stacks = []stack{
	{"Socket.IO", func(t *traits) bool { return strings.Contains(t.query, "EIO=") }, texts("2", "3", ""), nil},
	{"SignalR", func(t *traits) bool {
		return bytes.HasPrefix(t.first[decode.FromClient], []byte(`{"protocol":"`)) && bytes.HasSuffix(t.first[decode.FromClient], []byte("}\x1e"))
	}, func(op ws.OpCode, data []byte) beat {
		if op == ws.OpText && len(data) < maxBeat && signalRPing.Match(data) || op == ws.OpBinary && string(data) == "\x02\x91\x06" {
			return beatAlone
		}
		return noBeat
	}, signalRRecord},
	{"Phoenix", func(t *traits) bool {
		return strings.HasSuffix(t.path, "/websocket") && strings.Contains(t.query, "vsn=")
	}, phoenixBeat, nil},
	{"GraphQL over WebSocket", subprotocol("graphql-transport-ws"), jsonTypes("type", `"ping"`, `"pong"`, ""), nil},
	{"GraphQL subscriptions", subprotocol("graphql-ws"), jsonTypes("type", "", "", `"ka"`), nil},
	{"STOMP", func(t *traits) bool {
		return strings.HasSuffix(t.subprotocol, ".stomp") || bytes.HasPrefix(t.first[decode.FromClient], []byte("CONNECT\n")) || bytes.HasPrefix(t.first[decode.FromClient], []byte("STOMP\n"))
	}, func(op ws.OpCode, data []byte) beat {
		if s := string(data); s == "\n" || s == "\r\n" {
			return beatAlone
		}
		return noBeat
	}, stompRecord},
	{"MQTT", subprotocol("mqtt", "mqttv3.1"), func(op ws.OpCode, data []byte) beat {
		switch string(data) {
		case "\xc0\x00": // PINGREQ
			return beatAsk
		case "\xd0\x00": // PINGRESP
			return beatAnswer
		}
		return noBeat
	}, mqttRecord},
	{"SockJS", func(t *traits) bool {
		return sockJSPath.MatchString(t.path) && string(t.first[decode.FromServer]) == "o"
	}, texts("", "", "h"), nil},
	{"Action Cable", subprotocol("actioncable-v1-json"), jsonTypes("type", "", "", `"ping"`), nil},
	{"tRPC", func(t *traits) bool {
		return strings.Contains(t.query, "connectionParams=1") || bytes.Contains(t.first[decode.FromClient], []byte(`"params":{"path":`))
	}, texts("PING", "PONG", ""), nil},
	{"Primus", func(t *traits) bool { return strings.Contains(t.query, "_primuscb") }, func(op ws.OpCode, data []byte) beat {
		m := primusBeat.FindSubmatch(data)
		switch {
		case m == nil:
			return noBeat
		case string(m[1]) == "ping":
			return beatAsk
		}
		return beatAnswer
	}, nil},
	{"Discord", func(t *traits) bool { return bytes.HasPrefix(t.first[decode.FromServer], []byte(`{"op":10,`)) }, jsonTypes("op", "1", "11", ""), nil},
}

// phoenixBeat knows both forms of Phoenix's messages: arrays, and objects.
func phoenixBeat(op ws.OpCode, data []byte) beat {
	if op != ws.OpText || len(data) > maxBeat || !bytes.Contains(data, []byte(`"phoenix"`)) {
		return noBeat
	}
	event := ""
	if m := phoenixV1.FindSubmatch(data); m != nil {
		event = string(m[1])
	}
	var v2 []any
	if json.Unmarshal(data, &v2) == nil && len(v2) == 5 && v2[2] == "phoenix" {
		event, _ = v2[3].(string)
	}
	switch event {
	case "heartbeat":
		return beatAsk
	case "phx_reply":
		return beatAnswer
	}
	return noBeat
}

// recognize returns the stack of the session, or nil.
func (s *Script) recognize() *stack {
	var t traits
	target := s.info.URL
	if s.request != nil {
		target = s.request.Target
	}
	t.path, t.query, _ = strings.Cut(originForm(target), "?")
	if len(s.replies) > 0 {
		t.subprotocol = s.final().Get("Sec-WebSocket-Protocol")
	}
	for d := range s.sides {
		for i := range s.sides[d].units {
			if u := &s.sides[d].units[i]; u.kind == unitMessage {
				t.first[d] = u.data
				break
			}
		}
	}
	for i := range stacks {
		if stacks[i].is(&t) {
			return &stacks[i]
		}
	}
	return nil
}

// beatOf returns what a message is to the heartbeat. chosen says that a filter of the
// user selects it.
func (s *Script) beatOf(u *unit, chosen bool) beat {
	if s.exact || u.kind != unitMessage || u.long != nil || u.cut {
		return noBeat
	}
	if s.stack != nil {
		if b := s.stack.beat(u.op, u.data); b != noBeat {
			return b
		}
	}
	if chosen || slices.ContainsFunc(s.optional, func(sel pick.Selector) bool { return len(sel.Values(u.data)) > 0 }) {
		return beatAlone
	}
	return noBeat
}

// chooses returns what says which events are of messages that may come or not, by the
// filters of the user; nil for none.
func (e *equality) chooses() func(*decode.Event) bool {
	if len(e.optionals) == 0 {
		return nil
	}
	var list []func(*decode.Event) bool
	for _, f := range e.optionals {
		list = append(list, f())
	}
	return func(ev *decode.Event) (chosen bool) {
		for _, f := range list {
			chosen = f(ev) || chosen // each sees all of them
		}
		return chosen
	}
}

// noteBeats notes which messages may come or not, and which answer others.
func (s *Script) noteBeats() {
	s.stack = s.recognize()
	for d := range s.sides {
		for i := range s.sides[d].units {
			u := &s.sides[d].units[i]
			u.beat, u.answers = s.beatOf(u, u.chosen), -1
			u.chosen = u.beat == beatAlone && (s.stack == nil || s.stack.beat(u.op, u.data) == noBeat)
		}
	}
	for d := range decode.Dir(2) {
		units, theirs := s.sides[d].units, s.sides[d.Peer()].units
		for i := range units {
			u := &units[i]
			if u.beat != beatAnswer && u.beat != beatAlone {
				continue
			}
			// It answers the question before it or, where nobody knows what is one,
			// the heartbeat just before it.
			for j := range theirs {
				t := &theirs[j]
				switch {
				case t.at > u.at:
				case u.beat == beatAnswer:
					if t.beat == beatAsk {
						u.answers = j
					}
				case t.beat == beatAlone && u.chosen && t.chosen && (i == 0 || units[i-1].at < t.at):
					u.answers = j
				default:
					u.answers = -1
				}
			}
		}
	}
}

// word is a part of a message in which an id may stand.
var word = regexp.MustCompile(`[0-9A-Za-z]+`)

// withWords returns a recorded answer with the words that a question has in place of
// those of the recorded question.
func withWords(answer, recorded, live []byte) []byte {
	ws, ls := word.FindAllString(string(recorded), -1), word.FindAllString(string(live), -1)
	if len(ws) != len(ls) {
		return answer
	}
	changed := map[string]string{}
	for i, w := range ws {
		if w != ls[i] {
			changed[w] = ls[i]
		}
	}
	if len(changed) == 0 {
		return answer
	}
	return word.ReplaceAllFunc(answer, func(b []byte) []byte {
		if to, ok := changed[string(b)]; ok {
			return []byte(to)
		}
		return b
	})
}

// takeBeat takes a message of the peer that may come or not, and answers it as the
// recorded one like it was. It is called with mu locked.
func (p *player) takeBeat(u *unit, kind beat) {
	units := p.s.sides[p.peer].units
	like := -1 // the recorded one: the first that has not come, or else the last
	for i := range units {
		if units[i].beat != kind {
			continue
		}
		same, _ := p.s.compare(&units[i], u, p.subs)
		switch {
		case same && !p.matched[i]:
			like = i
		case like < 0 || same || len(word.FindAll(units[i].data, -1)) == len(word.FindAll(u.data, -1)):
			like = i
			continue
		default:
			continue
		}
		break
	}
	if like < 0 {
		return
	}
	p.matched[like] = true
	for i := range p.s.sides[p.role].units {
		ours := &p.s.sides[p.role].units[i]
		if ours.beat == noBeat || ours.answers != like {
			continue
		}
		data := withWords(p.live(ours), units[like].data, u.data)
		p.beats = append(p.beats, p.beatFrame(ours, data)...)
		return
	}
}

// beatFrame returns a message of a heartbeat as one frame. It is never compressed, as it
// may come at another time than recorded.
func (p *player) beatFrame(u *unit, data []byte) []byte {
	p.uncompressed = p.uncompressed || u.compressed
	return p.ownFrame(u.op, data)
}

// pass passes over messages of the peer that need not come. It is called with mu locked.
func (p *player) pass() {
	units := p.s.sides[p.peer].units
	for p.arrived < len(p.matched) {
		u := &units[p.arrived]
		empty := p.s.stream && u.kind == unitMessage && len(u.data) == 0
		if !p.matched[p.arrived] && (p.how.update || u.beat == noBeat && !empty) {
			return
		}
		p.arrived++
	}
}
