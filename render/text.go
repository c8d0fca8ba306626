package render

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// Options say how a form shows what it is given.
type Options struct {
	Preview  int  // bytes of payload shown; 0 hides payload; Fit is as much as fits into the line
	Color    bool // use colours; the caller knows whether there is a terminal
	Messages bool // show a message in place of its frames, if sessions put messages together
	Date     bool // begin with a line that has the date; where the day changes, there always is one
	Time     Time // how the time is shown; the zero value is by the clock
	Numbers  bool // show the number of a frame or message behind its opcode, counted from 0 in its direction
	Process  bool // end the line of a request, an exchange or a tunnel with the client's process, if it is known: curl[1234]

	Pretty int // show a message that has JSON, of up to so many bytes, indented below its line, in the compact form

	// Later leaves it to a [Stamp] to write what depends on the line before: its time
	// and its day.
	Later bool

	// Columns returns how wide the terminal is that the lines go to. Lines that
	// say more than a frame are then broken there. nil if they go elsewhere.
	Columns func() int

	// Lead, if not nil, appends to dst what the compact form shows in front of
	// the payload of an event.
	Lead func(dst []byte, ev *decode.Event) []byte
}

// Fit is an Options.Preview: what fits into a line of the terminal, and 80 bytes if
// there is none.
const Fit = -1

// MaxFit is how many bytes of a payload are looked at to fill a line.
const MaxFit = 4096

// A Time is how the time of an event is shown.
type Time uint8

const (
	TimeClock Time = iota // local time of day, with a line where the day changes
	TimeDelta             // seconds since the line before
	TimeSince             // seconds since the session began
	TimeUnix              // seconds since 1970
	TimeISO               // RFC 3339, local
)

// A printer builds the lines of one event after the other. The forms embed it.
type printer struct {
	w          io.Writer
	preview    int
	columns    func() int // nil if there is no terminal
	fit        bool       // fill the line
	lead       func(dst []byte, ev *decode.Event) []byte
	messages   bool
	pretty     int
	later      bool
	pens       pens
	textual    bool // binary data that can be read is shown as text; its opcode says what it is
	bytesBelow bool // bytes stand in rows of their own, not in the line
	point      byte // before the fraction of a second
	clock      clock
	timeForm   Time
	before     time.Time                  // of the line before, for TimeDelta
	numbers    bool                       // of frames and messages
	processes  bool                       // of clients
	dated      bool                       // the first line is one with the date
	day        []byte                     // of the line before, "2006-01-02"; empty if there was none with a time of day
	sessions   decode.PerSession[session] // only those with something to remember

	buf     []byte // the lines of this event
	start   int    // of the line at hand
	indent  int    // of what follows it if it is broken, in columns
	payload []byte // scratch: what is shown of a payload
}

// A session is what a form remembers of one.
type session struct {
	why       string  // its bytes are only counted
	message   [2]form // of the message in fragments that each side is sending
	sent      [2]form // and of the one that is sent in place of what came from it
	begun     bool    // a line says what the exchange is
	bodyShown bool    // the answer to a refused upgrade was shown with its body
}

// inFlight is the form of the message in fragments that the frame of ev is part
// of.
func (s *session) inFlight(ev *decode.Event) *form {
	if ev.Out {
		return &s.sent[ev.Dir]
	}
	return &s.message[ev.Dir]
}

func newPrinter(w io.Writer, o Options, point byte) printer {
	preview, fit := max(o.Preview, 0), o.Preview == Fit && o.Columns != nil
	switch {
	case fit:
		preview = MaxFit
	case o.Preview == Fit:
		preview = 80
	}
	return printer{
		w:         w,
		preview:   preview,
		columns:   o.Columns,
		fit:       fit,
		lead:      o.Lead,
		messages:  o.Messages,
		pretty:    o.Pretty,
		later:     o.Later,
		dated:     o.Date,
		timeForm:  o.Time,
		numbers:   o.Numbers,
		processes: o.Process,
		pens:      newPens(o.Color),
		point:     point,
	}
}

// sink returns form, which gets messages in place of their frames if o says so.
func (o Options) sink(form decode.Sink) decode.Sink {
	if o.Messages {
		return decode.MessagesOnly(form)
	}
	return form
}

// begin readies p for the lines of ev.
func (p *printer) begin(ev *decode.Event) {
	p.buf = p.buf[:0]
	if ev.Kind == decode.KindOpen { // numbers start anew in every file
		p.sessions.Forget(ev.Conn)
	}
}

// finish writes the lines of ev.
func (p *printer) finish(ev *decode.Event) {
	if len(p.buf) > 0 {
		if p.timeForm == TimeClock && !p.later {
			p.date()
		}
		p.before = ev.Time
		p.w.Write(p.buf)
	}
	if ev.Kind == decode.KindClosed {
		p.sessions.Forget(ev.Conn)
	}
}

// date puts a line with the date before the lines of this event, if the day is
// another one than that of the lines before. A trace without a time of day has
// none: its times count from the start of 1970.
func (p *printer) date() {
	day := p.clock.day()
	if len(day) == 0 || bytes.Equal(day, p.day) || bytes.HasPrefix(day, []byte("1970-")) {
		return
	}
	if p.dated || len(p.day) > 0 {
		p.payload = append(p.payload[:0], p.pens.clock.on...)
		p.payload = append(p.payload, day...)
		p.payload = append(p.payload, p.pens.clock.off...)
		p.buf = slices.Insert(p.buf, 0, append(p.payload, '\n')...)
	}
	p.day = append(p.day[:0], day...)
}

// line begins a line: clock, session and a mark that says who or what.
func (p *printer) line(ev *decode.Event, mark string, pen pen) {
	p.start = len(p.buf)
	p.timeOf(ev)
	p.text(" ")
	p.session(ev.Conn)
	p.text(" ")
	p.colored(pen, mark)
	p.text(" ")
	if p.columns != nil {
		p.indent = columnsOf(p.buf[p.start:])
	}
}

// session appends the number of a session, in its colour.
func (p *printer) session(conn int64) {
	pen := p.pens.numbers[uint64(conn)%uint64(len(p.pens.numbers))]
	p.text(pen.on)
	p.text("#")
	p.int(conn)
	p.text(pen.off)
}

// end ends a line, without blanks at its end. Where it is too long for a terminal
// it is broken.
func (p *printer) end() {
	p.trim()
	if p.columns != nil {
		columns := p.columns()
		p.wrap(p.start, columns, min(p.indent, columns/4))
	}
	p.text("\n")
}

// endPayload is end for a line that has payload, of which there is as much as the
// user wants.
func (p *printer) endPayload() {
	if p.fit {
		p.end()
		return
	}
	p.trim()
	p.text("\n")
}

// trim removes the blanks at the end of the line so far.
func (p *printer) trim() {
	for p.buf[len(p.buf)-1] == ' ' {
		p.buf = p.buf[:len(p.buf)-1]
	}
}

func (p *printer) time(t time.Time) {
	p.text(p.pens.clock.on)
	p.buf = p.clock.append(p.buf, t, p.point)
	p.text(p.pens.clock.off)
}

// timeOf appends the time of an event.
func (p *printer) timeOf(ev *decode.Event) {
	if p.timeForm == TimeClock {
		p.time(ev.Time)
		return
	}
	p.text(p.pens.clock.on)
	switch p.timeForm {
	case TimeDelta:
		if p.later {
			p.text(room)
		} else {
			p.delta(ev.Time)
		}
	case TimeSince:
		p.seconds(ev.Time.Sub(ev.Info.Time))
	case TimeUnix:
		p.seconds(time.Duration(ev.Time.UnixNano()))
	case TimeISO:
		p.buf = ev.Time.Local().AppendFormat(p.buf, "2006-01-02T15:04:05.000000Z07:00")
	}
	p.text(p.pens.clock.off)
}

// delta appends the time since the line before.
func (p *printer) delta(at time.Time) {
	d := time.Duration(0)
	if !p.before.IsZero() {
		d = at.Sub(p.before)
	}
	p.seconds(d)
}

const secondsWidth = len("86400.000000")

// seconds appends a time in seconds, to the microsecond, with room for a day.
func (p *printer) seconds(d time.Duration) {
	const width = secondsWidth
	start := len(p.buf)
	p.buf = strconv.AppendFloat(p.buf, float64(d.Round(time.Microsecond))/1e9, 'f', 6, 64)
	if n := width - (len(p.buf) - start); n > 0 {
		p.buf = slices.Insert(p.buf, start, []byte(blanks[:n])...)
	}
}

func (p *printer) text(s string) { p.buf = append(p.buf, s...) }

func (p *printer) int(n int64) { p.buf = strconv.AppendInt(p.buf, n, 10) }

func (p *printer) colored(pen pen, s string) {
	p.text(pen.on)
	p.text(s)
	p.text(pen.off)
}

// wire appends text that came from the wire.
func (p *printer) wire(s string) { p.buf = decode.AppendEscaped(p.buf, []byte(s), false) }

// count appends a number and what is counted.
func (p *printer) count(n int64, what string) {
	p.int(n)
	p.text(" ")
	p.text(what)
	if n != 1 {
		p.text("s")
	}
}

// violations appends a line for each violation that ev carries.
func (p *printer) violations(ev *decode.Event) {
	for i := range ev.Violations {
		v := &ev.Violations[i]
		pen := p.severityPen(v.Severity)
		p.line(ev, "!", pen)
		p.text(v.From.String())
		p.text(" ")
		p.colored(pen, string(v.ID))
		p.text(": ")
		p.wire(v.Text)
		p.text(" (")
		p.text(v.Section)
		p.text(")")
		p.end()
	}
}

func (p *printer) severityPen(s decode.Severity) pen {
	switch s {
	case decode.SeverityError:
		return p.pens.errors
	case decode.SeverityWarning:
		return p.pens.warns
	}
	return p.pens.infos
}

// A form is a way to show payload.
type form uint8

const (
	asEither form = iota // as text if it can be read, else as hex
	asText
	asHex
	asMessage // it is compressed: not before the message is there
	asBinary  // like asEither, of a binary message
)

// form returns how to show the payload of a frame, and remembers it for the
// frames that continue its message (RFC 6455 §5.4, RFC 7692 §6.1).
func (p *printer) form(ev *decode.Event) form {
	f := ev.Frame
	if f.OpCode > ws.OpBinary {
		return asEither
	}
	before := asEither
	if s := p.sessions.Lookup(ev.Conn); s != nil {
		before = *s.inFlight(ev)
	}
	form := before
	switch {
	case f.OpCode != ws.OpContinuation && f.Rsv&4 != 0 && ev.Handshake != nil && ev.Handshake.Deflate.On:
		form = asMessage
	case f.OpCode == ws.OpText && f.Rsv&4 == 0:
		form = asText
	case f.OpCode != ws.OpContinuation && f.Rsv == 0 && p.textual:
		form = asBinary
	case f.OpCode != ws.OpContinuation:
		form = asHex
	}
	after := form
	if f.Fin {
		after = asEither
	}
	if after != before {
		*p.sessions.Of(ev).inFlight(ev) = after
	}
	return form
}

// A glimpse is what is shown of the payload of a frame.
type glimpse struct {
	b       []byte // valid until the next event
	text    bool   // b is to be shown as text, not as hex
	coded   bool   // b is the reason in a Close frame
	code    int    // that came with it, iff coded
	missing bool   // the payload goes on after b
	words   bool   // b is no text, and the payload has some: letters stand beside
	packed  string // the format that the payload has b in; "" for none
}

// glimpse returns what to show of the payload of a frame, which is not a later
// piece. ok is false if that is nothing. What is compressed is shown inflated on
// the final frame of its message, or as it came if it could not be inflated; so is
// what a binary message has packed.
func (p *printer) glimpse(ev *decode.Event) (g glimpse, ok bool) {
	f := ev.Frame
	if p.textual && packed(ev) {
		p.form(ev)
		return p.glimpseOf(ev.Message)
	}
	form := p.form(ev)
	if form == asMessage {
		switch {
		case inflated(ev):
			return p.glimpseOf(ev.Message)
		case !f.Fin:
			return g, false
		}
		form = asHex
	}
	p.payload = f.AppendPayload(p.payload[:0], p.preview)
	g.b, g.missing = p.payload, len(p.payload) < f.Len() || !f.Complete
	if len(g.b) == 0 {
		return g, false
	}
	if f.OpCode == ws.OpClose {
		if code, reason, ok := decode.CloseBody(g.b); ok {
			g.coded, g.code, g.b, form = true, code, reason, asText
		}
	}
	chars := g.b
	if g.missing {
		chars = decode.WholeChars(chars)
	}
	if form == asText || (form == asEither || form == asBinary) && readable(chars) {
		g.b, g.text = chars, true
	}
	return g, true
}

// ofMessage reports whether ev is shown as a message, m, or, because it is part
// of one that is shown elsewhere, not at all.
func (p *printer) ofMessage(ev *decode.Event) (part bool, m *decode.Message) {
	switch {
	case ev.Kind == decode.KindMessage && (p.messages || ev.Message.Frames == 0):
		return true, ev.Message
	case ev.Kind == decode.KindMessage: // its frames were shown
		return true, nil
	case ev.Kind == decode.KindFrame && ev.Part && p.messages:
		return true, ev.Message
	}
	return false, nil
}

// inflated reports whether ev has a message that was inflated.
func inflated(ev *decode.Event) bool {
	return ev.Message != nil && ev.Message.Compressed && !ev.Message.Unread
}

// packed reports whether ev has a message whose content is packed.
func packed(ev *decode.Event) bool {
	return ev.Message != nil && ev.Message.Op == ws.OpBinary && ev.Message.Content().Packed != ""
}

// glimpseOf returns what to show of a message. ok is false if that is nothing.
func (p *printer) glimpseOf(m *decode.Message) (g glimpse, ok bool) {
	c := m.Content()
	g.b, g.packed = c.Data[:min(len(c.Data), p.preview)], c.Packed
	g.missing = c.Cut || len(g.b) < len(c.Data) || m.Unfinished
	if len(g.b) == 0 {
		return g, false
	}
	if m.Op == ws.OpClose {
		if code, reason, ok := decode.CloseBody(g.b); ok {
			g.coded, g.code, g.b, g.text = true, code, reason, true
			return g, true
		}
	}
	chars := g.b
	if g.missing {
		chars = decode.WholeChars(chars)
	}
	if g.text = m.Op == ws.OpText || (p.textual || m.Op > ws.OpBinary) && readable(chars); g.text {
		g.b = chars
	}
	return g, true
}

// soFar says how much has come of a frame that is not complete, unless it is a
// long one that is shown because a whole piece of it has come.
func (p *printer) soFar(f *decode.Frame) {
	if !f.Complete && (f.More || f.Len() <= decode.MaxPiece-utf8.UTFMax) { // a full piece says nothing
		p.count(f.At+int64(f.Len()), "byte")
		p.text(" so far")
	}
}

// readable reports whether b is text without anything that must be escaped but
// white space, and the separator of records that SignalR uses (ASCII RS).
func readable(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			return false
		case strconv.IsPrint(r) || r == '\t' || r == '\r' || r == '\n' || r == 0x1e:
		default:
			return false
		}
		b = b[n:]
	}
	return true
}

const (
	lowerHex = "0123456789abcdef"
	upperHex = "0123456789ABCDEF"
)

// appendHex appends b as pairs of digits with sep between them.
func appendHex(dst, b []byte, digits string, sep byte) []byte {
	if len(b) == 0 {
		return dst
	}
	for _, c := range b {
		dst = append(dst, digits[c>>4], digits[c&15], sep)
	}
	return dst[:len(dst)-1]
}

// appendBits appends the eight bits of c.
func appendBits(dst []byte, c byte) []byte {
	return append(dst, '0'+c>>7, '0'+c>>6&1, '0'+c>>5&1, '0'+c>>4&1, '0'+c>>3&1, '0'+c>>2&1, '0'+c>>1&1, '0'+c&1)
}

// AppendSize appends a number of bytes, in two figures or a little more:
// "999 B", "5.1 kB", "88 kB"; k is 1000.
func AppendSize(dst []byte, n int64) []byte {
	if n < 1000 {
		dst = strconv.AppendInt(dst, n, 10)
		return append(dst, " B"...)
	}
	const units = "kMGTPE"
	f, unit := float64(n)/1000, 0
	for f >= 999.5 {
		f /= 1000
		unit++
	}
	digits := 0
	if f < 9.95 {
		digits = 1
	}
	dst = strconv.AppendFloat(dst, f, 'f', digits, 64)
	return append(dst, ' ', units[unit], 'B')
}

// AppendDuration appends d as a person would say it: "0 ms", "0.3 ms", "3 ms",
// "16.8 s", "2 m 3 s", "1 h 2 m".
func AppendDuration(dst []byte, d time.Duration) []byte {
	const ms = float64(time.Millisecond)
	switch {
	case d >= 50*time.Microsecond && d < 950*time.Microsecond:
		dst = strconv.AppendFloat(dst, float64(d)/ms, 'f', 1, 64)
		return append(dst, " ms"...)
	case d.Round(time.Millisecond) < time.Second:
		dst = strconv.AppendInt(dst, int64(d.Round(time.Millisecond)/time.Millisecond), 10)
		return append(dst, " ms"...)
	case d.Round(100*time.Millisecond) < time.Minute:
		dst = strconv.AppendFloat(dst, d.Seconds(), 'f', 1, 64)
		return append(dst, " s"...)
	case d.Round(time.Second) < time.Hour:
		return appendTwo(dst, int64(d.Round(time.Second)/time.Second), " m ", " s")
	}
	return appendTwo(dst, int64(d.Round(time.Minute)/time.Minute), " h ", " m")
}

// appendTwo appends n as sixties and the rest.
func appendTwo(dst []byte, n int64, big, small string) []byte {
	dst = strconv.AppendInt(dst, n/60, 10)
	dst = append(dst, big...)
	dst = strconv.AppendInt(dst, n%60, 10)
	return append(dst, small...)
}

// A clock writes the time of day where we are, in steps of 100 µs. It works out
// hours, minutes and seconds once a second.
type clock struct {
	unix int64
	text []byte // of unix: "2006-01-02 15:04:05"
}

// day returns the day of the time that was appended last; nil if there was none.
func (c *clock) day() []byte { return c.text[:min(len(c.text), len(time.DateOnly))] }

func (c *clock) append(dst []byte, t time.Time, point byte) []byte {
	if unix := t.Unix(); unix != c.unix || c.text == nil {
		c.unix = unix
		c.text = t.Local().AppendFormat(c.text[:0], time.DateTime)
	}
	dst = append(dst, c.text[len(time.DateOnly)+1:]...)
	n := t.Nanosecond() / 100_000
	return append(dst, point, '0'+byte(n/1000), '0'+byte(n/100%10), '0'+byte(n/10%10), '0'+byte(n%10))
}
