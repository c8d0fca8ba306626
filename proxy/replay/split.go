package replay

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A protocol may have records of its own, of which a message has one or several, or a
// part, as timing has it. The other side is then compared record by record.

// A splitter returns the length of the record that data, of messages with an opcode,
// begins with; 0 if it goes on in the next message. It is not asked for no data.
type splitter func(op ws.OpCode, data []byte) int

// signalRRecord: a text record ends in 0x1E, and a binary one has its length in front, as
// a number of 7-bit groups, the lowest first (HubProtocol.md). None goes on in another
// message.
func signalRRecord(op ws.OpCode, data []byte) int {
	n := 0
	if op == ws.OpText {
		n = bytes.IndexByte(data, 0x1e) + 1
	} else {
		n = withVarint(data, 0)
	}
	if n == 0 {
		return len(data)
	}
	return n
}

// mqttRecord: a packet has a byte and then its remaining length (MQTT 5.0 §2.1.4).
func mqttRecord(op ws.OpCode, data []byte) int { return withVarint(data, 1) }

// withVarint returns the length of a record that has, behind so many bytes, the length
// of what follows.
func withVarint(data []byte, before int) int {
	if len(data) <= before {
		return 0
	}
	size, n := binary.Uvarint(data[before:])
	switch {
	case n < 0 || n > 5: // no such record
		return len(data)
	case n == 0 || size > uint64(len(data)-before-n):
		return 0
	}
	return before + n + int(size)
}

// stompRecord: a frame ends in NUL, behind so many bytes of body as its header says, and
// a line end alone is a heartbeat (STOMP 1.2).
func stompRecord(_ ws.OpCode, data []byte) int {
	switch {
	case data[0] == '\n':
		return 1
	case bytes.HasPrefix(data, []byte("\r\n")):
		return 2
	}
	head, at := data, bytes.Index(data, []byte("\n\n"))
	if i := bytes.Index(data, []byte("\r\n\r\n")); i >= 0 && (at < 0 || i < at) {
		head, at = data[:i], i+4
	} else if at >= 0 {
		head, at = data[:at], at+2
	} else {
		return bytes.IndexByte(data, 0) + 1
	}
	for line := range bytes.Lines(head) {
		if value, ok := bytes.CutPrefix(line, []byte("content-length:")); ok {
			n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			switch {
			case err != nil || n < 0:
			case len(data)-at <= n:
				return 0
			case data[at+n] == 0:
				return at + n + 1
			}
		}
	}
	if i := bytes.IndexByte(data[at:], 0); i >= 0 {
		return at + i + 1
	}
	return 0
}

// natsRecord: a line, behind which a message stands whose length the line ends with, and
// another line end.
func natsRecord(_ ws.OpCode, data []byte) int {
	end := bytes.Index(data[:min(len(data), maxFirst)], []byte("\r\n"))
	switch {
	case end < 0 && len(data) >= maxFirst: // no such record
		return len(data)
	case end < 0:
		return 0
	}
	words := bytes.Fields(data[:end])
	end += 2
	if len(words) == 0 {
		return end
	}
	switch strings.ToUpper(string(words[0])) {
	case "PUB", "HPUB", "MSG", "HMSG":
	default:
		return end
	}
	n, err := strconv.Atoi(string(words[len(words)-1]))
	switch {
	case err != nil || n < 0: // no such record
		return end
	case n > len(data)-end-2:
		return 0
	}
	return end + n + 2
}

// records takes units of one side and gives records in their place.
type records struct {
	split splitter
	emit  func(*unit)
	rest  []byte // of a record that goes on
	own   bool   // rest is no part of a unit, and nobody has what is behind it
	of    unit   // in which it came
}

// take takes a unit.
func (r *records) take(u *unit) {
	if r.split == nil || u.kind != unitMessage || u.long != nil || u.cut || r.rest != nil && r.of.op != u.op {
		r.end()
		r.emit(u)
		return
	}
	data := u.data
	switch {
	case r.rest != nil && r.own:
		data = append(r.rest, data...)
	case r.rest != nil:
		data = append(slices.Clip(r.rest), data...)
		r.own = true
	default:
		r.own = false
	}
	if len(data) == 0 {
		r.emit(u)
		return
	}
	r.rest, r.of = nil, *u
	for len(data) > 0 {
		n := r.split(u.op, data)
		if n <= 0 || n > len(data) {
			r.rest = data
			break
		}
		if n == len(u.data) && len(data) == n { // the whole of a message
			r.emit(u)
			return
		}
		r.record(data[:n:n])
		data = data[n:]
	}
	if len(r.rest) > MaxMessage {
		r.end()
	}
}

func (r *records) record(data []byte) {
	u := r.of
	u.data, u.record, u.rare = data, true, u.rare.whole()
	r.emit(&u)
}

// end gives what there is of a record that does not go on.
func (r *records) end() {
	if rest := r.rest; rest != nil {
		r.rest = nil
		r.record(rest)
	}
}

// splitter returns what splits the messages of the session, or nil.
func (s *Script) splitter() splitter {
	if s.exact || s.stream || s.marked || s.stack == nil {
		return nil
	}
	return s.stack.split
}

// recordsOf returns the units of a side with records in place of messages, and how many
// there are up to each unit. Without records they are the units themselves, and upTo is
// nil.
func (s *Script) recordsOf(d decode.Dir) (list []unit, upTo []int) {
	split := s.splitter()
	if split == nil {
		return s.sides[d].units, nil
	}
	r := records{split: split, emit: func(u *unit) { list = append(list, *u) }}
	upTo = []int{0}
	for i := range s.sides[d].units {
		r.take(&s.sides[d].units[i])
		upTo = append(upTo, len(list))
	}
	r.end()
	return list, upTo
}

// A view is a script as one role plays it.
type view struct {
	once sync.Once
	s    *Script
}

// playedBy returns the script as a role plays it: with records in place of the messages
// of the other side.
func (s *Script) playedBy(role decode.Dir) *Script {
	if s.views == nil || s.splitter() == nil {
		return s
	}
	v := &s.views[role]
	v.once.Do(func() {
		peer := role.Peer()
		c := *s
		c.views = nil
		units, upTo := s.recordsOf(peer)
		c.sides[peer].units = units
		c.sides[role].units = slices.Clone(s.sides[role].units)
		items := slices.Clone(s.sides[role].items)
		for i := range items {
			items[i].need, items[i].captures = upTo[items[i].need], upTo[items[i].captures]
		}
		c.sides[role].items = items
		c.noteBeats()
		v.s = &c
	})
	return v.s
}
