package replay

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A plain is what a session has that is an HTTP exchange and no WebSocket connection:
// the bodies behind its heads, without their transfer codings.
type plain struct {
	bodies [2]httpBody // by Dir

	// optional says that the exchange need not take place, and is waited for by nobody: it
	// goes to another host, or asks for what a client may have already.
	optional bool
	foreign  bool // it goes to another host

	asked asking // the request
}

// An httpBody is a body as it was recorded.
type httpBody struct {
	pieces  []bodyPiece
	missing int64 // bytes behind them that were not recorded
	cutOff  bool  // the connection ended inside of it
	open    bool  // its end was not recorded, as it still went on
	wire    int64 // bytes that came, with the transfer coding; 0 if that is not known
}

// A bodyPiece is what came of a body at one time.
type bodyPiece struct {
	at int
	t  time.Duration
	b  []byte
}

// bytes returns what is known of a body.
func (h *httpBody) bytes() []byte {
	if len(h.pieces) == 1 {
		return h.pieces[0].b
	}
	all := make([]byte, 0, h.size())
	for _, p := range h.pieces {
		all = append(all, p.b...)
	}
	return all
}

// size returns how many bytes of a body are known.
func (h *httpBody) size() (n int) {
	for _, p := range h.pieces {
		n += len(p.b)
	}
	return n
}

// add adds a piece. more are the bytes behind it that were not recorded.
func (h *httpBody) add(p bodyPiece, more int64, cutOff bool) {
	if len(p.b) > 0 {
		h.pieces = append(h.pieces, p)
	}
	h.missing += more
	h.cutOff = h.cutOff || cutOff
}

// finish takes the recorded head in front of the body, and how it announces that: what
// was not recorded is missing.
func (h *httpBody) finish(head *decode.Head, form decode.Body) {
	if len(h.pieces) > 0 || h.missing > 0 || form.Done() {
		return
	}
	if n := h.wire; n > int64(len(lastChunk)) || n > 0 && !chunked(head) {
		h.missing = n
	}
}

// lastChunk ends a chunked body (RFC 9112 §7.1).
const lastChunk = "0\r\n\r\n"

func chunked(h *decode.Head) bool { return h.HasToken("Transfer-Encoding", "chunked") }

// body takes a piece of a body.
func (b *builder) body(d decode.Dir, p bodyPiece, more int64, cutOff bool) {
	p.b = b.slab.keep(p.b)
	b.bodies[d].add(p, more, cutOff)
}

// mayBePlain reports whether a request begins an exchange that can be played.
func mayBePlain(request *decode.Head) bool { return !request.Cut && request.Method != "CONNECT" }

// finishPlain makes the script one of an HTTP exchange: that of a request that did not ask
// for websocket, or was refused it. It reports false if it can't be played.
func (b *builder) finishPlain() bool {
	s := b.s
	if b.tunnel || len(s.replies) > 0 && s.final().Status == 101 {
		return false
	}
	s.plain = &plain{bodies: b.bodies, asked: *newAsking(s.request.Head, &s.equality)}
	if s.auto {
		s.words, s.madeUp = new(recordedOnce), s.knownMade()
	}
	s.sides = [2]side{}
	s.plain.bodies[decode.FromClient].finish(s.request.Head, decode.RequestBody(s.request.Head))
	if b.answers > 0 {
		h := s.final()
		if len(h.body) > 0 { // as early recordings have it
			form := decode.ResponseBody(h.Head, s.request.Method)
			var content []byte
			form.Split(h.body, func(p []byte) { content = append(content, p...) })
			s.plain.bodies[decode.FromServer].add(bodyPiece{h.at, s.start, content}, h.missing, false)
			h.body = nil
		}
		form := decode.ResponseBody(h.Head, s.request.Method)
		s.plain.bodies[decode.FromServer].finish(h.Head, form)
		s.plain.bodies[decode.FromServer].open = !b.done && !form.Done() && s.plain.bodies[decode.FromServer].missing == 0
	}
	return true
}

// bodyOf returns the recorded body behind a head of the session.
func (s *Script) bodyOf(h *head) []byte {
	switch {
	case s.plain == nil:
		return h.body
	case h == s.request:
		return s.plain.bodies[decode.FromClient].bytes()
	case h == s.final():
		return s.plain.bodies[decode.FromServer].bytes()
	}
	return nil
}

// contentBehind is bodyOf without the content coding, if that is known.
func (s *Script) contentBehind(h *head) []byte {
	body := s.bodyOf(h)
	if content, ok := contentOf(h.Head, body); ok {
		return content
	}
	return body
}

// headOf returns the recorded head that d sent.
func (s *Script) headOf(d decode.Dir) *head {
	if d == decode.FromClient {
		return s.request
	}
	return s.final()
}

// answered reports whether the exchange has an answer.
func (s *Script) answered() bool { return len(s.replies) > 0 && s.final().Status >= 200 }

// askedAt returns the position at which the whole request of an exchange had come.
func (s *Script) askedAt() int {
	at := s.request.at
	for _, p := range s.plain.bodies[decode.FromClient].pieces {
		at = max(at, p.at)
	}
	if s.answered() { // which may come before the end of the request
		at = min(at, s.final().at)
	}
	return at
}

// firsts returns the positions of what is first sent, and first waited for, by a role.
func (s *Script) firsts(role decode.Dir) (ours, theirs int) {
	switch {
	case s.plain == nil && role == decode.FromClient:
		return s.at, s.replyAt()
	case s.plain == nil:
		return s.replyAt(), s.at
	case s.plain.optional && (s.plain.foreign || role == decode.FromServer):
		return atEnd, atEnd
	}
	reply := atEnd
	if s.answered() {
		reply = s.final().at
	}
	if role == decode.FromClient {
		return s.at, reply
	}
	return reply, s.askedAt()
}

// title names an exchange in sentences: GET /a.
func (s *Script) title() string {
	return s.request.Method + " " + s.hiddenText("", originForm(s.request.Target))
}

// An asking is a request that came, of which one of many exchanges is looked for.
type asking struct {
	*decode.Head
	upgrade bool
	path    string
	query   string
	key     string // of the query
}

func newAsking(req *decode.Head, e *equality) *asking {
	a := &asking{Head: req, upgrade: decode.AsksForWebSocket(req)}
	a.path, a.query, _ = strings.Cut(originForm(req.Target), "?")
	a.key = e.queryKey(a.query)
	return a
}

// asksAlike reports whether a request is the recorded one, as far as its head tells.
func (s *Script) asksAlike(req *asking, v *values) bool {
	if req.Method != s.request.Method || req.upgrade != s.plain.asked.upgrade {
		return false
	}
	if recorded := &s.plain.asked; s.comparesAll() && s.redacted == nil && v.empty() && !sockJSPath.MatchString(recorded.path) {
		return req.path == recorded.path && (req.query == recorded.query || req.key == recorded.key)
	}
	return s.checkTarget(req.Target, s.request.Target, s.request.at, v) == nil
}

// bodyDifference compares the body that d sent with the recorded one. h is the head in
// front of it, of which only the codings count. It returns nil if they are equal.
func (s *Script) bodyDifference(v *values, d decode.Dir, h *decode.Head, got []byte) *Difference {
	body := &s.plain.bodies[d]
	recorded := s.headOf(d)
	raw := got
	want, known := contentOf(recorded.Head, body.bytes())
	got, knownToo := contentOf(h, got)
	switch {
	case known && !knownToo && isUnpackable(h): // it is not in the coding that it says it is in
		return s.differAt(recorded, "expected the body of the %s %s, got %d bytes that are no %s", whatOf(d), s.title(), len(raw), h.Get("Content-Encoding"))
	case !known || !knownToo: // nothing is said of what can't be looked into
		return nil
	}
	if body.missing > 0 || body.cutOff || body.open { // what there is of it
		if whole := int64(len(want)) + body.missing; body.missing > 0 && !isCoded(recorded.Head) && whole != int64(len(got)) && s.comparesAll() {
			return s.differAt(recorded, "expected the body of the %s %s, of %d bytes, got %d bytes", whatOf(d), s.title(), whole, len(got))
		}
		got = got[:min(len(got), len(want))]
		if t := bytes.TrimSpace(want); !s.comparesAll() && len(t) > 0 && (t[0] == '{' || t[0] == '[' || t[0] == '<') {
			return nil // a document that is cut has no places for selectors
		}
	}
	why := s.bodyDiffers(v, recorded.at, recorded.Without("Content-Encoding"), want, got)
	if why == "" {
		return nil
	}
	op := ws.OpText
	if !utf8.Valid(want) || !utf8.Valid(got) {
		op = ws.OpBinary
	}
	w, g := &unit{op: op, data: want}, &unit{op: op, data: got}
	w.data, _ = v.putIn(w, true)
	s.hide(g)
	diff := s.differAt(recorded, "expected the body of the %s %s, %s; got %s, %s", whatOf(d), s.title(), bodyText(w), bodyText(g), why)
	if len(body.pieces) > 0 {
		diff.Line = s.line(body.pieces[0].at)
	}
	if diff.Want, diff.Got = w.data, shown(g); op == ws.OpText {
		diff.Want, diff.Got = s.compared(w.data), s.compared(shown(g))
	}
	return diff
}

// comparesAll reports whether nothing may differ.
func (e *equality) comparesAll() bool { return len(e.ignore)+len(e.captures) == 0 && !e.auto }

// learnPlain takes values out of the head and the body that d sent, which are as recorded.
func (s *Script) learnPlain(v *values, how *playing, d decode.Dir, h *decode.Head, got []byte) {
	if len(s.captures) == 0 && !s.auto {
		return
	}
	recorded := s.headOf(d)
	want, known := contentOf(recorded.Head, s.bodyOf(recorded))
	got, knownToo := contentOf(h, got)
	if !known || !knownToo {
		want, got = nil, nil
	}
	const coding = "Content-Encoding"
	s.learnHead(v, how, recorded.at, recorded.Without(coding), h.Without(coding), want, got)
}

// A changed value is one of a head that came with another value than recorded, though
// nothing captures it.
type changed struct {
	recorded, selector string
	at                 int
}

// maxChanged is how many are remembered.
const maxChanged = 1000

// noteChanged notes which cookies and headers of an answer have other values than recorded.
func (c *cast) noteChanged(s *Script, v *values, h *decode.Head) {
	if s.auto {
		return
	}
	recorded := s.final()
	for _, p := range pairsInHead(recorded.Head, h, nil, nil) {
		if p.recorded == p.live || len(p.recorded) < minShared || v.lookup(p.recorded, place{}) != nil {
			continue
		}
		c.mu.Lock()
		if len(c.changed) < maxChanged {
			c.changed = append(c.changed, changed{p.recorded, p.selector, recorded.at})
		}
		c.mu.Unlock()
	}
}

// withAnew adds to a difference in a status what may be why: values that came anew, and
// that later requests have as recorded.
func (c *cast) withAnew(err error) error {
	var d *Difference
	if c == nil || !errors.As(err, &d) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.changed {
		comesBack := slices.ContainsFunc(c.scripts, func(later *Script) bool {
			return later.request != nil && later.request.at > v.at && strings.Contains(string(later.request.Append(nil)), v.recorded)
		})
		if comesBack && !slices.Contains(d.Anew, v.selector) {
			d.Anew = append(d.Anew, v.selector)
		}
	}
	return err
}

// remedy adds to the difference between a body and the recorded one what helps against it.
func (c *cast) remedy(diff *Difference, s *Script, v *values, d decode.Dir, h *decode.Head, got []byte) {
	recorded := s.headOf(d)
	want, known := contentOf(recorded.Head, s.bodyOf(recorded))
	got, knownToo := contentOf(h, got)
	bare := recorded.Without("Content-Encoding")
	if !known || !knownToo || isForm(bare) {
		return
	}
	u := bodyUnit(bare, recorded.at, want)
	diff.Anew, diff.Unused = s.remedies(c.scripts, v, u, &unit{kind: u.kind, op: u.op, data: got})
}

func whatOf(d decode.Dir) string {
	if d == decode.FromClient {
		return "request"
	}
	return "answer to"
}

// bodyText describes a body in a sentence, which is that of a message without its type.
func bodyText(u *unit) string {
	if len(u.data) == 0 {
		return "nothing"
	}
	_, text, _ := strings.Cut(u.String(), " ")
	return text
}

// maxDecoded is how many bytes of a coded body are compared.
const maxDecoded = 64 << 20

// contentOf returns a body without its content coding. ok is false if that is not known
// here.
func contentOf(h *decode.Head, b []byte) (content []byte, ok bool) {
	codings := h.Tokens("Content-Encoding")
	if len(codings) == 0 || len(codings) == 1 && strings.EqualFold(codings[0], "identity") || len(b) == 0 {
		return b, true
	}
	var r io.Reader
	var err error
	switch coding := strings.ToLower(codings[0]); {
	case len(codings) > 1:
		return nil, false
	case coding == "gzip", coding == "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(b))
	case coding == "deflate" && len(b) > 2 && b[0]&15 == 8 && (int(b[0])<<8|int(b[1]))%31 == 0: // zlib (RFC 1950)
		r = flate.NewReader(bytes.NewReader(b[2:]))
	case coding == "deflate": // as some send it
		r = flate.NewReader(bytes.NewReader(b))
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	content, err = io.ReadAll(io.LimitReader(r, maxDecoded))
	if err != nil && len(content) == 0 {
		return nil, false
	}
	return content, true
}

// isUnpackable reports whether a body is in a coding that is known here.
func isUnpackable(h *decode.Head) bool {
	switch strings.ToLower(h.Get("Content-Encoding")) {
	case "gzip", "x-gzip", "deflate":
		return true
	}
	return false
}

// appendBody appends a body as head announces it: in chunks, or as it is.
func appendBody(dst []byte, h *decode.Head, b []byte) []byte {
	switch {
	case len(b) == 0:
		return dst
	case chunked(h):
		return fmt.Appendf(dst, "%x\r\n%s\r\n", len(b), b)
	}
	return append(dst, b...)
}

var (
	errLongBody = fmt.Errorf("its body is longer than %d MiB, and twice as long as recorded", maxSent>>20)
	errChunks   = errors.New("the chunks of its body are broken")
)

// readBody reads the rest of a body, of which b has come, and what came behind it. more
// returns further bytes of the connection, or an error at its end. cut is whether that
// came inside of the body, or that has more bytes than most.
func readBody(form decode.Body, b []byte, most int, more func() ([]byte, error), progress func(int)) (content, rest []byte, cut bool, err error) {
	untilClose := form.UntilClose()
	for {
		n := form.Split(b, func(p []byte) { content = append(content, p...) })
		progress(len(content))
		if b = b[n:]; form.Done() {
			return content, b, false, nil
		}
		switch {
		case len(content) > most:
			return content, nil, true, errLongBody
		case form.UntilClose() && !untilClose:
			return content, nil, true, errChunks
		}
		if b, err = more(); err != nil {
			return content, nil, !form.UntilClose() || err != io.EOF, err
		}
	}
}

// markOptional marks the exchanges that need not take place.
func markOptional(scripts []*Script) {
	host := ""
	for _, s := range scripts {
		if s.request != nil && (host == "" || s.plain == nil) {
			host = s.request.Get("Host")
			if s.plain == nil {
				break
			}
		}
	}
	defer needSome(scripts)
	for i, s := range scripts {
		if s.plain == nil {
			continue
		}
		s.plain.foreign = !strings.EqualFold(s.request.Get("Host"), host)
		path, _, _ := strings.Cut(originForm(s.request.Target), "?")
		s.plain.optional = s.plain.foreign || s.request.Method == "OPTIONS" || s.request.Method == "GET" && (path == "/favicon.ico" || strings.HasSuffix(path, ".map"))
		s.plain.optional = s.plain.optional || slices.ContainsFunc(scripts[:i], s.repeats)
	}
}

// needSome has what is optional take place if there is nothing else.
func needSome(scripts []*Script) {
	for _, s := range scripts {
		if s.plain == nil || !s.plain.optional {
			return
		}
	}
	for _, s := range scripts {
		s.plain.optional = s.plain.foreign
	}
}

// repeats reports whether a client that has the answer of an exchange need not ask again.
func (s *Script) repeats(before *Script) bool {
	if before.plain == nil || s.request.Method != "GET" || before.request.Method != "GET" || !s.answered() || !before.answered() ||
		s.plain.asked.path != before.plain.asked.path || s.plain.asked.query != before.plain.asked.query || before.final().Status != 200 {
		return false
	}
	switch s.final().Status {
	case 304:
		return true
	case 200:
		body := &s.plain.bodies[decode.FromServer]
		return body.missing == 0 && bytes.Equal(body.bytes(), before.plain.bodies[decode.FromServer].bytes())
	}
	return false
}

// safe reports whether a request may be answered again as it was before (RFC 9110 §9.2.1).
func safe(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }

// upTo returns the position of the first piece of a body of which n bytes are not all, or
// of the last; none if it has no pieces.
func (h *httpBody) upTo(n, none int) int {
	for _, p := range h.pieces {
		none = p.at
		if n -= len(p.b); n < 0 {
			break
		}
	}
	return none
}
