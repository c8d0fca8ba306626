package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

// Load reads a session from a trace. What is cut off in its last line is left
// out, which [Script.Warning] tells.
//
// What the trace formats define is read as it stands. These keys are for
// traces made by hand:
//
//	"after":N      a frame of ours waits for the Nth message of the other side
//	               only, counted from 1, and not for all that stand before it
//	"group":"name" consecutive messages of one side that may come in any order
//	"re":"^a+$"    what the content of a message matches, instead of equalling
//	"deflate":"…"  a text to be compressed as the handshake agreed
func Load(r io.Reader, opts ...Option) (*Script, error) {
	scripts, err := loadScripts(trace.NewReader(r), opts, false)
	if err != nil {
		return nil, err
	}
	return scripts[0], nil
}

// loadScripts reads one session, or all.
func loadScripts(rd *trace.Reader, opts []Option, all bool) ([]*Script, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	c.all = all
	l := library{config: c, opens: map[int64]*trace.Record{}, loaders: map[int64]*loader{}}
	for {
		rec, err := rd.Next()
		if err == io.EOF {
			l.cut = rd.Warning()
			return l.finish()
		}
		if err != nil {
			return nil, err
		}
		if err := l.take(rec); err != nil {
			return nil, fmt.Errorf("line %d: %w", rec.Line, err)
		}
	}
}

// A library makes scripts of the records of a trace.
type library struct {
	config
	redact  []string
	cut     error                   // the trace ends in the middle of a line
	count   int                     // of sessions
	opens   map[int64]*trace.Record // by session: those that may be played
	plain   bool                    // the session asked for was passed over
	loaders map[int64]*loader
	order   []*loader
}

func (l *library) take(rec *trace.Record) error {
	if rec.IsHeader() {
		l.redact = append(l.redact, rec.Redact...)
		return nil
	}
	parseHead(rec)
	switch rec.Kind {
	case "open", "req", "res", "frame", "more", "junk", "end", "gap", "opaque", "done", "note", "violation", "closed", "sum":
	default:
		if !strings.HasPrefix(rec.Kind, "x-") {
			return fmt.Errorf("kind %q is not known", rec.Kind)
		}
	}
	if rec.Kind == "open" {
		l.count++
		l.opens[rec.C] = rec
		return nil
	}
	s := l.loaders[rec.C]
	if s == nil {
		open := l.opens[rec.C]
		if open == nil || !l.wants(rec) {
			return nil
		}
		s = newLoader(&Script{config: l.config, number: rec.C, url: open.URL, ext: open.Ext})
		l.loaders[rec.C] = s
		l.order = append(l.order, s)
	}
	if err := s.take(rec); err != nil {
		return err
	}
	return s.err
}

// wants reports whether the session that rec begins is to be played.
func (l *library) wants(rec *trace.Record) bool {
	if !l.all && (len(l.order) > 0 || l.session != 0 && rec.C != l.session) {
		return false
	}
	switch rec.Kind {
	case "req":
		if rec.Head.Cut || !decode.AsksForWebSocket(rec.Head) {
			delete(l.opens, rec.C)
			l.plain = true
			return false
		}
		return true
	case "frame", "junk":
		return true
	}
	return false
}

// finish returns the scripts.
func (l *library) finish() ([]*Script, error) {
	var scripts []*Script
	for _, s := range l.order {
		script, err := s.finish()
		if l.all && errors.Is(err, errNoAnswer) {
			continue
		}
		if err != nil {
			return nil, err
		}
		script.redact, script.cut = l.redact, l.cut
		scripts = append(scripts, script)
	}
	switch {
	case l.update && l.count > max(1, len(scripts)):
		return nil, fmt.Errorf("the trace has %d sessions, and an update would leave %d", l.count, len(scripts))
	case len(scripts) > 0:
		return scripts, nil
	case l.session != 0 && l.plain:
		return nil, fmt.Errorf("session %d did not ask for websocket", l.session)
	case l.session != 0:
		return nil, fmt.Errorf("the trace has no session %d", l.session)
	}
	return nil, errors.New("the trace has no WebSocket session")
}

// parseHead takes the head of rec apart, if the trace has its bytes only.
func parseHead(rec *trace.Record) {
	if rec.Head == nil || !rec.RawHead {
		return
	}
	parse := decode.ParseRequest
	if rec.Kind == "res" {
		parse = decode.ParseResponse
	}
	raw := rec.Head.Raw
	rec.Head, _ = parse(raw) // with what there is of it
	rec.Head.Cut = decode.HeadLen([]byte(raw), 0) == 0
}

// A loader makes a script of the records of a session.
type loader struct {
	s       *Script
	rec     *trace.Record // at hand
	sess    decode.Session
	asm     [2]assembler
	streams [2]trace.Stream
	freezer edit.Freezer
	begun   bool
	answers int // final responses so far
	ended   [2]bool
	err     error       // of what a hand has added
	left    [2]uint64   // payload of the frame in flight that is still to come
	pings   [2][]string // not answered yet
}

func newLoader(s *Script) *loader {
	l := &loader{s: s}
	for d := range decode.Dir(2) {
		l.asm[d] = assembler{exact: s.exact, emit: l.unit(d)}
		l.streams[d].Dir = d
	}
	l.sess.Messages, l.sess.Keep = true, maxMessage
	l.sess.Sink = decode.SinkFunc(func(ev *decode.Event) { l.asm[ev.Dir].take(ev) })
	return l
}

func (l *loader) take(rec *trace.Record) error {
	if l.rec == nil {
		l.s.line, l.s.begin = rec.Line, rec.T
	}
	l.rec = rec
	switch rec.Kind {
	case "req":
		return l.request()
	case "res":
		return l.response()
	case "frame", "more", "junk":
		return l.bytes()
	case "end":
		return l.end()
	case "gap":
		return fmt.Errorf("%d bytes are lost here, so the session can't be played", rec.N)
	}
	return nil
}

func (l *loader) request() error {
	switch rec := l.rec; {
	case rec.Leg == "out":
		l.s.edited = rec
	case l.s.request == nil:
		l.s.request = rec
		l.open()
		l.sess.Data(decode.FromClient, rec.Time, rec.AppendHead(nil))
	default:
		return errors.New("a second request")
	}
	return nil
}

func (l *loader) response() error {
	rec := l.rec
	if rec.Head.Cut {
		return errors.New("the response is cut off")
	}
	l.s.replies = append(l.s.replies, rec)
	l.s.start = rec.T
	if rec.BodyLen > int64(len(rec.Body)) {
		return fmt.Errorf("%d bytes of the body were not recorded", rec.BodyLen-int64(len(rec.Body)))
	}
	if status := rec.Head.Status; status >= 200 || status == 101 {
		l.answers++
	}
	if l.begun {
		l.sess.Data(decode.FromServer, rec.Time, append(rec.AppendHead(nil), rec.Body...))
		l.freezer.Agree(l.s.extensions()...)
	}
	return nil
}

// open opens the session that takes the recorded bytes.
func (l *loader) open() {
	l.begun = true
	l.sess.Open(decode.Info{Ext: strings.Join(l.s.extensions(), ", ")})
}

// begin is called before the first frame, which in a trace made by hand may
// come without a handshake, or with a response only.
func (l *loader) begin() {
	if l.begun {
		return
	}
	l.open()
	l.sess.Upgraded()
	l.freezer.Agree(l.s.extensions()...)
}

func (l *loader) bytes() error {
	s, rec := l.s, l.rec
	d := rec.Dir
	if !rec.HasDir {
		return errors.New("has no d")
	}
	if rec.Cut {
		return errors.New("the payload was cut when it was written, so the session can't be played")
	}
	if rec.Leg == "out" || rec.FX == "inject" {
		return nil
	}
	l.begin()
	if rec.Form == trace.FormDeflate {
		frozen, err := l.freezer.Freeze(rec)
		if err != nil {
			return err
		}
		rec = frozen
	}
	b, err := l.streams[d].Append(nil, rec)
	if err != nil {
		return err
	}
	tr := &s.sides[d]
	it := item{line: rec.Line, bytes: b, t: rec.T, unit: -1, last: true,
		early: d == decode.FromClient && s.request != nil && l.answers == 0,
		need:  len(s.sides[d.Peer()].units)}
	switch rec.Kind {
	case "frame":
		it.close = rec.Op == ws.OpClose
		it.mask = rec.Mask
		l.left[d] = rec.Len - min(uint64(len(rec.Payload)), rec.Len)
	case "more", "junk":
		l.left[d] -= min(uint64(len(rec.Payload)), l.left[d])
	}
	it.last = l.left[d] == 0
	if n, ok, err := l.number("after"); err != nil {
		return err
	} else if ok {
		it.need, it.alone = n, true
	}
	l.asm[d].item = len(tr.items)
	tr.items = append(tr.items, it)
	l.sess.Data(d, rec.Time, b)
	if !it.last {
		l.sess.FlushAll(d, rec.Time)
	}
	return nil
}

func (l *loader) end() error {
	how, _ := decode.ParseEnd(l.rec.How)
	for d := range decode.Dir(2) {
		if l.rec.HasDir && l.rec.Dir != d || l.ended[d] {
			continue
		}
		l.ended[d] = true
		switch how {
		case decode.EndFIN, decode.EndRST, decode.EndTLSEOF:
			l.begin()
			tr := &l.s.sides[d]
			it := item{line: l.rec.Line, end: true, how: how, t: l.rec.T, unit: -1, last: true,
				need: len(l.s.sides[d.Peer()].units)}
			if !l.rec.HasDir && d == decode.FromServer && it.need > 0 { // both at once: nobody waits
				it.need--
			}
			if n, ok, err := l.number("after"); err != nil {
				return err
			} else if ok {
				it.need = n
			}
			l.asm[d].item = len(tr.items)
			tr.items = append(tr.items, it)
			l.sess.End(d, l.rec.Time, how, "")
		}
		// Any other end was none of this side's doing: the trace stops here.
	}
	return nil
}

// unit returns what takes the units of d.
func (l *loader) unit(d decode.Dir) func(*unit) {
	return func(u *unit) {
		tr := &l.s.sides[d]
		switch {
		case u.kind == unitControl && u.op == ws.OpPing:
			l.pings[d] = append(l.pings[d], string(u.data))
			return
		case u.kind == unitControl && u.op == ws.OpPong:
			// An answer is given when it is asked for (RFC 6455 §5.5.3).
			pings := l.pings[d.Peer()]
			if i := slices.Index(pings, string(u.data)); i >= 0 {
				l.pings[d.Peer()] = pings[i+1:]
				for _, i := range u.items {
					tr.items[i].skip = true
				}
			}
			return
		}
		it := &tr.items[u.items[len(u.items)-1]]
		u.line, u.t = it.line, it.t
		switch err := l.hand(d, u); {
		case err != nil && l.err == nil:
			l.err = err
		case u.group == "" && l.s.anyOrder && u.kind == unitMessage:
			u.group = fmt.Sprint("turn ", len(l.s.sides[d.Peer()].units))
		}
		for _, i := range u.items {
			tr.items[i].unit = len(tr.units)
		}
		tr.units = append(tr.units, *u)
	}
}

// hand takes what a hand has added to the record of u.
func (l *loader) hand(d decode.Dir, u *unit) error {
	if v := extra(l.rec, "group"); v != nil && json.Unmarshal(v, &u.group) != nil {
		return fmt.Errorf("group: %s is not a string", v)
	}
	v := extra(l.rec, "re")
	if v == nil {
		return nil
	}
	var expr string
	if json.Unmarshal(v, &expr) != nil {
		return fmt.Errorf("re: %s is not a string", v)
	}
	re, err := regexp.Compile(expr)
	u.re = re
	return err
}

var errNoAnswer = errors.New("has a request and no answer")

// finish completes the script.
func (l *loader) finish() (*Script, error) {
	s := l.s
	if s.request != nil && l.answers == 0 {
		return nil, fmt.Errorf("session %d %w", s.number, errNoAnswer)
	}
	for d := range s.sides {
		n := len(s.sides[decode.Dir(d).Peer()].units)
		for _, it := range s.sides[d].items {
			if it.need > n {
				return nil, fmt.Errorf("line %d: after: %d, but the other side sends %d", it.line, it.need, n)
			}
		}
		s.findTaken(decode.Dir(d))
	}
	return s, nil
}

// findTaken notes which items of d hold values that are captured from earlier
// messages of its peer: the clock can't send them before those have come.
func (s *Script) findTaken(d decode.Dir) {
	if len(s.captures) == 0 {
		return
	}
	var fs []found // with another value than the recorded one
	units, next := s.sides[d.Peer()].units, 0
	items := s.sides[d].items
	for i := range items {
		it := &items[i]
		if it.unit < 0 {
			continue
		}
		for ; next < len(units) && units[next].line < it.line; next++ {
			data := units[next].data
			for _, f := range s.capture(data, data) {
				f.live = captured(next + 1)
				fs = remember(fs, []found{f})
			}
		}
		for _, f := range fs {
			if u := &s.sides[d].units[it.unit]; !same(put(u.data, []found{f}), u.data) {
				it.takes = max(it.takes, int(f.live.(captured)))
			}
		}
	}
}

// captured stands for a value that the peer's unit of that number holds.
type captured int

// number returns the value of a key that this package adds.
func (l *loader) number(key string) (n int, ok bool, err error) {
	v := extra(l.rec, key)
	if v == nil {
		return 0, false, nil
	}
	if json.Unmarshal(v, &n) != nil || n < 0 {
		return 0, false, fmt.Errorf("%s: %s is not a number of messages", key, v)
	}
	return n, true, nil
}

func extra(rec *trace.Record, key string) []byte {
	for _, m := range rec.Extra {
		if m.Key == key {
			return m.Value
		}
	}
	return nil
}
