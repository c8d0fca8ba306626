package edit

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"mime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
)

// A body is what has come of an HTTP body: its pieces are the records of the message.
// A head that tells its length waits for it too.
type body struct {
	message
	dir      decode.Dir
	heads    []*trace.Record // that wait
	headless bool            // its head is not in the trace
	media    string
	boundary string // of the parts of a form
	coding   string // the content coding
	left     int64  // bytes that should come; -1 if only its end tells
	length   uint64 // bytes so far, with those that the trace lacks
	told     bool   // it is lost, and a note says so
}

// looksInto reports whether selectors concern b.
func (r *rules) looksInto(b *body) bool {
	return r.inMessages || r.inForms && (b.isForm() || b.boundary != "")
}

func (b *body) isForm() bool { return b.media == "application/x-www-form-urlencoded" }

// head takes a head, which may have a body behind it.
func (s *session) head(h *held) {
	rec := h.rec
	d := decode.FromServer
	if rec.Kind == trace.KindReq {
		d = decode.FromClient
	}
	if rec.Leg == trace.LegOut {
		if b := s.bodies[d]; b != nil && len(b.heads) > 0 && len(b.records) == 0 {
			b.wait(h)
		}
		return
	}
	var follows decode.Body
	refusal := false
	switch {
	case rec.Kind == trace.KindReq:
		s.asks, s.method = decode.AsksForWebSocket(rec.Head), rec.Head.Method
		if follows = decode.RequestBody(rec.Head); s.asks {
			return // such a body is junk
		}
	case rec.Head.Status < 200:
		return
	default:
		follows = decode.ResponseBody(rec.Head, s.method)
		refusal = s.asks
	}
	s.endBody(d, false)
	if rec.Head.Cut || len(rec.Body) > 0 || follows.Done() {
		return
	}
	b := &body{dir: d, left: -1, coding: strings.ToLower(strings.Join(rec.Head.Tokens("Content-Encoding"), ","))}
	b.body = b
	media, params, _ := mime.ParseMediaType(rec.Head.Get("Content-Type"))
	if b.media = media; media == "multipart/form-data" {
		b.boundary = params["boundary"]
	}
	s.bodies[d] = b
	_, known := rec.Head.Lookup("Content-Length")
	if known = known && !follows.UntilClose() && len(rec.Head.Tokens("Transfer-Encoding")) == 0; known {
		b.left = declared(rec.Head)
	}
	if rec.BodyLen > 0 {
		b.left = rec.BodyLen
	}
	// The answer to a refused upgrade and its body stand together.
	if (known || refusal) && s.r.looksInto(b) {
		b.wait(h)
	}
}

// declared returns the Content-Length of h, or -1.
func declared(h *decode.Head) int64 {
	first, _, _ := strings.Cut(h.Get("Content-Length"), ",")
	n, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (b *body) wait(h *held) {
	h.message = &b.message
	b.heads = append(b.heads, h.rec)
}

// piece takes a piece of a body, which it adds to the queue.
func (s *session) piece(h *held) {
	rec := h.rec
	b := s.bodies[rec.Dir]
	if b == nil {
		b = &body{dir: rec.Dir, headless: true, left: -1}
		b.body = b
		s.bodies[rec.Dir] = b
	}
	n := uint64(len(rec.Payload))
	if rec.Cut {
		n = max(n, rec.Len)
	}
	switch b.length += n; {
	case !s.r.looksInto(b):
		s.push(h)
		return
	case b.told: // a record before this one says that the rest is missing
		return
	case b.lost != "" && len(b.records) > 0:
	default:
		h.message = &b.message
		b.records = append(b.records, h)
		s.push(h)
	}
	b.size += len(rec.Payload)
	if b.size > MaxMessage && b.lost == "" {
		b.lost = "is longer than 1 MiB"
		s.drop(b)
	}
	if b.over {
		s.loseBody(b, "")
		return
	}
	if b.left >= 0 {
		b.left -= int64(min(n, uint64(b.left)))
	}
	if rec.Cut || rec.Last || b.left == 0 {
		s.completeBody(b, true)
		s.bodies[rec.Dir] = &body{dir: b.dir, headless: true, left: -1} // of what should not come
		s.bodies[rec.Dir].body = s.bodies[rec.Dir]
	}
}

// endBody says that nothing more comes of the body of d. With known false that is
// because the trace ends.
func (s *session) endBody(d decode.Dir, known bool) {
	if b := s.bodies[d]; b != nil {
		s.completeBody(b, known)
		s.bodies[d] = nil
	}
}

// drop keeps no payload of b, and one record in the queue.
func (s *session) drop(b *body) {
	if len(b.records) == 0 {
		return
	}
	first := b.records[0]
	s.queue = slices.DeleteFunc(s.queue, func(h *held) bool {
		return h != first && h.rec.Kind == trace.KindBody && h.message == &b.message
	})
	b.records = b.records[:1:1]
	stripped(first.rec)
	s.waiting = 0
	for _, h := range s.queue {
		s.waiting += len(h.rec.Payload) + recordSize
	}
}

// loseBody leaves b out, and says so if there was any of it.
func (s *session) loseBody(b *body, why string) {
	if b.lost == "" {
		b.lost = why
	}
	b.over = true
	if b.size == 0 { // nothing is there
		return
	}
	s.drop(b)
	first := b.records[0]
	b.records = nil
	b.told, s.changed = true, true
	first.rec.Len, first.rec.Cut = b.length, true
	i := slices.IndexFunc(s.queue, func(h *held) bool { return h.message == &b.message })
	if i < 0 {
		return // its records went on
	}
	at := s.queue[i]
	note := &held{t: at.t, c: at.c, hadT: at.hadT, hadC: at.hadC}
	note.rec = &trace.Record{Kind: trace.KindNote, T: at.rec.T, HasT: at.rec.HasT, C: at.rec.C,
		Text: "a body of the " + b.dir.String() + " was not looked into for secrets, as it " + b.lost + ": it is left out"}
	s.queue = slices.Insert(s.queue, i, note)
}

// completeBody redacts a body; known says that it ends here.
func (s *session) completeBody(b *body, known bool) {
	switch {
	case b.over:
		return
	case b.size == 0:
		b.over = true
		return
	case b.lost != "":
		s.loseBody(b, "")
		return
	}
	c := s.contentOf(&b.message)
	last := b.records[len(b.records)-1].rec
	cut := last.Cut || !known || b.left > 0
	old := len(c.b)
	c.cuts[len(c.cuts)-1] = old
	same, why := c.redactBody(b, cut)
	if why != "" {
		s.loseBody(b, why)
		return
	}
	b.over = true
	if same && len(c.b) == old {
		b.records, b.heads = nil, nil
		return
	}
	s.changed = true
	rest := uint64(0)
	if last.Cut {
		rest = last.Len - min(last.Len, uint64(len(last.Payload)))
	}
	dropped := c.dropped
	b.spread(c.b, c.cuts)
	if last.Cut || dropped > 0 {
		last.Cut, last.Len = true, uint64(len(last.Payload)+dropped)+rest
	}
	s.grow(b, int64(len(c.b)+dropped-old))
	b.records, b.heads = nil, nil
}

// grow makes the heads of b, and the counts at the end, say that it is n bytes longer.
func (s *session) grow(b *body, n int64) {
	s.grown[b.dir] += n
	for _, rec := range b.heads {
		if n != 0 {
			addLength(rec, n)
		}
	}
}

// addLength adds n to the lengths that a head tells of its body.
func addLength(rec *trace.Record, n int64) {
	if old := declared(rec.Head); old >= 0 && len(rec.Head.Tokens("Transfer-Encoding")) == 0 {
		setLength(rec, max(old+n, 0))
	}
	if rec.BodyLen > 0 {
		rec.BodyLen = max(rec.BodyLen+n, 0)
	}
}

func setLength(rec *trace.Record, n int64) {
	h := rec.Head.WithValue("Content-Length", strconv.FormatInt(n, 10))
	if h != rec.Head && rec.RawHead {
		rec.RawHead = h.Cut || !utf8.ValidString(h.Raw) || !h.Canonical()
	}
	rec.Head = h
}

// redactBody redacts c, which is the content of b, and reports whether it stays the
// same. If it can't be looked into, why says so.
func (c *content) redactBody(b *body, cut bool) (same bool, why string) {
	coding := b.coding
	if b.records[0].rec.Packed != "" {
		coding = "" // what is packed stands there
	}
	old := c.b
	switch {
	case b.headless && !utf8.Valid(c.b):
		return false, "lacks its head"
	case coding == "" || coding == "identity":
		if cut {
			c.b = c.withoutEnd(c.b)
			c.dropped = len(old) - len(c.b)
			for i := range c.cuts {
				c.cuts[i] = min(c.cuts[i], len(c.b))
			}
			old = c.b
		}
		switch {
		case b.isForm():
			c.b = []byte(c.form(string(c.b)))
			c.even(len(b.records))
		case b.boundary != "":
			c.b = c.multipart(c.b, b.boundary)
			c.even(len(b.records))
		default:
			c.redact(0)
		}
		return bytes.Equal(c.b, old), ""
	case cut:
		return false, "is compressed and not all there"
	}
	plain, why := uncoded(c.b, coding)
	if why != "" {
		return false, why
	}
	in := body{media: b.media, boundary: b.boundary, message: b.message}
	inner := content{rules: c.rules, b: plain, cuts: make([]int, len(c.cuts))}
	if same, why := inner.redactBody(&in, false); same || why != "" {
		return same, why
	}
	c.b = recoded(inner.b, coding)
	c.even(len(b.records))
	return false, ""
}

// even cuts c into n pieces.
func (c *content) even(n int) {
	c.cuts = c.cuts[:0]
	for i := range n {
		c.cuts = append(c.cuts, len(c.b)*(i+1)/n)
	}
}

// withoutEnd returns p, which is cut off, without what may be the beginning of a
// secret that is not known by that.
func (r *rules) withoutEnd(p []byte) []byte {
	if slices.ContainsFunc(r.selectors, func(s pick.Selector) bool { return s.Expr != nil }) {
		return decode.WholeChars(p[:max(len(p)-longestKnown, 0)])
	}
	return p[:bytes.LastIndexAny(p, " \t\r\n\"'<>&;,{}[]()")+1]
}

// uncoded returns a body without its content coding.
func uncoded(p []byte, coding string) (plain []byte, why string) {
	var z io.Reader
	var err error
	switch coding {
	case "gzip", "x-gzip":
		z, err = gzip.NewReader(bytes.NewReader(p))
	case "deflate":
		z, err = zlib.NewReader(bytes.NewReader(p))
	default:
		return nil, "is coded with " + coding
	}
	if err == nil {
		plain, err = io.ReadAll(io.LimitReader(z, MaxMessage+1))
	}
	switch {
	case err != nil:
		return nil, "can't be unpacked"
	case len(plain) > MaxMessage:
		return nil, "is longer than 1 MiB"
	}
	return plain, ""
}

// recoded is the inverse of uncoded.
func recoded(p []byte, coding string) []byte {
	var b bytes.Buffer
	var z io.WriteCloser = gzip.NewWriter(&b)
	if coding == "deflate" {
		z = zlib.NewWriter(&b)
	}
	z.Write(p)
	z.Close()
	return b.Bytes()
}

// form returns a form that was sent like a query with placeholders.
func (r *rules) form(s string) string {
	s = r.params(s)
	clean, ok := strings.CutPrefix(r.text("?"+s), "?")
	if !ok {
		clean = r.text(s)
	}
	return r.unescaped(clean)
}

// multipart returns a form in parts (RFC 7578) with placeholders.
func (r *rules) multipart(p []byte, boundary string) []byte {
	parts := bytes.Split(p, []byte("--"+boundary))
	for i, part := range parts {
		const end = "\r\n\r\n"
		head, value, ok := bytes.Cut(part, []byte(end))
		if !ok {
			parts[i] = r.content(part)
			continue
		}
		value, eol := bytes.CutSuffix(value, []byte("\r\n"))
		if name := partName(string(head)); r.selectsParam(name, string(value)) {
			value = []byte(r.placeholders.text(name, string(value)))
		} else {
			value = r.content(value)
		}
		clean := append([]byte(r.text(string(head))), end...)
		if clean = append(clean, value...); eol {
			clean = append(clean, '\r', '\n')
		}
		parts[i] = clean
	}
	return bytes.Join(parts, []byte("--"+boundary))
}

// partName returns the name of the field that a part with a head has.
func partName(head string) string {
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if strings.EqualFold(name, "Content-Disposition") {
			_, params, _ := mime.ParseMediaType(value)
			return params["name"]
		}
	}
	return ""
}

// selectsParam reports whether the value of a parameter is secret.
func (r *rules) selectsParam(name, value string) bool {
	if r.credentials {
		if ok, _ := decode.CredentialParam(name, value); ok || decode.CredentialKey(name, value) {
			return true
		}
	}
	return name != "" && slices.ContainsFunc(r.selectors, func(s pick.Selector) bool { return s.Param == name })
}
