package replay

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

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

// A stack is a protocol on top of WebSocket: what its messages, or the records in them,
// have to do with each other.
type stack struct {
	name  string
	is    func(*traits) bool
	beat  func(from decode.Dir, op ws.OpCode, data []byte) beat      // nil for none
	split splitter                                                   // nil if a message is a record
	ids   func(from decode.Dir, op ws.OpCode, record []byte) []ident // nil for none; in order
	held  bool                                                       // the client always has one question under way, which is held back as long as in the recording; the first has to come
}

// traits are what a session is recognized by.
type traits struct {
	subprotocol string
	path, query string
	first       [2][]byte // by Dir: the first message
	s           *Script
}

// firstText returns the first text of a side that is none of some others; nil for none.
func (t *traits) firstText(d decode.Dir, but ...string) []byte {
	for i := range t.s.sides[d].units {
		if u := &t.s.sides[d].units[i]; u.kind == unitMessage && u.op == ws.OpText && !slices.Contains(but, string(u.data)) {
			return u.data
		}
	}
	return nil
}

func subprotocol(names ...string) func(*traits) bool {
	return func(t *traits) bool { return slices.Contains(names, t.subprotocol) }
}

// texts returns what the texts that are asked with, answered with, and sent without
// either are to a heartbeat.
func texts(ask, answer, alone string) func(decode.Dir, ws.OpCode, []byte) beat {
	return func(_ decode.Dir, op ws.OpCode, data []byte) beat {
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
func jsonTypes(key, ask, answer, alone string) func(decode.Dir, ws.OpCode, []byte) beat {
	return func(from decode.Dir, op ws.OpCode, data []byte) beat {
		var m map[string]json.RawMessage
		if op != ws.OpText || len(data) > maxBeat || json.Unmarshal(data, &m) != nil || m[key] == nil {
			return noBeat
		}
		return texts(ask, answer, alone)(from, op, m[key])
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

// stacks are the protocols that are known, with what they are recognized by.
var stacks = []stack{
	{name: "Socket.IO", is: func(t *traits) bool { return strings.Contains(t.query, "EIO=") }, beat: texts("2", "3", ""), ids: socketIOIDs},
	{name: "SignalR", is: func(t *traits) bool {
		return bytes.HasPrefix(t.first[decode.FromClient], []byte(`{"protocol":"`)) && bytes.HasSuffix(t.first[decode.FromClient], []byte("}\x1e"))
	}, beat: func(_ decode.Dir, op ws.OpCode, data []byte) beat {
		if op == ws.OpText && len(data) < maxBeat && signalRPing.Match(data) || op == ws.OpBinary && string(data) == "\x02\x91\x06" {
			return beatAlone
		}
		return noBeat
	}, split: signalRRecord, ids: signalRIDs},
	{name: "Phoenix", is: func(t *traits) bool {
		return strings.HasSuffix(t.path, "/websocket") && strings.Contains(t.query, "vsn=")
	}, beat: phoenixBeat, ids: phoenixIDs},
	{name: "GraphQL over WebSocket", is: subprotocol("graphql-transport-ws"), beat: jsonTypes("type", `"ping"`, `"pong"`, ""), ids: graphQLIDs},
	{name: "GraphQL subscriptions", is: subprotocol("graphql-ws"), beat: jsonTypes("type", "", "", `"ka"`), ids: graphQLIDs},
	{name: "STOMP", is: func(t *traits) bool {
		return strings.HasSuffix(t.subprotocol, ".stomp") || bytes.HasPrefix(t.first[decode.FromClient], []byte("CONNECT\n")) || bytes.HasPrefix(t.first[decode.FromClient], []byte("STOMP\n"))
	}, beat: func(_ decode.Dir, op ws.OpCode, data []byte) beat {
		if s := string(data); s == "\n" || s == "\r\n" {
			return beatAlone
		}
		return noBeat
	}, split: stompRecord},
	{name: "MQTT", is: subprotocol("mqtt", "mqttv3.1"), beat: func(_ decode.Dir, op ws.OpCode, data []byte) beat {
		switch string(data) {
		case "\xc0\x00": // PINGREQ
			return beatAsk
		case "\xd0\x00": // PINGRESP
			return beatAnswer
		}
		return noBeat
	}, split: mqttRecord, ids: mqttIDs},
	{name: "NATS", is: func(t *traits) bool { return bytes.HasPrefix(t.first[decode.FromServer], []byte("INFO {")) }, beat: func(_ decode.Dir, op ws.OpCode, data []byte) beat {
		switch string(data) {
		case "PING\r\n":
			return beatAsk
		case "PONG\r\n":
			return beatAnswer
		}
		return noBeat
	}, split: natsRecord},
	{name: "SockJS", is: func(t *traits) bool {
		return sockJSPath.MatchString(t.path) && string(t.first[decode.FromServer]) == "o"
	}, beat: texts("", "", "h")},
	{name: "Action Cable", is: subprotocol("actioncable-v1-json"), beat: jsonTypes("type", "", "", `"ping"`)},
	{name: "WAMP", is: subprotocol("wamp.2.json"), ids: wampIDs},
	{name: "OCPP", is: subprotocol("ocpp1.6", "ocpp2.0.1", "ocpp2.1"), ids: ocppIDs},
	{name: "tRPC", is: func(t *traits) bool {
		return strings.Contains(t.query, "connectionParams=1") || isTRPC(t.firstText(decode.FromClient, "PING", "PONG"))
	}, beat: texts("PING", "PONG", ""), ids: tRPCIDs},
	{name: "Primus", is: func(t *traits) bool { return strings.Contains(t.query, "_primuscb") }, beat: func(_ decode.Dir, op ws.OpCode, data []byte) beat {
		m := primusBeat.FindSubmatch(data)
		switch {
		case m == nil:
			return noBeat
		case string(m[1]) == "ping":
			return beatAsk
		}
		return beatAnswer
	}},
	{name: "Discord", is: func(t *traits) bool { return bytes.HasPrefix(t.first[decode.FromServer], []byte(`{"op":10,`)) }, beat: jsonTypes("op", "1", "11", "")},
	{name: "Bayeux", is: func(t *traits) bool {
		first := t.first[decode.FromClient]
		return bayeuxPath.MatchString(t.path) && bytes.HasPrefix(first, []byte("[")) || isBayeuxHandshake(first)
	}, beat: bayeuxBeat, ids: bayeuxIDs, held: true},
	{name: "JSON-RPC", is: func(t *traits) bool {
		return isJSONRPC(t.first[decode.FromClient]) || isJSONRPC(t.first[decode.FromServer]) ||
			strings.Contains(t.path, "/devtools/") && isCDP(t.first[decode.FromClient])
	}, ids: jsonRPCIDs},
	{name: "yamux", is: func(t *traits) bool { return t.isMux(yamuxRecord, yamuxHeader, 0) }, beat: yamuxBeat, split: yamuxRecord, ids: yamuxIDs},
	{name: "smux", is: func(t *traits) bool { return t.isMux(smuxRecord, smuxHeader, 1, 2) }, beat: smuxBeat, split: smuxRecord},
}

// bayeuxPath is where Bayeux servers are mostly to be found.
var bayeuxPath = regexp.MustCompile(`/(cometd|bayeux|faye)(/|$)`)

// bayeuxMessages returns the messages in a text, as far as is needed here; nil if there
// is anything else in it.
func bayeuxMessages(text []byte) (list []map[string]field) {
	doc, at := document(ws.OpText, text)
	if len(doc) > 0 && doc[0] == '{' {
		return []map[string]field{members(doc, at)}
	}
	for _, e := range elements(doc, at) {
		list = append(list, members(text[e.Start:e.End], e.Start))
	}
	return list
}

func isBayeuxHandshake(text []byte) bool {
	if len(text) > maxFirst || !bytes.Contains(text, []byte("/meta/handshake")) {
		return false
	}
	list := bayeuxMessages(text)
	return len(list) > 0 && list[0]["channel"].is("/meta/handshake")
}

// maxFirst is how long a message is at most that begins a session of a protocol.
const maxFirst = 64 << 10

// bayeuxBeat: the client always has one /meta/connect under way, which the server holds
// back, and Faye's asks with an empty array too, which is answered with one.
func bayeuxBeat(from decode.Dir, op ws.OpCode, data []byte) beat {
	kind := beatAsk
	if from == decode.FromServer {
		kind = beatAnswer
	}
	switch {
	case op != ws.OpText || len(data) > maxBeat:
		return noBeat
	case string(data) == "[]":
		return kind
	}
	list := bayeuxMessages(data)
	if len(list) == 0 {
		return noBeat
	}
	for _, m := range list {
		if _, answers := m["successful"]; !m["channel"].is("/meta/connect") || answers != (kind == beatAnswer) {
			return noBeat
		}
	}
	return kind
}

// bayeuxLeaves reports whether the client says goodbye in a message.
func bayeuxLeaves(u *unit) bool {
	return splits(u) && u.op == ws.OpText && len(u.data) <= maxFirst && bytes.Contains(u.data, []byte("disconnect")) &&
		slices.ContainsFunc(bayeuxMessages(u.data), func(m map[string]field) bool { return m["channel"].is("/meta/disconnect") })
}

// phoenixBeat knows both forms of Phoenix's messages: arrays, and objects.
func phoenixBeat(_ decode.Dir, op ws.OpCode, data []byte) beat {
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
	t := traits{s: s}
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

// beatOf returns what a message that a side sends is to the heartbeat. chosen says that a
// filter of the user selects it.
func (s *Script) beatOf(from decode.Dir, u *unit, chosen bool) beat {
	if s.exact || u.kind != unitMessage || u.long != nil || u.cut {
		return noBeat
	}
	if b := s.stack.beatOf(from, u); b != noBeat {
		return b
	}
	if chosen || slices.ContainsFunc(s.optional, func(sel pick.Selector) bool { return sel.Finds(u.data) }) {
		return beatAlone
	}
	return noBeat
}

// beatOf returns what a message is to the heartbeat of the protocol.
func (st *stack) beatOf(from decode.Dir, u *unit) beat {
	if st == nil || st.beat == nil {
		return noBeat
	}
	return st.beat(from, u.op, u.data)
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
	s.noteIDs()
	for d := range decode.Dir(2) {
		for i := range s.sides[d].units {
			u := &s.sides[d].units[i]
			u.beat, u.answers = s.beatOf(d, u, u.chosen), -1
			u.chosen = u.beat == beatAlone && s.stack.beatOf(d, u) == noBeat
		}
	}
	defer s.noteFirst()
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

// noteFirst makes the first heartbeat with an id one that has to come, if the protocol
// has it so. Its answer need not.
func (s *Script) noteFirst() {
	if s.stack == nil || !s.stack.held {
		return
	}
	units := s.sides[decode.FromClient].units
	if n := slices.IndexFunc(units, func(u unit) bool { return u.beat == beatAsk && len(u.ids) > 0 }); n >= 0 {
		units[n].beat, units[n].first = noBeat, true
	}
}

// isQuestion reports whether u is one of the questions of which we always have one under
// way. They are not sent when they were recorded, but when the one before is answered.
func (p *player) isQuestion(u *unit) bool {
	return p.role == decode.FromClient && p.s.stack != nil && p.s.stack.held && len(u.ids) > 0 && (u.beat == beatAsk || u.first) && !p.how.update && !p.how.byClock
}

// noteAsked notes that an item of ours is sent, with which we may ask or leave.
func (p *player) noteAsked(it *item) {
	if it.unit < 0 || !it.ends {
		return
	}
	switch u := &p.s.sides[p.role].units[it.unit]; {
	case p.isQuestion(u):
		p.asks(u)
	case p.question != nil && bayeuxLeaves(u):
		p.question = nil
	}
}

// asks notes that u is asked, and what comes next: the next question that is recorded or,
// if there is none, the same again.
func (p *player) asks(u *unit) {
	p.underWay, p.question, p.pause = u.ids[0].value, u, 0
	ours, theirs := p.s.sides[p.role].units, p.s.sides[p.peer].units
	behind := func(units []unit, at int) int {
		return sort.Search(len(units), func(i int) bool { return units[i].at > at })
	}
	for i := behind(ours, u.at); i < len(ours); i++ {
		if p.isQuestion(&ours[i]) {
			p.question = &ours[i]
			break
		}
	}
	for i := behind(theirs, p.question.at) - 1; i >= 0; i-- { // the answer before it
		if t := &theirs[i]; t.beat == beatAnswer && len(t.ids) > 0 {
			p.pause = p.question.t - t.t
			break
		}
	}
}

// noteAnswered notes whether a message of the peer answers our question.
func (p *player) noteAnswered(u *unit) {
	for _, id := range u.ids {
		if p.underWay != "" && !id.asks && id.value == p.underWay {
			p.underWay, p.answeredAt = "", time.Now()
		}
	}
}

// askDue returns when we ask while we wait: as long after the answer as it was recorded;
// zero for never. It is called with mu locked, like ask.
func (p *player) askDue() time.Time {
	if p.question == nil || p.underWay != "" || p.midFrame || p.midMessage || p.midRecord() || p.noMoreFrames || p.peerClosed {
		return time.Time{}
	}
	theirs := p.s.sides[p.peer].units
	if it, _ := p.afterBeats(); (it == nil || it.end || it.isClose) && (p.arrived == len(theirs) || theirs[p.arrived].kind != unitMessage) {
		return time.Time{}
	}
	pause := p.pause
	if p.how.speed > 0 {
		pause = p.how.scaled(pause)
	}
	due := p.answeredAt.Add(pause)
	if due.After(p.patience()) {
		return time.Time{}
	}
	return due
}

// ask asks what is next.
func (p *player) ask() []byte {
	u := p.question
	p.asks(u)
	return p.beatFrame(u, p.live(u))
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

// An owed is a frame that answers a heartbeat.
type owed struct {
	at    int       // its place in the recording
	due   time.Time // when it is sent at the earliest
	frame []byte
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
		same, _ := p.compare(i, u)
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
	p.bind(like, u)
	p.owe(like, u)
}

// owe notes the answer to u, which is a heartbeat like that unit of the peer.
func (p *player) owe(like int, u *unit) {
	ours, asked := p.answerTo(like, u)
	if ours == nil {
		return
	}
	p.bind(asked, u)
	theirs := &p.s.sides[p.peer].units[asked]
	var data []byte
	if len(ours.ids) > 0 && alikeIDs(theirs.ids, u.ids) {
		var ok bool
		if data, ok = p.dataOf(ours); !ok {
			return
		}
	} else {
		data = withWords(p.live(ours), theirs.data, u.data)
	}
	answer := owed{at: ours.at, frame: p.beatFrame(ours, data)}
	if p.isHeld(ours) {
		held := ours.t - theirs.t
		if p.how.speed > 0 {
			held = p.how.scaled(held)
		}
		answer.due = time.Now().Add(held)
	}
	p.beats = append(p.beats, answer)
}

// minHeld is how long an answer was held back at least that stands for others.
const minHeld = time.Second

// answerTo returns the answer to a heartbeat like a unit of the peer, and what it
// answered in the recording; nil for none. If it was held back to the end of the
// recording, it is like the one that was held longest.
func (p *player) answerTo(like int, u *unit) (answer *unit, asked int) {
	longest := minHeld
	theirs := p.s.sides[p.peer].units
	for i := range p.s.sides[p.role].units {
		ours := &p.s.sides[p.role].units[i]
		switch {
		case ours.beat == noBeat || ours.answers < 0:
		case ours.answers == like:
			return ours, like
		default:
			if held := ours.t - theirs[ours.answers].t; p.isHeld(ours) && held >= longest && alikeIDs(theirs[ours.answers].ids, u.ids) {
				answer, asked, longest = ours, ours.answers, held
			}
		}
	}
	return answer, asked
}

// isHeld reports whether a heartbeat of ours answers one with an id, and was held back.
func (p *player) isHeld(ours *unit) bool {
	return p.s.stack != nil && p.s.stack.held && len(ours.ids) > 0
}

// payBeats returns the answers to heartbeats that are due and that came before a position
// in the recording. What came before them there and can go goes first: some heartbeats
// are barriers. It is called with mu locked.
func (p *player) payBeats(before int, now time.Time) (b []byte) {
	if p.midFrame || p.midMessage || p.midRecord() {
		return nil
	}
	p.beats = slices.DeleteFunc(p.beats, func(o owed) bool {
		if o.at >= before || o.due.After(now) {
			return false
		}
		if !p.noMoreFrames {
			b = append(b, o.frame...)
		}
		return true
	})
	return b
}

// midRecord reports whether what we send next goes on with a record.
func (p *player) midRecord() bool {
	sd := &p.s.sides[p.role]
	return p.next < len(sd.items) && sd.items[p.next].unit >= 0 && sd.units[sd.items[p.next].unit].inside
}

// beatsDue returns when the next answer to a heartbeat is due; zero for never.
func (p *player) beatsDue() (due time.Time) {
	for _, o := range p.beats {
		if due.IsZero() || o.due.Before(due) {
			due = o.due
		}
	}
	return due
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
		if !p.matched[p.arrived] && u.beat == noBeat && (!empty || p.how.update) {
			return
		}
		p.arrived++
	}
}
