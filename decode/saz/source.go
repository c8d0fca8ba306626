package saz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/internal/merge"
)

// A Source plays an archive. Its sessions have the numbers of the archive, and are
// played in the order of their times.
//
// How a connection ended is not in the archives of Fiddler. A session is closed if
// both sides have sent a Close frame, or if it is none of WebSocket; otherwise it
// stays open.
type Source struct {
	R    io.ReaderAt
	Size int64 // of the archive, in bytes

	// Bad, if not nil, is called for what is damaged, and Play goes on with the next
	// session. Otherwise that is the error of Play. The errors are
	// [*decode.SourceError]s.
	Bad func(error)

	// After is added to the number of each session.
	After int64

	last     int64
	messages bool
}

// Play implements [decode.Source].
func (s *Source) Play(ctx context.Context, sink decode.Sink, look decode.Look) error {
	s.last = s.After
	ix, err := readIndex(s.R, s.Size)
	if err != nil {
		return err
	}
	if n := len(ix.sessions); n > 0 {
		s.last = s.After + ix.sessions[n-1].n
	}
	in := &input{r: s.R, size: s.Size} // what is read for the order is read again
	starts := make([]time.Time, len(ix.sessions))
	for i := range starts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if starts[i] = start(in, &ix.sessions[i]); starts[i].IsZero() && i > 0 {
			starts[i] = starts[i-1]
		}
	}
	sink = decode.Shared(sink)
	var failed error
	in = &input{r: s.R, size: s.Size}
	told := false // that no more is read
	bad := func(err error) {
		inflated := errors.Is(err, errInflated)
		switch {
		case errors.Is(err, decode.ErrCut) && ix.err != nil: // as that tells
		case inflated && told:
		case s.Bad != nil:
			s.Bad(err)
		case failed == nil:
			failed = err
		}
		told = told || inflated
	}
	err = merge.Play(ctx, len(starts), func(i int) time.Time { return starts[i] }, func(i int) merge.Session {
		p := &player{r: in, in: &ix.sessions[i], now: starts[i], bad: bad, messages: &s.messages}
		p.Sink, p.Look = sink, look
		p.number = s.After + p.in.n
		return p.play
	}, func() error { return failed })
	if err == nil {
		err = ix.err
	}
	return err
}

// Last returns the highest number of a session that Play has met, or After.
func (s *Source) Last() int64 { return max(s.last, s.After) }

// Messages reports whether sessions were played of which no frames are known.
func (s *Source) Messages() bool { return s.messages }

// start returns when a session began, or the zero time.
func start(in *input, s *stored) time.Time {
	e := s.parts[partMeta]
	if e == nil {
		return time.Time{}
	}
	r, err := e.open(in)
	if err != nil {
		return time.Time{} // that is told when the session is played
	}
	m, _ := readMeta(r)
	return m.began()
}

// began returns when the session began, or the zero time. Its connection may have
// been there long before.
func (m *meta) began() time.Time {
	return m.timer("ClientBeginRequest", "GotRequestHeaders", "ClientConnected", "FiddlerBeginRequest")
}

// at makes err the error of an entry.
func (e *entry) fail(at int64, err error) error {
	if e.cut && errors.Is(err, io.ErrUnexpectedEOF) {
		err = decode.ErrCut
	} else if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errEnds
	}
	where := shortName(e.name)
	if at > 0 {
		where = fmt.Sprintf("%s, byte %d", where, at)
	}
	return &decode.SourceError{Offset: e.offset(), Err: fmt.Errorf("%s: %w", where, err)}
}

var errEnds = errors.New("ends too early")
