package render

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// compact shows one line an event.
type compact struct {
	printer
}

// NewCompact returns a Sink that writes one line an event to w, in columns:
//
//	19:28:47.0013 #1 > text  10000001      5 11-22-33-44 "hello"
//
// They are local time, session, who sent it, opcode, FIN, RSV1 to RSV3 and opcode in
// bits, payload length, masking key, and the beginning of the payload: text in
// double quotes as %q has it, or in single quotes as it is where only double quotes
// and backslashes would have to be escaped; what can't be read, in hexadecimal.
// A later piece of a frame has a line of its own only as long as less than Preview
// bytes of the payload were shown. An exchange that does not ask for websocket is
// shown when it is over, and a tunnel or an event stream when it begins, too. If
// sessions put bodies together ([decode.Look.WholeBodies]), each has a line, and before
// the first of an exchange stands what that is.
//
// Beside the hexadecimal of what is partly text stand its letters. If Preview is Fit,
// the payload ends where the line does.
//
// What a change did to a frame stands in a line of its own behind it, and what
// was sent in its place has a line like that of a frame. Both begin with ~:
//
//	19:28:47.0014 #1 ~ > replaced  change when text contains "hello" do text "hi"
//	19:28:47.0015 #1 ~ > text  10000001      2 55-66-77-88 "hi"  change when …
func NewCompact(w io.Writer, o Options) decode.Sink {
	p := newPrinter(w, o, '.')
	p.textual = true
	return o.sink(&compact{p})
}

// Emit shows ev.
func (c *compact) Emit(ev *decode.Event) {
	c.begin(ev)
	part, m := c.ofMessage(ev)
	switch f := ev.Frame; {
	case m != nil:
		c.message(ev)
		c.leadIn(ev)
		c.whole(ev, c.showContent)
	case part:
	case ev.Kind != decode.KindFrame:
		c.event(ev)
	case !f.More:
		c.frame(ev)
		c.leadIn(ev)
		c.whole(ev, c.framePayload)
	case inflated(ev):
		c.opcode(ev, f.OpCode)
		c.text("inflated to ")
		c.count(ev.Message.Len, "byte")
		c.text(" ")
		c.leadIn(ev)
		c.whole(ev, c.showContent)
	case packed(ev):
		c.opcode(ev, f.OpCode)
		c.leadIn(ev)
		c.whole(ev, c.showContent)
	case f.At < int64(c.limit()) && f.Len() > 0:
		c.later(ev)
	}
	c.violations(ev)
	c.fate(ev)
	c.finish(ev)
}

// framePayload appends the beginning of the payload of a frame, and what there is to
// say of the rest.
func (c *compact) framePayload(ev *decode.Event) {
	if g, ok := c.glimpse(ev); ok {
		c.show(g)
		c.text(" ")
	}
	c.soFar(ev.Frame)
	c.sentBy(ev)
}

// whole ends a line with the payload that show appends or, with Options.Pretty, has
// the JSON of the message below it.
func (c *compact) whole(ev *decode.Event, show func(*decode.Event)) {
	if c.pretty > 0 && c.prettyJSON(ev, ev.Message) {
		return
	}
	show(ev)
	c.endPayload()
}

// limit returns how many bytes of a frame in pieces are shown.
func (c *compact) limit() int {
	if c.fit { // the first piece filled the line
		return 0
	}
	return c.preview
}

// leadIn appends what stands in front of the payload.
func (p *printer) leadIn(ev *decode.Event) {
	if p.lead == nil {
		return
	}
	if p.payload = p.lead(p.payload[:0], ev); len(p.payload) > 0 {
		if p.fit { // half of what is left of the line
			p.payload = cutColumns(p.payload, (p.columns()-columnsOf(p.buf[p.start:]))/2)
		}
		p.text(p.pens.lead.on)
		p.buf = append(p.buf, p.payload...)
		p.text(p.pens.lead.off)
		p.text(" ")
	}
}

// later prints the line of a later piece, with what is left of the preview.
func (c *compact) later(ev *decode.Event) {
	f := ev.Frame
	c.opcode(ev, f.OpCode)
	c.count(int64(f.Len()), "more byte")
	c.text(" ")
	whole := c.preview
	c.preview -= int(f.At)
	if g, ok := c.glimpse(ev); ok {
		c.show(g)
		c.text(" ")
	}
	c.preview = whole
	c.soFar(f)
	c.sentBy(ev)
	c.endPayload()
}

// showContent appends the beginning of a message.
func (p *printer) showContent(ev *decode.Event) {
	if g, ok := p.glimpseOf(ev.Message); ok {
		p.show(g)
	}
}

// message begins the line of a message, up to its content: in place of the
// flags, how many frames it had, and in place of the masking key, how many
// bytes came if it was compressed. Of one without frames neither is known.
func (p *printer) message(ev *decode.Event) {
	m := ev.Message
	p.opcode(ev, m.Op)
	p.column(func() { p.framesOf(m) }, len("00000000"), false)
	p.column(func() { p.int(m.Len) }, lengthWidth, true)
	p.column(func() {
		switch {
		case m.Compressed:
			p.text("from ")
			p.int(m.Wire)
		case m.Frames == 0:
			p.text("-")
		}
	}, keyWidth, false)
	switch {
	case m.Unfinished:
		p.text("unfinished ")
	case m.Unread && m.Compressed:
		p.text("not inflated ")
	case m.Unread:
		p.text("not looked into ")
	}
}

// framesOf appends how many frames a message had.
func (p *printer) framesOf(m *decode.Message) {
	if m.Frames == 0 {
		p.text("-")
		return
	}
	p.count(m.Frames, "frame")
}

// column appends what add appends, filled up to a width, and a blank.
func (p *printer) column(add func(), width int, right bool) {
	start := len(p.buf)
	add()
	for n := width - (len(p.buf) - start); n > 0; n-- {
		if right {
			p.buf = slices.Insert(p.buf, start, ' ')
		} else {
			p.text(" ")
		}
	}
	p.text(" ")
}

// show appends the beginning of a payload.
func (p *printer) show(g glimpse) {
	if g.coded {
		p.int(int64(g.code))
		if g.text = true; len(g.b) > 0 {
			p.text(" ")
		}
	}
	if g.packed != "" {
		p.text(g.packed)
		p.text(" ")
	}
	g.words = !g.text && hasWords(g.b)
	if p.fit {
		p.cut(&g)
	}
	if len(g.b) > 0 || !g.coded {
		p.content(g)
	}
	if g.missing {
		p.text("…")
	}
}

// content appends what is there of a payload.
func (p *printer) content(g glimpse) {
	if g.text {
		p.buf = decode.AppendText(p.buf, g.b)
		return
	}
	p.text("[")
	p.buf = appendHex(p.buf, g.b, lowerHex, ' ')
	p.text("]")
	if g.words {
		p.text(" ")
		p.buf = appendLetters(p.buf, g.b)
	}
}

// leastFit is how many columns a payload gets at least, although the line is then
// longer than a narrow terminal.
const leastFit = 16

// cut shortens g to what fits into the line.
func (p *printer) cut(g *glimpse) {
	whole, start := len(g.b), len(p.buf)
	room := max(p.columns()-columnsOf(p.buf[p.start:]), leastFit)
	if n := room * 4; n < len(g.b) { // at most four bytes make a column
		g.b = g.b[:n]
	}
	for len(g.b) > 0 {
		if g.text {
			g.b = decode.WholeChars(g.b)
		}
		p.content(*g)
		taken := columnsOf(p.buf[start:])
		p.buf = p.buf[:start]
		if g.missing || len(g.b) < whole {
			taken++ // the ellipsis
		}
		if taken <= room {
			break
		}
		g.b = g.b[:len(g.b)-max((taken-room)/10, 1)]
	}
	g.missing = g.missing || len(g.b) < whole
}

const blanks = "                " // as many as any line needs in a row

const (
	lengthWidth = 6
	numberWidth = 5
	keyWidth    = len("16-39-8F-63")
)

// frame begins the line of a frame, up to the payload. A length of more than
// lengthWidth digits takes its room from the column of the key, if it is blank.
func (p *printer) frame(ev *decode.Event) {
	f := ev.Frame
	p.opcode(ev, f.OpCode)
	var pen pen
	if f.Control() {
		pen = p.pens.control
	}
	p.text(pen.on)
	p.buf = appendBits(p.buf, f.Flags())
	p.text(" ")
	digits := p.right(f.Length, lengthWidth)
	if f.Masked {
		p.text(" ")
		p.buf = appendHex(p.buf, f.Mask[:], upperHex, '-')
		p.text(pen.off)
		p.text(" ")
		return
	}
	p.text(pen.off)
	p.text(blanks[:max(lengthWidth+1+keyWidth+1-max(digits, lengthWidth), 1)])
}

// opcode begins a line about a frame or message.
func (p *printer) opcode(ev *decode.Event, op ws.OpCode) {
	name := decode.OpName(op)
	p.side(ev)
	if op.IsControl() {
		p.colored(p.pens.control, name)
	} else {
		p.colored(p.pens.sides[ev.Dir], name)
	}
	p.text(blanks[:len("close ")-len(name)])
	if p.numbers {
		p.number(ev)
		p.text(" ")
	}
}

// number appends the number of the message that an event shows, or of the frame.
func (p *printer) number(ev *decode.Event) {
	switch {
	case p.messages && ev.Message != nil:
		p.right(ev.Message.N, numberWidth)
	case ev.Frame != nil:
		p.right(ev.Frame.N, numberWidth)
	default:
		p.text(blanks[:numberWidth])
	}
}

// right appends a number that ends a column, and returns how many digits it has,
// which may be more than the column is wide.
func (p *printer) right(n int64, width int) (digits int) {
	start := len(p.buf)
	p.text(blanks[:width-1])
	p.int(n)
	digits = len(p.buf) - start - (width - 1)
	p.buf = slices.Delete(p.buf, start, start+min(digits, width)-1)
	return digits
}

// event appends the line of an event that is no frame, if it has one.
func (p *printer) event(ev *decode.Event) {
	hs := ev.Handshake
	switch ev.Kind {
	case decode.KindRequest:
		switch {
		case hs.Request.Cut:
			p.cutHead(ev, hs.Request)
		case hs.WebSocket:
			p.request(ev)
		}
	case decode.KindResponse:
		switch {
		case ev.Head.Cut:
			p.cutHead(ev, ev.Head)
		case hs != nil && hs.WebSocket:
			p.response(ev)
		case hs != nil && hs.EventStream():
			p.begun(ev, "event stream")
		}
	case decode.KindBody:
		if ev.Body != nil {
			p.bodyOf(ev)
		}
	case decode.KindJunk:
		p.bytes(ev, "junk", int64(len(ev.Data)), ev.Text)
	case decode.KindGap:
		p.bytes(ev, "gap", ev.Lost, "not recorded")
	case decode.KindOpaque:
		p.opaque(ev)
	case decode.KindNotice:
		p.remark(ev)
	case decode.KindEnd:
		if ev.Text != "" {
			p.line(ev, "!", p.pens.errors)
			p.wire(ev.Text)
			p.end()
		}
	case decode.KindClosed:
		p.closed(ev)
	}
}

// side begins a line about what one side sent, or what was sent in its place.
func (p *printer) side(ev *decode.Event) {
	if ev.Out {
		p.changed(ev)
		return
	}
	p.line(ev, ev.Dir.Arrow(), p.pens.sides[ev.Dir])
}

func (p *printer) remark(ev *decode.Event) {
	if ev.Fate.Change != "" {
		p.changed(ev)
		p.wire(ev.Text)
		p.appendChange(ev)
		p.end()
		return
	}
	if asked(ev) && !ev.Handshake.WebSocket {
		p.begun(ev, ev.Text)
		return
	}
	p.line(ev, "=", p.pens.session)
	p.wire(ev.Text)
	p.end()
}

// begun shows what goes on, before it is over: an exchange or a tunnel.
func (p *printer) begun(ev *decode.Event, what string) {
	p.line(ev, "=", p.pens.session)
	if p.exchangeOrTunnel(ev); asked(ev) {
		p.sessions.Of(ev).begun = true
		p.text(" ")
	}
	if what != "" {
		p.text(" ")
		p.wire(what)
	}
	p.process(ev.Info)
	p.end()
}

// asked reports whether the session has a request.
func asked(ev *decode.Event) bool {
	return ev.Handshake != nil && ev.Handshake.Request != nil && ev.Handshake.Request.Method != ""
}

// exchangeOrTunnel appends a request and its answer or, without any, where the
// tunnel leads.
func (p *printer) exchangeOrTunnel(ev *decode.Event) {
	if asked(ev) {
		p.exchange(ev)
		return
	}
	p.text("tunnel ")
	to := cmp.Or(ev.Info.Server, ev.Info.URL)
	if ev.Info.Via == "direct" { // by its name, if that is known
		to = cmp.Or(ev.Info.URL, to)
	}
	p.wire(to)
}

func (p *printer) bytes(ev *decode.Event, what string, n int64, why string) {
	p.side(ev)
	p.text(what)
	p.text(" ")
	p.count(n, "byte")
	p.text(": ")
	p.wire(why)
	p.sentBy(ev)
	p.end()
}

func (p *printer) cutHead(ev *decode.Event, h *decode.Head) {
	p.side(ev)
	if ev.Kind == decode.KindResponse && !decode.MayBeResponse([]byte(h.Raw)) {
		p.status(h)
		p.text("  not HTTP")
	} else {
		p.text("head cut off after ")
		p.count(int64(len(h.Raw)), "byte")
	}
	p.end()
}

// opaque says that from here on bytes are not decoded. A session without a
// handshake is then a tunnel, and is shown again when it is over.
func (p *printer) opaque(ev *decode.Event) {
	if ev.Handshake != nil && ev.Handshake.Accepted {
		p.side(ev)
		p.text("not decoded from here on: ")
		p.wire(ev.Text)
		p.end()
		return
	}
	p.sessions.Of(ev).why = ev.Text
	if hs := ev.Handshake; hs == nil || !hs.WebSocket {
		p.begun(ev, ev.Text)
	}
}

// request shows a request for websocket and how it was edited on its way.
func (p *printer) request(ev *decode.Event) {
	h, fwd := ev.Handshake.Request, ev.Handshake.Forwarded
	if fwd == nil {
		fwd = h
	}
	p.side(ev)
	if h.Method == "" {
		p.wire(startLine(h))
	} else {
		p.wire(h.Method)
		p.text(" ")
		p.edited(h.Target, fwd.Target)
		p.text(" ")
		p.text(h.Proto)
	}
	if host, to := list(h, "Host"), list(fwd, "Host"); host != "" || host != to {
		p.text("  host ")
		p.edited(host, to)
	}
	p.part("key", h.Get("Sec-WebSocket-Key"))
	p.part("version", list(h, "Sec-WebSocket-Version"))
	p.part("protocols", list(h, "Sec-WebSocket-Protocol"))
	p.part("extensions", list(h, "Sec-WebSocket-Extensions"))
	p.part("removed", removed(h, fwd))
	p.tls(ev.Info)
	p.process(ev.Info)
	p.end()
}

// process appends the process of the client.
func (p *printer) process(i *decode.Info) {
	if !p.processes || i.PID == 0 && i.Process == "" {
		return
	}
	p.text("  ")
	if p.wire(i.Process); i.PID != 0 {
		p.text("[")
		p.int(int64(i.PID))
		p.text("]")
	}
}

// tls appends the versions of TLS on the client's leg and on the server's.
func (p *printer) tls(i *decode.Info) {
	if i.ClientTLS != nil || i.ServerTLS != nil {
		p.text("  tls ")
		p.edited(tlsVersion(i.ClientTLS), tlsVersion(i.ServerTLS))
	}
}

func tlsVersion(t *decode.TLS) string {
	if t == nil {
		return "none"
	}
	return strings.TrimPrefix(t.Version, "TLS")
}

// edited appends what came and, if it differs, what was sent on.
func (p *printer) edited(from, to string) {
	p.wire(from)
	if to != from {
		p.text(" → ")
		p.wire(to)
	}
}

// part appends a named value, unless it is empty.
func (p *printer) part(name, value string) {
	if value != "" {
		p.text("  ")
		p.text(name)
		p.text(" ")
		p.wire(value)
	}
}

// startLine returns the first line of h.
func startLine(h *decode.Head) string {
	line, _, _ := strings.Cut(strings.TrimLeft(h.Raw, "\r\n"), "\n")
	return strings.TrimSuffix(line, "\r")
}

// list returns the values of all fields called name.
func list(h *decode.Head, name string) string { return strings.Join(h.Values(name), ", ") }

// removed returns the names of the fields of h that fwd, which has them in the
// same order, leaves out.
func removed(h, fwd *decode.Head) string {
	var names []string
	kept := fwd.Fields
	for _, f := range h.Fields {
		if len(kept) > 0 && kept[0].Name == f.Name {
			kept = kept[1:]
		} else {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// response shows an answer to a request for websocket.
func (p *printer) response(ev *decode.Event) {
	h, hs := ev.Head, ev.Handshake
	p.side(ev)
	p.status(h)
	switch {
	case h != hs.Response: // an interim one
	case h.Status == 0:
		p.text("  not HTTP")
	case !hs.Accepted:
		p.refusal(ev)
	default:
		p.text("  accept ")
		switch {
		case hs.Accept == "":
			p.text("missing")
		case hs.Request == nil: // it is missing, and with it the key
			p.wire(hs.Accept)
		case hs.AcceptOK():
			p.wire(hs.Accept)
			p.text(" ok")
		default:
			p.wire(hs.Accept)
			p.text(" wrong")
		}
		p.part("protocol", list(h, "Sec-WebSocket-Protocol"))
		p.part("extensions", hs.Extensions)
	}
	p.end()
}

// status appends status and reason of a response.
func (p *printer) status(h *decode.Head) {
	if h.Status == 0 {
		p.wire(startLine(h))
		return
	}
	p.int(int64(h.Status))
	if h.Reason != "" {
		p.text(" ")
		p.wire(h.Reason)
	}
}

// closed sums up a session. There is nothing to add about one that had no
// request, or whose request to upgrade the server refused.
func (p *printer) closed(ev *decode.Event) {
	t, why := ev.Totals, ""
	if s := p.sessions.Lookup(ev.Conn); s != nil {
		why = s.why
	}
	hs := ev.Handshake
	if hs == nil {
		hs = new(decode.Handshake)
	}
	asked := asked(ev)
	refused := hs.WebSocket && hs.Response != nil && !hs.Accepted
	if why == "" && t.Status == 0 && (refused || !asked && !hs.Accepted) {
		return
	}
	p.line(ev, "=", p.pens.session)
	switch {
	case t.Status != 0 && asked && !hs.WebSocket:
		p.exchange(ev)
		p.text(" ")
		p.ourAnswer(t)
		p.in(t)
	case t.Status != 0:
		p.ourAnswer(t)
		p.after(t)
	case hs.Accepted:
		p.text("closed ")
		p.verdict(t)
		p.after(t)
		p.text(": ")
		p.frames(ev, decode.FromClient)
		p.text("; ")
		p.frames(ev, decode.FromServer)
	case why != "":
		if p.exchangeOrTunnel(ev); asked {
			p.text(" ")
		}
		p.text(" ")
		p.wire(why)
		p.text(": ")
		p.size(t, decode.FromClient)
		p.text("; ")
		p.size(t, decode.FromServer)
	case hs.WebSocket:
		p.text("closed without an answer")
		p.by(t)
		p.how(t)
		p.after(t)
	default:
		p.exchange(ev)
		if hs.Response != nil {
			p.text("  ")
			p.buf = AppendSize(p.buf, t.Bytes[decode.FromServer])
		} else {
			p.text(" no response")
		}
		p.in(t)
	}
	if n := t.Violations(); n > 0 {
		p.text("; ")
		p.count(int64(n), "violation")
	}
	if !hs.WebSocket {
		p.process(ev.Info)
	}
	p.end()
}

// verdict appends how a WebSocket connection ended and who ended it.
func (p *printer) verdict(t *decode.Totals) {
	if t.Code == 0 && !t.Said { // the Close frame may be missing in the file
		p.text("(code not known)")
		p.by(t)
		return
	}
	p.int(int64(t.Code))
	p.by(t)
	switch {
	case t.Code == decode.CodeNoStatus && !t.Said:
		p.text(" (no code)")
	case t.Code == decode.CodeAbnormal && !t.Said && t.Cause == "pong-missing":
		p.text(" (end without close, no pong came to its ping)")
	case t.Code == decode.CodeAbnormal && !t.Said && t.Cause != "":
		p.text(" after ")
		p.text(t.By.Peer().String())
		p.text(" ")
		p.text(string(t.Cause))
	case t.Code == decode.CodeAbnormal && !t.Said && t.How == decode.EndFIN:
		p.text(" (end without close")
		p.silence(t)
		p.text(")")
	case t.Code == decode.CodeAbnormal && !t.Said:
		p.how(t)
	case t.Code != 1000:
		if _, name, ok := strings.Cut(decode.CloseName(t.Code), " "); ok {
			p.text(" (")
			p.text(name)
			p.silence(t)
			p.text(")")
		}
	}
}

// by appends who closed, if that is known.
func (p *printer) by(t *decode.Totals) {
	if who := t.Closer(); who != "" {
		p.text(" by ")
		if t.Changed {
			p.text("a ")
		}
		p.text(who)
	}
}

// silence appends for how long nothing had come, if a timeout was the reason.
func (p *printer) silence(t *decode.Totals) {
	if limit := t.IdleTimeout(); limit > 0 {
		p.text(", idle for ")
		p.int(int64(limit / time.Second))
		p.text(" s")
	}
}

var howNames = [...]string{
	decode.EndRST:     " (reset)",
	decode.EndTLSEOF:  " (TLS cut off)",
	decode.EndTimeout: " (timeout)",
	decode.EndDrop:    " (dropped)",
}

// how appends how the connection ended, if not in the usual way.
func (p *printer) how(t *decode.Totals) {
	if int(t.How) < len(howNames) {
		p.text(howNames[t.How])
	}
}

// ourAnswer appends the status of an answer that the proxy gave.
func (p *printer) ourAnswer(t *decode.Totals) {
	p.int(int64(t.Status))
	p.text(" by wstrace")
}

// in appends how long an exchange took.
func (p *printer) in(t *decode.Totals) {
	p.text(" in ")
	p.buf = AppendDuration(p.buf, t.Closed.Sub(t.Opened))
}

func (p *printer) after(t *decode.Totals) {
	p.text(" after ")
	p.buf = AppendDuration(p.buf, t.Closed.Sub(t.Opened))
}

func (p *printer) frames(ev *decode.Event, d decode.Dir) {
	t := ev.Totals
	if ev.Info.NoFrames {
		p.count(t.Messages[d], "message")
	} else {
		p.count(t.Frames[d], "frame")
	}
	p.text(", ")
	p.size(t, d)
}

func (p *printer) size(t *decode.Totals, d decode.Dir) {
	p.buf = AppendSize(p.buf, t.Bytes[d])
	p.text(" ")
	p.text(d.Arrow())
}

// exchange appends a request and its answer, if there is one.
func (p *printer) exchange(ev *decode.Event) {
	h := ev.Handshake.Request
	p.wire(h.Method)
	p.text(" ")
	p.wire(cmp.Or(ev.Info.URL, h.Target))
	if res := ev.Handshake.Response; res != nil {
		p.text(" ")
		p.status(res)
	}
}
