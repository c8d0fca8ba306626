package source

import (
	"context"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// playTrace plays a .wst file.
func playTrace(ctx context.Context, f *File, sink decode.Sink, look decode.Look) (last int64, err error) {
	s := &trace.Source{R: f.r, Bad: f.Bad, After: f.After}
	err = s.Play(ctx, sink, look)
	return s.Last(), err
}
