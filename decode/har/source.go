package har

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// Limits of what is held of one entry, in bytes.
const (
	maxData = 64 << 20       // of a message, and of a body
	maxHead = decode.MaxHead // of a URL, and of all headers
	maxWord = 4 << 10        // of any other text
)

// A Source plays a HAR: each entry is a session, one after the other in their order
// in the file, numbered from 1 unless the file is ours. It implements
// [decode.Source].
//
// Heads are given as far as the file has them. Where a body comes without its
// Content-Encoding, as browsers write it, that header is left out, and Content-Length
// is that of the text. Without the heads of a handshake a session begins with its
// first message. What a file does not say, such as the end of a connection, has no
// event. An entry of WebSocket has no frames ([decode.Info.NoFrames]).
//
// A file that is damaged, or cut off, is played up to there.
type Source struct {
	R     io.Reader // the file, without compression
	After int64     // is added to the number of each session
	Spool Spool     // for what does not fit into memory; nil keeps it there

	// Bad, if not nil, is told of damage, which then is not the error of Play. What
	// follows it can't be read.
	Bad func(error)

	last     int64
	messages bool
}

// Last returns the highest number of a session that Play has met, or After.
func (s *Source) Last() int64 { return max(s.last, s.After) }

// Messages reports whether Play has met sessions of which messages are known and no
// frames.
func (s *Source) Messages() bool { return s.messages }

// ErrNoEntries is the error of Play, in a [decode.SourceError], for JSON that is no HAR.
var ErrNoEntries = errors.New(`there is no "log" with "entries"`)

// Play implements [decode.Source].
func (s *Source) Play(ctx context.Context, sink decode.Sink, look decode.Look) error {
	p := &player{source: s, ctx: ctx, sink: sink, look: look, lex: newLexer(s.R), store: store{spool: s.Spool}}
	p.lex.mark()
	err := p.lex.object(func(key string) error {
		if key != "log" {
			return p.lex.skip()
		}
		return p.lex.object(p.logKey)
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil && !p.found:
		err = &decode.SourceError{Err: ErrNoEntries}
	case errors.Is(err, decode.ErrCut):
		return err
	}
	if err != nil && s.Bad != nil {
		s.Bad(err)
		return nil
	}
	return err
}

// A player plays one file.
type player struct {
	source *Source
	ctx    context.Context
	sink   decode.Sink
	look   decode.Look
	lex    *lexer
	store  store
	ours   bool // the file was written by a Writer
	gori   bool // the file was written by gori
	found  bool // the entries
	n      int64
	before time.Time // when the entry before began
}

func (p *player) logKey(key string) error {
	switch key {
	case "_wstrace":
		p.ours = true
		return p.lex.skip()
	case "creator":
		return p.lex.object(func(key string) error {
			if key != "name" {
				return p.lex.skip()
			}
			name := ""
			err := p.lex.into(&name, maxWord)
			p.gori = name == "gori"
			return err
		})
	case "entries":
		p.found = true
		return p.lex.array(p.entry)
	}
	return p.lex.skip()
}

// entry reads and plays an entry.
func (p *player) entry() error {
	if err := context.Cause(p.ctx); err != nil {
		return err
	}
	e := &entry{player: p, at: p.lex.at, session: -1, ended: -1}
	defer func() {
		p.store.drop(&e.messages)
		p.store.drop(&e.events)
	}()
	err := p.lex.object(e.key)
	if p.store.err != nil {
		return p.store.err
	}
	e.number()
	e.open = e.open || err != nil // there may be more
	if e.known() {
		if bad := e.play(); err == nil {
			err = bad
		}
	}
	return err
}

// An entry is what was read of one.
type entry struct {
	*player
	at       int64 // where it begins
	started  time.Time
	undated  string // what stands in place of that time
	ended    int64  // nanoseconds after that; -1 if not known
	timings  timings
	request  head
	response head
	kind     string // _resourceType
	failure  string
	closed   closing

	messages stream
	sent     int64 // messages in it
	long     int64 // messages that were left out, as they are too long
	garbled  int64 // binary messages that are not base64

	// What only our files have.
	session int64
	info    decode.Info
	bare    bool // the heads are not known
	open    bool // it did not end
	bytes   [2]int64
	events  stream
}

// A closing is what HTTP Toolkit has of how a WebSocket connection was closed: by
// whom, it does not know.
type closing struct {
	known  bool
	code   int64
	reason string
}

// timings are in nanoseconds; -1 if they are not known.
type timings struct{ blocked, dns, connect, send, wait int64 }

// A head is one of the heads of an entry, with its body.
type head struct {
	decode.Head
	url  string
	size int // of the fields, in bytes
	raw  []byte
	body body
}

// A body is that of a head.
type body struct {
	there    bool   // data is set
	data     []byte // of it, or text in base64 before finish
	all      int64  // how long it is, or that text
	base64   bool
	isCoded  bool  // data is it as it came
	size     int64 // as the file says
	declared int64 // bodySize; -1 if not known
	len      int64 // as only our files say, if data is less
	unended  bool
	file     string // that has it
}

// known reports whether there is enough of an entry to be shown.
func (e *entry) known() bool { return e.request.Method != "" || e.request.url != "" || e.sent > 0 }

func (e *entry) key(key string) error {
	l := e.lex
	switch key {
	case "startedDateTime":
		return e.startedDateTime()
	case "time":
		return e.millis(&e.ended)
	case "timings":
		e.timings = timings{-1, -1, -1, -1, -1}
		return l.object(e.timing)
	case "request":
		return l.object(e.requestKey)
	case "response":
		return l.object(e.responseKey)
	case "_resourceType":
		return l.into(&e.kind, maxWord)
	case "_webSocketMessages":
		return l.array(e.message)
	case "_webSocketClose":
		return l.object(func(key string) error {
			switch e.closed.known = true; key {
			case "code":
				return l.integer(&e.closed.code)
			case "reason":
				return l.into(&e.closed.reason, maxWord)
			}
			return l.skip()
		})
	case "_wstrace":
		return l.object(e.ownKey)
	}
	return l.skip()
}

func (e *entry) startedDateTime() error {
	k, v, err := e.lex.scalar(maxWord)
	ok := false
	switch {
	case err != nil:
	case k == text:
		e.started, ok = parseTime(v)
	case k == number:
		e.started, ok = secondsOrMillis(v, false)
	}
	if !ok {
		e.undated = v
	}
	return err
}

// parseTime parses a time of ISO 8601.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1970 && t.Year() < 2262 {
			return t.Local(), true
		}
	}
	return time.Time{}, false
}

// secondsOrMillis parses a time since 1970, in seconds or, as it then is a larger
// number, in milliseconds. Zero is taken for unknown, unless it is exact.
func secondsOrMillis(s string, exact bool) (time.Time, bool) {
	const inMillis = 1e11 // as seconds this is the year 5138
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f == 0 && !exact {
		return time.Time{}, false
	}
	places := 9
	if f > inMillis {
		places = 6
	}
	n, ok := parseDecimal(s, places)
	return time.Unix(0, n), ok
}

// millis reads a number of milliseconds, and makes it nanoseconds. What is not known is
// -1.
func (e *entry) millis(n *int64) error {
	k, v, err := e.lex.scalar(64)
	if *n = -1; k == number {
		if d, ok := parseDecimal(v, 6); ok {
			*n = d
		}
	}
	return err
}

func (e *entry) timing(key string) error {
	t := &e.timings
	switch key {
	case "blocked":
		return e.millis(&t.blocked)
	case "dns":
		return e.millis(&t.dns)
	case "connect":
		return e.millis(&t.connect)
	case "send":
		return e.millis(&t.send)
	case "wait":
		return e.millis(&t.wait)
	}
	return e.lex.skip()
}

func (e *entry) requestKey(key string) error {
	switch key {
	case "method":
		return e.lex.into(&e.request.Method, maxWord)
	case "url":
		return e.lex.into(&e.request.url, maxHead)
	case "postData", "_content": // the latter from HTTP Toolkit, for a binary one
		return e.lex.object(func(key string) error { return e.bodyKey(&e.request.body, key) })
	}
	return e.headKey(&e.request, key)
}

func (e *entry) responseKey(key string) error {
	switch key {
	case "status":
		n := int64(0)
		err := e.lex.integer(&n)
		if n >= 100 && n <= 999 {
			e.response.Status = int(n)
		}
		return err
	case "statusText":
		return e.lex.into(&e.response.Reason, maxWord)
	case "content":
		return e.lex.object(func(key string) error { return e.bodyKey(&e.response.body, key) })
	case "_error", "_failureText":
		return e.lex.into(&e.failure, maxWord)
	}
	return e.headKey(&e.response, key)
}

// headKey reads what requests and responses have alike.
func (e *entry) headKey(h *head, key string) error {
	l := e.lex
	switch key {
	case "httpVersion":
		return l.into(&h.Proto, maxWord)
	case "headers":
		return l.array(func() error {
			var f decode.Field
			err := l.object(func(key string) error {
				switch key {
				case "name":
					return l.into(&f.Name, maxHead)
				case "value":
					return l.into(&f.Value, maxHead)
				}
				return l.skip()
			})
			if n := len(f.Name) + len(f.Value) + 4; f.Name != "" && h.size+n <= maxHead {
				h.Fields = append(h.Fields, f)
				h.size += n
			}
			return err
		})
	case "bodySize":
		h.body.declared = -1
		return l.integer(&h.body.declared)
	case "_wstrace":
		return l.object(func(key string) error {
			switch key {
			case "raw":
				return e.base64(&h.raw, maxHead)
			case "target":
				return l.into(&h.Target, maxHead)
			}
			return l.skip()
		})
	}
	return l.skip()
}

// base64 reads text in base64 that stands for at most max bytes.
func (e *entry) base64(b *[]byte, max int) error {
	k, v, err := e.lex.scalar(max/3*4 + 4)
	if k == text {
		*b, _ = decodeBase64([]byte(v))
	}
	return err
}

func (e *entry) bodyKey(b *body, key string) error {
	l := e.lex
	switch key {
	case "text":
		return e.bodyText(b)
	case "encoding":
		encoding := ""
		err := l.into(&encoding, maxWord)
		b.base64 = encoding == "base64"
		return err
	case "size":
		return l.integer(&b.size)
	case "_file":
		return l.into(&b.file, maxWord)
	case "_wstrace":
		return l.object(func(key string) error {
			switch key {
			case "b64":
				b.there = false
				err := e.bodyText(b)
				data, ok := decodeBase64(b.data)
				if b.all > int64(len(b.data)) {
					b.all = b.all / 4 * 3 // or up to 2 less
				} else {
					b.all = int64(len(data))
				}
				b.data, b.there, b.isCoded = data, ok, true
				return err
			case "encoding":
				return e.bodyKey(b, key)
			case "len":
				return l.integer(&b.len)
			case "unfinished":
				return l.flag(&b.unended)
			}
			return l.skip()
		})
	}
	return l.skip()
}

// bodyText reads the text of a body, unless its bytes are known.
func (e *entry) bodyText(b *body) error {
	c, err := e.lex.next()
	if err != nil || c != '"' || b.isCoded {
		return e.lex.skipUnless(err)
	}
	b.data, b.all, err = e.lex.text(nil, e.wanted())
	b.there = true
	return err
}

// wanted returns how much of a body is read, in bytes of text: what sessions look at.
func (e *entry) wanted() int {
	if e.look.Bodies < 0 || e.look.Bodies > maxData/4*3 {
		return maxData
	}
	return max(int(e.look.Bodies), decode.MaxPiece)/3*4 + 8
}

// ownKey reads what only our files have.
func (e *entry) ownKey(key string) error {
	l := e.lex
	switch key {
	case "session":
		return l.integer(&e.session)
	case "client":
		return l.into(&e.info.Client, maxWord)
	case "server":
		return l.into(&e.info.Server, maxWord)
	case "via":
		return l.into(&e.info.Via, maxWord)
	case "ext":
		return l.into(&e.info.Ext, maxWord)
	case "process":
		return l.into(&e.info.Process, maxWord)
	case "pid":
		n := int64(0)
		err := l.integer(&n)
		e.info.PID = int(min(max(n, 0), math.MaxInt32))
		return err
	case "tls":
		return l.object(func(key string) error {
			leg := new(decode.TLS)
			if key == decode.FromClient.String() {
				e.info.ClientTLS = leg
			} else {
				e.info.ServerTLS = leg
			}
			return l.object(func(key string) error {
				switch key {
				case "version":
					return l.into(&leg.Version, maxWord)
				case "cipher":
					return l.into(&leg.Cipher, maxWord)
				case "alpn":
					return l.into(&leg.ALPN, maxWord)
				case "sni":
					return l.into(&leg.SNI, maxWord)
				}
				return l.skip()
			})
		})
	case "handshake":
		known := true
		err := l.flag(&known)
		e.bare = !known
		return err
	case "cont":
		return l.flag(&e.info.Cont)
	case "open":
		return l.flag(&e.open)
	case "bytes":
		i := 0
		return l.array(func() error {
			n := int64(0)
			err := l.integer(&n)
			if i < 2 {
				e.bytes[i] = max(n, 0)
			}
			i++
			return err
		})
	case "events":
		return l.array(e.event)
	}
	return l.skip()
}

// tooLong returns what is said of messages that were left out.
func tooLong(n int64) string {
	if n == 1 {
		return fmt.Sprintf("a message longer than %d MiB is left out", maxData>>20)
	}
	return fmt.Sprintf("%d messages longer than %d MiB are left out", n, maxData>>20)
}
