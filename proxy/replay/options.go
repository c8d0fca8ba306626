package replay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"sync/atomic"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/proxy/internal/clock"
)

// A CompareOption says what counts as equal: [Ignore], [Capture], [CaptureAuto],
// [AnyOrder], [Optional], [Stream], [Exact], [Headers], [AsSent]. It is said when a trace is loaded, by whatever loads one.
type CompareOption interface {
	LoadOption
	setEquality(*equality)
}

// A LoadOption is a [CompareOption] or says which session of a trace is loaded:
// [Session]. It is for what loads one session.
type LoadOption interface {
	ServeOption
	DialOption
	setLoading(*loading)
}

// A PlayOption says how a session is played, by either side: [Timing], [Clock], [Stall],
// [Header], [Events], [Latency], [Notes], [Captured], [Chunks], [BodyHint],
// [ServerTLS], [Update].
type PlayOption interface {
	ServeOption
	ConnectOption
	setPlaying(*playing)
}

// A ConnectOption is a [PlayOption] or says how a client connects: [TLS],
// [Dialer].
type ConnectOption interface {
	DialOption
	setConnecting(*connecting)
}

// A ServeOption is for the test helper [Serve]: a [LoadOption], a [PlayOption],
// [All], [Times] or [UpdateFrom].
type ServeOption interface{ setServing(*serving) }

// A DialOption is for the test helper [Dial]: a [LoadOption], a [ConnectOption]
// or [All].
type DialOption interface{ setDialing(*dialing) }

type (
	compareOption func(*equality)
	loadOption    func(*loading)
	playOption    func(*playing)
	connectOption func(*connecting)
	serveOption   func(*serving)
	allOption     struct{}
)

func (o compareOption) setEquality(e *equality) { o(e) }
func (o compareOption) setLoading(l *loading)   { o(&l.equality) }
func (o compareOption) setServing(s *serving)   { o(&s.equality) }
func (o compareOption) setDialing(d *dialing)   { o(&d.equality) }

func (o loadOption) setLoading(l *loading) { o(l) }
func (o loadOption) setServing(s *serving) { o(&s.loading) }
func (o loadOption) setDialing(d *dialing) { o(&d.loading) }

func (o playOption) setPlaying(p *playing)       { o(p) }
func (o playOption) setConnecting(c *connecting) { o(&c.playing) }
func (o playOption) setServing(s *serving)       { o(&s.playing) }
func (o playOption) setDialing(d *dialing)       { o(&d.playing) }

func (o connectOption) setConnecting(c *connecting) { o(c) }
func (o connectOption) setDialing(d *dialing)       { o(&d.connecting) }

func (o serveOption) setServing(s *serving) { o(s) }

func (allOption) setServing(s *serving) { s.all = true }
func (allOption) setDialing(d *dialing) { d.all = true }

// CompareOptions makes one option of several.
func CompareOptions(opts ...CompareOption) CompareOption {
	return compareOption(func(e *equality) {
		for _, o := range opts {
			o.setEquality(e)
		}
	})
}

// PlayOptions makes one option of several.
func PlayOptions(opts ...PlayOption) PlayOption {
	return playOption(func(p *playing) {
		for _, o := range opts {
			o.setPlaying(p)
		}
	})
}

// A loading is which session is loaded, and what counts as equal in it.
type loading struct {
	equality
	session int64
	selects func(*decode.Event) bool // nil selects all
	diffs   bool                     // it is not to be played
}

func newLoading(opts []LoadOption) (loading, error) {
	var l loading
	for _, o := range opts {
		o.setLoading(&l)
	}
	return l, l.equality.err()
}

// DefaultStall is how long a replay waits for the other side, unless told
// otherwise.
const DefaultStall = 5 * time.Second

// A playing is how a session is played.
type playing struct {
	speed    Speed // 0: as soon as it is our turn
	byClock  bool  // with a speed: whether or not it is our turn
	stall    time.Duration
	headers  []decode.Field // that get another value in what we send
	events   *numbered      // nil for nobody
	update   bool           // what comes is not compared
	latency  func(Answer)
	clock    clock.Clock    // of the sessions
	taken    func(string)   // is told selectors; may be nil
	note     func(string)   // is told what was left out; may be nil
	bodyHint string         // behind the word that a body was not recorded whole
	chunk    int            // bytes that are written at once; 0 is as many as there are
	secure   *tls.Config    // of a server; nil if it has no TLS
	roots    *x509.CertPool // that trust its certificate, if that was made for it

	wrong []error // options
}

func (p *playing) fault(err error) { p.wrong = append(p.wrong, err) }

func newPlaying(opts []PlayOption) (*playing, error) {
	p := &playing{stall: DefaultStall, clock: clock.New()}
	for _, o := range opts {
		o.setPlaying(p)
	}
	return p, errors.Join(p.wrong...)
}

// A connecting is how a client connects and plays.
type connecting struct {
	playing
	tls  *tls.Config
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

func newConnecting(opts []ConnectOption) (*connecting, error) {
	c := &connecting{playing: playing{stall: DefaultStall}}
	for _, o := range opts {
		o.setConnecting(c)
	}
	return c, errors.Join(c.wrong...)
}

// A serving is what [Serve] is told.
type serving struct {
	loading
	playing
	all   bool
	times int    // how often the session is played
	relay string // the URL of the server that the client is relayed to; "" for none
}

func newServing(opts []ServeOption) (*serving, error) {
	s := &serving{playing: playing{stall: DefaultStall}, times: 1}
	for _, o := range opts {
		o.setServing(s)
	}
	return s, errors.Join(s.equality.err(), errors.Join(s.playing.wrong...), oneOrAll(s.session, s.all))
}

// A dialing is what [Dial] is told.
type dialing struct {
	loading
	connecting
	all bool
}

func newDialing(opts []DialOption) (*dialing, error) {
	d := &dialing{connecting: connecting{playing: playing{stall: DefaultStall}}}
	for _, o := range opts {
		o.setDialing(d)
	}
	return d, errors.Join(d.equality.err(), errors.Join(d.playing.wrong...), oneOrAll(d.session, d.all))
}

func oneOrAll(session int64, all bool) error {
	if session != 0 && all {
		return fmt.Errorf("both session %d and all", session)
	}
	return nil
}

// Check returns what is wrong with options: a selector that is none.
func Check(opts ...LoadOption) error {
	_, err := newLoading(opts)
	return err
}

// Ignore leaves out of the comparison what the selectors name:
//
//	$.user.id  $[1].*  $..token   values in the JSON of messages
//	xml:/iq/@id  xml://item[2]    attributes and elements in messages and bodies that are XML
//	?token                        a parameter of the query
//	Origin:                       the value of a header
//	/[0-9]+ ms/                   what a regular expression matches in messages
//	@2:4                          four bytes of a message, from offset 2 on
//	@-4:4                         its last four bytes
//	@mqtt.id                      the packet ids of MQTT
//
// A JSON document may stand anywhere in a text message, as in 42["a",1] or
// where a message holds several. Of the headers Sec-WebSocket-Protocol and
// Sec-WebSocket-Extensions are compared, and those that [Headers] adds.
func Ignore(selectors ...string) CompareOption {
	list, err := pick.ParseAll(selectors)
	return compareOption(func(e *equality) {
		e.ignore = append(e.ignore, list...)
		e.fault(err)
	})
}

// Capture takes a value, such as an id, out of what the other side sends, where it
// need not be the recorded one: out of a message by a path of JSON or XML, a regular
// expression whose first group is the value, or the place of its bytes; out of a handshake
// by the name of a parameter or a header, of Set-Cookie each cookie.
//
// In all that comes later, sent and expected, in messages, queries, paths and headers,
// the value takes the place of the recorded one: strings where they stand as a word,
// escaped and in base64 too, numbers where they are a value of JSON or a whole parameter.
// A value of four characters and more does so in all sessions that are played together.
// In a binary message, and in a text before which its length stands, a value must be as
// long as the recorded one; else the replay fails, and says so. Bytes of fewer than eight
// are put where the same selector finds them. Paths and bytes in into limit the places.
func Capture(from string, into ...string) CompareOption {
	c, err := newCapture(from, into)
	return compareOption(func(e *equality) {
		e.captures = append(e.captures, c)
		e.fault(err)
	})
}

// CaptureAuto captures by itself what looks made up anew in each run: UUIDs, hexadecimal
// of eight digits and more, numbers of eight, and other characters without a pattern. A
// value is taken if it differs from the recorded one at the same place, the other side
// says it there first, and it comes back later in the recording; where Socket.IO, SignalR
// and SockJS make up an id, it need not. So are numbers in JSON
// that count up and come back in what we send, unless the protocol is a known one, which
// has its own ids. [Captured] tells what could be given to [Capture] instead. Any other
// difference stays one. With [Exact], and in [Diff], it does nothing.
func CaptureAuto() CompareOption { return compareOption(func(e *equality) { e.auto = true }) }

// Captured tells f each selector by which [CaptureAuto] takes a value, once for sessions
// that are played together: a path, an expression, ?parameter or Header:, or for a number
// that counts up paths with " into " between them. It may be called from several
// goroutines.
func Captured(f func(selector string)) PlayOption {
	return playOption(func(p *playing) { p.taken = f })
}

// Optional lets messages of either side in which a selector, as of [Ignore], finds
// something come or not: one of the other side is not waited for, and more of them than
// recorded are answered as the recorded ones were; one of ours that answers one of theirs
// is sent when that comes, and another if we wait for as long as it took to come. The
// heartbeats of Socket.IO, SignalR, Phoenix, GraphQL, STOMP, MQTT, NATS, SockJS, Action
// Cable, tRPC, Primus, Bayeux, yamux, smux and Discord are optional by themselves. With
// [Exact] nothing is.
func Optional(selectors ...string) CompareOption {
	list, err := pick.ParseAll(selectors)
	for _, sel := range list {
		if err == nil && !sel.InMessages() {
			err = fmt.Errorf("%q names no part of a message", sel)
		}
	}
	return compareOption(func(e *equality) {
		e.optional = append(e.optional, list...)
		e.fault(err)
	})
}

// OptionalFunc is [Optional] for messages by their events, of the last piece. A function
// that selects returns is given all events of one session.
func OptionalFunc(selects func() func(*decode.Event) bool) CompareOption {
	return compareOption(func(e *equality) { e.optionals = append(e.optionals, selects) })
}

// AnyOrder lets the messages of the other side come in any order, as where two
// conversations cross. One of ours waits for the last of theirs that was recorded before
// it, and not for all of them. Messages with ids of a protocol that is known may come so
// without it. In a trace, "group":"name" on consecutive frames of one side
// does that for them.
func AnyOrder() CompareOption { return compareOption(func(e *equality) { e.anyOrder = true }) }

// Stream compares the messages of the other side as one stream of bytes, however it is
// cut into messages: for protocols that use WebSocket as a pipe. Nothing in it is
// ignored or captured. [Diff] still compares messages.
func Stream() CompareOption { return compareOption(func(e *equality) { e.stream = true }) }

// Exact compares frame by frame instead of message by message: opcode, FIN and
// RSV bits, whether it is masked, how the length is written, and the payload
// byte by byte, compressed if it is compressed. Pings and pongs count like all
// frames: none is answered but by the recording. Only masking keys may differ.
func Exact() CompareOption { return compareOption(func(e *equality) { e.exact = true }) }

// AsSent is for a trace with changes, in which a side was sent something else than what
// the other one sent. Of what the given sides sent, or both if none is given, it takes
// what their peers were sent; without it, it is what came from them. A test of a server
// that was sent what a change made of the client's messages:
//
//	replay.Dial(t, "changed.wst", url, replay.AsSent(decode.FromClient))
func AsSent(sides ...decode.Dir) CompareOption {
	if len(sides) == 0 {
		sides = []decode.Dir{decode.FromClient, decode.FromServer}
	}
	return compareOption(func(e *equality) {
		for _, d := range sides {
			e.sent[d] = true
		}
	})
}

// Headers adds to the headers of the handshake that are compared.
func Headers(names ...string) CompareOption {
	return compareOption(func(e *equality) { e.headerNames = append(e.headerNames, names...) })
}

// Session chooses the session with number n, as output shows it (#3) and the
// trace has it (c). Without it [Load] takes the first WebSocket session, and [Serve] and
// [Dial] play all.
func Session(n int64) LoadOption { return loadOption(func(l *loading) { l.session = n }) }

// Select loads a session for [Diff], which compares only what selects returns true for,
// or all if it is nil: of a message, for the event of its last piece. It is given every
// event of the session, in order, and for no other session. The session can't be played.
func Select(selects func(*decode.Event) bool) LoadOption {
	return loadOption(func(l *loading) { l.selects, l.diffs = selects, true })
}

// All plays all sessions of the trace, together, as [Serve] and [Dial] do unless
// [Session] chooses one: what is sent in one waits for what came before it in any. See
// [Play].
func All() interface {
	ServeOption
	DialOption
} {
	return allOption{}
}

// A Speed says how fast the frames of our side follow each other, and those of the
// other side: x times as fast as recorded. Zero means as soon as those recorded before
// them have come.
type Speed float64

// Original is as fast as recorded.
const Original Speed = 1

// Scale is x times as fast as recorded: Scale(2) takes half the time.
func Scale(x float64) Speed { return Speed(x) }

// Timing keeps the pauses of the recording: what we send waits for its turn and then
// for as long after what stands before it as it came in the recording.
func Timing(s Speed) PlayOption { return timing(s, false) }

// Clock makes our frames follow the clock of the recording instead of waiting for
// those of the other side. Close frames and ends still wait their turn.
func Clock(s Speed) PlayOption { return timing(s, true) }

func timing(s Speed, byClock bool) PlayOption {
	return playOption(func(p *playing) {
		if p.speed, p.byClock = s, byClock && s > 0; s < 0 {
			p.fault(fmt.Errorf("a speed of %v", s))
		}
	})
}

// scaled returns how long a recorded time takes.
func (p *playing) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(max(d, 0)) / float64(p.speed))
}

// Stall sets how long the other side may stay silent while something is
// expected of it, instead of [DefaultStall]: the connection, its TLS handshake, and
// all that was recorded.
func Stall(d time.Duration) PlayOption {
	return playOption(func(p *playing) {
		if p.stall = d; d <= 0 {
			p.fault(fmt.Errorf("a stall of %v", d))
		}
	})
}

// Header gives a header of our handshake another value than the recorded one:
// a token that is valid today.
func Header(name, value string) PlayOption {
	f := decode.Field{Name: textproto.TrimString(name), Value: value}
	return playOption(func(p *playing) { p.headers = append(p.headers, f) })
}

// Events hands the events of the sessions that are played to sink, which may
// be a trace.Writer, so that a replay can be recorded. One Events numbers the
// sessions of all plays that it is given to.
func Events(sink decode.Sink) PlayOption {
	n := &numbered{Sink: decode.Shared(sink)} // several sessions may go on at once
	return playOption(func(p *playing) { p.events = n })
}

// A numbered sink takes the events of sessions that are numbered from 1.
type numbered struct {
	decode.Sink
	sessions atomic.Int64 // also those that are not over
	casts    atomic.Int64
}

// numberOf returns the number of a session in events.
func (p *playing) numberOf(c *cast, s *Script) int64 {
	if c == nil {
		return p.events.next()
	}
	return c.base + s.number
}

// base returns what is added to the recorded numbers of sessions up to most that are played
// together: they have those, unless they are played once more.
func (n *numbered) base(most int64) int64 {
	if n == nil {
		return 0
	}
	return (n.casts.Add(1) - 1) * most
}

// next returns the number of the next session.
func (n *numbered) next() int64 {
	if n == nil {
		return 1
	}
	return n.sessions.Add(1)
}

// sink returns the sink, or nil.
func (n *numbered) sink() decode.Sink {
	if n == nil {
		return nil
	}
	return n.Sink
}

// An Answer is a message of the other side that we have waited for.
type Answer struct {
	Session int64  // its number
	Message int    // which of the messages of the other side, from 0
	Name    string // of the request that it answers, as GET /; "" for a message
	Line    int    // of the trace; 0 if it has none
	Took    time.Duration
}

// Latency tells f, for each answer of the other side, how long it took: from
// the end of our writing until the message that we waited for had come. It may
// be called from several goroutines.
func Latency(f func(Answer)) PlayOption {
	return playOption(func(p *playing) { p.latency = f })
}

// Update, if on is set, takes whatever the other side sends instead of comparing
// it. [Serve] and [Dial] then write the trace anew from what came, with the
// secrets of the old one taken out, unless that is less than a session needs (see
// [CheckUpdate]); a test passes the value of a flag.
func Update(on bool) PlayOption { return playOption(func(p *playing) { p.update = on }) }

// UpdateFrom is [Update] from another server: [Serve] does not play the recorded
// one then, but relays the client under test to the server at a URL.
func UpdateFrom(on bool, server string) ServeOption {
	return serveOption(func(s *serving) {
		if s.update = on; on {
			s.relay = server
		}
	})
}

// Times sets how many connections a [Server] takes, each to play the one session
// once. Without it the number is one.
func Times(n int) ServeOption { return serveOption(func(s *serving) { s.times = n }) }

// Notes tells f, in a sentence, what a replay that succeeds has left out: a ping that was
// waited for in vain before our end. It may be called from several goroutines.
func Notes(f func(string)) PlayOption { return playOption(func(p *playing) { p.note = f }) }

// BodyHint says what helps where a body was not recorded whole: it stands behind that
// word, also in the answer that a client gets.
func BodyHint(text string) PlayOption {
	return playOption(func(p *playing) { p.bodyHint = "; " + text })
}

// tell tells a note.
func (p *playing) tell(format string, args ...any) {
	if p.note != nil {
		p.note(fmt.Sprintf(format, args...))
	}
}

// Chunks has all that we send written in pieces of n bytes, each by itself.
func Chunks(n int) PlayOption {
	return playOption(func(p *playing) {
		if p.chunk = n; n < 1 {
			p.fault(fmt.Errorf("chunks of %d bytes", n))
		}
	})
}

// ServerTLS has a server speak TLS with a client that begins with it. Others are served
// without. If conf is nil, a certificate for 127.0.0.1, ::1 and localhost is made,
// which [Server.Roots] trusts.
func ServerTLS(conf *tls.Config) PlayOption {
	return playOption(func(p *playing) {
		if p.secure = conf; conf != nil {
			return
		}
		var err error
		if p.secure, p.roots, err = ownCertificate(); err != nil {
			p.fault(err)
		}
	})
}

// TLS sets what a client uses for wss:// addresses.
func TLS(t *tls.Config) ConnectOption { return connectOption(func(c *connecting) { c.tls = t }) }

// Dialer sets how a client connects, for servers that are not on the network.
func Dialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) ConnectOption {
	return connectOption(func(c *connecting) { c.dial = dial })
}
