package render

import (
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// A story drives sessions by the clock.
type story struct {
	t    *testing.T
	sink decode.Sink
	day  time.Time
	now  time.Time
}

func newStory(t *testing.T, sink decode.Sink) *story {
	day := time.Date(2012, 6, 27, 0, 0, 0, 0, time.UTC)
	return &story{t: t, sink: sink, day: day, now: day}
}

// at moves to a time of day: "19:28:31.3301".
func (s *story) at(clock string) *story {
	s.t.Helper()
	d, err := time.Parse("15:04:05", clock)
	if err != nil {
		s.t.Fatal(err)
	}
	s.now = s.day.Add(d.Sub(d.Truncate(24 * time.Hour)))
	return s
}

// A talk is one session of a story.
type talk struct {
	*story
	decode.Session
}

func (s *story) open(info decode.Info) *talk {
	c := &talk{story: s, Session: decode.Session{Sink: s.sink}}
	info.Time = s.now
	c.Open(info)
	return c
}

// upgraded opens a session whose handshake is not to be seen.
func (s *story) upgraded(info decode.Info) *talk {
	c := s.open(info)
	c.Upgraded()
	return c
}

func (c *talk) client(b string) { c.Data(decode.FromClient, c.now, []byte(b)) }
func (c *talk) server(b string) { c.Data(decode.FromServer, c.now, []byte(b)) }

func (c *talk) end(d decode.Dir, how decode.End, text string) { c.End(d, c.now, how, text) }

// over ends both directions, the client's first.
func (c *talk) over() {
	c.end(decode.FromClient, decode.EndFIN, "")
	c.end(decode.FromServer, decode.EndFIN, "")
}

// head writes an HTTP head.
func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// frame writes a frame of a server; flags is its first byte.
func frame(flags byte, payload string) string {
	h := ws.Header{Fin: flags&0x80 != 0, Rsv: flags >> 4 & 7, OpCode: ws.OpCode(flags & 15), Length: int64(len(payload))}
	return header(h) + payload
}

// masked writes a frame of a client with the given key.
func masked(flags byte, key uint32, payload string) string {
	h := ws.Header{Fin: flags&0x80 != 0, Rsv: flags >> 4 & 7, OpCode: ws.OpCode(flags & 15), Length: int64(len(payload)), Masked: true}
	binary.BigEndian.PutUint32(h.Mask[:], key)
	b := []byte(payload)
	ws.Cipher(b, h.Mask, 0)
	return header(h) + string(b)
}

func header(h ws.Header) string {
	var b strings.Builder
	if err := ws.WriteHeader(&b, h); err != nil {
		panic(err)
	}
	return b.String()
}

// everyEvent tells a story with at least one sample of every kind of event.
func everyEvent(s *story) {
	const accept = "Sec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY="
	chat := func(conn int64, fields ...string) *talk {
		c := s.open(decode.Info{Conn: conn, Client: "127.0.0.1:51234", Server: "127.0.0.1:1901", URL: "ws://127.0.0.1:1901/chat"})
		c.client(head(append([]string{"GET /chat?name=John HTTP/1.1", "Host: 127.0.0.1:1901", "Upgrade: websocket", "Connection: Upgrade",
			"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==", "Sec-WebSocket-Version: 13"}, fields...)...))
		return c
	}

	// A conversation.
	s.at("19:28:31.3301")
	a := s.open(decode.Info{Conn: 1, Client: "127.0.0.1:51234", Server: "127.0.0.1:1901", URL: "ws://127.0.0.1:1901/chat?name=John"})
	sent := head("GET /chat?name=John HTTP/1.1", "Host: 127.0.0.1:8080", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: echo, chat",
		"Sec-WebSocket-Extensions: permessage-deflate")
	a.Edited(decode.FromClient, s.now, []byte(strings.Replace(sent, ":8080", ":1901", 1)))
	a.client(sent)
	s.at("19:28:31.3305")
	a.server(head("HTTP/1.1 103 Early Hints", "Link: </style.css>"))
	s.at("19:28:31.3312")
	a.server(head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", accept,
		"Sec-WebSocket-Protocol: echo", "Sec-WebSocket-Extensions: permessage-deflate"))
	s.at("19:28:31.34779")
	a.server(frame(0x81, "John joined."))
	s.at("19:28:31.3490")
	a.server(frame(0xc1, "\xaa\x56\xca\xcc\x4b\xcb\x49\x2c\x49\x4d\x51\xb2\x2a\x29\x2a\x4d\xd5\x51\xca\x53\xb2\x32\xac\x05\x00"))
	s.at("19:28:31.3500")
	a.server(frame(0x82, "\xde\xad\xbe\xef"))
	s.at("19:28:32.0001")
	a.server(frame(0x01, "caf\xc3") + frame(0x89, "beat") + frame(0x00, "\xa9, ") + frame(0x80, "fertig"))
	a.client(masked(0x8a, 0xa1b2c3d4, "beat"))
	s.at("19:28:32.0002")
	a.server(frame(0x02, "ab") + frame(0x80, "cd"))
	a.client(masked(0x89, 0x01020304, "\x00\x01") + masked(0x81, 0x01020304, "") + masked(0x82, 0x01020304, ""))
	s.at("19:28:46.5764")
	a.client(masked(0x8a, 0x16398f63, ""))
	s.at("19:28:47.0012")
	a.client(masked(0x01, 0x9a0177c3, `{"id":1,"name":"`+strings.Repeat("x", 234)))
	s.at("19:28:47.0013")
	a.client(masked(0x80, 0x01020304, "}"))
	a.client("\x81\xfe\x00\x05\x11\x22\x33\x44" + masked(0x81, 0x11223344, "hello")[6:])
	s.at("19:28:47.2000")
	a.server("\x81\xfe\x00\x05\x00\x00\x00\x00" + "hello" + frame(0x80, "orphan"))
	a.server("\x83\x00" + frame(0xb1, "x"))
	s.at("19:28:48.1000")
	a.client(masked(0x88, 0x0b44105e, "\x03\xe8Closing"))
	s.at("19:28:48.1010")
	a.server(frame(0x88, "\x03\xe8"))
	s.at("19:28:48.1020")
	a.over()

	// Exchanges that do not ask for websocket.
	s.at("19:28:48.9970")
	b := s.open(decode.Info{Conn: 2, Server: "127.0.0.1:1901", URL: "http://127.0.0.1:1901/style.css"})
	b.client(head("GET /style.css HTTP/1.1", "Host: 127.0.0.1:1901"))
	b.server(head("HTTP/1.1 200 OK", "Content-Length: 1234") + strings.Repeat("x", 1234))
	b.Done(s.at("19:28:49.0000").now)
	b = s.open(decode.Info{Conn: 20, Server: "127.0.0.1:1902", URL: "http://127.0.0.1:1902/"})
	b.client(head("HEAD / HTTP/1.1", "Host: 127.0.0.1:1902"))
	b.end(decode.FromServer, decode.EndLocal, `dial upstream "127.0.0.1:1902": connection refused`)
	b.Done(s.at("19:28:49.0004").now)
	b = s.open(decode.Info{Conn: 21, Server: "127.0.0.1:1901", URL: "http://127.0.0.1:1901/rpc"})
	b.client(head("OPTIONS * HTTP/1.1", "Host: 127.0.0.1:1901", "Upgrade: h2c", "Connection: Upgrade"))
	b.server(head("HTTP/1.1 101 Switching Protocols", "Upgrade: h2c", "Connection: Upgrade") + "0123456789")
	b.client("0123456789abcdef")
	b.Done(s.at("19:28:49.1000").now)
	b = s.open(decode.Info{Conn: 22, Server: "127.0.0.1:1901"})
	b.client("GET / HT")
	b.Done(s.at("19:28:49.2000").now)
	b = s.open(decode.Info{Conn: 23, Server: "127.0.0.1:1901", URL: "http://127.0.0.1:1901/"})
	b.client(head("GET / HTTP/1.1", "Host: 127.0.0.1:1901"))
	b.server("HTTP/1.1 2")
	b.Done(s.at("19:28:49.3000").now)

	// Refused, and never answered.
	s.at("19:28:50.0000")
	c := chat(3, "Origin: http://example.com")
	c.server(head("HTTP/1.1 403 Forbidden", "Content-Length: 4") + "no!\n")
	c.over()
	c = chat(30)
	c.end(decode.FromServer, decode.EndLocal, `dial upstream "127.0.0.1:1902": connection refused`)
	s.at("19:28:50.0020")
	c.end(decode.FromClient, decode.EndLocal, "")
	c = chat(31)
	s.at("19:29:20.0000")
	c.end(decode.FromServer, decode.EndRST, "")
	c.end(decode.FromClient, decode.EndFIN, "")
	c = chat(32)
	c.server("220 mail.example.com ESMTP\r\n\r\n")
	c.over()

	// A bad handshake, sent through a forward proxy.
	s.at("19:29:21.0000")
	c = s.open(decode.Info{Conn: 33, Server: "h:80", URL: "ws://h/x"})
	sent = head("GET http://h/x HTTP/1.1", "Host: h", "Proxy-Connection: keep-alive", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: short", "Sec-WebSocket-Version: 13")
	c.Edited(decode.FromClient, s.now, []byte(head("GET /x HTTP/1.1", "Host: h", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: short", "Sec-WebSocket-Version: 13")))
	c.client(sent)
	c.server(head("HTTP/1.1 101 ", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: nonsense"))
	c.end(decode.FromServer, decode.EndRST, "")
	c.end(decode.FromClient, decode.EndFIN, "")
	c = chat(34)
	c.server(head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"))
	c.server(frame(0x88, ""))
	s.at("19:31:24.0000")
	c.over()

	// Tunnels.
	c = s.open(decode.Info{Conn: 4, Server: "example.com:443", Via: "connect"})
	c.Opaque(decode.FromClient, s.now, "TLS, not intercepted")
	c.Skip(decode.FromClient, s.now, 5123)
	c.Skip(decode.FromServer, s.now, 88_200)
	s.at("19:31:25.0000")
	c.Done(s.now)

	// Frames in pieces, bytes that are lost, that are no frames, or not decoded.
	s.at("19:31:26.5000")
	d := s.upgraded(decode.Info{Conn: 6})
	d.server(header(ws.Header{Fin: true, OpCode: ws.OpText, Length: 1 << 40}) + "abc")
	d.Flush(decode.FromServer, s.at("19:31:27.5000").now)
	d.server("defgh")
	d.Flush(decode.FromServer, s.at("19:31:28.5000").now)
	d.client(masked(0x82, 0x01020304, "xyz")[:6])
	d.Flush(decode.FromClient, s.now)
	d.Gap(decode.FromClient, s.at("19:31:29.0000").now, 1460)
	d.client("what was this?")
	d.Notice(s.at("19:31:30.0000").now, "the \x1b[31mserver\x1b[0m was restarted here")
	d.Opaque(decode.FromServer, s.now, "panic while decoding")
	d.server("more")
	d.end(decode.FromServer, decode.EndLocal, "")
	d.end(decode.FromClient, decode.EndLocal, "")
	d = s.upgraded(decode.Info{Conn: 60})
	d.client("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffabcdabc")
	d.server("\x81")
	d.over()
}

func TestEveryEvent(t *testing.T) {
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			golden(t, form+".golden", tell(t, form, Options{Preview: 80}))
		})
	}
}

// golden compares text with a file, or rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantLines := strings.SplitAfter(string(want), "\n")
	for i, line := range strings.SplitAfter(got, "\n") {
		if i >= len(wantLines) || line != wantLines[i] {
			t.Fatalf("%s, line %d: got\n%swant\n%s", name, i+1, line, strings.Join(wantLines[min(i, len(wantLines)):min(i+1, len(wantLines))], ""))
		}
	}
	if got != string(want) {
		t.Fatalf("%s: got %d bytes, want %d", name, len(got), len(want))
	}
}
