package replay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// An Option changes how a session is played and what counts as equal.
type Option func(*config)

// DefaultStall is how long a replay waits for the other side, unless told
// otherwise.
const DefaultStall = 5 * time.Second

type config struct {
	content
	session  int64
	all      bool
	speed    Speed
	stall    time.Duration
	exact    bool
	anyOrder bool
	headers  []string    // compared too
	set      []header    // replaced in what we send
	sink     decode.Sink // of the events of the sessions played
	tls      *tls.Config // of a client
	dial     dialFunc    // of a client
	times    int         // how often a server plays its session
	update   bool        // record instead of comparing
	server   string      // with update: where to relay to
	observe  func(time.Duration)
	errs     []error
}

type header struct{ name, value string }

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func newConfig(opts []Option) (config, error) {
	c := config{stall: DefaultStall, times: 1}
	for _, o := range opts {
		o(&c)
	}
	return c, errors.Join(c.errs...)
}

// Check returns what is wrong with options: a selector that is none.
func Check(opts ...Option) error {
	_, err := newConfig(opts)
	return err
}

func (c *config) fault(err error) {
	if err != nil {
		c.errs = append(c.errs, err)
	}
}

// Session chooses the session with number n, as output shows it (#3) and the
// trace has it (c). Without it the first WebSocket session is played.
func Session(n int64) Option { return func(c *config) { c.session = n } }

// All plays all WebSocket sessions of the trace, together: what is sent in one
// waits for what came before it in any. [Serve] gives each client the first
// session that nobody has and that its request fits, and [Dial] plays all
// clients. See [Play].
func All() Option { return func(c *config) { c.all = true } }

// A Speed says when the frames of our side are sent: x times as fast as they
// were recorded. Zero means as soon as the frames recorded before them have
// come.
type Speed float64

// Original sends each frame at the time at which it was recorded.
const Original Speed = 1

// Scale is x times as fast as recorded: Scale(2) takes half the time.
func Scale(x float64) Speed { return Speed(x) }

// Timing makes our frames follow the clock of the recording instead of waiting
// for those of the other side. Close frames and ends still wait their turn.
func Timing(s Speed) Option {
	return func(c *config) {
		if c.speed = s; s < 0 {
			c.fault(fmt.Errorf("a speed of %v", s))
		}
	}
}

// Stall sets how long the other side may stay silent while something is
// expected of it, instead of [DefaultStall].
func Stall(d time.Duration) Option {
	return func(c *config) {
		if c.stall = d; d <= 0 {
			c.fault(fmt.Errorf("a stall of %v", d))
		}
	}
}

// Exact compares frame by frame instead of message by message: opcode, FIN and
// RSV bits, whether it is masked, how the length is written, and the payload
// byte by byte, compressed if it is compressed. Pings and pongs count like all
// frames: none is answered but by the recording. Only masking keys may differ.
func Exact() Option { return func(c *config) { c.exact = true } }

// Ignore leaves out of the comparison what the selectors name:
//
//	$.user.id  $[1].*  $..token   values in the JSON of messages
//	?token                        a parameter of the query
//	Origin:                       the value of a header
//	/[0-9]+ ms/                   what a regular expression matches in messages
//
// A JSON document may stand anywhere in a text message, as in 42["a",1] or
// where a message holds several. Of the headers Sec-WebSocket-Protocol and
// Sec-WebSocket-Extensions are compared, and those that [Headers] adds.
func Ignore(selectors ...string) Option {
	return func(c *config) {
		list, err := pick.ParseAll(selectors)
		c.ignore = append(c.ignore, list...)
		c.fault(err)
	}
}

// Capture takes a value, such as an id, out of the messages of the other side,
// where it need not be the recorded one. In all that comes later in the same
// session, sent and expected, the value takes the place of the recorded one in
// texts: strings where they stand as a word, also in names of JSON, numbers
// where they are a value of JSON. The selector is a JSON path, or a regular
// expression whose first group is the value. Paths in into limit the places.
func Capture(from string, into ...string) Option {
	return func(c *config) {
		sel, err := pick.Parse(from)
		if err == nil && !sel.InMessages() {
			err = fmt.Errorf("%q names no part of a message", from)
		}
		c.fault(err)
		list, err := pick.ParseAll(into)
		c.fault(err)
		c.captures = append(c.captures, capture{sel, list})
	}
}

// AnyOrder lets the messages that the other side sends between two of ours come
// in any order. In a trace, "group":"name" on consecutive frames of one side
// does that for them.
func AnyOrder() Option { return func(c *config) { c.anyOrder = true } }

// Headers adds to the headers of the handshake that are compared.
func Headers(names ...string) Option {
	return func(c *config) { c.headers = append(c.headers, names...) }
}

// Header gives a header of our handshake another value than the recorded one:
// a token that is valid today.
func Header(name, value string) Option {
	return func(c *config) { c.set = append(c.set, header{textproto.TrimString(name), value}) }
}

// Events hands the events of the sessions that are played to sink, which may
// be a trace.Writer, so that a replay can be recorded.
func Events(sink decode.Sink) Option {
	sink = decode.Shared(sink) // several sessions may go on at once
	return func(c *config) { c.sink = sink }
}

// TLS sets what a client uses for wss:// addresses.
func TLS(t *tls.Config) Option { return func(c *config) { c.tls = t } }

// Dialer sets how a client connects, for servers that are not on the network.
func Dialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(c *config) { c.dial = dial }
}

// Times sets how many connections a [Server] takes, each to play the session
// once. Without it the number is one.
func Times(n int) Option { return func(c *config) { c.times = n } }

// Update, if on is set, records instead of comparing, and writes the trace anew
// from what came; a test passes it the value of a flag. [Dial] then plays the
// client and takes whatever the server answers. [Serve] relays the client under
// test to the server at the given URL, or, if that is empty, plays the server
// and takes whatever the client sends.
func Update(on bool, server string) Option {
	return func(c *config) { c.update, c.server = on, server }
}

// Latency tells f, for each answer of the other side, how long it took: from
// the end of our writing until the message that we waited for had come. It may
// be called from several goroutines.
func Latency(f func(time.Duration)) Option { return func(c *config) { c.observe = f } }
