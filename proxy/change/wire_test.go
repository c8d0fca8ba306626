package change

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// A wire is a session with a gate, without sockets: what each side sends is given to say,
// and what the other receives is in got. There is no time in it: nothing waits.
type wire struct {
	t       *testing.T
	g       *gate
	s       decode.Session
	now     time.Time
	dec     proxy.Decision
	got     [2][]byte // by Dir of the sender
	dec2    [2]decode.Decoder
	middle  [2]bool // of a message
	inFrame [2]bool
	parked  [2][][]byte
	notes   []string
	fates   []string
	reset   string
	junk    [2]bool // bytes could not be framed, and the gate is not asked any more
}

const request = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: 2yMYxpskNb1l6Ih8qpaLPA==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
const response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: 6Gce4hHIwr26zTR41bvmxYvu9Qc=\r\n%s\r\n"

// newWire returns a session, upgraded with extensions, under changes.
func newWire(t *testing.T, ext string, lines ...string) *wire {
	t.Helper()
	return newWireOf(t, changesOf(t, 1, lines...), 1, ext)
}

func changesOf(t *testing.T, seed uint64, lines ...string) *Changes {
	t.Helper()
	parsed, err := Parse(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return New(seed, parsed)
}

func newWireOf(t *testing.T, c *Changes, conn int64, ext string) *wire {
	w := closedWire(t, c, conn)
	w.open(ext)
	return w
}

// closedWire returns a wire that is not open yet.
func closedWire(t *testing.T, c *Changes, conn int64) *wire {
	w := &wire{t: t, now: time.Unix(1e9, 0)}
	w.g = c.newGate(conn, w)
	w.g.dry = true
	w.s.Look = w.g.look
	w.s.Sink = decode.SinkFunc(func(ev *decode.Event) {
		if ev.Fate.FX != decode.FXNone {
			w.fates = append(w.fates, ev.Fate.FX.String()+" "+ev.Fate.Change)
		}
	})
	w.s.Gate = w.gate
	return w
}

func (w *wire) open(ext string) {
	w.s.Open(decode.Info{Conn: w.g.conn, Time: w.now})
	w.say(decode.FromClient, []byte(fmt.Sprintf(request, ext)))
	w.say(decode.FromServer, []byte(fmt.Sprintf(response, ext)))
}

func (w *wire) say(d decode.Dir, b []byte) {
	w.now = w.now.Add(time.Millisecond)
	w.s.Data(d, w.now, b)
}

// end ends a direction: what is held goes on.
func (w *wire) end(d decode.Dir) {
	w.s.FlushAll(d, w.now)
	w.send(d, w.g.Release(d))
	w.s.End(d, w.now, decode.EndFIN, "")
}

func (w *wire) gate(ev *decode.Event) decode.Fate {
	if d := ev.Dir; ev.Kind == decode.KindJunk && !w.junk[d] {
		w.send(d, w.g.Release(d))
		w.junk[d] = true
	}
	if w.junk[ev.Dir] {
		if ev.Kind == decode.KindJunk {
			w.got[ev.Dir] = append(w.got[ev.Dir], ev.Data...)
		}
		return decode.Fate{}
	}
	dec := w.g.Decide(ev)
	for _, n := range dec.Notes {
		w.notes = append(w.notes, n.Text)
	}
	if dec.Reset != "" {
		w.reset = dec.Reset
	}
	defer func() {
		for _, i := range dec.Inject {
			w.Inject(i.Dir, i.Bytes, i.Change)
			w.send(i.Dir, nil)
		}
	}()
	if ev.Kind != decode.KindFrame {
		return dec.Fate
	}
	d := ev.Dir
	if !ev.Frame.More {
		w.send(d, dec.Before)
	}
	switch {
	case dec.FX == decode.FXReplace:
		w.send(d, dec.Bytes)
	case ev.Frame.More && w.dec.FX == decode.FXDrop, dec.FX == decode.FXDrop:
	default:
		w.send(d, ev.Frame.AppendWire(nil))
	}
	if !ev.Frame.More {
		w.dec = dec
	}
	if dec.Kept {
		return decode.Fate{FX: decode.FXDelay, Change: dec.Change}
	}
	return dec.Fate
}

// send writes b, and what had to wait for the end of a frame or a message.
func (w *wire) send(d decode.Dir, b []byte) {
	w.got[d] = append(w.got[d], b...)
	for f := range w.dec2[d].Frames(b) {
		if !f.More && !f.Control() {
			w.middle[d] = !f.Fin
		}
		w.inFrame[d] = !f.Complete
	}
	for i := 0; i < len(w.parked[d]); i++ {
		if p := w.parked[d][i]; w.fits(d, p) {
			w.parked[d] = append(w.parked[d][:i:i], w.parked[d][i+1:]...)
			w.send(d, p)
			return
		}
	}
}

func (w *wire) fits(d decode.Dir, b []byte) bool {
	return !w.inFrame[d] && (!w.middle[d] || b[0]&15 >= 8)
}

func (w *wire) Inject(d decode.Dir, b []byte, change string) bool {
	w.parked[d] = append(w.parked[d], b)
	return true
}

func (w *wire) Note(d decode.Dir, change, text string) { w.notes = append(w.notes, text) }
func (w *wire) Reset(change string)                    { w.reset = change }

// besidesWaiting returns the notes but those on what became of messages that waited.
func (w *wire) besidesWaiting() []string {
	return slices.DeleteFunc(slices.Clone(w.notes), func(s string) bool { return strings.Contains(s, " that waited is ") })
}

// tick sends what was injected without an event.
func (w *wire) tick(after time.Duration) {
	w.now = w.now.Add(after)
	w.g.tick(w.now)
	w.send(decode.FromClient, nil)
	w.send(decode.FromServer, nil)
}

// A sender makes the frames of a side.
type sender struct {
	d        decode.Dir
	deflate  bool
	takeover bool
	fragment int // bytes of a frame; 0 for one frame a message
	rand     *rand.Rand
	z        *flate.Writer
	buf      bytes.Buffer
}

func (s *sender) frame(fin bool, rsv byte, op ws.OpCode, payload []byte) []byte {
	f := frame{fin: fin, rsv: rsv, op: op, masked: s.d == decode.FromClient, payload: payload}
	n := s.rand.Uint32()
	return f.append(nil, [4]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
}

// message returns the frames of a message, with a ping between them.
func (s *sender) message(op ws.OpCode, content []byte) (b []byte) {
	var rsv byte
	if s.deflate {
		rsv = 4
		s.buf.Reset()
		if s.z == nil {
			s.z, _ = flate.NewWriter(&s.buf, 6)
		} else if !s.takeover {
			s.z.Reset(&s.buf)
		}
		s.z.Write(content)
		s.z.Flush()
		content = bytes.TrimSuffix(s.buf.Bytes(), []byte{0, 0, 0xff, 0xff})
	}
	for {
		part := content
		if s.fragment > 0 && len(part) > s.fragment {
			part = part[:s.fragment]
		}
		content = content[len(part):]
		b = append(b, s.frame(len(content) == 0, rsv, op, part)...)
		if op, rsv = ws.OpContinuation, 0; len(content) == 0 {
			return b
		}
		if s.rand.IntN(3) == 0 {
			b = append(b, s.frame(true, 0, ws.OpPong, []byte("beat"))...)
		}
	}
}

// received decodes what a side received, and returns its messages, with the rules that it
// breaks.
func (w *wire) received(d decode.Dir, ext string) (messages []string, broken []string) {
	var s decode.Session
	s.Look = decode.Look{Messages: true, Keep: 64 << 20}
	s.Sink = decode.SinkFunc(func(ev *decode.Event) {
		for i := range ev.Violations {
			if v := &ev.Violations[i]; v.Severity != decode.SeverityInfo && v.From == d {
				broken = append(broken, string(v.Rule.ID))
			}
		}
		if m := ev.Message; ev.Kind == decode.KindMessage {
			messages = append(messages, string(m.Data))
		}
	})
	s.Open(decode.Info{Conn: 1, Time: time.Unix(1e9, 0)})
	s.Data(decode.FromClient, w.now, []byte(fmt.Sprintf(request, ext)))
	s.Data(decode.FromServer, w.now, []byte(fmt.Sprintf(response, ext)))
	s.Data(d, w.now, w.got[d])
	s.FlushAll(d, w.now)
	return messages, broken
}
