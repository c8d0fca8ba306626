package flow

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

const (
	chunk      = 32 << 10 // bytes that a session is given at once
	maxMessage = 64 << 20 // bytes of a message
	maxShown   = 200      // bytes of a message in a notice
)

func plural(n int) string {
	if n == 1 {
		return "1 flow is"
	}
	return strconv.Itoa(n) + " flows are"
}

// A player plays one flow.
type player struct {
	decode.Session
	r      reader
	number int64
	in     *stored
	bad    func(error)

	messages *bool // set if no frames are known

	now    time.Time // of the latest step
	method string    // of the request
	failed bool      // mitmproxy gave up
	err    error     // the first one
}

// A turn is asked before each step. It returns false if there is to be none.
type turn func(time.Time) bool

// play plays the flow.
func (p *player) play(next func(time.Time) bool) {
	p.At(0, p.in.at)
	p.run(func(t time.Time) bool {
		if p.err != nil {
			return false
		}
		if t.After(p.now) {
			p.now = t
		}
		return next(p.now)
	})
	if p.err != nil {
		p.bad(p.err)
	}
}

// note keeps the first error.
func (p *player) note(err error) { p.err = cmp.Or(p.err, err) }

func (p *player) dict(v value, names ...string) map[string]value {
	d, err := p.r.dict(v, names...)
	p.note(err)
	return d
}

func (p *player) text(v value, most int64) string {
	s, err := p.r.text(v, most)
	p.note(err)
	return s
}

func (p *player) time(v value) time.Time {
	t, err := p.r.time(v)
	p.note(err)
	return t
}

func (p *player) bool(v value) bool {
	b, err := p.r.boolean(v)
	p.note(err)
	return b
}

func (p *player) integer(v value) (int64, bool) {
	n, ok, err := p.r.integer(v)
	p.note(err)
	return n, ok
}

func (p *player) run(step turn) {
	v, err := p.r.value(p.in.at, p.r.size)
	p.note(err)
	top := p.dict(v, "client_conn", "server_conn", "request", "response", "websocket", "error", "messages")
	for _, name := range [...]string{"request", "response", "error"} {
		if top[name].typ == typeCut {
			delete(top, name)
		}
	}
	info := p.info(top)
	if p.in.kind == kindTCP {
		p.Open(info)
		p.tcp(top, step)
		return
	}
	websocket := !top["websocket"].null()
	if p.in.cut && top["request"].null() {
		p.headless(top["websocket"], info, step)
		return
	}
	p.failed = !top["error"].null()
	req := p.request(top["request"], websocket, &info)
	info.NoFrames = websocket
	info.Piece = !websocket && p.switched(top["response"])
	*p.messages = *p.messages || websocket
	if p.err != nil {
		return
	}
	p.Open(info)
	if info.Piece {
		p.Notice(p.now, "mitmproxy has not kept what followed the handshake")
	}
	if !step(p.now) {
		return
	}
	p.Head(decode.FromClient, p.now, req.head, nil)
	if !p.body(decode.FromClient, req, step) {
		return
	}
	var res message
	if !top["response"].null() {
		if res = p.response(top["response"], websocket && req.head.Proto == http2); !step(res.start) {
			return
		}
		p.Head(decode.FromServer, p.now, res.head, nil)
		if !p.body(decode.FromServer, res, step) {
			return
		}
	}
	ended := false
	if websocket {
		if ended = p.websocket(top["websocket"], step); p.err != nil {
			return
		}
	}
	if p.failed && !ended {
		if !p.failure(top["error"], websocket, step) {
			return
		}
		ended = true
	}
	if ended || !websocket && res.head != nil {
		p.Done(p.now)
	}
}

// headless gives the messages to the session of a flow that is cut off before its request.
func (p *player) headless(websocket value, info decode.Info, step turn) {
	if websocket.null() || p.err != nil {
		return
	}
	info.NoFrames, info.Cont = true, true
	*p.messages = true
	p.Open(info)
	p.Upgraded()
	p.Notice(p.now, "the file is cut off before the handshake")
	if p.websocket(websocket, step) && p.err == nil {
		p.Done(p.now)
	}
}

// switched reports whether a response switches protocols.
func (p *player) switched(response value) bool {
	status, _ := p.integer(p.dict(response, "status_code")["status_code"])
	return status == 101
}

// failure tells why mitmproxy gave up.
func (p *player) failure(v value, websocket bool, step turn) bool {
	e := p.dict(v, "msg", "timestamp")
	text := p.text(e["msg"], maxScalar)
	if !step(p.time(e["timestamp"])) {
		return false
	}
	if websocket { // which of the three ended it is not known
		p.Notice(p.now, "mitmproxy: "+text)
	} else {
		p.EndBoth(p.now, decode.EndLocal, text)
	}
	return true
}

// info returns what the connections tell.
func (p *player) info(top map[string]value) decode.Info {
	info := decode.Info{Conn: p.number, Time: p.now, Via: "mitmproxy"}
	var names = []string{"peername", "address", "tls", "tls_established", "tls_version", "cipher", "cipher_name", "alpn", "sni"}
	client, server := p.dict(top["client_conn"], names...), p.dict(top["server_conn"], names...)
	info.Client = p.address(first(client, "peername", "address"))
	info.Server = p.address(first(server, "address", "peername"))
	info.ClientTLS, info.ServerTLS = p.tls(client), p.tls(server)
	return info
}

func first(d map[string]value, names ...string) value {
	for _, name := range names {
		if v := d[name]; !v.null() {
			return v
		}
	}
	return value{}
}

// address returns an address, which is a list of host and port.
func (p *player) address(v value) string {
	l := p.r.list(v, typeList)
	host, _ := l.next()
	port, ok := l.next()
	p.note(l.err)
	if !ok {
		return ""
	}
	n, _ := p.integer(port)
	return joinHost(strings.TrimPrefix(p.text(host, maxScalar), "::ffff:"), n)
}

func joinHost(host string, port int64) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.FormatInt(port, 10)
}

// tls returns what the TLS handshake of a connection agreed on, or nil. What is
// not known is left out.
func (p *player) tls(conn map[string]value) *decode.TLS {
	version := p.text(conn["tls_version"], maxScalar)
	if version == "" {
		return nil
	}
	return &decode.TLS{Version: strings.Replace(version, "TLSv", "TLS", 1), Cipher: p.text(first(conn, "cipher", "cipher_name"), maxScalar),
		ALPN: p.text(conn["alpn"], maxScalar), SNI: p.text(conn["sni"], maxScalar)}
}

const http2 = "HTTP/2" // how a [decode.Head] that came parsed spells it

// A message is a request or a response.
type message struct {
	head       *decode.Head
	content    value
	start, end time.Time
}

// request reads a request, and adds what it tells to info.
func (p *player) request(v value, websocket bool, info *decode.Info) message {
	d := p.dict(v, "http_version", "headers", "content", "timestamp_start", "timestamp_end", "host", "port", "method", "scheme", "authority", "path")
	p.method = p.text(d["method"], maxScalar)
	h := &decode.Head{Method: p.method, Proto: p.text(d["http_version"], maxScalar)}
	scheme, authority, path := p.text(d["scheme"], maxScalar), p.text(d["authority"], maxHeads), p.text(d["path"], maxHeads)
	host := p.text(d["host"], maxHeads)
	port, _ := p.integer(d["port"])
	switch h.Target = path; {
	case h.Method == "CONNECT" && !websocket:
		h.Target = authority
	case authority != "" && strings.HasPrefix(h.Proto, "HTTP/1"):
		h.Target = scheme + "://" + authority + path
	case websocket && strings.HasPrefix(h.Proto, http2):
		h.Proto = http2
		for _, f := range [...]decode.Field{{Name: ":method", Value: h.Method}, {Name: ":protocol", Value: "websocket"},
			{Name: ":scheme", Value: scheme}, {Name: ":authority", Value: cmp.Or(authority, host)}, {Name: ":path", Value: path}} {
			h.Fields = append(h.Fields, f)
		}
	}
	h.Fields = append(h.Fields, p.headers(d["headers"])...)
	if info.Server == "" && host != "" {
		info.Server = joinHost(host, port)
	}
	if host != "" && h.Method != "CONNECT" || websocket {
		info.URL = url(scheme, host, port, path, websocket)
	}
	return message{spelled(h, decode.ParseRequest), d["content"], p.time(d["timestamp_start"]), p.time(d["timestamp_end"])}
}

// url returns the URL of a request.
func url(scheme, host string, port int64, path string, websocket bool) string {
	tls := scheme == "https"
	if websocket {
		if scheme = "ws"; tls {
			scheme = "wss"
		}
	}
	at := joinHost(host, port)
	if tls && port == 443 || !tls && port == 80 {
		at = strings.TrimSuffix(at, ":"+strconv.FormatInt(port, 10))
	}
	if path == "*" {
		path = ""
	}
	return scheme + "://" + at + path
}

// response reads a response.
func (p *player) response(v value, overHTTP2 bool) message {
	d := p.dict(v, "http_version", "headers", "content", "timestamp_start", "timestamp_end", "status_code", "reason")
	status, _ := p.integer(d["status_code"])
	if status < 100 || status > 999 {
		p.note(failAt(v.at, "%d is no status of a response", status))
		status = 999
	}
	h := &decode.Head{Status: int(status), Reason: p.text(d["reason"], maxHeads), Proto: p.text(d["http_version"], maxScalar)}
	if overHTTP2 {
		h.Proto = http2
		h.Fields = []decode.Field{{Name: ":status", Value: strconv.Itoa(h.Status)}}
	}
	h.Fields = append(h.Fields, p.headers(d["headers"])...)
	return message{spelled(h, decode.ParseResponse), d["content"], p.time(d["timestamp_start"]), p.time(d["timestamp_end"])}
}

// headers reads the header lines: a list of lists of name and value.
func (p *player) headers(v value) (fields []decode.Field) {
	if v.n > maxHeads {
		p.note(failAt(v.at, "header lines of %d bytes, at most %d are read", v.n, maxHeads))
		return nil
	}
	lines := p.r.list(v, typeList)
	for {
		line, ok := lines.next()
		if !ok {
			p.note(lines.err)
			return fields
		}
		pair := p.r.list(line, typeList)
		name, _ := pair.next()
		val, _ := pair.next()
		p.note(pair.err)
		fields = append(fields, decode.Field{Name: p.text(name, maxHeads), Value: p.text(val, maxHeads)})
	}
}

// spelled returns h as it is spelled in HTTP/1, if it can be. What it is parsed from
// may not be cut in other places than those of the file.
func spelled(h *decode.Head, parse func(string) (*decode.Head, error)) *decode.Head {
	if h.Proto == http2 {
		return h
	}
	same, err := parse(string(h.Append(nil)))
	if err != nil || len(same.Fields) != len(h.Fields) {
		return h
	}
	for i, f := range same.Fields {
		if f != h.Fields[i] {
			return h
		}
	}
	return same
}

// body gives the body behind a head to the session.
func (p *player) body(d decode.Dir, m message, step turn) bool {
	if m.content.null() { // it was not kept
		body := decode.RequestBody(m.head)
		if d == decode.FromServer {
			body = decode.ResponseBody(m.head, p.method)
		}
		n, err := strconv.ParseInt(m.head.Get("Content-Length"), 10, 64)
		if err == nil && n > 0 && !body.Done() && !p.failed { // else who knows how much came
			p.SkipBody(d, p.now, n)
		}
		return p.err == nil
	}
	if m.content.typ != typeBytes && m.content.typ != typeText {
		p.note(failAt(m.content.at, "got a value of type %q, want a string", m.content.typ))
		return false
	}
	if m.content.n == 0 && !m.head.HasToken("Transfer-Encoding", "chunked") {
		return p.err == nil
	}
	b := make([]byte, min(chunk, m.content.n))
	for at, left := m.content.at, m.content.n; ; {
		if !step(m.end) {
			return false
		}
		n := min(left, chunk)
		if _, err := p.r.r.ReadAt(b[:n], at); err != nil {
			p.note(&decode.SourceError{Offset: at, Err: err})
			return false
		}
		at, left = at+n, left-n
		p.Body(d, p.now, b[:n], left == 0)
		if left == 0 {
			return p.err == nil
		}
	}
}

// websocket gives the messages to the session. It returns whether the connection has
// ended.
func (p *player) websocket(v value, step turn) (ended bool) {
	d := p.dict(v, "messages", "closed_by_client", "close_code", "close_reason", "timestamp_end")
	l := p.r.list(d["messages"], typeList)
	for p.err == nil {
		m, ok := l.next()
		if !ok {
			break
		}
		if !p.message(m, step) {
			return false
		}
	}
	p.note(l.err)
	if v.typ == typeCut {
		return false // there may be more
	}
	end := d["timestamp_end"]
	if end.null() || !step(p.time(end)) {
		return false
	}
	code, said := p.integer(d["close_code"])
	if by := d["closed_by_client"]; said && !by.null() && code != decode.CodeAbnormal && code != decode.CodeTLS && code >= 0 && code <= 0xffff {
		from := decode.FromServer
		if p.bool(by) {
			from = decode.FromClient
		}
		var body []byte
		if code != decode.CodeNoStatus {
			body = append(binary.BigEndian.AppendUint16(nil, uint16(code)), p.text(d["close_reason"], maxScalar)...)
		}
		if p.err == nil {
			p.Message(from, p.now, ws.OpClose, body)
		}
	}
	if p.err == nil {
		p.EndBoth(p.now, decode.EndFIN, "")
	}
	return true
}

// message gives a message to the session: a list of opcode, whether the client sent
// it, content, time, whether it was dropped, and whether mitmproxy made it.
func (p *player) message(v value, step turn) bool {
	if v.typ == typeCut {
		return false
	}
	var f [6]value
	l := p.r.list(v, typeList)
	for i := range f {
		f[i], _ = l.next()
	}
	p.note(l.err)
	op, _ := p.integer(f[0])
	d := decode.FromServer
	if p.bool(f[1]) {
		d = decode.FromClient
	}
	dropped, injected := p.bool(f[4]), p.bool(f[5])
	if p.err == nil && op != int64(ws.OpText) && op != int64(ws.OpBinary) {
		p.note(failAt(v.at, "a message of type %d", op))
	}
	if !step(p.time(f[3])) {
		return false
	}
	if injected { // the session knows only what came
		p.Notice(p.now, fmt.Sprintf("mitmproxy sent a %s message to the %s, which did not come from the %s: %s",
			opName(op), d.Peer(), d, decode.AppendQuoted(nil, []byte(p.beginning(f[2])))))
		return p.err == nil
	}
	content := p.text(f[2], maxMessage)
	if p.err != nil {
		return false
	}
	p.Message(d, p.now, ws.OpCode(op), []byte(content))
	if dropped {
		p.Notice(p.now, "mitmproxy dropped this message")
	}
	return true
}

func opName(op int64) string {
	if op == int64(ws.OpText) {
		return "text"
	}
	return "binary"
}

// beginning returns the beginning of a string.
func (p *player) beginning(v value) string {
	v.n = min(v.n, maxShown)
	return string(decode.WholeChars([]byte(p.text(v, maxShown))))
}

// tcp counts the bytes of a connection of which the protocol is not known.
func (p *player) tcp(top map[string]value, step turn) {
	if !step(p.now) {
		return
	}
	p.Opaque(decode.FromClient, p.now, "a TCP flow")
	l := p.r.list(top["messages"], typeList)
	for {
		m, ok := l.next()
		if !ok || m.typ == typeCut {
			break
		}
		var f [3]value
		parts := p.r.list(m, typeList)
		for i := range f {
			f[i], _ = parts.next()
		}
		p.note(parts.err)
		d := decode.FromServer
		if p.bool(f[0]) {
			d = decode.FromClient
		}
		if !step(p.time(f[2])) {
			return
		}
		p.Skip(d, p.now, f[1].n)
	}
	p.note(l.err)
	conn := p.dict(top["client_conn"], "timestamp_end")
	e := p.dict(top["error"], "msg", "timestamp")
	end := first(conn, "timestamp_end")
	if len(e) > 0 {
		end = e["timestamp"]
	}
	if end.null() || !step(p.time(end)) {
		return
	}
	if len(e) > 0 {
		p.EndBoth(p.now, decode.EndLocal, p.text(e["msg"], maxScalar))
	}
	p.Done(p.now)
}
