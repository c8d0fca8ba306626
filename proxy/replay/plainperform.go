package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// A troupe is the clients of a cast, with the connections on which they perform requests.
type troupe struct {
	*cast
	how    *connecting
	rawURL string

	mu   sync.Mutex
	idle map[string]net.Conn // by the recorded address of the client: a connection that goes on
}

// take takes the connection of a recorded client; nil if it has none.
func (t *troupe) take(client string) net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.idle[client]
	delete(t.idle, client)
	return c
}

// keep keeps the connection of a recorded client for its next request.
func (t *troupe) keep(client string, conn net.Conn) {
	t.mu.Lock()
	old := t.idle[client]
	t.idle[client] = conn
	t.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// close closes the connections that are left.
func (t *troupe) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.idle {
		c.Close()
	}
}

// An errand is an exchange that is performed.
type errand struct {
	*troupe
	s    *Script
	part int
	conn net.Conn
	sess decode.Session
	subs *values
}

// perform performs the request of an exchange, and compares the answer.
func (t *troupe) perform(ctx context.Context, part int) error {
	p := &errand{troupe: t, s: t.scripts[part], part: part, subs: t.valuesFor(t.scripts[part])}
	u, err := url.Parse(t.rawURL)
	if err != nil {
		return err
	}
	if n := p.s.plain.bodies[decode.FromClient].missing; n > 0 {
		return p.s.differAt(p.s.request, "the body of the request %s was not recorded whole, so it can't be performed: %d bytes are missing%s", p.s.title(), n, p.how.bodyHint)
	}
	goesOn := false
	for {
		p.conn = t.take(p.s.info.Client)
		kept := p.conn != nil
		if !kept {
			if p.conn, err = t.how.reach(ctx, u); err != nil {
				return err
			}
		}
		goesOn, err = p.play(ctx, u)
		if kept && errors.Is(err, errClosedIdle) {
			p.conn.Close() // it went before it had the request
			continue
		}
		break
	}
	if goesOn && err == nil && p.s.info.Client != "" {
		t.keep(p.s.info.Client, p.conn)
	} else {
		p.conn.Close()
	}
	return err
}

// errClosedIdle is for a connection that the server has closed before it answered.
var errClosedIdle = errors.New("the connection was closed before an answer came")

// play performs the request on the connection. It reports whether that goes on.
func (p *errand) play(ctx context.Context, u *url.URL) (goesOn bool, err error) {
	stop := context.AfterFunc(ctx, func() { p.conn.Close() })
	defer stop()
	request, err := p.request(u)
	if err != nil {
		return false, err
	}
	now := p.how.clock.Now()
	p.sess.Sink, p.sess.Look = p.how.events.sink(), decode.Look{Bodies: maxSent, WholeBodies: true, Keep: MaxMessage}
	info := decode.Info{Conn: p.how.numberOf(p.cast, p.s), Time: now, Client: p.conn.LocalAddr().String(), Server: p.conn.RemoteAddr().String()}
	scheme := "http://"
	if t := tlsOf(p.conn); t != nil {
		info.ServerTLS, scheme = tlswire.Info(t.ConnectionState()), "https://"
	}
	info.URL = scheme + u.Host + p.subs.putTarget(originForm(p.s.request.Target))
	p.sess.Open(info)
	defer func() { p.sess.Done(p.how.clock.Now()) }()
	p.sess.Data(decode.FromClient, now, request)
	_, theirs := p.s.firsts(decode.FromClient)
	p.happened(p.part, event{p.s.at, p.s.begin, time.Now()})
	p.set(p.part, atEnd, theirs, time.Now())
	for b := request; len(b) > 0; {
		n := p.how.atOnce(len(b))
		p.conn.SetWriteDeadline(time.Now().Add(p.how.stall))
		if _, err := p.conn.Write(b[:n]); err != nil {
			break // how the server goes on tells why
		}
		b = b[n:]
	}
	if !p.s.answered() { // nor is it waited for
		p.leave(p.part, nil)
		p.holdOpen(ctx)
		return false, nil
	}
	asked := time.Now()
	res, content, goesOn, err := p.response(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return false, err
	}
	p.happened(p.part, event{p.s.final().at, p.s.start, time.Now()})
	if p.how.latency != nil {
		p.how.latency(Answer{Session: p.s.number, Name: p.s.title(), Line: p.s.line(p.s.final().at), Took: time.Since(asked)})
	}
	switch {
	case !p.how.update:
		err = p.compare(res, content)
	case res.Status >= 400 && p.s.final().Status < 400: // what is refused is no update of what was given
		err = p.compare(res, content)
	}
	if err == nil {
		p.noteChanged(p.s, p.subs, res)
		p.s.learnPlain(p.subs, &p.how.playing, decode.FromServer, res, content)
	}
	if err == nil && p.s.plain.bodies[decode.FromServer].open {
		p.leave(p.part, nil)
		p.holdOpen(ctx)
		return false, nil
	}
	return goesOn, err
}

// request returns the recorded request, for the server at u.
func (p *errand) request(u *url.URL) ([]byte, error) {
	recorded := p.s.request
	if p.s.edited != nil {
		recorded = p.s.edited
	}
	h := p.s.addressed(recorded, p.subs.putHead(recorded.Head), u, p.subs.putTarget(originForm(recorded.Target)))
	h = withFields(h, p.how.headers)
	form := decode.RequestBody(h)
	if form.Done() {
		return appendHead(nil, h), nil
	}
	body, err := p.subs.putBody(recorded.Head, p.s.plain.bodies[decode.FromClient].bytes())
	if err != nil {
		return nil, p.s.differAt(recorded, "%s: %v", p.s.title(), err)
	}
	if _, ok := h.Lookup("Content-Length"); ok {
		h = h.WithValue("Content-Length", strconv.Itoa(len(body)))
	}
	b := appendBody(appendHead(nil, h), h, body)
	if chunked(h) {
		b = append(b, lastChunk...)
	}
	return b, nil
}

// response reads the answer: its final head and its body.
func (p *errand) response(ctx context.Context) (res *decode.Head, content []byte, goesOn bool, err error) {
	var b []byte
	for res == nil {
		for decode.HeadLen(b, 0) == 0 {
			more, err := p.read(ctx)
			b = append(b, more...)
			switch {
			case err != nil && len(b) == 0 && !errors.Is(err, ErrStalled):
				return nil, nil, false, fmt.Errorf("%s: %w", p.s.title(), errClosedIdle)
			case err == io.EOF || errors.Is(err, syscall.ECONNRESET):
				return nil, nil, false, p.s.differAt(p.s.final(), "expected an answer to %s, got %s and the end of the connection", p.s.title(), quoted(p.s.hidden(b)))
			case err != nil:
				return nil, nil, false, err
			case len(b) > decode.MaxHead || !decode.MayBeResponse(b):
				return nil, nil, false, p.s.differAt(p.s.final(), "expected an answer to %s, got %s", p.s.title(), quoted(p.s.hidden(b)))
			}
		}
		h, err := decode.ParseResponse(string(b[:decode.HeadLen(b, 0)]))
		if err != nil {
			return nil, nil, false, p.s.differAt(p.s.final(), "expected an answer to %s, got %s", p.s.title(), quoted(p.s.hidden(b)))
		}
		b = b[len(h.Raw):]
		if h.Status >= 200 || h.Status == 101 {
			res = h
		}
	}
	form := decode.ResponseBody(res, p.s.request.Method)
	body := &p.s.plain.bodies[decode.FromServer]
	untilClose := form.UntilClose()
	all, got := body.size(), 0
	content, rest, cut, err := readBody(form, b, max(maxSent, 2*all), func() ([]byte, error) {
		if body.open && got >= all { // there is no more to compare
			return nil, io.EOF
		}
		return p.read(ctx)
	}, func(n int) {
		got = n
		p.set(p.part, atEnd, body.upTo(n, p.s.final().at), time.Now())
	})
	if errors.Is(err, errLongBody) || errors.Is(err, errChunks) {
		return nil, nil, false, p.s.differAt(p.s.final(), "the answer to %s: %v", p.s.title(), err)
	}
	if err == io.EOF || err != nil && cut && body.cutOff {
		if err = nil; cut && !body.cutOff && !body.open {
			err = p.s.differAt(p.s.final(), "the answer to %s is cut off after %d bytes of its body", p.s.title(), len(content))
		}
	}
	return res, content, !untilClose && !cut && len(rest) == 0 && res.KeepAlive(), err
}

// read reads what comes of the server, for as long as there is patience.
func (p *errand) read(ctx context.Context) ([]byte, error) {
	buf := make([]byte, 16<<10)
	for {
		patience := p.latest(time.Time{}).Add(p.how.stall)
		if p.how.speed > 0 {
			patience = patience.Add(p.how.scaled(p.s.start - p.s.begin))
		}
		p.conn.SetReadDeadline(patience)
		n, err := p.conn.Read(buf)
		if n > 0 {
			p.sess.Data(decode.FromServer, p.how.clock.Now(), buf[:n])
			p.gotOn()
			return buf[:n], nil
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case time.Now().Before(p.latest(time.Time{}).Add(p.how.stall)): // others got on
			continue
		}
		if other, _ := p.blame(); other == p.part {
			return nil, &stallError{text: fmt.Sprintf("client waits for the answer to %s%s", p.s.title(), p.s.inLine(p.s.final().at)), stall: p.how.stall}
		}
		select { // another will say what it waits for
		case <-p.wakeOf(p.part):
		case <-time.After(p.how.stall):
		case <-ctx.Done():
		}
	}
}

// compare compares the answer with the recorded one.
func (p *errand) compare(res *decode.Head, content []byte) error {
	recorded := p.s.final()
	if res.Status != recorded.Status {
		d := p.s.differAt(recorded, "expected status %d for %s, got %d %s", recorded.Status, p.s.title(), res.Status, p.s.hiddenText("", res.Reason))
		if text := strings.TrimSpace(string(p.s.hidden(content))); text != "" && len(text) < maxShown {
			d.Text += fmt.Sprintf(": %q", text)
		}
		return p.withAnew(d)
	}
	if err := p.s.checkChosen(recorded, res); err != nil {
		return err
	}
	if err := p.compareLocation(recorded, res); err != nil {
		return err
	}
	if d := p.s.bodyDifference(p.subs, decode.FromServer, res, content); d != nil {
		p.remedy(d, p.s, p.subs, decode.FromServer, res, content)
		return d
	}
	return nil
}

// compareLocation compares where the answer sends the client.
func (p *errand) compareLocation(recorded *head, res *decode.Head) error {
	want, got := recorded.Get("Location"), res.Get("Location")
	if want == "" || res.Status/100 != 3 || p.s.ignoresHeader("Location") || p.s.redacted != nil {
		return nil
	}
	if err := p.s.checkTarget(originForm(got), originForm(want), recorded.at, p.subs); err != nil {
		return inHeader("Location", p.s.differAt(recorded, "expected %s to lead to %q, got %q", p.s.title(), want, got))
	}
	return nil
}
