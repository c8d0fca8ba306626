package trace

import (
	"context"
	"fmt"
	"io"

	"github.com/wstrace/wstrace/decode"
)

// A Source plays a trace: it gives the records to [decode.Session]s, which emit
// the events of the recorded sessions again. Where the traffic was cut into
// events it is cut again, and a gate gives the events the fates that they met,
// so that a sink shows what it would have shown live.
//
// A session whose first record after open is a frame or junk is taken as one
// whose handshake lies before the trace. In a piece of a trace, which has no
// header line, a session opens itself at its first record. Derived records and keys, and kinds
// that this package doesn't know, are passed over.
//
// Of more than [decode.MaxOpen] sessions that are open at the same time, those that
// were silent for longest are taken for some that never end.
type Source struct {
	R io.Reader // the trace, without compression

	// Bad, if not nil, is called for each line that is no record, or that
	// can't follow those before it, and Play goes on after it. Otherwise such
	// a line is the error of Play. The errors are [*decode.SourceError]s.
	Bad func(error)

	// After is added to the number of each session, so that those of several
	// files can be told apart: Last of the Source before.
	After int64

	// Before, if not nil, is the Source of the file before, which was played. If
	// this file is the next part of the same run, the sessions go on.
	Before *Source

	last  int64
	piece bool
	left  *player // at the end of a part
}

// Play implements [decode.Source]. It returns the cause when ctx ends, which it
// looks at between records.
func (s *Source) Play(ctx context.Context, sink decode.Sink, look decode.Look) error {
	r := s.Records()
	p := player{r: r, sink: sink, look: look}
	p.sessions.Forgotten = func(int64, *session) { p.lost = true }
	if b := s.Before; b != nil {
		p.before, b.left, s.Before = b.left, nil, nil
	}
	defer func() {
		s.last, s.piece = r.highest, r.piece
		if r.run != "" {
			s.left = &p
		}
	}()
	for ctx.Err() == nil {
		rec, err := p.next()
		if err == io.EOF {
			return r.Warning()
		}
		if err != nil {
			return err
		}
		decode.Locked(sink, func() { err = p.play(rec) })
		if err == nil {
			continue
		}
		err = &decode.SourceError{Line: rec.Line, Offset: rec.Offset, Err: fmt.Errorf("session %d: %w", rec.C, err)}
		if s.Bad == nil {
			return err
		}
		s.Bad(err)
	}
	return context.Cause(ctx)
}

// Records returns a reader of the records, for those who want them instead of
// Play.
func (s *Source) Records() *Reader {
	r := NewReader(s.R)
	r.Bad, r.base, r.highest = s.Bad, s.After, s.After
	if s.Before != nil && s.Before.left != nil {
		b := s.Before.left.r
		r.run, r.part, r.base = b.run, b.part, b.base
	}
	return r
}

// Piece reports whether what Play has met is a piece of a trace, without its
// header line. Then nothing was judged by what may be missing.
func (s *Source) Piece() bool { return s.piece }

// Last returns the highest number of a session that Play has met, or After.
func (s *Source) Last() int64 { return max(s.last, s.After) }
