package interop

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"github.com/wstrace/wstrace/decode"
)

// usual is how many bytes a conversation takes in each direction, and some more.
const usual = 3 << 19

// A recording is a sink that puts messages together from the frames of one
// session, in the words in which peers report them.
type recording struct {
	mu         sync.Mutex
	opened     int
	info       decode.Info
	sides      [2]recorded
	masks      []string // of the client's frames
	extensions string
	complaints []string // violations of severity error, and what can't be understood
	closed     chan struct{}
	seen       decode.Seen
}

// look has the sessions look into everything.
func (r *recording) look() decode.Look {
	return decode.Look{Messages: true, Advice: true, Seen: &r.seen}
}

// recorded is one direction.
type recorded struct {
	reports    []report
	wire       []byte // of all frames
	compressed bool   // some message is

	frame   []byte // payload at hand of the frame in flight
	message []byte // fragments at hand
	typ     string // of the message in flight
	rsv1    bool   // it is compressed
	window  []byte // what was inflated last
}

func newRecording() *recording {
	r := &recording{closed: make(chan struct{})}
	for d := range r.sides {
		r.sides[d].wire = make([]byte, 0, usual)
	}
	return r
}

func (r *recording) Lock()   { r.mu.Lock() }
func (r *recording) Unlock() { r.mu.Unlock() }

func (r *recording) Emit(ev *decode.Event) {
	for _, v := range ev.Violations {
		if v.Severity == decode.SeverityError {
			r.complain("%v: %s: %s", v.From, v.Rule.ID, v.Text)
		}
	}
	switch ev.Kind {
	case decode.KindOpen:
		r.opened++
		r.info = *ev.Info
	case decode.KindResponse:
		r.extensions = ev.Handshake.Extensions
	case decode.KindFrame:
		r.piece(ev.Frame)
	case decode.KindMessage:
		r.whole(ev.Message)
	case decode.KindClosed:
		close(r.closed)
	case decode.KindJunk, decode.KindOpaque, decode.KindGap:
		r.complain("%v: %s, %d bytes", ev.Dir, ev.Text, len(ev.Data))
	}
}

// whole compares a message that the session put together with the frames.
func (r *recording) whole(m *decode.Message) {
	d := &r.sides[m.Dir]
	want := d.reports[len(d.reports)-1]
	got := report{Type: opTypes[int(m.Op)], Len: int(m.Len), Sum: want.Sum}
	if !m.Cut {
		got.Sum = sum(m.Data)
	}
	if got != want || m.Unread || m.Unfinished || m.Compressed != d.rsv1 {
		r.complain("%v: the session has the message %v, the frames hold %v", m.Dir, got, want)
	}
}

func (r *recording) complain(format string, args ...any) {
	r.complaints = append(r.complaints, fmt.Sprintf(format, args...))
}

func (r *recording) piece(f *decode.Frame) {
	d := &r.sides[f.Dir]
	d.wire = f.AppendWire(d.wire)
	d.frame = f.AppendPayload(d.frame, -1)
	if !f.More && f.Dir == decode.FromClient {
		r.masks = append(r.masks, hex.EncodeToString(f.Mask[:]))
	}
	if !f.Complete {
		return
	}
	p := d.frame
	d.frame = d.frame[:0]
	if f.Control() {
		d.reports = append(d.reports, control(decode.OpName(f.OpCode), p))
		return
	}
	if f.OpCode != 0 {
		d.typ, d.rsv1 = opTypes[int(f.OpCode)], f.Rsv1()
	}
	d.message = append(d.message, p...)
	if !f.Fin {
		return
	}
	p = d.message
	d.message = d.message[:0]
	if d.rsv1 {
		d.compressed = true
		var err error
		if p, err = d.inflate(p); err != nil {
			r.complain("%v: inflate: %v", f.Dir, err)
		}
	}
	d.reports = append(d.reports, report{Type: d.typ, Len: len(p), Sum: sum(p)})
}

// control returns a control frame as a peer reports it.
func control(name string, p []byte) report {
	text := string(p)
	if code, reason, ok := decode.CloseBody(p); name == "close" && ok {
		text = fmt.Sprint(code, " ", string(reason))
	}
	return report{Type: name, Text: text}
}

// inflate returns a message that was compressed as RFC 7692 §7.2.2 has it. The
// window is kept, whether or not the sender makes use of it.
func (d *recorded) inflate(p []byte) ([]byte, error) {
	tail := "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff" // what was left off, and a last block
	z := flate.NewReaderDict(io.MultiReader(bytes.NewReader(p), bytes.NewReader([]byte(tail))), d.window)
	out, err := io.ReadAll(z)
	d.window = append(d.window, out...)
	d.window = d.window[max(0, len(d.window)-32<<10):]
	return out, err
}
