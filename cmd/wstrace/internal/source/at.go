package source

import (
	"context"
	"errors"
	"io"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/decode"
)

// A placed is a source that is not read from beginning to end.
type placed interface {
	decode.Source
	Last() int64
	Messages() bool
}

// playAt plays what open makes of the content of f.
func (f *File) playAt(ctx context.Context, sink decode.Sink, look decode.Look, open func(r io.ReaderAt, size int64) placed) (last int64, err error) {
	spool := new(file.Spool)
	defer spool.Close()
	r, size, err := f.r.At(spool)
	cut := errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !cut {
		return 0, err
	}
	s := open(r, size)
	err = s.Play(ctx, sink, look)
	f.messages = s.Messages()
	if err == nil && cut {
		err = &decode.SourceError{Offset: size, Err: decode.ErrCut}
	}
	return s.Last(), err
}
