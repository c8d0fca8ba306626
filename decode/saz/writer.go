package saz

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"github.com/wstrace/wstrace/decode"
)

// Options are settings of a [Writer].
type Options struct {
	By string // the program that writes: "wstrace 0.3.0"

	// Temp is for what has to wait until its session ends, as an archive has one
	// session after the other. It is used only for sessions of more than a few KiB.
	Temp Temp
}

// Comment is how the comment of an archive begins that a [Writer] has written. The name of
// the program follows.
const Comment = "A session archive of Fiddler, written by "

// A Writer writes events as an archive. Like every [decode.Sink] that sessions
// share, it is called for one event at a time. The sessions must have bodies
// ([decode.Look.Bodies]) for them to be written.
//
// What an archive has no place for is left out: interim responses, tunnels without a
// request, gaps beyond the end of a frame, bytes behind them that are no frames, what was sent in place of heads, and what
// decided over frames. A message of which no frames are known stands as a frame, and a
// flag of the session says so.
//
// The archive is complete after [Writer.Close] only.
type Writer struct {
	z        *zip.Writer
	o        Options
	spool    spool
	sessions decode.PerSession[session]
	names    map[int64]bool // numbers that are taken
	highest  int64
	begun    bool
	err      error
	buf      []byte
}

// A session is one that is being written.
type session struct {
	conn   int64
	info   decode.Info
	opened bool

	files   [2]stream // by Dir: head and body
	heads   [2]*decode.Head
	times   [2]struct{ head, last time.Time } // by Dir
	bodies  [2]bool                           // something of them was written
	missing [2]int64                          // of the bodies
	notes   []string

	lost [2]bool // nothing can be framed any more, because of a gap

	frames   stream
	count    int64 // of frames
	flight   [2][2]flight
	accepted bool
	ends     string // flags
	ended    int    // how many those are
	closed   bool
	done     time.Time // when it was
	bytes    [2]int64
}

// A flight is a frame of which more is to come.
type flight struct {
	stream
	on   bool // there is one
	at   int64
	bits int
	time time.Time // of the latest piece
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer, o Options) *Writer {
	wr := &Writer{z: zip.NewWriter(w), o: o, names: map[int64]bool{}}
	wr.spool.temp = o.Temp
	wr.sessions.Forgotten = func(_ int64, s *session) { wr.finish(s) }
	return wr
}

// Err returns the first error of writing. After it, nothing more was written.
func (w *Writer) Err() error { return w.err }

// Close writes the sessions that are still open and the directory of the archive. It
// returns the first error.
func (w *Writer) Close() error {
	for _, conn := range w.sessions.Open() {
		w.finish(w.sessions.Lookup(conn))
		w.sessions.Forget(conn)
	}
	w.begin()
	if w.err == nil {
		w.err = w.z.Close()
	}
	return w.err
}

// Emit takes an event.
func (w *Writer) Emit(ev *decode.Event) {
	if w.err != nil || ev.Conn == 0 {
		return
	}
	if ev.Kind == decode.KindOpen {
		if s := w.sessions.Lookup(ev.Conn); s != nil { // another recording begins
			w.finish(s)
		}
	}
	s := w.sessions.Of(ev)
	if !s.opened {
		s.opened, s.conn, s.info = true, ev.Conn, *ev.Info
	}
	w.take(s, ev)
	if ev.Kind == decode.KindClosed {
		s.closed, s.done, s.bytes = true, ev.Time, ev.Totals.Bytes
		w.finish(s)
	}
	if w.err == nil {
		w.err = w.spool.err
	}
}

func (w *Writer) take(s *session, ev *decode.Event) {
	hs := ev.Handshake
	s.accepted = s.accepted || hs != nil && hs.Accepted
	switch ev.Kind {
	case decode.KindRequest:
		w.head(s, decode.FromClient, hs.Request, ev.Time)
	case decode.KindResponse:
		if h := ev.Head; !h.Cut && h.Status < 200 && h.Status != 101 {
			return // Fiddler takes the first head for the response
		}
		w.head(s, decode.FromServer, ev.Head, ev.Time)
	case decode.KindBody:
		w.body(s, ev)
	case decode.KindFrame:
		w.frame(s, ev)
	case decode.KindJunk:
		w.junk(s, ev)
	case decode.KindMessage:
		if ev.Message.Frames == 0 {
			w.message(s, ev)
		}
	case decode.KindGap:
		w.gap(s, ev)
	case decode.KindNotice:
		s.note(ev.Text)
	case decode.KindEnd:
		s.end(ev)
	}
}

// head takes a head.
func (w *Writer) head(s *session, d decode.Dir, h *decode.Head, t time.Time) {
	if s.heads[d] != nil {
		return
	}
	s.heads[d] = h
	s.times[d].head, s.times[d].last = t, t
	if h.Raw != "" {
		w.spool.write(&s.files[d], []byte(h.Raw))
		return
	}
	w.spool.write(&s.files[d], appendHTTP1(nil, h))
}

// appendHTTP1 appends a head that came parsed as one of HTTP/1.1.
func appendHTTP1(dst []byte, h *decode.Head) []byte {
	c := decode.Head{Method: h.Method, Target: h.Target, Proto: "HTTP/1.1", Status: h.Status, Reason: h.Reason}
	if authority := h.Get(":authority"); authority != "" && h.Get("Host") == "" {
		c.Fields = append(c.Fields, decode.Field{Name: "Host", Value: authority})
	}
	for _, f := range h.Fields {
		if !strings.HasPrefix(f.Name, ":") {
			c.Fields = append(c.Fields, f)
		}
	}
	return c.Append(dst)
}

// body takes a piece of a body. Where its head says that it is in chunks, it is.
func (w *Writer) body(s *session, ev *decode.Event) {
	d := ev.Dir
	s.times[d].last = ev.Time
	if s.missing[d] > 0 {
		s.missing[d] += ev.BodyLen
		return // behind a gap
	}
	s.bodies[d] = s.bodies[d] || len(ev.Data) > 0
	file := &s.files[d]
	chunked := s.heads[d].HasToken("Transfer-Encoding", "chunked")
	if chunked && len(ev.Data) > 0 {
		w.spool.write(file, fmt.Appendf(w.buf[:0], "%x\r\n", len(ev.Data)))
	}
	w.spool.write(file, ev.Data)
	if chunked && len(ev.Data) > 0 {
		w.spool.write(file, []byte("\r\n"))
	}
	if s.missing[d] += ev.BodyLen - int64(len(ev.Data)); s.missing[d] == 0 && chunked && !ev.Part && !ev.CutOff {
		w.spool.write(file, []byte("0\r\n\r\n"))
	}
}

// junk takes bytes that are no frame: what they are the reader finds out again.
func (w *Writer) junk(s *session, ev *decode.Event) {
	d := ev.Dir
	if !s.accepted {
		w.spool.write(&s.files[d], ev.Data)
		return
	}
	w.land(s, d, ev.Out)
	if s.lost[d] && !ev.Out {
		return // any reader would take it for frames
	}
	w.record(s, d, frameBits(ev), ev.Time, int64(len(ev.Data)))
	w.spool.write(&s.frames, ev.Data)
	w.spool.write(&s.frames, []byte("\r\n"))
}

func frameBits(ev *decode.Event) (bits int) {
	if ev.Out {
		return frameGenerated
	}
	if ev.Fate.FX != decode.FXNone { // what is sent later stands for itself then
		bits = frameAborted
	}
	return bits
}

// frame takes a frame or a piece of one.
func (w *Writer) frame(s *session, ev *decode.Event) {
	f := ev.Frame
	s.lost[f.Dir] = s.lost[f.Dir] && ev.Out
	fl := s.inFlight(f.Dir, ev.Out)
	if !f.More {
		w.land(s, f.Dir, ev.Out)
		if f.Complete {
			w.buf = f.AppendWire(w.buf[:0])
			w.record(s, f.Dir, frameBits(ev), ev.Time, int64(len(w.buf)))
			w.spool.write(&s.frames, append(w.buf, "\r\n"...))
			return
		}
		*fl = flight{on: true, bits: frameBits(ev)}
	} else if fl.on && f.At != fl.at { // something in between is missing
		w.land(s, f.Dir, ev.Out)
	}
	if !fl.on { // it stands behind a gap in a frame
		return
	}
	fl.at, fl.time = f.At+int64(f.Len()), ev.Time
	w.buf = f.AppendWire(w.buf[:0])
	w.spool.write(&fl.stream, w.buf)
	if f.Complete {
		w.land(s, f.Dir, ev.Out)
	}
}

func (s *session) inFlight(d decode.Dir, out bool) *flight {
	if out {
		return &s.flight[d][1]
	}
	return &s.flight[d][0]
}

// land writes the frame in flight, if there is one: as much of it as there is.
func (w *Writer) land(s *session, d decode.Dir, out bool) {
	fl := s.inFlight(d, out)
	if !fl.on {
		return
	}
	fl.on = false
	w.record(s, d, fl.bits, fl.time, fl.size)
	w.fail(w.spool.read(&fl.stream, func(b []byte) error {
		w.spool.write(&s.frames, b)
		return w.spool.err
	}))
	w.spool.write(&s.frames, []byte("\r\n"))
}

func (w *Writer) fail(err error) { w.err = cmp.Or(w.err, err) }

// record writes what stands before a frame of n bytes.
func (w *Writer) record(s *session, d decode.Dir, bits int, t time.Time, n int64) {
	b := make([]byte, 0, 160)
	if s.count == 0 {
		b = append(b, "\r\n"...)
	}
	name := "Request-Length: "
	if d == decode.FromServer {
		name = "Response-Length: "
	}
	b = strconv.AppendInt(append(b, name...), n, 10)
	b = strconv.AppendInt(append(b, "\r\nID: "...), s.count, 10)
	b = strconv.AppendInt(append(b, "\r\nBitFlags: "...), int64(bits), 10)
	for i, name := range [...]string{"DoneRead", "BeginSend", "DoneSend"} {
		if i > 0 && bits&frameAborted != 0 {
			break // it was not sent
		}
		b = appendTime(append(append(append(b, "\r\n"...), name...), ": "...), t)
	}
	b = append(b, "\r\n\r\n"...)
	s.count++
	w.spool.write(&s.frames, b)
}

// message takes a message of which no frames are known. It is written as a frame, as
// there is no other way, and marked.
func (w *Writer) message(s *session, ev *decode.Event) {
	m := ev.Message
	b := decode.AppendHeader(nil, ws.Header{Fin: true, OpCode: m.Op, Length: int64(len(m.Data))}, 0)
	w.record(s, m.Dir, frameAssembled, ev.Time, int64(len(b)+len(m.Data)))
	w.spool.write(&s.frames, b)
	w.spool.write(&s.frames, m.Data)
	w.spool.write(&s.frames, []byte("\r\n"))
}

// gap takes that bytes are missing. Within a frame its length tells.
func (w *Writer) gap(s *session, ev *decode.Event) {
	if !s.accepted {
		s.missing[ev.Dir] += ev.Lost
	}
	s.lost[ev.Dir] = s.accepted
	w.land(s, ev.Dir, false)
}

const maxNotes = 16 // of a session

func (s *session) note(text string) {
	if len(s.notes) < maxNotes && len(text) < 1<<10 {
		s.notes = append(s.notes, text)
	}
}

// end takes the end of a direction, or of both.
func (s *session) end(ev *decode.Event) {
	name := ev.Dir.String()
	if ev.Both {
		name = "both"
	}
	s.ended++
	value := fmt.Sprintf("%s %s %d %s %s", name, appendTime(nil, ev.Time), ev.Status, ev.How, ev.Text)
	s.ends += flag(flagEnd+strconv.Itoa(s.ended), value)
}

// flag returns a flag as it stands in N_m.xml.
func flag(name, value string) string {
	var b bytes.Buffer
	b.WriteString(`    <SessionFlag N="` + name + `" V="`)
	xml.EscapeText(&b, []byte(value))
	b.WriteString("\" />\r\n")
	return b.String()
}

// begin writes what an archive begins with.
func (w *Writer) begin() {
	if w.begun || w.err != nil {
		return
	}
	w.begun = true
	if w.err = w.z.SetComment(Comment + cmp.Or(w.o.By, "wstrace")); w.err != nil {
		return
	}
	w.entry("[Content_Types].xml", time.Time{}, func(out io.Writer) error {
		_, err := io.WriteString(out, `<?xml version="1.0" encoding="utf-8"?>`+"\r\n"+
			`<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">`+
			`<Default Extension="htm" ContentType="text/html" />`+
			`<Default Extension="xml" ContentType="application/xml" />`+
			`<Default Extension="txt" ContentType="text/plain" /></Types>`)
		return err
	})
}

// entry writes an entry.
func (w *Writer) entry(name string, t time.Time, write func(io.Writer) error) {
	if w.err != nil {
		return
	}
	if t = t.UTC(); t.Year() < 1980 {
		t = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) // ZIP knows no earlier one
	}
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: t}
	out, err := w.z.CreateHeader(h)
	if err == nil {
		err = write(out)
	}
	w.fail(err)
}

// digits is how wide numbers are: of an archive all should be as wide, and it is not
// known how many will follow.
const digits = 6

// finish writes a session.
func (w *Writer) finish(s *session) {
	for d := range decode.Dir(2) {
		for _, out := range [...]bool{false, true} {
			w.land(s, d, out)
		}
	}
	if s.heads[0] == nil && s.heads[1] == nil && s.count == 0 {
		for d := range s.files {
			w.spool.drop(&s.files[d])
		}
		return
	}
	w.begin()
	n := s.conn
	if w.names[n] {
		n = w.highest + 1
	}
	w.names[n], w.highest = true, max(w.highest, n)
	base := fmt.Sprintf("raw/%0*d_", digits, n)
	copyOf := func(from *stream) func(io.Writer) error {
		return func(out io.Writer) error {
			return w.spool.read(from, func(b []byte) error {
				_, err := out.Write(b)
				return err
			})
		}
	}
	meta := s.meta(n, cmp.Or(w.o.By, "wstrace"))
	began := s.info.Time
	w.entry(base+"c.txt", began, copyOf(&s.files[decode.FromClient]))
	w.entry(base+"s.txt", began, copyOf(&s.files[decode.FromServer]))
	w.entry(base+"m.xml", began, func(out io.Writer) error {
		_, err := io.WriteString(out, meta)
		return err
	})
	if s.count > 0 {
		w.entry(base+"w.txt", began, copyOf(&s.frames))
	}
}

// meta returns N_m.xml.
func (s *session) meta(n int64, by string) string {
	var b strings.Builder
	bits := 0
	if s.info.ClientTLS != nil || strings.HasPrefix(s.info.URL, "wss:") || strings.HasPrefix(s.info.URL, "https:") {
		bits |= bitHTTPS
	}
	if s.accepted {
		bits |= bitWebSocket
	}
	for d, bit := range [...]int{bitRequestBodyDropped, bitResponseBodyDropped} {
		if !s.bodies[d] && !s.accepted && s.missing[d]+s.bytes[d] > 0 {
			bits |= bit
		}
	}
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + "\r\n")
	fmt.Fprintf(&b, `<Session SID="%d" BitFlags="%X">`+"\r\n  <SessionTimers", n, bits)
	for _, name := range timerNames {
		fmt.Fprintf(&b, ` %s="%s"`, name, appendTime(nil, s.timer(name)))
	}
	b.WriteString(` GatewayTime="0" DNSTime="0" TCPConnectTime="0" HTTPSHandshakeTime="0" />` + "\r\n  <SessionFlags>\r\n")
	text := func(name, value string) {
		if value != "" {
			b.WriteString(flag(name, value))
		}
	}
	set := func(name string, on bool) {
		if on {
			b.WriteString(flag(name, "true"))
		}
	}
	text(flagBy, by)
	ip, port := splitHost(s.info.Client)
	text(flagClientIP, ip)
	text(flagClientPort, port)
	host, _ := splitHost(s.info.Server)
	text(flagHostIP, host)
	if s.info.Process != "" || s.info.PID != 0 {
		text(flagProcess, s.info.Process+":"+strconv.Itoa(s.info.PID))
	}
	text(flagURL, s.info.URL)
	text(flagServer, s.info.Server)
	text(flagExt, s.info.Ext)
	set(flagCont, s.info.Cont)
	set(flagPiece, s.info.Piece)
	set(flagMessages, s.info.NoFrames)
	for d := range decode.Dir(2) {
		if s.missing[d] > 0 {
			text(flagMissing+sideName(d), strconv.FormatInt(s.missing[d], 10))
		}
	}
	b.WriteString(s.ends)
	if s.closed {
		text(flagDone, string(appendTime(nil, s.done)))
		text(flagBytes, fmt.Sprintf("%d %d", s.bytes[0], s.bytes[1]))
	}
	text(flagComments, strings.Join(s.notes, "\n"))
	b.WriteString("  </SessionFlags>\r\n</Session>\r\n")
	return b.String()
}

// timer returns one of the times of a session, or the zero time.
func (s *session) timer(name string) time.Time {
	request, response := s.times[decode.FromClient], s.times[decode.FromServer]
	switch name {
	case "ClientConnected", "ClientBeginRequest":
		return s.info.Time
	case "GotRequestHeaders":
		return request.head
	case "ClientDoneRequest", "FiddlerBeginRequest", "ServerGotRequest":
		return request.last
	case "ServerBeginResponse", "GotResponseHeaders", "ClientBeginResponse":
		return response.head
	case "ServerDoneResponse":
		return response.last
	case "ClientDoneResponse":
		return s.done
	}
	return time.Time{}
}

// splitHost splits host and port.
func splitHost(s string) (host, port string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, ""
	}
	return strings.Trim(s[:i], "[]"), s[i+1:]
}
