package source

import (
	"context"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// playTrace plays a .wst file.
func playTrace(ctx context.Context, f *File, sink decode.Sink, look decode.Look) (last int64, err error) {
	s := f.trace()
	if f.Before != nil {
		s.Before, f.Before.played, f.Before = f.Before.played, nil, nil
	}
	err = s.Play(ctx, sink, look)
	f.piece, f.played = s.Piece(), s
	return s.Last(), err
}

func (f *File) trace() *trace.Source {
	return &trace.Source{R: f.r, Bad: f.Bad, After: f.After}
}

// Piece reports whether what was played is a piece of a trace, without its header
// line.
func (f *File) Piece() bool { return f.piece }

// Records returns a reader of the records of a .wst file, to be read instead of
// Play, or nil if the file is in another format.
func (f *File) Records() *trace.Reader {
	if !f.format.records {
		return nil
	}
	return f.trace().Records()
}
