package decode

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// fragments are the frames of a message as far as advice needs them.
type fragments struct {
	n, small int64 // all of them, and those of less than 128 bytes
	length   int64 // of the message so far
	size     int64 // of the latest frame
	equal    int64 // how many in a row had that size, if buffers usually have it
}

// hugeMessage is the length of the longest message that gets no remark.
const hugeMessage = 1 << 20

// adviseFragment looks at a frame of the message m, which has several.
func (j *judge) adviseFragment(f *Frame, m *fragments) {
	m.n++
	m.length += f.Length
	if f.Length < 128 {
		m.small++
	}
	if f.Fin && m.n >= 32 && m.small > m.n/2 {
		j.at(f, flagsOf(f), "frag-storm", "message of %d bytes in %d fragments", m.length, m.n)
	}
	switch f.Length {
	case 4096, 8192, 16384:
		if m.equal++; f.Length != m.size {
			m.equal = 1
		}
		if m.equal == 3 {
			j.at(f, Span{}, "frame-buffer-split", "3 fragments in a row of %d bytes, the size of a buffer", f.Length)
		}
	default:
		m.equal = 0
	}
	m.size = f.Length
}

// size looks at the length of the message that f completes: inflated if m is set,
// otherwise as it was sent.
func (j *judge) size(f *Frame, m *Message) {
	n := j.connection.fragments[f.Dir].length
	if m != nil && !m.Unread {
		n = m.Len
	}
	if n > hugeMessage && !j.repeated("message-huge", f.Dir) {
		where := Span{}
		if f.Fin && f.OpCode != ws.OpContinuation && f.Rsv == 0 {
			where = lengthOf(f)
		}
		j.at(f, where, "message-huge", "message of %d bytes, many receivers take 1 MiB", n)
	}
}

// A pingRate is how fast the pings of one side come.
type pingRate struct {
	last time.Time
	fast int64 // how many in a row came less than a second after the one before
}

// advisePing looks at the rate and the payload of pings.
func (j *judge) advisePing(f *Frame) {
	r := &j.connection.pings[f.Dir]
	if f.Length > 32 {
		j.at(f, payloadOf(f, 0, int(min(f.Length, 16))), "ping-payload-app-data", "ping with %d bytes, some receivers drop or cut it", f.Length)
	}
	gap := j.now.Sub(r.last)
	if r.fast = again(r.fast, !r.last.IsZero() && gap < time.Second); r.fast == 3 {
		j.at(f, Span{}, "ping-storm", "3 pings in a row less than a second after the one before, the last %s", seconds(gap))
	}
	r.last = j.now
}

// quietTooLong is how long a connection may be quiet without a ping.
const quietTooLong = 60 * time.Second

// adviseQuiet looks at how long no frame has come.
func (j *judge) adviseQuiet() {
	h := &j.totals.Heartbeat
	if j.advice && h[0].Pings+h[1].Pings == 0 && j.ended == 0 && j.quiet() > quietTooLong {
		j.side(FromServer, "ping-absent", "nothing for %s and no pings, many proxies end a connection after 60 s", seconds(j.quiet()))
	}
}

// A talk is what one side sent lately, as far as advice needs it.
type talk struct {
	second      time.Time // the beginning of the second in which messages are counted
	count, tiny int       // all messages in it, and those of less than 16 bytes

	sum   uint64    // hash of the latest message
	since time.Time // when it came first
	times int       // how often in a row it came within 100 ms
}

var adviceSeed = maphash.MakeSeed()

// adviseMessage looks at a whole message.
func (j *judge) adviseMessage(f *Frame, m *Message) {
	if !j.advice || m.Unread {
		return
	}
	say := func(id RuleID, format string, args ...any) { j.at(f, Span{}, id, format, args...) }
	if m.Compressed && m.Wire >= m.Len && m.Len > 0 {
		say("pmd-not-worth-it", "%d bytes are compressed to %d", m.Len, m.Wire)
	}
	if j.conn.agreed[m.Dir].On && !m.Compressed && m.Op == ws.OpText && m.Len >= 1<<10 {
		if n := deflatedLen(m.Data); n < len(m.Data)*9/10 {
			say("pmd-unused", "text of %d bytes is not compressed, %d of its bytes would become %d", m.Len, len(m.Data), n)
		}
	}
	if m.Op == ws.OpText && bytes.HasPrefix(m.Data, []byte("\xef\xbb\xbf")) {
		say("text-bom", "text begins with EF BB BF")
	}
	if m.Op == ws.OpBinary && m.Dir == FromClient && m.N == 0 {
		j.connection.stream = beginsMQTT(m.Data)
	}
	if m.Op == ws.OpBinary && !j.stream() && !m.Cut && len(m.Data) > 1 && strings.IndexByte("{[", m.Data[0]) >= 0 && json.Valid(m.Data) {
		say("json-as-binary", "binary message of %d bytes is JSON", m.Len)
	}
	if n := base64Run(m.Data); m.Op == ws.OpText && n >= 256 && n*10 > len(m.Data)*7 {
		say("base64-in-text", "%d of %d bytes of text are base64, a binary message takes a quarter less", n, len(m.Data))
	}
	j.adviseTalk(m, say)
}

// stream reports whether the messages are pieces of a stream of another protocol,
// in which JSON is a payload and must be binary.
func (j *judge) stream() bool {
	return j.connection.stream || streamSubprotocols[strings.ToLower(j.hs.Subprotocol)]
}

var streamSubprotocols = set("mqtt", "mqttv3.1", "amqp", "amqpwsb10", "binary", "rfb", "coap", "opcua+uacp")

// beginsMQTT reports whether b, the first message of a client, begins a CONNECT of
// MQTT (MQTT 5.0 §3.1). Some clients send it in pieces.
func beginsMQTT(b []byte) bool {
	if len(b) == 0 || b[0] != 0x10 {
		return false
	}
	n := 1
	for n < len(b) && n < 4 && b[n] >= 0x80 { // the length of the packet
		n++
	}
	name := string(b[min(len(b), n+1):])
	for _, want := range []string{"\x00\x04MQTT", "\x00\x06MQIsdp"} {
		if m := min(len(name), len(want)); name[:m] == want[:m] {
			return true
		}
	}
	return false
}

// adviseTalk looks at how a message follows those before it.
func (j *judge) adviseTalk(m *Message, say func(RuleID, string, ...any)) {
	if j.connection.talks == nil {
		j.connection.talks = new([2]talk)
	}
	t := &j.connection.talks[m.Dir]
	if j.now.Sub(t.second) >= time.Second {
		t.second, t.count, t.tiny = j.now, 0, 0
	}
	t.count++
	if m.Len < 16 {
		t.tiny++
	}
	if t.count == 201 && t.tiny > t.count/2 {
		say("tiny-messages", "more than 200 messages in a second, %d of them of less than 16 bytes", t.tiny)
	}
	sum := maphash.Bytes(adviceSeed, m.Data) + uint64(m.Len)
	if sum != t.sum || t.times == 0 || j.now.Sub(t.since) > 100*time.Millisecond {
		t.sum, t.since, t.times = sum, j.now, 0
	}
	if t.times++; t.times == 3 && m.Len > 0 {
		say("duplicate-message", "the same %d byte message 3 times within %s", m.Len, seconds(j.now.Sub(t.since)))
	}
}

// flatePool holds compressors, each of which takes most of a megabyte.
var flatePool = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// deflatedLen returns the length of b when it is compressed.
func deflatedLen(b []byte) int {
	var n byteCount
	w := flatePool.Get().(*flate.Writer)
	defer flatePool.Put(w)
	w.Reset(&n)
	w.Write(b)
	w.Flush()
	return int(n)
}

type byteCount int

func (c *byteCount) Write(p []byte) (int, error) {
	*c += byteCount(len(p))
	return len(p), nil
}

// base64Run returns the length of the longest run in text that may be base64: one
// with letters of both cases and digits.
func base64Run(text []byte) int {
	longest, start := 0, 0
	var upper, lower, digit bool
	for i := 0; i <= len(text); i++ {
		c := byte(' ') // ends the last run
		if i < len(text) {
			c = text[i]
		}
		switch {
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= '0' && c <= '9':
			digit = true
		case strings.IndexByte("+/-_=", c) >= 0:
		default:
			if upper && lower && digit {
				longest = max(longest, i-start)
			}
			upper, lower, digit, start = false, false, false, i+1
		}
	}
	return longest
}
