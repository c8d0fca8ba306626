package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

// Load reads a session from a file: one of [Trace], or any other Source, whose
// events it takes as they are. If the file is cut off, what there is of the
// session is loaded, and [Script.Warning] tells.
func Load(src decode.Source, opts ...LoadOption) (*Script, error) {
	l, err := newLoading(opts)
	if err != nil {
		return nil, err
	}
	scripts, err := load(src, l, false)
	if err != nil {
		return nil, err
	}
	return scripts[0], nil
}

// LoadAll reads all WebSocket sessions of a file. See [Load].
func LoadAll(src decode.Source, opts ...CompareOption) (*Play, error) {
	var l loading
	for _, o := range opts {
		o.setLoading(&l)
	}
	if err := l.equality.err(); err != nil {
		return nil, err
	}
	scripts, err := load(src, l, true)
	if err != nil {
		return nil, err
	}
	return &Play{scripts}, nil
}

// LoadFile reads a session from a trace file, which may be compressed by gzip,
// but not by zstd. Unlike [Load] it takes no file that is cut off: a test of half
// a session would pass.
func LoadFile(file string, opts ...LoadOption) (*Script, error) {
	l, err := newLoading(opts)
	if err != nil {
		return nil, err
	}
	scripts, err := loadFile(file, l, false)
	if err != nil {
		return nil, err
	}
	return scripts[0], nil
}

// ErrZstd is the error of [LoadFile] for a file that is compressed by zstd, which
// would bring a dependency to the tests of others.
var ErrZstd = errors.New("is compressed by zstd, which is not read here; gzip is")

func loadFile(file string, l loading, all bool) ([]*Script, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	br := bufio.NewReader(f)
	var r io.Reader = br
	switch magic, _ := br.Peek(4); {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		r, err = gzip.NewReader(br)
	case string(magic) == "\x28\xb5\x2f\xfd":
		err = ErrZstd
	}
	var scripts []*Script
	if err == nil {
		// With a line end behind it a last line that is cut off is an error.
		scripts, err = load(Trace(io.MultiReader(r, strings.NewReader("\n"))), l, all)
	}
	if err == nil {
		err = scripts[0].warning
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return scripts, nil
}

// A RecordSource is a Source that is a trace. [Load] reads its records in place
// of its events, as they hold more: these keys, for traces made by hand.
//
//	"after":N      a frame of ours waits for the Nth message of the other side
//	               only, counted from 1, and not for all that stand before it
//	"group":"name" consecutive messages of one side that may come in any order
//	"re":"^a+$"    what the content of a message matches, instead of equalling
//	"deflate":"…"  a text to be compressed as the handshake agreed
type RecordSource interface {
	decode.Source

	// Records returns what reads the trace from its beginning, instead of
	// Play, or nil if the file is in another format.
	Records() *trace.Reader
}

// Trace returns the trace that r reads, without compression.
func Trace(r io.Reader) RecordSource { return &trace.Source{R: r} }

// load reads one session, or all.
func load(src decode.Source, how loading, all bool) ([]*Script, error) {
	l := &library{loading: how, all: all, allowance: maxInflated, opened: map[int64]decode.Info{}, known: map[int64]bool{}, partial: map[int64]bool{}}
	l.busy = decode.PerSession[*edit.Freezer]{Max: 32, Forgotten: func(_ int64, z **edit.Freezer) { (*z).Forget() }}
	if rs, ok := src.(RecordSource); ok {
		if r := rs.Records(); r != nil {
			return l.finish(l.records(r))
		}
	}
	return l.finish(l.events(src))
}

// A library gathers the sessions of a file that are to be played.
type library struct {
	loading
	all       bool
	selectors []string      // that the trace was redacted with
	run       string        // whose part is at hand; "" if it has none
	t0        time.Time     // of the first part
	later     time.Duration // than that the part at hand begins
	warning   error
	allowance
	slab     slab
	busy     decode.PerSession[*edit.Freezer] // those that have compressed something of late
	sessions int                              // so many there are
	last     int64                            // the highest number of one
	opened   map[int64]decode.Info            // by number: sessions of which it is not known yet whether they are played
	plain    bool                             // the session to be played is none of WebSocket
	known    map[int64]bool                   // sessions whose beginning was read, if the recording has parts
	partial  map[int64]bool                   // sessions whose beginning is in a part before
	builders []*builder                       // of those that are, in the order in which they begin
}

// open takes the beginning of a session.
func (l *library) open(info decode.Info) {
	number := info.Conn
	l.sessions++
	l.last = max(l.last, number)
	if l.run != "" {
		l.known[number] = true
	}
	if l.wants(number) {
		l.opened[number] = info
	}
}

// wants reports whether a session may still be one that is to be played.
func (l *library) wants(number int64) bool {
	return l.all || len(l.builders) == 0 && (l.session == 0 || number == l.session)
}

// goOn takes the beginning of a session in a part of a recording other than the
// first. It can be played only if the part before was read.
func (l *library) goOn(number int64) {
	if !l.known[number] {
		l.sessions++
		l.last = max(l.last, number)
		l.partial[number] = true
	}
}

// want returns the script of a session that begins, after open, at a position
// with a request, or without one; nil if it is not to be played.
func (l *library) want(number int64, request *decode.Head) *Script {
	o, ok := l.opened[number]
	if !ok {
		return nil
	}
	delete(l.opened, number)
	if !l.wants(number) {
		clear(l.opened)
		return nil
	}
	s := &Script{equality: l.equality, number: number, info: o}
	if request == nil || !request.Cut && decode.AsksForWebSocket(request) {
		return s
	}
	if l.all && mayBePlain(request) {
		s.plain = new(plain)
		return s
	}
	l.plain = l.plain || number == l.session
	return nil
}

// errPartial is for a part of a recording, which may be appended to those before.
var errPartial = errors.New("the session began in the part before this one, without which it can't be played")

var errNoAnswer = errors.New("has a request and no answer")

// finish returns the scripts of what was read until err.
func (l *library) finish(err error) ([]*Script, error) {
	if errors.Is(err, decode.ErrCut) {
		l.warning, err = err, nil
	}
	if err != nil {
		return nil, err
	}
	var scripts []*Script
	for _, b := range l.builders {
		if l.all && b.s.request != nil && (b.s.plain != nil || b.answers == 0 || !b.s.accepted()) {
			if b.finishPlain() {
				b.s.selectors, b.s.warning, b.s.sessions = l.selectors, l.warning, l.sessions
				scripts = append(scripts, b.s)
			}
			continue
		}
		s, err := b.finish()
		if err != nil {
			return nil, err
		}
		s.selectors, s.warning, s.sessions = l.selectors, l.warning, l.sessions
		scripts = append(scripts, s)
	}
	if l.all {
		markOptional(scripts)
		if scripts, err = l.playsEngines(scripts); err != nil {
			return nil, err
		}
	}
	switch {
	case len(scripts) > 0:
		return scripts, nil
	case l.plain:
		return nil, fmt.Errorf("session %d did not ask for websocket", l.session)
	case l.partial[l.session], l.session == 0 && len(l.partial) > 0:
		return nil, errPartial
	case l.session != 0:
		return nil, fmt.Errorf("there is no session %d, the last is %d", l.session, l.last)
	}
	return nil, errors.New("the trace has no WebSocket session")
}
