package pcap

import (
	"container/list"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// Options are settings of a [Writer].
type Options struct {
	By string // the program that writes: "wstrace 0.3.0"
}

// A Writer writes sessions as a capture, in pcapng. It is both a [decode.Sink], from
// which it knows which sessions there are, what is wrong with them and how they end,
// and a [decode.Tap], which gives it their bytes. It may be called from several
// goroutines.
//
// It makes one Write call for the packets of a chunk, so that what was written can be
// read whatever happens later, and more than one for a chunk over 256 KiB. With no
// findings it allocates nothing for a chunk.
//
// Times never run backwards within a conversation. They do so between two only if what
// is written is out of order, as the sessions of a recording may be.
//
// Bytes that are not known, as of a body that was not recorded, are packets that were
// cut off or, if they are many, lost segments.
// Messages of which no frames are known have no place in a capture ([Writer.Messages]).
// A conversation of such a session is left open, since one that ended without a Close
// would look like a fault; a comment says so.
// A connection that wstrace itself ended has a FIN and a comment that says so.
type Writer struct {
	mu sync.Mutex
	w  io.Writer

	sessions decode.PerSession[session]
	talks    map[talkKey]*talk
	idle     list.List // of *talk: no session has it
	begun    uint32    // conversations
	addrs    addresses

	buf      []byte // what is to be written
	now      uint64 // the time of what is written, in ns since 1970
	before   uint64 // the time of the packet before
	mixed    bool   // times ran backwards, as what is written is out of order
	last     uint64 // the latest of all packets
	packets  [legs]uint64
	messages int64
	closed   bool
	err      error // the first
}

const (
	flushSize  = 256 << 10 // bytes that are written together
	keptBuffer = 1 << 20   // the largest buffer that is used again
)

// What a Source knows the interfaces of a Writer by.
const (
	clientLegDescription = "between the client and the proxy, or the server if nothing was changed on the way"
	serverLegDescription = "between the proxy and the server, where something was changed on the way"
)

const sectionComment = "What client and server sent is real, and so are the times; Ethernet, IP and TCP are made up. TLS is plain text."

// A session is one that is being written.
type session struct {
	conn   int64
	client netip.AddrPort
	server netip.AddrPort
	talks  [legs]*talk // that of serverLeg only where the legs differ

	heads [2]string // by Dir: as they were sent on, or came
	wrote [2]bool   // by Dir
	junk  [2]bool   // by Dir: it was said that there is some

	notes     [2]notes // for what came, and for what was sent in its place
	gone      [2]bool  // by Dir: what else came was dropped, as the peer had gone
	resets    bool     // one side has reset the connection, and nothing tells of it yet
	resetBy   decode.Dir
	handshake bool   // a head of it came, or frames without one
	ext       string // as [decode.Info] says
	websocket bool   // it became a WebSocket connection

	noFrames bool  // as [decode.Info] says
	messages int64 // that were left out
}

// NewWriter returns a Writer to w, to which it writes the beginning of the capture.
func NewWriter(w io.Writer, o Options) *Writer {
	wr := &Writer{w: w, talks: make(map[talkKey]*talk)}
	wr.sessions.Forgotten = func(_ int64, s *session) { wr.abandon(s) }
	wr.buf = appendSection(wr.buf, o.By, sectionComment)
	wr.buf = appendInterface(wr.buf, "client-leg", clientLegDescription)
	wr.buf = appendInterface(wr.buf, "server-leg", serverLegDescription)
	wr.flush()
	return wr
}

// Err returns the first error of writing. After it, nothing more was written.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Messages returns how many messages were left out, as no frames of them are known.
func (w *Writer) Messages() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.messages
}

// Close ends the capture, but does not close what it is written to. It returns the
// first error of writing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.err
	}
	for _, c := range w.sessions.Open() {
		w.abandon(w.sessions.Lookup(c))
	}
	w.closed = true
	for leg, n := range w.packets {
		w.buf = appendStatistics(w.buf, uint32(leg), w.last, n)
	}
	w.flush()
	return w.err
}

// flush writes what is to be written.
func (w *Writer) flush() {
	if len(w.buf) > 0 && w.err == nil {
		n, err := w.w.Write(w.buf)
		if err == nil && n < len(w.buf) {
			err = io.ErrShortWrite
		}
		w.err = err
	}
	if w.buf = w.buf[:0]; cap(w.buf) > keptBuffer {
		w.buf = nil
	}
}

// at sets the time of the next packet. Those before 1970, as of a trace without a time
// of day, count from the year 1.
func (w *Writer) at(t time.Time) {
	sec := t.Unix()
	if sec < 0 {
		sec -= time.Time{}.Unix()
	}
	const most = (1<<64)/1_000_000_000 - 1
	w.now = uint64(min(max(sec, 0), most))*1_000_000_000 + uint64(t.Nanosecond())
}

// Emit takes what an event tells besides the bytes.
func (w *Writer) Emit(ev *decode.Event) {
	switch ev.Kind {
	case decode.KindFrame, decode.KindMessage, decode.KindBody:
		if len(ev.Violations) == 0 && ev.Fate == (decode.Fate{}) && (ev.Kind != decode.KindMessage || ev.Message.Frames > 0) {
			return // as most do
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.err != nil {
		return
	}
	w.emit(ev)
	w.flush()
}

func (w *Writer) emit(ev *decode.Event) {
	if ev.Kind == decode.KindOpen {
		if s := w.sessions.Lookup(ev.Conn); s != nil { // numbers start over
			w.abandon(s)
		}
		w.at(ev.Time)
		s := w.sessions.Of(ev)
		s.noFrames = ev.Info.NoFrames
		w.open(s, ev.Info)
	}
	s := w.sessions.Lookup(ev.Conn)
	if s == nil {
		return
	}
	w.note(s, ev)
	switch ev.Kind {
	case decode.KindRequest:
		s.handshake = true
		if hs := ev.Handshake; hs.Forwarded != nil {
			s.heads[decode.FromClient] = hs.Forwarded.Raw
		} else {
			s.heads[decode.FromClient] = hs.Request.Raw
		}
	case decode.KindResponse:
		s.handshake = true
		s.heads[decode.FromServer] = ev.Head.Raw
	case decode.KindMessage:
		if ev.Message.Frames == 0 {
			w.messages++
			s.messages++
		}
	case decode.KindEnd:
		w.at(ev.Time)
		if ev.Both {
			w.ends(s, decode.FromClient, ev)
			w.ends(s, decode.FromServer, ev)
		} else {
			w.ends(s, ev.Dir, ev)
		}
	case decode.KindClosed:
		w.at(ev.Time)
		w.finish(s, verdict(ev))
		w.sessions.Forget(ev.Conn)
	}
	if ev.Handshake != nil && ev.Handshake.Accepted {
		s.websocket = true
	}
}

// Tap takes bytes.
func (w *Writer) Tap(c decode.Chunk) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.err != nil {
		return
	}
	if s := w.sessions.Lookup(c.Conn); s != nil {
		w.at(c.Time)
		w.tap(s, &c)
		w.flush()
	}
}

func (w *Writer) tap(s *session, c *decode.Chunk) {
	leg := clientLeg
	if (c.Dir == decode.FromServer) == (c.Leg == decode.LegCame) {
		leg = serverLeg
	}
	notes := &s.notes[0]
	if c.Offset >= 0 && !s.handshake {
		s.handshake = true
		if s.ext != "" {
			notes.add(atFirst, aboutExt+s.ext)
		} else {
			notes.add(atFirst, aboutFrames)
		}
	}
	switch c.Leg {
	case decode.LegBoth:
		w.pass(s.talks[clientLeg], c, notes)
		if t := s.talks[serverLeg]; t != nil {
			w.pass(t, c, nil)
		}
	case decode.LegSent:
		notes = &s.notes[1]
		fallthrough
	default:
		w.split(s)
		w.pass(s.talks[leg], c, notes)
	}
	if c.Leg != decode.LegSent {
		s.wrote[c.Dir] = true
	}
}

// pass writes a chunk to a conversation.
func (w *Writer) pass(t *talk, c *decode.Chunk, notes *notes) {
	if c.Lost > 0 {
		comments := []string{fmt.Sprintf("%d bytes of the %s are not known", c.Lost, c.Dir)}
		if notes != nil {
			comments = append(comments, notes.take(-1, true)...)
		}
		w.lost(t, c.Dir, c.Lost, comments)
		return
	}
	w.data(t, c.Dir, c.Data, c.Offset, notes)
}

// open begins the conversation of a session.
func (w *Writer) open(s *session, info *decode.Info) {
	s.conn = info.Conn
	s.client, s.server = w.addrs.of(info, w.name)
	t, isNew := w.talk(clientLeg, s.client, s.server, s.conn)
	s.talks[clientLeg] = t
	s.ext = info.Ext
	s.notes[0].add(atFirst, about(info))
	for leg, t := range [...]*decode.TLS{clientLeg: info.ClientTLS, serverLeg: info.ServerTLS} {
		if t != nil {
			s.notes[0].add(atFirst, aboutTLS[leg]+formatTLS(t))
		}
	}
	if info.Cont {
		s.notes[0].add(atFirst, aboutCont)
	}
	if isNew {
		w.connect(t, s.notes[0].take(-1, true))
	}
}

// about says which session it is.
func about(info *decode.Info) string {
	var b strings.Builder
	fmt.Fprintf(&b, "session %d", info.Conn)
	if info.URL != "" {
		fmt.Fprintf(&b, ": %s", info.URL)
	}
	if info.Process != "" {
		fmt.Fprintf(&b, ", of %s", info.Process)
		if info.PID != 0 {
			fmt.Fprintf(&b, " (%d)", info.PID)
		}
	}
	return b.String()
}

// name says in the capture which name an address has.
func (w *Writer) name(addr netip.Addr, name string) {
	w.buf = appendName(w.buf, addr, clean(name, 255))
}

// split begins the leg of the server, which no longer is that of the client. It has
// the heads that passed before.
func (w *Writer) split(s *session) {
	if s.talks[serverLeg] != nil {
		return
	}
	proxy := netip.AddrPortFrom(w.addrs.makeUp("wstrace", s.server.Addr().Is6(), w.name), s.client.Port())
	t, isNew := w.talk(serverLeg, proxy, s.server, s.conn)
	s.talks[serverLeg] = t
	n := &s.notes[1]
	if s.wrote[0] || s.wrote[1] {
		n = new(notes) // for the heads
	}
	n.add(-1, fmt.Sprintf("session %d, to the server", s.conn))
	if isNew {
		w.connect(t, n.take(-1, true))
	}
	if s.wrote[0] || s.wrote[1] {
		n.add(-1, "up to here it was as on the leg of the client; the heads are repeated")
	}
	for d := range s.wrote {
		if s.wrote[d] {
			w.data(t, decode.Dir(d), []byte(s.heads[d]), -1, n)
		}
	}
	for d, ended := range s.talks[clientLeg].ended {
		if ended {
			w.end(t, decode.Dir(d), nil)
		}
	}
}

// ends writes that d has ended.
func (w *Writer) ends(s *session, d decode.Dir, ev *decode.Event) {
	if s.noFrames {
		return
	}
	if ev.How == decode.EndRST {
		if !s.resets {
			s.resets, s.resetBy = true, d
		}
		return // with the verdict, as no packet can follow
	}
	if ev.How == decode.EndDrop {
		s.gone[d] = true // when d ends is not known, but it is not before the peer
		return
	}
	if s.resets {
		return
	}
	comments := s.notes[0].take(-1, true)
	for _, t := range s.talks {
		if t != nil {
			w.end(t, d, comments)
		}
		comments = nil
	}
}

// abandon writes what is left of a session whose end is not known.
func (w *Writer) abandon(s *session) {
	now := w.now
	if w.now = w.before; w.mixed {
		w.now = 0 // the time of what came last of the session
	}
	w.finish(s, "")
	w.now = now
}

// finish writes what is left of a session, with a verdict or "".
func (w *Writer) finish(s *session, verdict string) {
	if verdict != "" {
		s.notes[0].add(-1, verdict)
	}
	if s.noFrames {
		s.notes[0].add(-1, fmt.Sprintf("not in this capture: how the connection ended, and its messages (%d), as no frames of them are known", s.messages))
	}
	comments := append(s.notes[0].take(-1, true), s.notes[1].take(-1, true)...)
	for leg, t := range s.talks {
		if t == nil {
			continue
		}
		if s.resets {
			w.packet(t, s.resetBy, rst|ack, nil, comments)
			t.reset = true
		} else {
			for d := range decode.Dir(2) {
				if s.gone[d] && !t.ended[d] {
					w.end(t, d, comments)
					comments = nil
				}
			}
			for d := range decode.Dir(2) {
				if w.acknowledge(t, d, comments) {
					comments = nil
				}
			}
			if s.noFrames {
				if comments != nil {
					w.packet(t, decode.FromClient, ack, nil, comments)
				}
				t.lone = true // what follows would be taken for frames
			}
		}
		w.release(t)
		s.talks[leg], comments = nil, nil
	}
}
