package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	urlpath "path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// serve answers a request that has come on conn, of whose body b has come, if it is that of
// a recorded exchange. rest is what came behind it on a connection that goes on; what
// fails is told to the cast.
func (c *cast) serve(ctx context.Context, conn net.Conn, req *decode.Head, b []byte) answering {
	if a, ok := c.serveEngine(ctx, conn, req, b); ok {
		return a
	}
	if !c.knows(req) {
		return answering{}
	}
	if len(b) == 0 && strings.EqualFold(req.Get("Expect"), "100-continue") {
		io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	content, rest, _, err := readBody(decode.RequestBody(req), b, c.longestBody(), func() ([]byte, error) { return readSome(conn, c.how.stall) }, func(int) { c.gotOn() })
	if err != nil {
		c.unreadBody(req, err)
		return answering{answered: true}
	}
	part, again, err := c.ask(req, content)
	if err != nil {
		conn.SetWriteDeadline(time.Now().Add(c.how.stall))
		conn.Write(refusal(err))
		c.fail(part, err)
		return answering{answered: true}
	}
	s := &attendance{cast: c, s: c.scripts[part], part: part, again: again, conn: conn, req: req, subs: c.valuesFor(c.scripts[part])}
	if s.s.answered() && s.s.final().Status == 304 && !conditional(req) {
		c.how.tell("%s was answered by a 304 in the recording, and this client has nothing that it could keep; record it with an empty cache", s.s.title())
	}
	if !again {
		s.s.learnPlain(s.subs, c.how, decode.FromClient, req, content)
	}
	goesOn, err := s.answer(ctx, content)
	if !again {
		c.leave(part, err)
	}
	return answering{rest: rest, answered: true, goesOn: goesOn && err == nil}
}

// longestBody returns how many bytes the body of a request has at most.
func (c *cast) longestBody() int {
	most := maxSent
	for _, s := range c.scripts {
		if s.plain != nil {
			most = max(most, 2*s.plain.bodies[decode.FromClient].size())
		}
	}
	return most
}

// unreadBody says why the body of a request could not be read. If the client left, it may
// ask again.
func (c *cast) unreadBody(req *decode.Head, err error) {
	title := req.Method + " " + originForm(req.Target)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.fail(-1, &stallError{text: "server waits for the rest of the request " + title, stall: c.how.stall})
	case errors.Is(err, errLongBody), errors.Is(err, errChunks):
		c.fail(-1, fmt.Errorf("the request %s: %w", title, err))
	default:
		c.strange()
	}
}

// An answering says what became of a request.
type answering struct {
	rest      []byte // what came behind it
	answered  bool   // by what was recorded
	goesOn    bool   // the connection does
	takenOver bool   // it is somebody else's now
}

// readSome reads what comes of a body.
func readSome(conn net.Conn, patience time.Duration) ([]byte, error) {
	buf := make([]byte, 16<<10)
	conn.SetReadDeadline(time.Now().Add(patience))
	defer conn.SetReadDeadline(time.Time{})
	n, err := conn.Read(buf)
	if n > 0 {
		err = nil
	}
	return buf[:n], err
}

// gotOn notes that something came.
func (c *cast) gotOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress = time.Now()
}

// asking returns a request as exchanges are looked for.
func (c *cast) asking(req *decode.Head) *asking { return newAsking(req, &c.scripts[0].equality) }

// knows reports whether there is an exchange with a request like req that may be played. A
// refusal of a request for websocket counts only if no WebSocket session was recorded
// before it that the request fits.
func (c *cast) knows(req *decode.Head) bool {
	asked := c.asking(req)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.scripts {
		switch {
		case s.plain == nil:
			if asked.upgrade && !c.taken[i] && s.engine == nil && s.checkRequest(req, c.values) == nil {
				return false
			}
		case s.asksAlike(asked, c.values) && (!c.taken[i] || safe(req.Method) && !asked.upgrade):
			return true
		}
	}
	return false
}

// used reports whether a request is like a recorded one that was answered already.
func (c *cast) used(req *decode.Head) bool {
	asked := c.asking(req)
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.scripts, func(s *Script) bool { return s.plain != nil && s.asksAlike(asked, c.values) })
}

// near reports whether a request is for a recorded path, but not like a recorded one.
func (c *cast) near(req *decode.Head) bool {
	clean := func(target string) string {
		p, _, _ := strings.Cut(originForm(target), "?")
		return urlpath.Clean("/" + unescaped(p))
	}
	return slices.ContainsFunc(c.scripts, func(s *Script) bool {
		return s.request != nil && clean(s.request.Target) == clean(req.Target)
	})
}

// ask takes the exchange that a request is of: the first that nobody has and whose request
// has this body or, if all are taken, the last, of which the answer is given again. A client
// that does not say what it has already is not told that this is good, if the recording has
// more. The error is that the first one differs.
func (c *cast) ask(req *decode.Head, content []byte) (part int, again bool, err error) {
	asked := c.asking(req)
	c.mu.Lock()
	defer c.mu.Unlock()
	part, last, unmodified := -1, -1, -1
	var differs *Difference
	for i, s := range c.scripts {
		if s.plain == nil || !s.asksAlike(asked, c.values) {
			continue
		}
		if s.answered() && s.final().Status == 304 && !conditional(req) {
			unmodified = i
			continue
		}
		if last = i; c.taken[i] {
			continue
		}
		if d := s.bodyDifference(c.values, decode.FromClient, req, content); d != nil && !c.how.update {
			if part < 0 {
				part, differs = i, d
			}
			continue
		}
		part, differs = i, nil
		break
	}
	switch {
	case part < 0 && last >= 0:
		return last, true, nil
	case part < 0 && unmodified < 0: // since knows has looked a value was captured
		return -1, false, fmt.Errorf("%s %s is not in the recording", req.Method, originForm(req.Target))
	case part < 0 && c.taken[unmodified]:
		return unmodified, true, nil
	case part < 0:
		part = unmodified
	case differs != nil:
		c.remedy(differs, c.scripts[part], c.values, decode.FromClient, req, content)
		return part, false, differs
	}
	c.taken[part] = true
	c.progress = time.Now()
	return part, false, nil
}

// conditional reports whether a client asks for what it has already, if that has changed.
func conditional(req *decode.Head) bool {
	return req.Get("If-None-Match") != "" || req.Get("If-Modified-Since") != ""
}

// An attendance is an exchange that is served.
type attendance struct {
	*cast
	s     *Script
	part  int
	again bool // what was answered before, at once
	conn  net.Conn
	req   *decode.Head
	sess  decode.Session
	subs  *values
}

// A sending is what is sent at one time.
type sending struct {
	at int
	t  time.Duration
	b  []byte
}

// answer gives the recorded answer, each piece when its turn has come. It reports whether
// the connection goes on.
func (s *attendance) answer(ctx context.Context, content []byte) (goesOn bool, err error) {
	asked := event{s.s.askedAt(), s.s.begin, time.Now()}
	if !s.again {
		s.open(content)
		defer func() { s.sess.Done(s.how.clock.Now()) }()
		s.happened(s.part, asked)
	}
	switch {
	case !s.s.answered():
		s.leave(s.part, nil) // nothing more is waited for
		s.holdOpen(ctx)
		return false, nil
	case s.s.plain.bodies[decode.FromServer].missing > 0:
		return false, s.unrecorded()
	}
	sendings, goesOn, err := s.sendings()
	if err != nil {
		return false, err
	}
	for _, out := range sendings {
		if !s.again {
			s.set(s.part, out.at, atEnd, time.Now())
			if asked, err = s.await(ctx, s.part, asked, out.at, out.t); err != nil {
				return false, err
			}
		}
		if !s.write(out.b) {
			return false, nil // the client went, and may ask again
		}
	}
	if s.s.plain.bodies[decode.FromServer].open {
		if !s.again {
			s.leave(s.part, nil)
		}
		s.holdOpen(ctx)
	}
	return goesOn, nil
}

// holdOpen waits for the end of all that is played.
func (c *cast) holdOpen(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-c.finished:
	}
}

// open opens the session of the exchange with the request that came.
func (s *attendance) open(content []byte) {
	now := s.how.clock.Now()
	s.sess.Sink, s.sess.Look = s.how.events.sink(), decode.Look{Bodies: maxSent, WholeBodies: true, Keep: MaxMessage}
	info := decode.Info{Conn: s.how.numberOf(s.cast, s.s), Time: now, Client: s.conn.RemoteAddr().String(), Server: s.conn.LocalAddr().String()}
	scheme := "http://"
	if t := tlsOf(s.conn); t != nil {
		info.ClientTLS, scheme = tlswire.Info(t.ConnectionState()), "https://"
	}
	info.URL = scheme + s.req.Get("Host") + originForm(s.req.Target)
	s.sess.Open(info)
	s.sess.Head(decode.FromClient, now, s.req, nil)
	s.sess.Body(decode.FromClient, now, content, true)
}

// sendings returns what is sent, and whether the connection goes on then.
func (s *attendance) sendings() (list []sending, goesOn bool, err error) {
	recorded := s.s.final()
	form := decode.ResponseBody(recorded.Head, s.req.Method)
	body := &s.s.plain.bodies[decode.FromServer]
	own := s.ownAddress()
	h := s.subs.putHead(recorded.Head)
	for _, name := range []string{"Location", "Access-Control-Allow-Origin"} {
		if v := h.Get(name); v != "" {
			h = h.WithValue(name, string(put([]byte(v), own)))
		}
	}
	pieces, changed, err := s.pieces(own)
	if err != nil {
		return nil, false, err
	}
	if changed && isCoded(h) { // it goes without its coding
		h = h.Without("Content-Encoding")
	}
	if _, ok := h.Lookup("Content-Length"); ok && changed && !body.cutOff {
		size := 0
		for _, p := range pieces {
			size += len(p.b)
		}
		h = h.WithValue("Content-Length", strconv.Itoa(size))
	}
	if form.Done() {
		pieces = nil
	}
	first := sending{recorded.at, s.s.start, nil}
	for _, r := range s.s.replies {
		if r.Status != 100 && r.Status < 200 { // 100 was given when it was asked for
			first.b = r.Append(first.b)
		}
	}
	first.b = appendHead(first.b, h)
	list = append(list, first)
	for _, p := range pieces {
		last := &list[len(list)-1]
		if p.t != last.t {
			list = append(list, sending{t: p.t})
			last = &list[len(list)-1]
		}
		last.at, last.b = p.at, appendBody(last.b, h, p.b)
	}
	if chunked(h) && !form.Done() && !body.cutOff && !body.open {
		last := &list[len(list)-1]
		last.b = append(last.b, lastChunk...)
	}
	return list, h.KeepAlive() && s.req.KeepAlive() && !form.UntilClose() && !body.cutOff && !body.open, nil
}

// pieces returns the pieces of the body with the values that came in place, and the address
// by which the client reaches us, and whether that has changed it.
func (s *attendance) pieces(own *values) (list []bodyPiece, changed bool, err error) {
	body := &s.s.plain.bodies[decode.FromServer]
	recorded := s.s.final().Head
	whole := body.bytes()
	content, known := contentOf(recorded, whole)
	if !known || len(content) == 0 || s.subs.empty() && own.empty() {
		return body.pieces, false, nil
	}
	live, err := s.subs.putBody(recorded.Without("Content-Encoding"), content)
	if err != nil {
		return nil, false, &decode.SourceError{Line: body.pieces[0].at, Err: err}
	}
	if own.mayBeIn(live) && utf8.Valid(live) {
		live = put(live, own)
	}
	if sameMemory(live, content) || bytes.Equal(live, content) {
		return body.pieces, false, nil
	}
	list = slices.Clone(body.pieces)
	at, scaled := 0, len(live) != len(whole) && isCoded(recorded)
	for i := range list {
		end := min(at+len(list[i].b), len(live))
		if i == len(list)-1 || scaled { // what was coded comes at once
			end = len(live)
		}
		list[i].b, at = live[at:end], end
	}
	return slices.DeleteFunc(list, func(p bodyPiece) bool { return len(p.b) == 0 }), true, nil
}

// mayBeIn reports whether some recorded text of v stands in b.
func (v *values) mayBeIn(b []byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for recorded := range v.subs {
		if text, ok := recorded.(string); ok && bytes.Contains(b, []byte(text)) {
			return true
		}
	}
	return false
}

// appendHead appends a head as it was spelled.
func appendHead(dst []byte, h *decode.Head) []byte {
	if h.Raw != "" {
		return append(dst, h.Raw...)
	}
	return h.Append(dst)
}

// ownAddress returns what puts the address by which the client reaches us in place of those
// of the recorded server, and that of the page that asks in place of the recorded one.
func (s *attendance) ownAddress() *values {
	var subs []substitution
	for _, h := range []*head{s.s.request, s.s.edited} {
		for _, name := range []string{"Host", "Origin"} {
			if h == nil {
				continue
			}
			recorded, live := hostIn(h.Get(name)), hostIn(s.req.Get(name))
			if recorded == "" || live == "" {
				continue
			}
			if recorded != live {
				subs = append(subs, substitution{recorded: recorded, live: live})
			}
			if name == "Origin" {
				continue
			}
			secure := [2]string{"https://", "wss://"} // we may have TLS where there was none, or none
			plain := [2]string{"http://", "ws://"}
			from, to := secure, plain
			if tlsOf(s.conn) != nil {
				from, to = plain, secure
			}
			for i := range from {
				subs = append(subs, substitution{recorded: from[i] + recorded, live: to[i] + live})
			}
		}
	}
	return newValues(subs...)
}

// hostIn returns the host and port in a Host or an Origin.
func hostIn(value string) string {
	if _, host, ok := strings.Cut(value, "://"); ok {
		return host
	}
	if value == "null" { // the Origin of nobody
		return ""
	}
	return value
}

// unrecorded answers in place of the recorded server, of whose body something is missing.
func (s *attendance) unrecorded() error {
	body := &s.s.plain.bodies[decode.FromServer]
	text := fmt.Sprintf("the body of the answer to %s was not recorded whole: %d bytes are missing%s", s.s.title(), body.missing, s.how.bodyHint)
	s.how.tell("%s", text)
	s.write(plainAnswer("502 Bad Gateway", text))
	return nil
}

// write writes b. It reports false if the client does not take it.
func (s *attendance) write(b []byte) bool {
	for len(b) > 0 {
		n := s.how.atOnce(len(b))
		if !s.again {
			s.sess.Data(decode.FromServer, s.how.clock.Now(), b[:n])
		}
		s.conn.SetWriteDeadline(time.Now().Add(s.how.stall))
		if _, err := s.conn.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
		s.gotOn()
	}
	return true
}

// await waits until it is the turn of a session to send what stands at a position, and
// with a speed until it is time; before is its own event before that. It returns the event
// that this is.
func (c *cast) await(ctx context.Context, part int, before event, at int, t time.Duration) (event, error) {
	wake := c.wakeOf(part)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !c.how.byClock && !c.turn(part, at) {
		patience := c.latest(time.Time{}).Add(c.how.stall)
		if c.how.speed > 0 {
			patience = patience.Add(c.how.scaled(t - before.t))
		}
		if wait := time.Until(patience); wait > 0 {
			timer.Reset(wait)
		} else if other, begun := c.blame(); !begun {
			err := c.awaited(other)
			c.fail(-1, err)
			return event{}, errElsewhere
		} else {
			timer.Reset(c.how.stall) // it will say what it waits for
		}
		select {
		case <-wake:
		case <-timer.C:
		case <-c.ctx.Done():
			return event{}, errElsewhere
		case <-ctx.Done():
			return event{}, errElsewhere
		}
	}
	if c.how.speed > 0 {
		due := c.due(t)
		if !c.how.byClock {
			before = c.before(part, at, before)
			due = before.real.Add(c.how.scaled(t - before.t))
		}
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			return event{}, errElsewhere
		case <-ctx.Done():
			return event{}, errElsewhere
		}
	}
	now := event{at, t, time.Now()}
	c.happened(part, now)
	return now, nil
}
