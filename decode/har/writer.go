package har

import (
	"cmp"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// Options say what a [Writer] writes.
type Options struct {
	By    string // the program and its version: "wstrace 0.3.0"
	Spool Spool  // for what does not fit into memory; nil keeps it there

	// Control makes control frames messages, too. Most programs that show messages
	// don't expect them.
	Control bool
}

// A Writer writes sessions as a HAR. Each is an entry, written when the session is
// closed. The sessions must put messages and bodies together ([decode.Look.Messages],
// [decode.Look.WholeBodies]); what these don't keep is marked as cut.
//
// Close must follow the last event.
type Writer struct {
	w       io.Writer
	o       Options
	err     error
	store   store
	open    decode.PerSession[pending]
	entries int
	buf     []byte
}

// A pending entry is a session that is not closed yet.
type pending struct {
	info     decode.Info
	begun    bool // info is set
	request  *decode.Head
	response *decode.Head
	asked    time.Time // when the request came
	answered time.Time // when the response came
	last     time.Time // of the last event
	accepted bool
	lossy    bool          // there is more of it than can be written
	bodies   [2]storedBody // by decode.Dir

	messages stream
	sent     int64 // messages in it
	events   stream
	first    [2]firstFrame // by decode.Dir: of the message in flight
}

// A storedBody is one as it is written: the keys of the object that has it.
type storedBody struct {
	keys stream
	len  int64
}

// A firstFrame is what a message has of its first frame.
type firstFrame struct {
	rsv    byte
	masked bool
	mask   [4]byte
	fx     decode.FX
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer, o Options) *Writer {
	wr := &Writer{w: w, o: o, store: store{spool: o.Spool}}
	wr.open.Forgotten = func(_ int64, p *pending) { wr.entry(p, nil) }
	return wr
}

// Emit takes an event.
func (w *Writer) Emit(ev *decode.Event) {
	if w.err != nil || ev.Conn == 0 || ev.Out {
		return
	}
	if ev.Kind == decode.KindOpen {
		if before := w.open.Lookup(ev.Conn); before != nil {
			w.entry(before, nil)
		}
	}
	p := w.open.Of(ev)
	if !p.begun {
		p.info, p.begun = *ev.Info, true
	}
	p.last = ev.Time
	switch ev.Kind {
	case decode.KindRequest:
		p.request, p.asked = clone(ev.Handshake.Request), ev.Time
	case decode.KindResponse:
		if h := ev.Head; h.Cut || h.Status == 0 || h.Status == 101 || h.Status >= 200 {
			p.response, p.answered = clone(h), ev.Time
		}
	case decode.KindBody:
		if ev.Body != nil {
			h := p.response
			if ev.Dir == decode.FromClient {
				h = p.request
			}
			w.body(&p.bodies[ev.Dir], ev.Body, h.Get("Content-Encoding") != "")
		}
	case decode.KindFrame:
		w.frame(p, ev)
	case decode.KindMessage:
		if m := ev.Message; m.Frames == 0 && m.Op > ws.OpBinary {
			w.control(p, ev, m.Op, m.Data)
		} else if m.Frames == 0 || m.Unfinished {
			w.message(p, ev)
		}
	case decode.KindJunk, decode.KindGap:
		p.lossy = true
	case decode.KindNotice:
		w.happened(p, ev, func(dst []byte) []byte { return appendString(append(dst, `"note":`...), ev.Text) })
	case decode.KindEnd:
		w.happened(p, ev, func(dst []byte) []byte {
			dst = appendString(append(dst, `"end":`...), ev.How.String())
			if !ev.Both {
				dst = appendFrom(dst, ev.Dir)
			}
			if ev.Text != "" {
				dst = appendString(append(dst, `,"text":`...), ev.Text)
			}
			if ev.Status != 0 {
				dst = strconv.AppendInt(append(dst, `,"status":`...), int64(ev.Status), 10)
			}
			return dst
		})
	}
	p.accepted = p.accepted || ev.Handshake != nil && ev.Handshake.Accepted
	if ev.Kind == decode.KindClosed {
		w.entry(p, ev.Totals)
	}
}

// clone returns a head that stays.
func clone(h *decode.Head) *decode.Head {
	c := *h
	c.Fields = append([]decode.Field(nil), h.Fields...)
	return &c
}

func (w *Writer) frame(p *pending, ev *decode.Event) {
	f := ev.Frame
	if !f.More {
		switch {
		case f.OpCode > ws.OpBinary:
			w.control(p, ev, f.OpCode, f.AppendPayload(nil, -1))
			return
		case f.OpCode != ws.OpContinuation:
			p.first[f.Dir] = firstFrame{f.Rsv, f.Masked, f.Mask, ev.Fate.FX}
		}
	}
	if ev.Message != nil {
		w.message(p, ev)
	}
}

// message takes a message that is complete, or never will be.
func (w *Writer) message(p *pending, ev *decode.Event) {
	m := ev.Message
	b := w.buf[:0]
	if p.sent > 0 {
		b = append(b, ",\n"...)
	}
	p.sent++
	data := m.Data
	if m.Cut && m.Op == ws.OpText {
		data = decode.WholeChars(data)
	}
	b = appendMessage(b, m.Dir, ev.Time, m.Op, data)
	o := object{dst: b}
	if m.Frames > 0 {
		first := &p.first[m.Dir]
		if first.rsv != 0 {
			o.int("rsv", int64(first.rsv))
		}
		if first.masked {
			o.raw("mask", appendHex(nil, first.mask[:]))
		}
		if m.Frames != 1 {
			o.int("frames", m.Frames)
		}
		if m.Wire != m.Len {
			o.int("wire", m.Wire)
		}
		if first.fx != decode.FXNone {
			o.text("fx", first.fx.String())
		}
	}
	if m.Compressed {
		o.flag("compressed")
	}
	if m.Op == ws.OpText && !utf8.Valid(data) {
		o.raw("b64", appendBase64(nil, data))
	}
	if m.Cut {
		o.int("len", m.Len)
		o.flag("cut")
	}
	if m.Unread {
		o.flag("unread")
	}
	if m.Unfinished {
		o.flag("unfinished")
	}
	b = append(o.end(), '}')
	w.store.add(&p.messages, b)
	w.keep(b)
}

// keep keeps a buffer to be used again, unless it has grown far.
func (w *Writer) keep(b []byte) {
	if w.buf = b[:0]; cap(b) > 1<<20 {
		w.buf = nil
	}
}

// appendMessage appends an element of _webSocketMessages, without its end.
func appendMessage(dst []byte, d decode.Dir, t time.Time, op ws.OpCode, data []byte) []byte {
	dst = append(dst, `{"type":"`...)
	if d == decode.FromClient {
		dst = append(dst, "send"...)
	} else {
		dst = append(dst, "receive"...)
	}
	dst = appendSeconds(append(dst, `","time":`...), t)
	dst = strconv.AppendInt(append(dst, `,"opcode":`...), int64(op), 10)
	dst = append(dst, `,"data":`...)
	if op == ws.OpText {
		return appendString(dst, data)
	}
	return appendBase64(dst, data)
}

// control takes a control frame.
func (w *Writer) control(p *pending, ev *decode.Event, op ws.OpCode, payload []byte) {
	if w.o.Control {
		b := w.buf[:0]
		if p.sent > 0 {
			b = append(b, ",\n"...)
		}
		p.sent++
		b = append(appendMessage(b, ev.Dir, ev.Time, op, payload), '}')
		w.store.add(&p.messages, b)
		w.keep(b)
		return
	}
	w.happened(p, ev, func(dst []byte) []byte {
		dst = strconv.AppendInt(append(dst, `"opcode":`...), int64(op), 10)
		dst = appendFrom(dst, ev.Dir)
		return appendBase64(append(dst, `,"data":`...), payload)
	})
}

func appendFrom(dst []byte, d decode.Dir) []byte {
	return appendString(append(dst, `,"from":`...), d.String())
}

// happened takes what is no message.
func (w *Writer) happened(p *pending, ev *decode.Event, keys func([]byte) []byte) {
	b := w.buf[:0]
	if p.events.n > 0 {
		b = append(b, ",\n"...)
	}
	b = strconv.AppendInt(append(b, `{"after":`...), p.sent, 10)
	b = appendSeconds(append(b, `,"time":`...), ev.Time)
	b = append(keys(append(b, ',')), '}')
	w.store.add(&p.events, b)
	w.keep(b)
}

// body takes a whole body. If it is coded, its text is that without the coding, as
// browsers write it.
func (w *Writer) body(to *storedBody, m *decode.Message, coded bool) {
	w.store.drop(&to.keys)
	text, c := m.Data, m.Content()
	packed := coded && c.Packed != "" && !c.Cut && !m.Cut
	if packed {
		text = c.Data
	}
	to.len = int64(len(text))
	if m.Cut {
		to.len = m.Len
		if len(text) == 0 { // only its length is known
			w.store.add(&to.keys, strconv.AppendInt([]byte(`"_wstrace":{"cut":true,"len":`), m.Len, 10))
			w.store.add(&to.keys, []byte{'}'})
			return
		}
		if whole := decode.WholeChars(text); utf8.Valid(whole) {
			text = whole
		}
	}
	b := append(w.buf[:0], `"text":`...)
	isText := utf8.Valid(text)
	if isText {
		b = appendString(b, text)
	} else {
		b = append(appendBase64(b, text), `,"encoding":"base64"`...)
	}
	o := object{dst: b}
	if packed {
		o.raw("b64", appendBase64(nil, m.Data))
	}
	if m.Cut {
		o.int("len", m.Len)
		o.flag("cut")
	}
	if m.Unfinished {
		o.flag("unfinished")
	}
	b = o.end()
	w.store.add(&to.keys, b)
	w.keep(b)
}

// An object adds the key _wstrace to an object that is being written, if there is
// anything in it.
type object struct {
	dst   []byte
	begun bool
}

func (o *object) key(name string) {
	if o.begun {
		o.dst = append(o.dst, ',')
	} else {
		o.dst = append(o.dst, `,"_wstrace":{`...)
		o.begun = true
	}
	o.dst = append(appendString(o.dst, name), ':')
}

func (o *object) raw(name string, json []byte) {
	o.key(name)
	o.dst = append(o.dst, json...)
}

func (o *object) int(name string, n int64) {
	o.key(name)
	o.dst = strconv.AppendInt(o.dst, n, 10)
}

func (o *object) flag(name string) { o.raw(name, []byte("true")) }

func (o *object) text(name, s string) {
	if s != "" {
		o.key(name)
		o.dst = appendString(o.dst, s)
	}
}

func (o *object) end() []byte {
	if o.begun {
		o.dst = append(o.dst, '}')
	}
	return o.dst
}

// begin writes what stands before the entries.
func (w *Writer) begin() {
	name, version, _ := strings.Cut(cmp.Or(w.o.By, "wstrace"), " ")
	b := append(w.buf[:0], `{"log":{"version":"1.2","creator":{"name":`...)
	b = appendString(b, name)
	b = appendString(append(b, `,"version":`...), version)
	b = append(b, `},"_wstrace":{"version":1},"pages":[],"entries":[`...)
	w.write(b)
}

func (w *Writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
}

// copy writes a stream, and gives it up.
func (w *Writer) copy(s *stream) {
	if w.err == nil {
		_, w.err = io.Copy(w.w, w.store.reader(s))
	}
	w.store.drop(s)
}

// entry writes a session, which is closed unless totals is nil.
func (w *Writer) entry(p *pending, totals *decode.Totals) {
	defer func() {
		for _, s := range []*stream{&p.messages, &p.events, &p.bodies[0].keys, &p.bodies[1].keys} {
			w.store.drop(s)
		}
	}()
	websocket := p.accepted || p.info.NoFrames || p.sent > 0 || p.request != nil && decode.AsksForWebSocket(p.request)
	if p.request == nil && !websocket {
		return // a tunnel, or nothing at all
	}
	if w.entries == 0 {
		w.begin()
	} else {
		w.write([]byte{','})
	}
	w.entries++
	asked, answered := p.asked, p.answered
	if asked.IsZero() {
		asked = p.info.Time
	}
	if answered.IsZero() {
		answered = asked
	}
	blocked, wait := max(asked.Sub(p.info.Time), 0), max(answered.Sub(asked), 0)
	all := max(p.last.Sub(p.info.Time), blocked+wait)

	b := append(w.buf[:0], "\n{\"startedDateTime\":"...)
	b = appendString(b, p.info.Time.UTC().Format(time.RFC3339Nano))
	b = appendMillis(append(b, `,"time":`...), all)
	b = append(b, `,"request":`...)
	w.write(b)
	w.request(p)
	w.write([]byte(`,"response":`))
	w.response(p, totals)
	b = append(w.buf[:0], `,"cache":{},"timings":{"blocked":`...)
	b = appendMillis(b, blocked)
	b = appendMillis(append(b, `,"send":0,"wait":`...), wait)
	b = appendMillis(append(b, `,"receive":`...), all-blocked-wait)
	b = append(b, '}')
	if host, _, ok := cutPort(p.info.Server); ok && isIP(host) {
		b = appendString(append(b, `,"serverIPAddress":`...), host)
	}
	b = appendString(append(b, `,"connection":`...), strconv.FormatInt(p.info.Conn, 10))
	if websocket {
		b = append(b, `,"_resourceType":"websocket"`...)
	}
	w.write(b)
	if websocket {
		w.write([]byte(`,"_webSocketMessages":[`))
		w.copy(&p.messages)
		w.write([]byte{']'})
	}
	o := object{dst: w.buf[:0]}
	w.own(&o, p, totals)
	if p.events.n > 0 {
		o.key("events")
		w.write(append(o.dst, '['))
		w.copy(&p.events)
		o.dst = append(o.dst[:0], ']')
	}
	w.write(append(o.end(), '}'))
}

// own writes what only we read of an entry.
func (w *Writer) own(o *object, p *pending, totals *decode.Totals) {
	i := &p.info
	o.int("session", i.Conn)
	o.text("client", i.Client)
	o.text("server", i.Server)
	o.text("via", i.Via)
	o.text("ext", i.Ext)
	if i.PID != 0 {
		o.int("pid", int64(i.PID))
	}
	o.text("process", i.Process)
	if legs := appendLegs(nil, i.ClientTLS, i.ServerTLS); legs != nil {
		o.raw("tls", legs)
	}
	if p.request == nil {
		o.raw("handshake", []byte("false"))
	}
	if i.Cont || i.Piece || p.lossy {
		o.flag("cont")
	}
	if totals == nil {
		o.flag("open")
		return
	}
	if t := totals; !p.accepted && t.Bytes != [2]int64{} {
		o.raw("bytes", append(strconv.AppendInt(append(strconv.AppendInt([]byte{'['}, t.Bytes[0], 10), ','), t.Bytes[1], 10), ']'))
	} else if p.accepted && t.Code != 0 {
		b := strconv.AppendInt([]byte(`{"code":`), int64(t.Code), 10)
		if t.Reason != "" {
			b = appendString(append(b, `,"reason":`...), t.Reason)
		}
		if by := t.Closer(); by != "" {
			b = appendString(append(b, `,"by":`...), by)
		}
		o.raw("close", append(b, '}'))
	}
}

// appendLegs appends what the TLS handshakes of both legs agreed on, or nothing.
func appendLegs(dst []byte, client, server *decode.TLS) []byte {
	sep := byte('{')
	for i, leg := range []*decode.TLS{client, server} {
		if leg == nil {
			continue
		}
		dst = appendString(append(dst, sep), decode.Dir(i).String())
		dst = appendString(append(dst, `:{"version":`...), leg.Version)
		dst = appendString(append(dst, `,"cipher":`...), leg.Cipher)
		dst = appendString(append(dst, `,"alpn":`...), leg.ALPN)
		dst = append(appendString(append(dst, `,"sni":`...), leg.SNI), '}')
		sep = ','
	}
	if dst != nil {
		dst = append(dst, '}')
	}
	return dst
}

func (w *Writer) request(p *pending) {
	h := p.request
	if h == nil {
		h = &decode.Head{Method: "GET", Proto: "HTTP/1.1"}
	}
	b := appendString(append(w.buf[:0], `{"method":`...), cmp.Or(h.Method, "GET"))
	target := requestURL(p, h)
	b = appendString(append(b, `,"url":`...), target)
	b = w.appendHead(b, h)
	b = append(b, `,"queryString":[`...)
	if _, query, ok := strings.Cut(target, "?"); ok {
		for i, pair := range strings.Split(query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			if i > 0 {
				b = append(b, ',')
			}
			b = appendPair(b, unescape(name), unescape(value))
		}
	}
	b = strconv.AppendInt(append(b, `],"bodySize":`...), p.bodies[decode.FromClient].len, 10)
	if p.request != nil {
		b = appendRaw(b, h, target)
	}
	if p.bodies[decode.FromClient].keys.n > 0 {
		b = appendString(append(b, `,"postData":{"mimeType":`...), h.Get("Content-Type"))
		b = append(b, ',')
		w.write(b)
		w.copy(&p.bodies[decode.FromClient].keys)
		b = append(b[:0], '}')
	}
	w.write(append(b, '}'))
}

// requestURL returns the whole URL of a request.
func requestURL(p *pending, h *decode.Head) string {
	if strings.Contains(h.Target, "://") {
		return h.Target
	}
	if p.info.URL != "" && h.Target == "" {
		return p.info.URL
	}
	scheme, host := "http://", cmp.Or(h.Get("Host"), h.Get(":authority"), p.info.Server, "unknown")
	if before, rest, ok := strings.Cut(p.info.URL, "://"); ok {
		scheme = before + "://"
		host, _, _ = strings.Cut(rest, "/")
		host, _, _ = strings.Cut(host, "?")
	} else if p.accepted || decode.AsksForWebSocket(h) || p.request == nil {
		scheme = "ws://"
	}
	if !strings.HasPrefix(h.Target, "/") {
		return scheme + host + "/" + strings.TrimPrefix(h.Target, "*")
	}
	return scheme + host + h.Target
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

func appendPair(dst []byte, name, value string) []byte {
	dst = appendString(append(dst, `{"name":`...), name)
	dst = appendString(append(dst, `,"value":`...), value)
	return append(dst, '}')
}

// appendHead appends what requests and responses have alike.
func (w *Writer) appendHead(dst []byte, h *decode.Head) []byte {
	dst = appendString(append(dst, `,"httpVersion":`...), cmp.Or(h.Proto, "HTTP/1.1"))
	dst = append(dst, `,"cookies":[`...)
	dst = appendCookies(dst, h)
	dst = append(dst, `],"headers":[`...)
	for i, f := range h.Fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendPair(dst, f.Name, f.Value)
	}
	size := int64(len(h.Raw))
	if size == 0 {
		size = -1
	}
	return strconv.AppendInt(append(dst, `],"headersSize":`...), size, 10)
}

// appendRaw appends the bytes of a head, if its parts don't tell them, or the target
// of a request, if the URL doesn't.
func appendRaw(dst []byte, h *decode.Head, url string) []byte {
	o := object{dst: dst}
	if h.Target != targetOf(h.Method, url) {
		o.text("target", h.Target)
	}
	if h.Raw != "" && (!utf8.ValidString(h.Raw) || !h.Canonical()) {
		o.raw("raw", appendBase64(nil, []byte(h.Raw)))
	}
	return o.end()
}

func (w *Writer) response(p *pending, totals *decode.Totals) {
	h, body := p.response, &p.bodies[decode.FromServer]
	if h == nil {
		h = new(decode.Head)
	}
	b := strconv.AppendInt(append(w.buf[:0], `{"status":`...), int64(h.Status), 10)
	b = appendString(append(b, `,"statusText":`...), h.Reason)
	b = w.appendHead(b, h)
	b = appendString(append(b, `,"redirectURL":`...), h.Get("Location"))
	size, wire := body.len, int64(0)
	if totals != nil && !p.accepted {
		wire = totals.Bytes[decode.FromServer]
		if body.keys.n == 0 {
			size = wire
		}
	}
	b = strconv.AppendInt(append(b, `,"bodySize":`...), wire, 10)
	b = appendRaw(b, h, "")
	b = strconv.AppendInt(append(b, `,"content":{"size":`...), size, 10)
	b = appendString(append(b, `,"mimeType":`...), cmp.Or(h.Get("Content-Type"), "x-unknown"))
	if body.keys.n > 0 {
		w.write(append(b, ','))
		w.copy(&body.keys)
		b = b[:0]
	}
	w.write(append(b, "}}"...))
}

// Close writes the sessions that are still open, and the end. It returns the first
// error of writing, or of the Spool.
func (w *Writer) Close() error {
	for _, conn := range w.open.Open() {
		w.entry(w.open.Lookup(conn), nil)
	}
	w.open.Clear()
	if w.entries == 0 {
		w.begin()
	}
	w.write([]byte("\n]}}\n"))
	return cmp.Or(w.err, w.store.err)
}

func appendHex(dst, b []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range b {
		dst = append(dst, digits[c>>4], digits[c&15])
	}
	return append(dst, '"')
}

// cutPort splits "host:port".
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return strings.Trim(s[:i], "[]"), s[i+1:], true
}

// isIP reports whether host looks like an address.
func isIP(host string) bool {
	return strings.Contains(host, ":") || host != "" && strings.Trim(host, "0123456789.") == ""
}
