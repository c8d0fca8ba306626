package source

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// playTrace plays a .wst file.
func playTrace(ctx context.Context, f *File, sink decode.Sink, look decode.Look) (last int64, err error) {
	r := trace.NewReader(&until{ctx, f.r})
	r.Follow(upTo(f.After))
	if f.Bad != nil {
		r.Bad = func(err error) { f.Bad(placed(err)) }
	}
	counted := decode.LockedWith(sink, func(ev *decode.Event) {
		last = max(last, ev.Conn)
		sink.Emit(ev)
	})
	err = trace.Play(r, counted, look)
	if ctx.Err() != nil {
		return last, context.Cause(ctx)
	}
	if err == nil {
		err = r.Warning()
	}
	return last, placed(err)
}

// upTo returns a Reader that has read a trace whose last session is n.
func upTo(n int64) *trace.Reader {
	r := trace.NewReader(strings.NewReader(`{"wstrace":1}` + "\n" + `{"k":"open","c":` + strconv.FormatInt(max(n, 1), 10) + "}\n"))
	for n > 0 {
		if _, err := r.Next(); err != nil {
			break
		}
	}
	return r
}

// placed returns an error of package trace with its place as a value.
func placed(err error) error {
	if err == nil {
		return nil
	}
	number, text, ok := strings.Cut(strings.TrimPrefix(err.Error(), "line "), ": ")
	line, bad := strconv.Atoi(number)
	if !ok || bad != nil {
		return err
	}
	switch {
	case errors.Is(err, trace.ErrCut):
		err = decode.ErrCut
	case errors.Unwrap(err) != nil && errors.Unwrap(err).Error() == text:
		err = errors.Unwrap(err)
	default:
		err = errors.New(text)
	}
	return &decode.SourceError{Line: line, Err: err}
}

// until reads from r until ctx ends.
type until struct {
	ctx context.Context
	r   io.Reader
}

func (u *until) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, io.EOF
	}
	return u.r.Read(p)
}
