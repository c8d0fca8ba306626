package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// Secrets are the selectors of what is secret in most traces.
var Secrets = []string{"Authorization:", "Proxy-Authorization:", "Cookie:", "Set-Cookie:", "?token", "?access_token", "?api_key"}

// Redact copies a trace like [trace.Format], with placeholders for what the
// selectors name. A secret has the same placeholder wherever it is selected, so
// that a session still fits together. In JSON a number stays a number.
//
// A message that has changed goes in one frame, compressed anew if it was
// compressed. What can't be looked into, such as a message that is cut off, is
// left out where selectors concern messages, and reported as a note in the trace.
func Redact(w io.Writer, r io.Reader, selectors ...string) error {
	red, err := newRedactor(selectors)
	if err != nil {
		return err
	}
	return trace.Rewrite(w, r, red.take)
}

// A RedactWriter redacts the lines of a trace that is being written. It holds
// lines back while a message is in flight.
type RedactWriter struct {
	w   io.Writer
	red *redactor
	buf []byte
}

// NewRedactWriter returns a writer to w. Each Write must be of whole lines.
func NewRedactWriter(w io.Writer, selectors ...string) (*RedactWriter, error) {
	red, err := newRedactor(selectors)
	if err != nil {
		return nil, err
	}
	return &RedactWriter{w: w, red: red}, nil
}

// Write redacts lines.
func (w *RedactWriter) Write(p []byte) (int, error) {
	w.buf = w.buf[:0]
	for line := range bytes.Lines(p) {
		rec, err := trace.Parse(line)
		if err == nil {
			err = w.add(rec)
		}
		if err != nil {
			return 0, err
		}
	}
	if len(w.buf) == 0 {
		return len(p), nil
	}
	if _, err := w.w.Write(w.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what is held back. It does not close the writer below.
func (w *RedactWriter) Close() error {
	w.buf = w.buf[:0]
	if err := w.add(nil); err != nil || len(w.buf) == 0 {
		return err
	}
	_, err := w.w.Write(w.buf)
	return err
}

func (w *RedactWriter) add(rec *trace.Record) error {
	recs, err := w.red.take(rec)
	for _, rec := range recs {
		w.buf = rec.Append(w.buf)
	}
	return err
}

// A redactor puts placeholders into records.
type redactor struct {
	sels     []selector
	messages bool // selectors concern messages
	holders  map[string]string
	numbers  map[string]int // placeholders so far, by name

	last     int64
	sessions map[int64]*redaction
	queue    []*held
}

// A held record waits for the end of the message that it is part of.
type held struct {
	rec     *trace.Record // nil if it is dropped
	waiting bool
}

// A redaction is what is known of one session.
type redaction struct {
	r       *redactor
	opened  *trace.Record
	request bool
	begun   bool
	sess    decode.Session
	asm     [2]assembler
	streams [2]trace.Stream
	records [2][]*held // by Dir: what the items of the message in flight stand for
	freezer freezer
	anew    [2]bool // messages are compressed anew from here on
	data    [2]bool // the last frame was part of a message
	ended   [2]bool
}

func newRedactor(selectors []string) (*redactor, error) {
	sels, err := parseSelectors(selectors)
	if err != nil {
		return nil, err
	}
	if len(sels) == 0 {
		return nil, errors.New("nothing is to be redacted")
	}
	return &redactor{sels: sels, holders: map[string]string{}, numbers: map[string]int{}, sessions: map[int64]*redaction{},
		messages: slices.ContainsFunc(sels, func(s selector) bool { return s.path != nil || s.re != nil })}, nil
}

// mark begins every placeholder that is not a number.
const mark = "redacted-"

// holder returns the placeholder of a secret that is called name.
func (r *redactor) holder(name, secret string) string {
	if secret == "" || strings.HasPrefix(secret, mark) {
		return secret
	}
	h, ok := r.holders[secret]
	if !ok {
		name = strings.ToLower(name)
		r.numbers[name]++
		h = mark + name + "-" + strconv.Itoa(r.numbers[name])
		r.holders[secret] = h
	}
	return h
}

// number returns the placeholder of a secret number.
func (r *redactor) number(n json.Number) json.Number {
	key := "number " + string(n)
	h, ok := r.holders[key]
	if !ok {
		r.numbers[""]++
		h = strconv.Itoa(r.numbers[""])
		r.holders[key] = h
	}
	return json.Number(h)
}

// take takes a record, or nil at the end, and returns those that are ready.
func (r *redactor) take(rec *trace.Record) ([]*trace.Record, error) {
	if rec == nil {
		for _, s := range r.sessions {
			s.abandon()
		}
		return r.ready(), nil
	}
	switch {
	case rec.IsHeader():
		for _, s := range r.sessions {
			s.abandon()
		}
		clear(r.sessions)
		for _, sel := range r.sels {
			if !slices.Contains(rec.Redact, sel.text) {
				rec.Redact = append(rec.Redact, sel.text)
			}
		}
	case rec.Kind == "open":
		r.last = rec.C
		rec.URL = r.target(rec.URL)
		r.sessions[rec.C] = &redaction{r: r, opened: rec}
	}
	h := &held{rec: rec}
	r.queue = append(r.queue, h)
	c := rec.C
	if c == 0 {
		c = r.last
	}
	s := r.sessions[c]
	var err error
	switch {
	case rec.Kind == "req" || rec.Kind == "res":
		err = r.head(rec)
		if err == nil && s != nil && r.messages {
			s.head(rec)
		}
	case s == nil || !r.messages:
	case rec.Kind == "frame" || rec.Kind == "more" || rec.Kind == "junk":
		err = s.bytes(h)
	case rec.Kind == "end":
		for d := range decode.Dir(2) {
			if !rec.HasDir || rec.Dir == d {
				s.cutOff(d)
				s.ended[d] = true
			}
		}
		if s.ended[0] && s.ended[1] {
			delete(r.sessions, c)
		}
	}
	return r.ready(), err
}

// ready takes the records that wait for nothing off the queue.
func (r *redactor) ready() []*trace.Record {
	var recs []*trace.Record
	n := 0
	for n < len(r.queue) && !r.queue[n].waiting {
		if rec := r.queue[n].rec; rec != nil {
			recs = append(recs, rec)
		}
		n++
	}
	r.queue = slices.Delete(r.queue, 0, n)
	return recs
}

// target puts placeholders into the query of a target or URL.
func (r *redactor) target(target string) string {
	path, query, ok := strings.Cut(target, "?")
	if !ok {
		return target
	}
	query, fragment, _ := strings.Cut(query, "#")
	if fragment != "" {
		fragment = "#" + fragment
	}
	params := strings.Split(query, "&")
	for i, p := range params {
		name, value, ok := strings.Cut(p, "=")
		for _, sel := range r.sels {
			if ok && sel.query != "" && sel.query == unescape(name) {
				params[i] = name + "=" + r.holder(sel.query, unescape(value))
			}
		}
	}
	return path + "?" + strings.Join(params, "&") + fragment
}

// unescape returns a part of a query as it was before it was escaped.
func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// locators are the headers that hold a URL, which may have the same secrets in
// its query as the target.
var locators = []string{"Referer", "Location", "Content-Location"}

// head puts placeholders into a head and the body behind it.
func (r *redactor) head(rec *trace.Record) error {
	if parseHead(rec); rec.Head.Cut {
		return nil
	}
	b := rec.AppendHead(nil)
	old := string(b)
	if t := rec.Head.Target; t != "" {
		if i := bytes.Index(b, []byte(t)); i >= 0 {
			b = slices.Concat(b[:i], []byte(r.target(t)), b[i+len(t):])
		}
	}
	for _, name := range locators {
		b, _ = mapHeader(b, name, func(line []byte) []byte {
			_, value, _ := bytes.Cut(line, []byte(":"))
			return withValue(line, r.target(strings.TrimSpace(string(value))))
		})
	}
	for _, sel := range r.sels {
		if sel.header == "" {
			continue
		}
		b, _ = mapHeader(b, sel.header, func(line []byte) []byte {
			_, value, _ := bytes.Cut(line, []byte(":"))
			return withValue(line, r.holder(sel.header, strings.TrimSpace(string(value))))
		})
	}
	body, err := r.body(rec)
	if err != nil {
		return err
	}
	if !bytes.Equal(body, rec.Body) {
		b = setHeader(b, "Content-Length", strconv.Itoa(len(body)), false)
		if rec.BodyLen > 0 {
			rec.BodyLen += int64(len(body) - len(rec.Body))
		}
		rec.Body = body
	}
	if string(b) == old {
		return nil
	}
	parse := decode.ParseRequest
	if rec.Kind == "res" {
		parse = decode.ParseResponse
	}
	head, err := parse(string(b))
	if err != nil {
		return nil // it was no head before
	}
	rec.Head, rec.RawHead = head, !head.Canonical()
	return nil
}

// body returns the body of a head with placeholders.
func (r *redactor) body(rec *trace.Record) ([]byte, error) {
	if !r.messages || len(rec.Body) == 0 {
		return rec.Body, nil
	}
	if !rec.Head.HasToken("Transfer-Encoding", "chunked") {
		return r.content(rec.Body, true), nil
	}
	plain, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(rec.Body)))
	if err != nil {
		return nil, nil // it is not whole
	}
	clean := r.content(plain, true)
	if bytes.Equal(clean, plain) {
		return rec.Body, nil
	}
	return fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(clean), clean), nil
}

// content returns the content of a message with placeholders.
func (r *redactor) content(b []byte, text bool) []byte {
	for i := range r.sels {
		switch sel := &r.sels[i]; {
		case sel.re != nil:
			var edits []edit
			for _, m := range sel.re.FindAllSubmatchIndex(b, -1) {
				start, end := group(m)
				if !bytes.HasPrefix(b[start:], []byte(mark)) {
					edits = append(edits, edit{start, end, []byte(r.holder("text", string(b[start:end])))})
				}
			}
			b = applyEdits(nil, b, edits)
		case sel.path != nil && text:
			b = r.json(b, sel)
		}
	}
	return b
}

// json puts placeholders where sel's path leads in the documents of a message.
func (r *redactor) json(b []byte, sel *selector) []byte {
	var out []byte
	for _, p := range parts(b) {
		if !p.json {
			out = append(out, p.bytes...)
			continue
		}
		var edits []edit
		v := visitor{
			enter: func(at []any, start, end int) bool {
				if !pathMatches(sel.path, at) {
					return true
				}
				edits = append(edits, edit{start, end, compact(r.holder(nameOf(at), string(p.bytes[start:end])))})
				return false
			},
			scalar: func(s scalar) {
				if !pathMatches(sel.path, s.at) || s.value == nil {
					return
				}
				var holder any
				switch value := s.value.(type) {
				case string:
					holder = r.holder(nameOf(s.at), value)
				case json.Number:
					holder = r.number(value)
				default:
					holder = r.holder(nameOf(s.at), fmt.Sprint(value))
				}
				edits = append(edits, edit{s.start, s.end, compact(holder)})
			},
		}
		v.walk(p.bytes)
		out = applyEdits(out, p.bytes, edits)
	}
	return out
}

// nameOf returns the name of the innermost member that a place is in.
func nameOf(at []any) string {
	for _, key := range slices.Backward(at) {
		if name, ok := key.(string); ok {
			return name
		}
	}
	return "value"
}

// head tells the session of a head.
func (s *redaction) head(rec *trace.Record) {
	switch {
	case rec.Leg == "out" || rec.Head.Cut:
	case rec.Kind == "req":
		s.begin(false)
		s.request = true
		s.sess.Data(decode.FromClient, rec.Time, rec.AppendHead(nil))
	case s.request:
		s.sess.Data(decode.FromServer, rec.Time, append(rec.AppendHead(nil), rec.Body...))
		s.freezer.negotiated(rec.Head.Values("Sec-WebSocket-Extensions"))
	case rec.Head.Status == 101:
		s.opened.Ext = strings.Join(rec.Head.Values("Sec-WebSocket-Extensions"), ", ")
	}
}

func (s *redaction) begin(upgraded bool) {
	if s.begun {
		return
	}
	s.begun = true
	for d := range decode.Dir(2) {
		s.asm[d].emit = func(u *unit) { s.unit(d, u) }
		s.streams[d].Dir = d
	}
	s.sess.Messages, s.sess.Keep = true, maxMessage
	s.sess.Sink = decode.SinkFunc(func(ev *decode.Event) {
		if ev.Kind == decode.KindFrame {
			s.asm[ev.Dir].take(ev)
		}
	})
	s.sess.Open(decode.Info{Ext: s.opened.Ext})
	if upgraded {
		s.sess.Upgraded()
		s.freezer.negotiated([]string{s.opened.Ext})
	}
}

// bytes takes a record of frames. It waits until its message is complete.
func (s *redaction) bytes(h *held) error {
	rec := h.rec
	rec.HasInflated = false
	if rec.Leg == "out" || rec.FX == "inject" || !rec.HasDir {
		return nil
	}
	s.begin(true)
	if rec.Form == trace.FormDeflate {
		rec.Payload = s.r.content(rec.Payload, true) // the bytes are not made yet
		return nil
	}
	d := rec.Dir
	b, err := s.streams[d].Append(nil, rec)
	if err != nil {
		return err
	}
	if rec.Kind == "frame" {
		s.data[d] = rec.Op <= ws.OpBinary
	}
	if rec.Kind == "junk" || !s.data[d] {
		s.other(rec)
	} else {
		h.waiting = true
		s.asm[d].item = len(s.records[d])
		s.records[d] = append(s.records[d], h)
	}
	s.sess.Data(d, rec.Time, b)
	s.sess.FlushAll(d, rec.Time)
	if rec.Cut {
		s.cutOff(d)
	}
	return nil
}

// other redacts what is no part of a message.
func (s *redaction) other(rec *trace.Record) {
	keep, most := 0, math.MaxInt
	if rec.Kind == "frame" {
		most = max(len(rec.Payload), 125) // (RFC 6455 §5.5)
		if rec.Op == ws.OpClose {
			keep = min(2, len(rec.Payload))
		}
	}
	p := s.r.content(rec.Payload[keep:], true)
	if bytes.Equal(p, rec.Payload[keep:]) {
		return
	}
	left := rec.Len - uint64(len(rec.Payload))
	rec.Payload = append(rec.Payload[:keep:keep], p[:min(len(p), most-keep)]...)
	if rec.Kind == "frame" {
		rec.Len, rec.LenBits = uint64(len(rec.Payload))+left, 0
	}
}

// unit takes a unit of d that is complete.
func (s *redaction) unit(d decode.Dir, u *unit) {
	if u.kind != unitMessage {
		return
	}
	var hs []*held
	for _, i := range u.items {
		hs = append(hs, s.records[d][i])
	}
	if u.cut {
		s.drop(hs)
		return
	}
	s.records[d] = nil
	for _, h := range hs {
		h.waiting = false
	}
	clean := s.r.content(u.data, u.op == ws.OpText)
	if bytes.Equal(clean, u.data) && !(u.compressed && s.anew[d]) {
		return
	}
	first := hs[0].rec
	for _, h := range hs[1:] {
		h.rec = nil
	}
	first.Fin, first.LenBits, first.Cut, first.Form = true, 0, false, trace.FormAuto
	first.Payload = clean
	if u.compressed {
		s.anew[d] = true
		first.Payload = s.freezer.dirs[d].frame(clean, true, true)
	}
	first.Len = uint64(len(first.Payload))
}

// cutOff drops the message of d that will not be complete.
func (s *redaction) cutOff(d decode.Dir) {
	s.drop(s.records[d])
	s.records[d] = nil
}

func (s *redaction) abandon() {
	s.cutOff(decode.FromClient)
	s.cutOff(decode.FromServer)
}

// drop leaves out what could not be looked into.
func (s *redaction) drop(hs []*held) {
	first := true
	for _, h := range hs {
		if !h.waiting {
			continue
		}
		h.waiting = false
		if !first {
			h.rec = nil
			continue
		}
		first = false
		h.rec = &trace.Record{Kind: "note", T: h.rec.T, HasT: h.rec.HasT, C: h.rec.C,
			Text: "a message of the " + h.rec.Dir.String() + " was left out: it could not be looked into for secrets"}
	}
}
