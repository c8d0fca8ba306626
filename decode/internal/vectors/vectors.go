// Package vectors reads the test vectors in testdata/vectors: bytes that one
// side or both send, and what decoding them must give. Any test may use it; it
// knows nothing of package decode.
//
// A file is a list of vectors, parted by empty lines. Each line is a keyword
// and its value; lines that begin with # are comments.
//
//	vector  masked text               its name
//	ref     RFC 6455 §5.7             where it comes from
//	ext     permessage-deflate        extensions in force (none)
//	url     ws://example.com/         what the client asks for (unknown)
//	sni     example.com               the server named in its TLS hello, or - (no TLS)
//	advice  on                        judge rules of severity info too
//	at      1.5s                      when what follows comes (0s)
//	> 81 85 37 fa 21 3d               bytes from the client
//	< 82 7e 01 00 00*256              bytes from the server
//	frame   > text 10000001 5 37-FA-21-3D "Hello"
//	junk    < 82 ff                   bytes that are no frame, at the end
//	message < text 5 "Hello"          a whole message, inflated
//	end     < rst                     how a side ends the connection
//	rule    > frame-rsv-set           what the client breaks
//	near    frame-rsv-set             a rule that the vector nearly breaks
//
// Bytes are spaced hex and Go string literals; *N repeats what stands before
// it. A frame is its opcode, its first byte in bits (FIN, RSV1 to RSV3,
// opcode), its length, the masking key or -, and the unmasked payload. A message
// is its opcode, its length and the beginning of it, or what could be had of it.
// The lines >, < and end stand in the order in which the bytes come; frame,
// message and rule lines of a side in the order in which they must be reported.
// What the end of the connection breaks counts if there are end lines. Frames
// are not looked at if there is a line "frame any", and messages if the vector
// has none.
//
// The bytes follow a handshake, unless there are request or response lines.
// Each of these changes a correct head: "Name: value" or a start line replaces
// one line, "+Name: value" adds one, "-Name" removes one, and "ok" changes
// nothing. What is added may also be bytes as above.
//
//	request  Connection: keep-alive
//	rule     > req-connection-no-upgrade
//
// A vector with a key is only about that:
//
//	key     dGhlIHNhbXBsZSBub25jZQ==
//	accept  s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
//	wrong   HSmrc0sMlYUkAGmm5OPpG2HaGWk=
package vectors

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Vector is one input and what it must give.
type Vector struct {
	Name  string
	Ref   string
	Ext   string
	URL   string
	SNI   string // "-" for TLS without one
	Heads bool   // Steps begin with the heads of the handshake
	Steps []Step

	Advice    bool
	Frames    []Frame
	AnyFrames bool
	Messages  []Message
	Junk      [2][]byte // by Side
	Rules     []Rule
	Near      []string // rules that it nearly breaks

	Key    string // of the request
	Accept string // that Key makes
	Wrong  string // an Accept that is wrong for Key
}

// A Side is the client (0) or the server (1), as decode.Dir has them.
type Side uint8

const (
	Client Side = iota
	Server
)

// A Step is bytes that one side sends, or its end.
type Step struct {
	Side  Side
	Bytes []byte
	End   string
	At    time.Duration
}

// A Message is one that must be found.
type Message struct {
	Side   Side
	Op     string // its name
	Length int64
	Data   []byte // the beginning of it
}

// A Frame is one that must be found.
type Frame struct {
	Side    Side
	Op      string // its name
	Flags   byte   // FIN, RSV1 to RSV3, opcode
	Length  int64
	Masked  bool
	Key     [4]byte
	Payload []byte // unmasked
}

// A Rule is one that must be reported.
type Rule struct {
	From Side
	ID   string
}

// Load reads all vectors of the files that match pattern. A mistake in them
// ends the test.
func Load(t testing.TB, pattern string) []Vector {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("vectors: no files match %q", pattern)
	}
	var all []Vector
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		vs, err := Parse(string(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, vs...)
	}
	return all
}

// Parse reads vectors from the text of a file.
func Parse(text string) ([]Vector, error) {
	var p parser
	for i, line := range strings.Split(text, "\n") {
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if err := p.end(); err != nil {
		return nil, fmt.Errorf("at the end: %w", err)
	}
	return p.all, nil
}

type parser struct {
	all      []Vector
	v        *Vector // the one at hand
	at       time.Duration
	request  []string
	response []string
	answered time.Duration // when the response came
}

func (p *parser) line(line string) (err error) {
	line = strings.TrimSpace(line)
	if line == "" {
		return p.end()
	}
	if line[0] == '#' {
		return nil
	}
	word, value, _ := strings.Cut(line, " ")
	value = strings.TrimSpace(value)
	if word == "vector" {
		if err := p.end(); err != nil {
			return err
		}
		p.v = &Vector{Name: value}
		return nil
	}
	v := p.v
	if v == nil {
		return fmt.Errorf("%q is outside of a vector", word)
	}
	switch word {
	case "ref":
		v.Ref = value
	case "ext":
		v.Ext = value
	case "url":
		v.URL = value
	case "sni":
		v.SNI = value
	case "advice":
		v.Advice = true
	case "at":
		p.at, err = time.ParseDuration(value)
		return err
	case "key":
		v.Key = value
	case "accept":
		v.Accept = value
	case "wrong":
		v.Wrong = value
	case "near":
		v.Near = append(v.Near, value)
	case "request":
		p.request = append(p.request, value)
	case "response":
		p.response = append(p.response, value)
		p.answered = p.at
	case ">", "<":
		side, _, err := parseSide(line)
		if err != nil {
			return err
		}
		b, err := Bytes(value)
		if err != nil {
			return err
		}
		v.Steps = append(v.Steps, Step{Side: side, Bytes: b, At: p.at})
	case "end":
		side, how, err := parseSide(value)
		if err != nil {
			return err
		}
		v.Steps = append(v.Steps, Step{Side: side, End: how, At: p.at})
	case "message":
		m, err := parseMessage(value)
		if err != nil {
			return err
		}
		v.Messages = append(v.Messages, m)
	case "rule":
		side, id, err := parseSide(value)
		if err != nil {
			return err
		}
		v.Rules = append(v.Rules, Rule{side, id})
	case "junk":
		side, rest, err := parseSide(value)
		if err != nil {
			return err
		}
		v.Junk[side], err = Bytes(rest)
		return err
	case "frame":
		if value == "any" {
			v.AnyFrames = true
			return nil
		}
		f, err := parseFrame(value)
		if err != nil {
			return err
		}
		v.Frames = append(v.Frames, f)
	default:
		return fmt.Errorf("unknown keyword %q", word)
	}
	return nil
}

// end finishes the vector at hand.
func (p *parser) end() error {
	v := p.v
	if v == nil {
		return nil
	}
	if v.Name == "" || v.Ref == "" {
		return fmt.Errorf("vector %q lacks a name or a ref", v.Name)
	}
	if p.request != nil || p.response != nil {
		if err := p.heads(); err != nil {
			return fmt.Errorf("vector %q: %w", v.Name, err)
		}
	}
	if len(v.Steps) == 0 && v.Key == "" {
		return fmt.Errorf("vector %q is empty", v.Name)
	}
	p.all = append(p.all, *v)
	*p = parser{all: p.all}
	return nil
}

// A handshake in which nothing is wrong.
var (
	goodRequest = []string{
		"GET /chat HTTP/1.1",
		"Host: server.example.com",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Key: 8YmBPf+ktDVCLmdeQNEzYw==",
		"Sec-WebSocket-Version: 13",
		"Origin: http://server.example.com",
	}
	goodResponse = []string{
		"HTTP/1.1 101 Switching Protocols",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Accept: MI1lMsmrUIbQWSgqGnAZfQ/D3u4=",
	}
)

// heads puts the heads before the steps of the vector at hand: the request,
// and the response if there are lines about it.
func (p *parser) heads() error {
	p.v.Heads = true
	req, err := edit(goodRequest, p.request)
	if err != nil {
		return err
	}
	steps := []Step{{Side: Client, Bytes: req}}
	if p.response != nil {
		res, err := edit(goodResponse, p.response)
		if err != nil {
			return err
		}
		steps = append(steps, Step{Side: Server, Bytes: res, At: p.answered})
	}
	p.v.Steps = append(steps, p.v.Steps...)
	return nil
}

// edit applies request or response lines to a head.
func edit(head, edits []string) ([]byte, error) {
	head = append([]string(nil), head...)
	for _, e := range edits {
		if line, ok := strings.CutPrefix(e, "+"); ok {
			if strings.HasPrefix(line, `"`) {
				b, err := Bytes(line)
				if err != nil {
					return nil, err
				}
				line = string(b)
			}
			head = append(head, line)
			continue
		}
		if e == "ok" {
			continue
		}
		e, drop := strings.CutPrefix(e, "-")
		at := 0 // the start line
		if !strings.Contains(e, "HTTP/") {
			name, _, _ := strings.Cut(e, ":")
			for at = len(head) - 1; at > 0 && !strings.HasPrefix(head[at], name+":"); at-- {
			}
			if at == 0 {
				return nil, fmt.Errorf("no line %q to edit", name)
			}
		}
		if drop {
			head = append(head[:at], head[at+1:]...)
		} else {
			head[at] = e
		}
	}
	return []byte(strings.Join(head, "\r\n") + "\r\n\r\n"), nil
}

// parseSide splits "> rest".
func parseSide(s string) (side Side, rest string, err error) {
	mark, rest, _ := strings.Cut(s, " ")
	switch mark {
	case ">":
		return Client, strings.TrimSpace(rest), nil
	case "<":
		return Server, strings.TrimSpace(rest), nil
	}
	return 0, "", fmt.Errorf("%q does not begin with > or <", s)
}

// parseFrame parses "> text 10000001 5 37-FA-21-3D PAYLOAD".
func parseFrame(s string) (f Frame, err error) {
	side, rest, err := parseSide(s)
	if err != nil {
		return f, err
	}
	f.Side = side
	var flags, length, key string
	for _, part := range []*string{&f.Op, &flags, &length, &key} {
		*part, rest, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
	}
	n, err := strconv.ParseUint(flags, 2, 8)
	if err != nil {
		return f, fmt.Errorf("frame flags: %w", err)
	}
	f.Flags = byte(n)
	if f.Length, err = strconv.ParseInt(length, 10, 64); err != nil {
		return f, fmt.Errorf("frame length: %w", err)
	}
	if key != "-" {
		b, err := hex.DecodeString(strings.ReplaceAll(key, "-", ""))
		if err != nil || len(b) != 4 {
			return f, fmt.Errorf("masking key %q is not 4 bytes of hex", key)
		}
		f.Masked, f.Key = true, [4]byte(b)
	}
	f.Payload, err = Bytes(rest)
	return f, err
}

// parseMessage parses "> text 5 DATA".
func parseMessage(s string) (m Message, err error) {
	side, rest, err := parseSide(s)
	if err != nil {
		return m, err
	}
	m.Side = side
	m.Op, rest, _ = strings.Cut(rest, " ")
	length, rest, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if m.Length, err = strconv.ParseInt(length, 10, 64); err != nil {
		return m, fmt.Errorf("message length: %w", err)
	}
	m.Data, err = Bytes(rest)
	return m, err
}

// Bytes parses spaced hex and string literals, each with an optional *N behind
// it: `81 05 "Hello"`, `00*65536`.
func Bytes(s string) ([]byte, error) {
	var all []byte
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimLeft(s, " ") {
		var part []byte
		if s[0] == '"' {
			lit, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, fmt.Errorf("string %s: %w", s, err)
			}
			text, _ := strconv.Unquote(lit)
			part, s = []byte(text), s[len(lit):]
		} else {
			n := strings.IndexAny(s+" ", " *")
			b, err := hex.DecodeString(s[:n])
			if err != nil {
				return nil, fmt.Errorf("hex %q: %w", s[:n], err)
			}
			part, s = b, s[n:]
		}
		if strings.HasPrefix(s, "*") {
			count, rest, _ := strings.Cut(s[1:], " ")
			n, err := strconv.Atoi(count)
			if err != nil || n < 0 || n > 1<<20 {
				return nil, fmt.Errorf("repeat count %q", count)
			}
			part, s = bytes.Repeat(part, n), rest
		}
		all = append(all, part...)
	}
	return all, nil
}
