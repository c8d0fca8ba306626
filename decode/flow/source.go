package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/internal/merge"
)

// The versions of the format that are read.
const (
	minVersion = 17
	maxVersion = 21
)

// A VersionError is the error of a flow in a version of the format that is not read.
type VersionError struct {
	Version int64 // 0 for those before 4, which had several numbers
}

func (e *VersionError) Error() string {
	if e.Version == 0 {
		return fmt.Sprintf("a flow of an old version, %d to %d are read", minVersion, maxVersion)
	}
	return fmt.Sprintf("a flow of version %d, %d to %d are read", e.Version, minVersion, maxVersion)
}

// Old reports whether the version is too old, and not too new.
func (e *VersionError) Old() bool { return e.Version < minVersion }

// A Source plays a flow file. Its sessions have the numbers of their flows, from 1, and
// are played in the order of their times. A flow of TCP is an opaque session; those of
// other protocols are left out, which a notice tells.
type Source struct {
	R    io.ReaderAt
	Size int64 // of the file, in bytes

	// Bad, if not nil, is called for a flow that is damaged, and for the first one of
	// another version ([*VersionError]), and Play goes on with the next one. Otherwise
	// that is the error of Play. The errors are [*decode.SourceError]s.
	Bad func(error)

	// After is added to the number of each session.
	After int64

	last     int64
	messages bool
}

// A stored is a flow in the file. There may be millions.
type stored struct {
	at    int64
	start int64  // in microseconds, as [time.Time.UnixMicro] has them
	n     uint32 // its number
	kind  kind
	cut   bool // the file ends in it
}

func (f *stored) time() time.Time {
	if f.start == (time.Time{}).UnixMicro() {
		return time.Time{}
	}
	return time.UnixMicro(f.start)
}

type kind uint8

const (
	kindHTTP kind = iota
	kindTCP
	kindOther
)

// Play implements [decode.Source].
func (s *Source) Play(ctx context.Context, sink decode.Sink, look decode.Look) error {
	s.last = s.After
	flows, left, end := s.index(ctx)
	sink = decode.Shared(sink)
	var begin time.Time
	if len(flows) > 0 {
		first := slices.MinFunc(flows, func(a, b stored) int { return cmp.Compare(a.start, b.start) })
		begin = first.time()
	}
	for _, text := range left.texts() {
		decode.Locked(sink, func() {
			sink.Emit(&decode.Event{Kind: decode.KindNotice, Time: begin, Info: new(decode.Info), Text: text})
		})
	}
	var failed error
	bad := func(err error) {
		switch {
		case s.Bad != nil:
			s.Bad(err)
		case failed == nil:
			failed = err
		}
	}
	err := merge.Play(ctx, len(flows), func(i int) time.Time { return flows[i].time() }, func(i int) merge.Session {
		f := &flows[i]
		p := &player{r: reader{r: s.R, size: s.Size, cut: f.cut}, number: s.After + int64(f.n), in: f, bad: bad, now: f.time(), messages: &s.messages}
		p.Sink, p.Look = sink, look
		return p.play
	}, func() error { return failed })
	return cmp.Or(err, end)
}

// Last returns the highest number of a session that Play has met, or After.
func (s *Source) Last() int64 { return max(s.last, s.After) }

// Messages reports whether sessions were played of which no frames are known.
func (s *Source) Messages() bool { return s.messages }

// A leftOut counts the flows that are not played, but for those that Bad was told of.
type leftOut struct{ others, versions int }

// texts returns what notices say of them.
func (l leftOut) texts() (all []string) {
	if l.others > 0 {
		all = append(all, plural(l.others)+" neither HTTP nor TCP: left out")
	}
	if l.versions > 0 {
		all = append(all, plural(l.versions)+" of another version, too: left out")
	}
	return all
}

// index finds the flows. The error is why there are no more.
func (s *Source) index(ctx context.Context) (flows []stored, left leftOut, err error) {
	r := reader{r: s.R, size: s.Size}
	told := false
	for at, n := int64(0), uint32(1); at < s.Size; n++ {
		if ctx.Err() != nil {
			return flows, left, context.Cause(ctx)
		}
		v, err := r.value(at, s.Size)
		if err == nil && v.typ != typeDict {
			err = failAt(at, "no flow: a value of type %q", v.typ)
		}
		if errors.Is(err, decode.ErrCut) {
			if f, ok := s.lookCut(at); ok {
				f.n = n
				flows = append(flows, f)
				s.last = s.After + int64(n)
			}
		}
		if err != nil {
			return flows, left, err
		}
		f, err := r.look(v)
		_, version := errors.AsType[*VersionError](err)
		f.at, f.n = at, n
		switch {
		case err == nil && f.kind == kindOther:
			left.others++
		case err == nil:
			flows = append(flows, f)
			s.last = s.After + int64(n)
		case s.Bad == nil:
			return flows, left, err
		case version && told:
			left.versions++
		default:
			told = told || version
			s.Bad(err)
		}
		at = v.end()
	}
	return flows, left, nil
}

// look returns what has to be known of a flow before it is played.
func (r *reader) look(v value) (f stored, err error) {
	top, err := r.dict(v, "version", "type", "timestamp_created", "request", "client_conn")
	if err != nil {
		return f, err
	}
	version, ok, err := r.integer(top["version"])
	switch {
	case err != nil && top["version"].typ == typeList: // up to 3
		return f, &decode.SourceError{Offset: v.at, Err: new(VersionError)}
	case err != nil:
		return f, err
	case !ok:
		return f, failAt(v.at, "no flow: no version")
	case version < minVersion || version > maxVersion:
		return f, &decode.SourceError{Offset: v.at, Err: &VersionError{version}}
	}
	switch name, err := r.text(top["type"], maxScalar); {
	case err != nil:
		return f, err
	case name == "http":
		f.kind = kindHTTP
	case name == "tcp":
		f.kind = kindTCP
	case name == "":
		return f, failAt(v.at, "no flow: no type")
	default:
		f.kind = kindOther
	}
	start, err := r.start(top)
	f.start = start.UnixMicro()
	return f, err
}

// lookCut looks at a flow that the file ends in. ok is false if there is nothing to show.
func (s *Source) lookCut(at int64) (f stored, ok bool) {
	r := reader{r: s.R, size: s.Size, cut: true}
	v, err := r.value(at, s.Size)
	if err != nil {
		return f, false
	}
	f, err = r.look(v)
	f.at, f.cut = at, true
	if err != nil || f.kind == kindOther {
		return f, false
	}
	if f.start == (time.Time{}).UnixMicro() { // that stands behind the messages
		top, _ := r.dict(v, "websocket", "messages")
		websocket, _ := r.dict(top["websocket"], "messages")
		place := 3
		messages := websocket["messages"]
		if f.kind == kindTCP {
			messages, place = top["messages"], 2
		}
		first, _ := r.list(messages, typeList).next()
		parts := r.list(first, typeList)
		var t value
		for range place + 1 {
			t, ok = parts.next()
		}
		when, err := r.time(t)
		if !ok || err != nil || when.IsZero() {
			return f, false
		}
		f.start = when.UnixMicro()
	}
	return f, true
}

// start returns when a flow began, or the zero time.
func (r *reader) start(top map[string]value) (time.Time, error) {
	request, err := r.dict(top["request"], "timestamp_start")
	if err != nil {
		return time.Time{}, err
	}
	conn, err := r.dict(top["client_conn"], "timestamp_start")
	if err != nil {
		return time.Time{}, err
	}
	for _, v := range [...]value{request["timestamp_start"], top["timestamp_created"], conn["timestamp_start"]} {
		if t, err := r.time(v); err != nil || !t.IsZero() {
			return t, err
		}
	}
	return time.Time{}, nil
}
