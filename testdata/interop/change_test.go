package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/change"
)

// A pair is a client and a server, and how they talk.
type pair struct {
	client, server string
	mode           string
	deflate, tls   bool
}

func (p pair) String() string {
	s := p.client + " to " + p.server + " " + p.mode
	if p.deflate {
		s += " deflate"
	}
	if p.tls {
		s += " tls"
	}
	return s
}

// pairs are each two in which four stacks meet. Of those that compress, ws, websockets and
// coder keep the window between messages, and gorilla does not.
var pairs = [][2]pair{
	{{"node ws", "coder", reverse, true, false}, {"python websockets", "gorilla", tunnel, true, false}},
	{{"coder", "python websockets", absolute, true, false}, {"gorilla", "node ws", reverse, false, false}},
	{{"python websockets", "coder", reverse, false, true}, {"gorilla", "node ws", tunnel, true, false}},
	{{"node ws", "python websockets", absolute, true, false}, {"coder", "gorilla", tunnel, false, true}},
	{{"coder", "node ws", tunnel, true, true}, {"python websockets", "gorilla", tunnel, false, false}},
	{{"gorilla", "python websockets", reverse, true, true}, {"node ws", "coder", absolute, false, false}},
}

// A cast is peers that run, by name.
type cast struct {
	clients map[string]*client
	told    map[string]*board
	servers map[string]*server
	trust   *trust
}

// newCast starts the clients and servers of those names.
func newCast(t *testing.T, clientNames, serverNames []string) *cast {
	c := &cast{map[string]*client{"fragments": {name: "fragments", tells: "got ping, sent pong, got pong, sent close, got close", run: fragmentsClient}},
		map[string]*board{"fragments": new(board)}, make(map[string]*server), newTrust(t)}
	for _, cl := range clients {
		if slices.Contains(clientNames, cl.name) {
			c.told[cl.name] = new(board)
			c.clients[cl.name] = cl.ready(t, c.told[cl.name])
		}
	}
	for _, s := range servers {
		if slices.Contains(serverNames, s.name) {
			need(t, s.needs.missing())
			own := &server{name: s.name, tells: s.tells}
			own.addr = s.start(t, &own.board)
			c.servers[s.name] = own
		}
	}
	return c
}

var four = []string{"node ws", "python websockets", "gorilla", "coder"}

// fragmentsClient is gobwas, but sends each message in three fragments with a ping between
// the first two.
func fragmentsClient(ctx context.Context, j job, d diary) error {
	nc, err := j.dial(ctx, j.location("ws").Host)
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	br, _, err := ws.Dialer{}.Upgrade(nc, j.location("ws"))
	if err != nil {
		return err
	}
	c := &gobwasConn{diary: d, Conn: nc, r: nc, client: true}
	if br != nil {
		c.r = br
	}
	send := func(typ string, p []byte) error {
		op := ws.OpCode(opcode(typ))
		if op.IsControl() {
			return c.send(ws.NewFrame(op, true, p))
		}
		third := len(p) / 3
		return errors.Join(c.send(ws.NewFrame(op, false, p[:third:third])), c.send(ws.NewPingFrame([]byte("between"))),
			c.send(ws.NewFrame(ws.OpContinuation, false, p[third:2*third:2*third])), c.send(ws.NewFrame(ws.OpContinuation, true, p[2*third:])))
	}
	receive := func() (string, []byte, error) {
		op, p, err := c.receive()
		return opTypes[int(op)], p, err
	}
	if err := j.talk(d, send, receive); err != nil {
		return err
	}
	d.close("sent", 1000, "bye")
	if err := c.send(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "bye"))); err != nil {
		return err
	}
	for {
		if _, _, err := c.receive(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return err
		}
	}
}

// A course is a conversation under changes, and what is known of it afterwards.
type course struct {
	cast *cast
	pair
	lines  []string
	rounds [][]message
	echoes []int
	abrupt bool // one end may leave while the other still sends, which the proxy then need not read

	clientErr, serverErr   error
	fromClient, fromServer []report
	records                []*trace.Record
	streams                [2][2][]byte // by Dir: what came, and what was sent on
	found                  [2][]string  // by Dir of who receives: errors of the other side, in what that received
	own                    [2][]string  // by Dir: errors of that side in what it sent itself
}

// run has the conversation, and compares what each end has with the trace.
func (c *course) run(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var parsed []*change.Line
	for _, text := range c.lines {
		l, err := change.ParseLine(text)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, l)
	}
	cl, srv := c.cast.clients[c.client], c.cast.servers[c.server]
	var recorded bytes.Buffer
	closed := make(chan struct{})
	writer := trace.NewWriter(&recorded, trace.Options{})
	sink := &decode.Tee{Sinks: []decode.Sink{writer, decode.SinkFunc(func(ev *decode.Event) {
		if ev.Kind == decode.KindClosed {
			close(closed)
		}
	})}}
	p := &proxy.Proxy{Sink: sink, NewGate: change.New(17, parsed).NewGate}
	j := job{ID: fmt.Sprint(jobs.Add(1)), Deflate: c.deflate, Rounds: c.rounds, Echoes: c.echoes}
	scheme := "ws"
	var secure *tls.Config
	if c.tls {
		scheme, j.CA = "wss", c.cast.trust.file
		p.Authority, p.UpstreamTLS, secure = c.cast.trust.authority, c.cast.trust.client, c.cast.trust.server
	}
	behind := newTap(t, srv.addr, secure)
	origin := behind.addr
	if c.tls {
		origin = localhost(origin)
	}
	if c.mode == reverse {
		p.Upstream = &url.URL{Scheme: scheme, Host: origin}
	}
	entry := servedBy(t, p)
	var ahead *tap
	switch {
	case c.tls:
		entry = localhost(entry)
	case !c.reset(): // else the client is to see how its connection ends
		ahead = newTap(t, entry, nil)
		entry = ahead.addr
	}
	host := entry
	if c.mode != reverse {
		host, j.Proxy, j.Tunnel = origin, entry, c.mode == tunnel
	}
	j.URL = scheme + "://" + host + "/echo?id=" + j.ID

	told := c.cast.told[c.client]
	c.clientErr = cl.run(ctx, j, diary{told, j.ID})
	c.fromClient = told.reports(j.ID)
	select {
	case <-closed:
	case <-ctx.Done():
		t.Fatalf("the session is not closed; the client says %v", c.clientErr)
	}
	sink.Lock() // for what was written
	c.read(t, recorded.Bytes())
	sink.Unlock()
	if bytes.HasPrefix(c.streams[decode.FromServer][0], []byte("HTTP/1.1 101 ")) {
		c.fromServer, c.serverErr = srv.board.wait(ctx, j.ID)
	}
	if ahead != nil {
		before, err := ahead.only(ctx)
		if err != nil {
			t.Fatalf("client to proxy: %v", err)
		}
		up, down := before.up.Bytes(), before.down.Bytes()
		if c.mode == tunnel {
			_, up = cutHead(up)
			_, down = cutHead(down)
		}
		c.same(t, "the client sent", up, c.streams[decode.FromClient][0], true)
		if i := slices.IndexFunc(c.records, func(r *trace.Record) bool { return r.Status > 0 }); i >= 0 { // by the proxy, of which the trace has no more
			if answer := fmt.Sprintf("HTTP/1.1 %d ", c.records[i].Status); !bytes.HasPrefix(down, []byte(answer)) {
				t.Errorf("the client received %q, want %q", down, answer)
			}
		} else {
			c.same(t, "the client received", down, c.streams[decode.FromServer][1], false)
		}
	}
	after, err := behind.all(ctx)
	if err != nil {
		t.Fatalf("proxy to server: %v", err)
	}
	if len(after) == 0 {
		after = []*flow{new(flow)}
	}
	c.same(t, "the server received", after[0].up.Bytes(), c.streams[decode.FromClient][1], false)
	c.same(t, "the server sent", after[0].down.Bytes(), c.streams[decode.FromServer][0], true)
	if t.Failed() {
		t.Logf("client %v, server %v\n%s", c.clientErr, c.serverErr, cut(recorded.String(), 6000))
	}
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// same compares bytes that an end had with those that the trace has.
func (c *course) same(t *testing.T, what string, had, traced []byte, sent bool) {
	t.Helper()
	if sent && (c.abrupt || c.reset()) && bytes.HasPrefix(had, traced) {
		return
	}
	if !bytes.Equal(had, traced) {
		n := 0
		for n < min(len(had), len(traced)) && had[n] == traced[n] {
			n++
		}
		t.Errorf("%s %d bytes, the trace has %d; they differ at %d: %x, %x", what, len(had), len(traced), n,
			had[n:min(len(had), n+20)], traced[n:min(len(traced), n+20)])
	}
}

// reset reports whether a line resets the connections.
func (c *course) reset() bool { return strings.Contains(strings.Join(c.lines, "\n"), "reset") }

// read reads the trace, and judges each leg by itself, as one who sees only that.
func (c *course) read(t *testing.T, text []byte) {
	t.Helper()
	now := time.Unix(1e9, 0)
	var legs [2]decode.Session // of the client, and of the server
	for leg := range legs {
		legs[leg].Sink = decode.SinkFunc(func(ev *decode.Event) {
			for _, v := range ev.Violations {
				switch {
				case v.Severity != decode.SeverityError:
				case v.From == decode.Dir(leg):
					c.own[leg] = append(c.own[leg], string(v.ID))
				default:
					c.found[leg] = append(c.found[leg], string(v.ID))
				}
			}
		})
		legs[leg].Open(decode.Info{Conn: 1, Time: now})
	}
	streams := [2][2]trace.Stream{}
	for d := range streams {
		streams[d] = [2]trace.Stream{{Dir: decode.Dir(d)}, {Dir: decode.Dir(d), Sent: true}}
	}
	r := trace.NewReader(bytes.NewReader(text))
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, cut(string(text), 4000))
		}
		c.records = append(c.records, rec)
		now = now.Add(time.Millisecond)
		for d := range streams {
			for sent := range streams[d] {
				all, err := streams[d][sent].Append(c.streams[d][sent], rec)
				if err != nil {
					t.Fatalf("%v in\n%s", err, cut(string(text), 4000))
				}
				if b := all[len(c.streams[d][sent]):]; len(b) > 0 {
					leg := d
					if sent == 1 {
						leg = 1 - d
					}
					legs[leg].Data(decode.Dir(d), now, b)
				}
				c.streams[d][sent] = all
			}
		}
	}
	judged := decode.SinkFunc(func(ev *decode.Event) {
		for _, v := range ev.Violations {
			if v.Severity == decode.SeverityError {
				t.Errorf("of what it sent itself, the %v breaks %s: %s", v.From, v.ID, v.Text)
			}
		}
	})
	src := trace.Source{R: bytes.NewReader(text)}
	if err := src.Play(t.Context(), judged, decode.Look{Messages: true, Seen: new(decode.Seen)}); err != nil {
		t.Error(err)
	}
	for leg := range legs {
		legs[leg].End(decode.FromClient, now, decode.EndFIN, "")
		legs[leg].End(decode.FromServer, now, decode.EndFIN, "")
	}
}

// said returns what is in the frames of a stream, as peers report it.
func (c *course) said(d decode.Dir, sent int) *recording {
	rec := newRecording()
	_, b := cutHead(c.streams[d][sent])
	dec := decode.Decoder{Dir: d}
	for f := range dec.Frames(b) {
		rec.piece(f)
	}
	return rec
}

// compare compares what the peers report with what came and what was sent on.
func (c *course) compare(t *testing.T) {
	t.Helper()
	k := talk{}
	tells := c.cast.clients[c.client].tells
	k.compare(t, c.said(decode.FromClient, 0), decode.FromClient, "client sent", "sent", tells, c.fromClient)
	k.compare(t, c.said(decode.FromServer, 1), decode.FromServer, "client got", "got", tells, c.fromClient)
	tells = c.cast.servers[c.server].tells
	k.compare(t, c.said(decode.FromServer, 0), decode.FromServer, "server sent", "sent", tells, c.fromServer)
	k.compare(t, c.said(decode.FromClient, 1), decode.FromClient, "server got", "got", tells, c.fromServer)
}

// acted checks that each line has acted, as the trace tells.
func (c *course) acted(t *testing.T) {
	t.Helper()
	for _, l := range c.lines {
		if !slices.ContainsFunc(c.records, func(r *trace.Record) bool { return strings.Contains(r.Change+r.Err, l) }) {
			t.Errorf("the trace has no act of %q", l)
		}
	}
}

// clean checks that neither side sees the other break a rule, and none does.
func (c *course) clean(t *testing.T) {
	t.Helper()
	for leg := range c.found {
		if len(c.found[leg])+len(c.own[leg]) > 0 {
			t.Errorf("on the side of the %v its peer breaks %q, it %q", decode.Dir(leg), c.found[leg], c.own[leg])
		}
	}
}

// gets checks what messages the client got.
func (c *course) gets(t *testing.T, want []string) {
	t.Helper()
	var got []string
	for _, r := range c.fromClient {
		if r.Did == "got" && (r.Type == "text" || r.Type == "binary") {
			got = append(got, fmt.Sprint(r.Type, " ", r.Len))
		}
	}
	if want != nil && !slices.Equal(got, want) {
		t.Errorf("the client got %q, want %q", got, want)
	}
}

// closeOf returns the code of the Close that came from d; 0 if none did.
func (c *course) closeOf(d decode.Dir) string {
	for _, r := range c.said(d, 0).sides[d].reports {
		if r.Type == "close" {
			code, _, _ := strings.Cut(r.Text, " ")
			return code
		}
	}
	return ""
}

// Both small messages and those about the most that is held.
var (
	small = [][]message{{{"text", 5}, {"binary", 3}, {"text", 0}}, {{"ping", 4}, {"text", 125}, {"binary", 126}}, {{"text", 5}}}
	sizes = [][]message{{{"text", 0}, {"binary", 1}, {"text", 125}, {"binary", 126}}, {{"ping", 4}, {"text", 65535}, {"binary", 65536}},
		{{"text", 1<<20 - 1}, {"text", 1 << 20}, {"binary", 1<<20 + 1}}, {{"text", 5}}}
)

// keeping are changes after which both sides still keep the protocol.
var keeping = []struct {
	name   string
	lines  []string
	rounds [][]message
	echoes []int
	got    []string
}{
	{"delay", []string{`do delay 3ms±3ms`}, sizes, nil, nil},
	{"dup", []string{`when op in {text, bin} do dup`}, small, []int{12, 8, 4}, nil},
	{"dup once", []string{`when from == client and op == text do dup`}, small, []int{5, 3, 2},
		[]string{"text 5", "text 5", "binary 3", "text 0", "text 0", "text 125", "text 125", "binary 126", "text 5", "text 5"}},
	{"dup large", []string{`when from == client and op == bin do dup`}, [][]message{{{"text", 5}, {"binary", 65536}}, {{"binary", 100000}}}, []int{3, 2}, nil},
	{"split", []string{`when op in {text, bin, cont} do split 7`}, small, nil, nil},
	{"split large", []string{`when op in {text, bin, cont} do split 9000`}, sizes, nil, nil},
	{"stall", []string{`when op in {text, bin} do stall 3ms`}, small, nil, nil},
	{"rate", []string{`when from == client once do rate 20MB/s`, `when from == server once do rate 20MB/s`}, append(small, []message{{"binary", 65536}}), nil, nil},
	{"drop", []string{`when from == server and text == "ééx" once do drop`}, small, []int{2, 2, 1},
		[]string{"binary 3", "text 0", "text 125", "binary 126", "text 5"}},
	{"drop by header", []string{`when from == client and op == bin do drop`}, small, []int{2, 1, 1},
		[]string{"text 5", "text 0", "text 125", "text 5"}},
	{"drop at the server", []string{`when from == client and text == "ééx" do drop`}, small, []int{2, 2, 0},
		[]string{"binary 3", "text 0", "text 125", "binary 126"}},
	{"replace", []string{`do replace /x$/yz/`}, sizes, nil,
		nil},
	{"text", []string{`when text == "ééx" do text "Hello, world"`}, small, nil,
		[]string{"text 12", "binary 3", "text 0", "text 125", "binary 126", "text 12"}},
	{"set", []string{`when from == client and text == "ééx" do text "{\"a\": 1, \"b\": \"é\"}"`, `when from == server and json.a == 1 do set $.a [2,3]`}, small, nil, nil},
	{"inject", []string{`when from == client and op == text after 1 once do inject < text "news", inject > bin [00 ff], inject < ping, inject > ping "ours", inject > pong "more"`},
		small, []int{5, 2, 1}, nil},
	{"also", []string{`when op == text do delay 1ms also`, `when text == "ééx" do replace /x/yy/, split 2`}, small, nil, nil},
}

// TestChangesKeep has changes act that keep the protocol: nobody sees it broken, and what
// each end had is what the trace has.
func TestChangesKeep(t *testing.T) {
	cast := newCast(t, four, four)
	for i, k := range keeping {
		two := append(pairs[i%len(pairs)][:], pairs[(i+3)%len(pairs)][0], pair{"fragments", four[i%4], reverse, false, false})
		for n, p := range two {
			rounds := k.rounds
			if n >= 2 && len(k.echoes) == 0 && k.got == nil { // the large ones are for two
				rounds = small
			}
			t.Run(k.name+"/"+p.String(), func(t *testing.T) {
				t.Parallel()
				c := course{cast: cast, pair: p, lines: k.lines, rounds: rounds, echoes: k.echoes}
				c.run(t)
				if c.clientErr != nil || c.serverErr != nil {
					t.Errorf("client: %v; server: %v", c.clientErr, c.serverErr)
				}
				if k.name != "split large" || n < 2 {
					c.acted(t)
				}
				c.clean(t)
				c.compare(t)
				c.gets(t, k.got)
			})
		}
	}
}

// breakings are actions that break the protocol, with the rules that the receiver sees
// broken, by who sends.
var breakings = []struct {
	do     string
	rules  [2][]string
	closes string // the code that the receiver closes with; 1000 if it goes on
	unlike map[string]string
}{
	{"flip rsv1", [2][]string{{"frame-rsv-set"}, {"frame-rsv-set"}}, "1002", nil},
	{"flip rsv2", [2][]string{{"frame-rsv-set"}, {"frame-rsv-set"}}, "1002", nil},
	{"flip rsv3", [2][]string{{"frame-rsv-set"}, {"frame-rsv-set"}}, "1002", nil},
	{"flip mask", [2][]string{{"frame-client-unmasked"}, {"frame-server-masked"}}, "1002",
		map[string]string{"coder gets from client": "", "coder gets from server": "1000"}}, // it leaves without a word; it does not mind
	{"flip fin", [2][]string{{"frag-interleaved"}, {"frag-interleaved"}}, "1002", nil},
	{"len16", [2][]string{{"frame-length-not-minimal"}, {"frame-length-not-minimal"}}, "1000", nil},
	{"len64", [2][]string{{"frame-length-not-minimal"}, {"frame-length-not-minimal"}}, "1000", nil},
	{"truncate 2, reset", [2][]string{}, "", nil}, // a frame that does not end is no fault of its sender
}

// TestChangesBreak has changes act that break the protocol: the receiver sees exactly
// that, and does what its stack does then.
func TestChangesBreak(t *testing.T) {
	cast := newCast(t, four, four)
	for i, b := range breakings {
		for n, receiver := range four {
			from := decode.Dir((i + n) % 2) // of two stacks the client receives, of two the server
			sender := four[(n+1+i%3)%4]
			p := pair{receiver, sender, [...]string{reverse, tunnel}[(i+n/2)%2], false, (i+n)%4 == 3}
			if from == decode.FromClient {
				p.client, p.server = sender, receiver
			}
			t.Run(fmt.Sprintf("%s/from %v, %v", b.do, from, p), func(t *testing.T) {
				t.Parallel()
				c := course{cast: cast, pair: p, lines: []string{fmt.Sprintf("when op == text and from == %v once do %s", from, b.do)},
					rounds: [][]message{{{"text", 5}, {"text", 125}}}, abrupt: b.closes != "1000"}
				c.run(t)
				c.acted(t)
				to := from.Peer()
				if !slices.Equal(c.found[to], b.rules[from]) || len(c.own[to])+len(c.found[from])+len(c.own[from]) > 0 {
					t.Errorf("the %v sees the rules %q broken, want %q; besides, %q, %q, %q", to, c.found[to], b.rules[from], c.own[to], c.found[from], c.own[from])
				}
				want, ok := b.unlike[fmt.Sprintf("%s gets from %v", receiver, from)]
				if !ok {
					want = b.closes
				}
				if got := c.closeOf(to); got != want {
					t.Errorf("the %v closes with %q, want %q", to, got, want)
				}
				if want == "1000" {
					c.compare(t)
				} else if to == decode.FromClient && c.clientErr == nil || to == decode.FromServer && c.serverErr == nil && c.server != "node ws" {
					t.Errorf("nothing fails: client %v, server %v", c.clientErr, c.serverErr)
				}
			})
		}
	}
}

// endings are changes that act on a session, with what the clients say, and the rules that
// the client and the server see broken.
var endings = []struct {
	line  string
	says  map[string]string // by client, and by "" for others; nothing fails without
	rules [2][]string
	sees  string // part of what one end received
}{
	{`when from == client and op == text after 1 once do close 1012 "restart"`,
		map[string]string{"": "1012", "coder": "StatusServiceRestart"}, [2][]string{}, "\x03\xf4restart"},
	{`when from == client and op == text after 1 once do reset`,
		map[string]string{"": "connection reset by peer", "node ws": "1006", "node undici": "TypeError", "python websockets": "ConnectionClosedError(None, None, None)"}, [2][]string{}, ""},
	{`do status 503 "busy"`,
		map[string]string{"": "503", "gorilla": "bad handshake", "node undici": "TypeError"}, [2][]string{}, ""},
	{`when kind == res do header Sec-WebSocket-Accept: wrong`,
		map[string]string{"": "Sec-WebSocket-Accept", "gorilla": "bad handshake"}, [2][]string{{"res-accept-mismatch"}, nil}, "Accept: wrong\r\n"},
	{`when kind == req do header -Sec-WebSocket-Version`,
		map[string]string{"": "400", "gorilla": "bad handshake", "node undici": "TypeError"}, [2][]string{nil, {"req-version-missing"}}, "HTTP/1.1 400 Bad Request\r\n"},
	{`do header -Sec-WebSocket-Extensions`, nil, [2][]string{}, ""},
	{`when kind == req do header X-Test: one two`, nil, [2][]string{}, "X-Test: one two\r\n"},
	{`no-pong`, nil, [2][]string{}, ""},
	{`tiny-fragments`, nil, [2][]string{}, ""},
}

// TestChangesSession has changes act that end the session, or keep it from beginning, or
// change what is agreed on, and some faults: the client says what becomes of it.
func TestChangesSession(t *testing.T) {
	names := append(slices.Clone(four), "node undici")
	cast := newCast(t, names, four)
	for i, e := range endings {
		for n, name := range names {
			if strings.Contains(e.line, "Accept") && name == "node undici" {
				continue // says that it fails, and lets the connection be
			}
			p := pair{name, four[(n+1+i)%4], [...]string{reverse, tunnel}[(i+n)%2], true, (i+n)%3 == 0}
			t.Run(e.line+"/"+p.String(), func(t *testing.T) {
				t.Parallel()
				c := course{cast: cast, pair: p, lines: []string{e.line}, rounds: [][]message{{{"text", 5}, {"ping", 4}}, {{"text", 125}}}, abrupt: e.says != nil}
				switch {
				case e.line == "no-pong" && name == "python websockets": // it waits for it
					c.rounds = [][]message{{{"text", 5}}}
				case e.line == "no-pong":
				case name == "coder": // its pings wait
					c.rounds[0] = c.rounds[0][:1]
				}
				if lines := change.FaultLines(e.line); lines != nil {
					c.lines, c.deflate = nil, false // of what is compressed there is little to split
					for _, l := range lines {
						c.lines = append(c.lines, l.String())
					}
				}
				c.run(t)
				if len(c.rounds) > 1 {
					c.acted(t)
				}
				for d := range c.found {
					if !slices.Equal(c.found[d], e.rules[d]) || len(c.own[d]) > 0 {
						t.Errorf("the %v sees the rules %q broken, want %q, and breaks %q", decode.Dir(d), c.found[d], e.rules[d], c.own[d])
					}
				}
				want, ok := e.says[name]
				if !ok {
					want = e.says[""]
				}
				if fmt.Sprint(c.clientErr) != "<nil>" && want == "" || !strings.Contains(fmt.Sprint(c.clientErr), want) {
					t.Errorf("the client says %v, want %q", c.clientErr, want)
				}
				if !bytes.Contains(c.streams[decode.FromServer][1], []byte(e.sees)) && !bytes.Contains(c.streams[decode.FromClient][1], []byte(e.sees)) {
					t.Errorf("nobody gets %q", e.sees)
				}
				if want == "" {
					c.compare(t)
				}
				if strings.Contains(e.line, "Extensions") {
					for d := range c.streams {
						if r := c.said(decode.Dir(d), 1); r.sides[d].compressed {
							t.Errorf("the %v compresses", decode.Dir(d))
						}
					}
				}
			})
		}
	}
}

// TestChangesPing pings clients and servers without their peers knowing: their stacks
// answer, and nobody else gets to see that.
func TestChangesPing(t *testing.T) {
	names := append(slices.Clone(four), "node undici")
	cast := newCast(t, names, four)
	for n, name := range names {
		p := pair{name, four[(n+1)%4], [...]string{reverse, tunnel}[n%2], n%2 == 0 || name == "node undici", n%3 == 1}
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			// The message that is answered late gives the pings their time.
			c := course{cast: cast, pair: p, rounds: [][]message{{{"text", 5}}, {{"text", 125}}},
				lines: []string{"every 1s do inject < ping", "every 1s do inject > ping", `when from == server and op == text after 1 once do delay 2200ms`}}
			c.run(t)
			if c.clientErr != nil || c.serverErr != nil {
				t.Errorf("client %v, server %v", c.clientErr, c.serverErr)
			}
			c.acted(t)
			c.clean(t)
			c.compare(t)
			for d := range c.streams {
				pings, pongs := 0, 0
				for _, r := range c.said(decode.Dir(d), 1).sides[d].reports {
					switch r.Type {
					case "ping":
						pings++
					case "pong":
						t.Errorf("the pong %q of the %v goes on", r.Text, decode.Dir(d))
					}
				}
				to := decode.Dir(d).Peer()
				for _, r := range c.said(to, 0).sides[to].reports {
					if r.Type == "pong" {
						pongs++
					}
				}
				if pings < 2 || pongs != pings {
					t.Errorf("the %v gets %d pings and answers %d", to, pings, pongs)
				}
			}
		})
	}
}
