package har

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/internal/merge"
)

// Limits of what is held of one entry, in bytes.
const (
	maxData = 64 << 20       // of a message, and of a body
	maxHead = decode.MaxHead // of a URL, and of all headers
	maxWord = 4 << 10        // of any other text
)

// A Source plays a HAR: each entry is a session, numbered from 1 in their order in the
// file unless that is ours, and played in the order of their times. It implements
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
	R     io.ReaderAt // the file, without compression
	Size  int64       // of the file, in bytes
	After int64       // is added to the number of each session
	Spool Spool       // for what does not fit into memory; nil keeps it there

	// Bad, if not nil, is told of damage, which then is not the error of Play. It goes on
	// with the next entry if that can be found, which takes entries at the start of a line.
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
	p := &player{source: s, ctx: ctx, sink: decode.Shared(sink), look: look, store: store{spool: s.Spool}}
	p.lex = newLexer(io.NewSectionReader(s.R, 0, s.Size))
	end := p.index()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.number()
	err := merge.Play(ctx, len(p.entries), func(i int) time.Time { return time.Unix(0, p.entries[i].start) },
		func(i int) merge.Session { return p.session(&p.entries[i]) }, func() error { return p.failed })
	return cmp.Or(err, end)
}

// A player plays one file.
type player struct {
	source  *Source
	ctx     context.Context
	sink    decode.Sink
	look    decode.Look
	lex     *lexer
	store   store
	ours    bool // the file was written by a Writer
	gori    bool // the file was written by gori
	found   bool // the entries
	entries []stored
	failed  error
}

// A stored is an entry in the file. There may be millions.
type stored struct {
	at     int64 // where it stands
	start  int64 // nanoseconds since 1970
	n      int64 // its number; 0 before it has one
	broken bool  // it is damaged or cut off, which was told
}

// index finds the entries. The error is why there are no more.
func (p *player) index() error {
	p.lex.mark()
	err := p.lex.object(func(key string) error {
		if key != "log" {
			return p.lex.skip()
		}
		return p.lex.object(p.logKey)
	})
	if err == nil && !p.found {
		err = &decode.SourceError{Err: ErrNoEntries}
	}
	for err != nil {
		if len(p.entries) > 0 {
			p.entries[len(p.entries)-1].broken = true
		}
		switch found := p.source.Bad != nil && p.ctx.Err() == nil && p.resume(); {
		case found:
			p.source.Bad(err)
			err = p.lex.elements(p.scan)
		case p.source.Bad == nil || errors.Is(err, decode.ErrCut):
			return err
		default:
			if at, ok := errors.AsType[*decode.SourceError](err); ok && p.found {
				err = &decode.SourceError{Offset: at.Offset, Err: fmt.Errorf("%w: the rest of the file is lost", at.Err)}
			}
			p.source.Bad(err)
			return nil
		}
	}
	return nil
}

// resume goes to the next entry behind damage, if it can be found: at the start of a line
// that begins as that of the entry before. No string goes over the end of a line, and
// with the same indentation it is as deep.
func (p *player) resume() bool {
	if len(p.entries) == 0 {
		return false
	}
	last := p.entries[len(p.entries)-1].at
	start := p.opening(last)
	if start == nil {
		return false
	}
	indent := int64(bytes.IndexByte(start, '{'))
	b := make([]byte, 64<<10)
	for at := max(last, p.lex.at-indent); at < p.source.Size; {
		n, _ := p.source.R.ReadAt(b[:min(int64(len(b)), p.source.Size-at)], at)
		if i := bytes.Index(b[:n], start); i >= 0 {
			p.lex.move(p.source, at+int64(i)+indent)
			return true
		}
		if n <= len(start) {
			return false
		}
		at += int64(n - len(start) + 1)
	}
	return false
}

// opening returns how the line of an entry begins, from the end of the line before to its
// first key, or, if that stands in another line, to the end of this one. It is nil if
// other things than entries may begin like that.
func (p *player) opening(at int64) []byte {
	const most = 256
	from := max(0, at-most)
	b := make([]byte, at-from+most)
	n, _ := p.source.R.ReadAt(b, from)
	b = b[:n]
	if int64(n) <= at-from || b[at-from] != '{' {
		return nil
	}
	before, rest := b[:at-from], b[at-from:]
	line := len(bytes.TrimRight(before, " \t")) - 1
	if line < 0 || before[line] != '\n' {
		return nil
	}
	inner := bytes.TrimLeft(rest[1:], " \t\r")
	if len(inner) > 0 && inner[0] == '\n' && line < len(before)-1 {
		return b[line : len(b)-len(inner)+1]
	}
	if len(inner) == 0 || inner[0] != '"' {
		return nil
	}
	key := bytes.IndexByte(inner[1:], '"')
	if key < 0 {
		return nil
	}
	return b[line : len(b)-len(inner)+key+2]
}

// number gives the entries their numbers: those in a file of ours have one, unless they
// are damaged.
func (p *player) number() {
	taken := map[int64]bool{}
	n, highest := int64(0), int64(0)
	for i := range p.entries {
		if e := &p.entries[i]; taken[e.n] {
			e.n = 0
		} else if e.n > 0 {
			taken[e.n] = true
			highest = max(highest, e.n)
		}
	}
	for i := range p.entries {
		e := &p.entries[i]
		if e.n == 0 {
			if e.n = n + 1; taken[e.n] {
				e.n = highest + 1
			}
			taken[e.n] = true
		}
		n, highest = e.n, max(highest, e.n)
	}
	p.source.last = p.source.After + highest
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
		return p.lex.array(p.scan)
	}
	return p.lex.skip()
}

// scan reads when an entry begins, and its number. What else is in it is read again.
func (p *player) scan() error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	l := p.lex
	if _, err := l.next(); err != nil {
		return err
	}
	e := &entry{player: p, session: -1}
	in := stored{at: l.at}
	first, messages := time.Time{}, 0
	err := l.object(func(key string) error {
		switch key {
		case "startedDateTime":
			return e.startedDateTime()
		case "_webSocketMessages":
			return l.array(func() error {
				messages++
				return l.object(func(key string) (err error) {
					if messages == 1 && (key == "time" || key == "timestamp") {
						first, _, err = e.time()
						return err
					}
					return l.skip()
				})
			})
		case "_wstrace":
			return l.object(func(key string) error {
				if key == "session" {
					return l.integer(&e.session)
				}
				return l.skip()
			})
		}
		return l.skip()
	})
	switch {
	case !e.started.IsZero():
		in.start = e.started.UnixNano()
	case !first.IsZero():
		in.start = first.UnixNano()
	case len(p.entries) > 0:
		in.start = p.entries[len(p.entries)-1].start
	}
	if p.ours && e.session > 0 && e.session < 1<<53 {
		in.n = e.session
	}
	p.entries = append(p.entries, in)
	return err
}

// session reads and plays an entry.
func (p *player) session(in *stored) merge.Session {
	return func(turn func(time.Time) bool) {
		e := &entry{player: p, stored: in, ended: -1}
		defer e.drop()
		p.lex.move(p.source, in.at)
		err := p.lex.object(e.key)
		e.open = e.open || err != nil // there may be more
		if p.store.err == nil && e.known() {
			err = cmp.Or(e.play(turn), err)
		}
		switch {
		case p.store.err != nil:
			p.failed = cmp.Or(p.failed, p.store.err)
		case err == nil || in.broken:
		case p.source.Bad != nil:
			p.source.Bad(err)
		default:
			p.failed = cmp.Or(p.failed, err)
		}
	}
}

// drop gives up what is kept of e.
func (e *entry) drop() {
	for _, s := range []*stream{&e.messages, &e.events, &e.request.body.kept, &e.response.body.kept} {
		e.store.drop(s)
	}
}

// An entry is what was read of one.
type entry struct {
	*player
	*stored
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
	kept     stream // has data in its place
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
