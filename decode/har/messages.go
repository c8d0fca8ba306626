package har

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A happening is a message, or something else that has a time, as it is stored until
// its entry is complete.
type happening struct {
	what  what
	op    ws.OpCode
	dir   decode.Dir
	how   decode.End
	both  bool
	state int64 // of an end: the HTTP status of the proxy's answer
	time  int64 // nanoseconds since 1970; -1 if not known
	after int64 // messages before it
	at    int64 // where it stands in the file
	data  []byte
}

type what uint8

const (
	isMessage what = iota
	isLess         // a message that is not whole: data says why
	isNote
	isEnd
)

// add stores h at the end of s.
func (st *store) addHappening(s *stream, h *happening) {
	b := []byte{byte(h.what), byte(h.op), byte(h.dir), byte(h.how), 0}
	if h.both {
		b[4] = 1
	}
	for _, n := range []int64{h.state, h.time, h.after, h.at, int64(len(h.data))} {
		b = binary.AppendVarint(b, n)
	}
	st.add(s, b)
	st.add(s, h.data)
}

// A playback reads happenings back.
type playback struct {
	r   *bufio.Reader
	h   happening
	n   int64 // bytes of its data
	ok  bool  // h is one
	err error // that ended it
}

func (st *store) playback(s *stream) *playback {
	p := &playback{r: bufio.NewReader(st.reader(s))}
	p.next()
	return p
}

// next goes to the next one, in p.h without its data.
func (p *playback) next() {
	p.ok = false
	var b [5]byte
	if _, err := io.ReadFull(p.r, b[:]); err != nil {
		if err != io.EOF {
			p.err = err
		}
		return
	}
	h := &p.h
	h.what, h.op, h.dir, h.how, h.both = what(b[0]), ws.OpCode(b[1]), decode.Dir(b[2]), decode.End(b[3]), b[4] != 0
	for _, to := range []*int64{&h.state, &h.time, &h.after, &h.at, &p.n} {
		if *to, p.err = binary.ReadVarint(p.r); p.err != nil {
			return
		}
	}
	if cap(h.data) > 1<<20 {
		h.data = nil
	}
	p.ok = true
}

// load reads the data of p.h, which is valid until next.
func (p *playback) load() {
	h, n := &p.h, p.n
	if int64(cap(h.data)) < n {
		h.data = make([]byte, n)
	}
	h.data = h.data[:n]
	_, p.err = io.ReadFull(p.r, h.data)
	p.ok = p.err == nil
}

// message reads an element of _webSocketMessages.
func (e *entry) message() error {
	l := e.lex
	h := happening{op: ws.OpText, time: -1, after: e.sent, at: l.at, dir: decode.FromServer}
	var data []byte
	var kind, encoding string
	var own struct {
		b64, less  bool
		unread     bool
		unfinished bool
	}
	var exact []byte
	long, known := false, false
	opcode := int64(h.op)
	err := l.object(func(key string) error {
		switch key {
		case "type":
			return l.into(&kind, maxWord)
		case "opcode":
			return l.integer(&opcode)
		case "time", "timestamp":
			t, ok, err := e.time()
			if ok {
				h.time = t.UnixNano()
			}
			return err
		case "data", "payload":
			c, err := l.next()
			if err != nil || c != '"' {
				return l.skipUnless(err)
			}
			const most = maxData / 3 * 4 // in base64
			b, n, err := l.text(nil, most)
			data, known, long = b, true, n > most
			return err
		case "encoding": // gori has it, and base64 for whatever is not UTF-8
			return l.into(&encoding, maxWord)
		case "_wstrace":
			return l.object(func(key string) error {
				switch key {
				case "b64":
					own.b64 = true
					return e.base64(&exact, maxData)
				case "cut":
					return l.flag(&own.less)
				case "unread":
					return l.flag(&own.unread)
				case "unfinished":
					return l.flag(&own.unfinished)
				}
				return l.skip()
			})
		}
		return l.skip()
	})
	if err != nil {
		return err
	}
	switch kind {
	case "send", "request", "outgoing", "client":
		h.dir = decode.FromClient
	case "error": // of Chrome, about a frame
		h.what = isNote
	}
	h.op = ws.OpCode(opcode & 15)
	switch {
	case h.what == isNote:
		h.data = append([]byte("error: "), data...)
	case int64(h.op) != opcode:
		h.what, h.data = isLess, fmt.Appendf(nil, "a message with the opcode %d, which there is not, is left out", opcode)
	case own.b64:
		h.data = exact
	case encoding != "base64" && (h.op == ws.OpText || e.gori):
		if h.data = data; e.gori && bytes.HasPrefix(data, []byte("[gori] ")) {
			h.what = isNote // that is how it says something of its own
		}
	default:
		b, ok := decodeBase64(data)
		if !ok {
			b = data
			e.garbled++
		}
		h.data = b
	}
	switch {
	case long || len(h.data) > maxData:
		e.long++
		return nil
	case !known && !own.b64:
		return nil // it says nothing
	case own.unread:
		h.what, h.data = isLess, []byte("a message could not be read, and is left out")
	case own.unfinished:
		h.what, h.data = isLess, []byte("a message was not finished, and is left out")
	case own.less:
		h.what, h.data = isLess, []byte("a message was cut off in the file, and is left out")
	}
	e.sent++
	e.store.addHappening(&e.messages, &h)
	return nil
}

// time reads when something happened.
func (e *entry) time() (t time.Time, ok bool, err error) {
	k, v, err := e.lex.scalar(maxWord)
	switch k {
	case number:
		t, ok = secondsOrMillis(v, e.ours)
	case text:
		if t, ok = parseTime(v); !ok {
			t, ok = secondsOrMillis(v, e.ours)
		}
	}
	return t, ok, err
}

// event reads what stands beside the messages of our files.
func (e *entry) event() error {
	l := e.lex
	h := happening{what: isNote, time: -1, at: l.at, both: true, dir: decode.FromServer}
	var note, how, said string
	var data []byte
	opcode := int64(-1)
	err := l.object(func(key string) error {
		switch key {
		case "after":
			return l.integer(&h.after)
		case "time":
			t, ok, err := e.time()
			if ok {
				h.time = t.UnixNano()
			}
			return err
		case "from":
			from := ""
			err := l.into(&from, maxWord)
			if h.both = false; from == decode.FromClient.String() {
				h.dir = decode.FromClient
			}
			return err
		case "opcode":
			return l.integer(&opcode)
		case "data":
			return e.base64(&data, maxData)
		case "note":
			return l.into(&note, decode.MaxPiece)
		case "end":
			return l.into(&how, maxWord)
		case "text":
			return l.into(&said, maxWord)
		case "status":
			return l.integer(&h.state)
		}
		return l.skip()
	})
	if err != nil {
		return err
	}
	switch {
	case opcode >= 0:
		h.what, h.op, h.data = isMessage, ws.OpCode(opcode&15), data
	case how != "":
		h.what, h.data = isEnd, []byte(said)
		h.how, _ = decode.ParseEnd(how)
	default:
		h.data = []byte(note)
	}
	e.store.addHappening(&e.events, &h)
	return nil
}
