package edit

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/wstrace/wstrace/decode/pick"
)

// stomp returns the edit for the passcode of a CONNECT of STOMP.
func (c *content) stomp() []pick.Edit {
	if !bytes.HasPrefix(c.b, []byte("CONNECT\n")) && !bytes.HasPrefix(c.b, []byte("STOMP\n")) && !bytes.HasPrefix(c.b, []byte("CONNECT\r\n")) {
		return nil
	}
	i := bytes.Index(c.b, []byte("\npasscode:"))
	if i < 0 {
		return nil
	}
	from := i + len("\npasscode:")
	to := from + bytes.IndexAny(c.b[from:], "\r\n\x00")
	if to < from {
		to = len(c.b)
	}
	return []pick.Edit{{Span: pick.Span{Start: from, End: to}, Text: []byte(c.placeholders.text("passcode", string(c.b[from:to])))}}
}

// irc returns the edit for the password of IRC (RFC 2812 §3.1.1).
func (c *content) irc() []pick.Edit {
	at := 0
	for line := range bytes.Lines(c.b) {
		if text := bytes.TrimRight(line, "\r\n"); bytes.HasPrefix(text, []byte("PASS ")) && len(text) > 5 && bytes.IndexByte(text[5:], ' ') < 0 {
			from, to := at+5, at+len(text)
			return []pick.Edit{{Span: pick.Span{Start: from, End: to}, Text: []byte(c.placeholders.text("password", string(c.b[from:to])))}}
		}
		if at += len(line); at > 4096 {
			break
		}
	}
	return nil
}

// mqtt returns the edits for the password of a CONNECT of MQTT (MQTT 5.0 §3.1).
func (c *content) mqtt() []pick.Edit {
	b := c.b
	if len(b) < 12 || b[0] != 0x10 {
		return nil
	}
	n, width := binary.Uvarint(b[1:min(5, len(b))])
	if width <= 0 {
		return nil
	}
	body := 1 + width
	end := min(body+int(n), len(b))
	at := body
	field := func() (from, to int, ok bool) { // a length and that many bytes
		if at+2 > end {
			return 0, 0, false
		}
		from = at + 2
		to = from + int(binary.BigEndian.Uint16(b[at:]))
		at = to
		return from, to, to <= end
	}
	from, to, ok := field()
	if !ok || string(b[from:to]) != "MQTT" && string(b[from:to]) != "MQIsdp" || at+4 > end {
		return nil
	}
	level, flags := b[at], b[at+1]
	at += 4 // the keep alive too
	if flags&0x40 == 0 {
		return nil
	}
	properties := func() bool {
		if level < 5 {
			return true
		}
		n, width := binary.Uvarint(b[min(at, end):min(at+4, end)])
		at += width + int(n)
		return width > 0 && at <= end
	}
	rest := []pick.Edit{{Span: pick.Span{Start: min(at, end), End: end}}} // if it can't be told where the password is
	if !properties() {
		return rest
	}
	if _, _, ok := field(); !ok { // the client's name
		return rest
	}
	if flags&0x04 != 0 {
		if !properties() {
			return rest
		}
		for range 2 { // the topic and the content of the will
			if _, _, ok := field(); !ok {
				return rest
			}
		}
	}
	if flags&0x80 != 0 {
		if _, _, ok := field(); !ok {
			return rest
		}
	}
	start := at
	if from, to, ok = field(); !ok {
		return []pick.Edit{{Span: pick.Span{Start: min(start, end), End: end}}}
	}
	p := c.placeholders.text("password", string(b[from:to]))
	grown := int(n) + len(p) - (to - from)
	return []pick.Edit{
		{Span: pick.Span{Start: 1, End: body}, Text: binary.AppendUvarint(nil, uint64(grown))},
		{Span: pick.Span{Start: from - 2, End: to}, Text: append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...)},
	}
}

// maxConnectStart is how many bytes of a CONNECT tell that it is one, at most.
const maxConnectStart = 13

// A connect follows a CONNECT of MQTT that comes in several messages, which may
// cut the password (MQTT 5.0 §6: the packets need not be aligned on frames).
type connect struct {
	start []byte // of what the client sends, until it is known
	known bool
	left  int // bytes of a CONNECT that are still to come
	came  int
}

// spans takes a message, which begins with b and has n bytes, and reports whether
// it is part of a CONNECT in several messages. mqtt says that nothing else is
// expected.
func (c *connect) spans(b []byte, n int, mqtt bool) bool {
	if c.left > 0 {
		c.left -= min(n, c.left)
		return true
	}
	if c.known {
		return false
	}
	c.start = append(c.start, b[:min(len(b), maxConnectStart)]...)
	c.came += n
	total, enough := connectLen(c.start)
	c.known = enough || !mqtt
	if !enough {
		return mqtt
	}
	c.left = max(total-c.came, 0)
	return total > 0 && (c.left > 0 || c.came > n)
}

// connectLen returns the length of the CONNECT that b begins with, or 0 if it is
// none, and whether b is enough to tell.
func connectLen(b []byte) (total int, enough bool) {
	if len(b) == 0 || b[0] != 0x10 {
		return 0, len(b) > 0
	}
	n, width := binary.Uvarint(b[1:min(5, len(b))])
	if width <= 0 {
		return 0, len(b) >= 5
	}
	for _, name := range []string{"\x00\x04MQTT", "\x00\x06MQIsdp"} {
		rest := string(b[1+width:])
		if strings.HasPrefix(rest, name) {
			return 1 + width + int(n), true
		}
		if strings.HasPrefix(name, rest) {
			return 0, false
		}
	}
	return 0, true
}
