package replay

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

// keepsAll returns an error if a file has sessions besides those of scripts, or
// changes, which would be lost if a recording of those took its place.
func keepsAll(file string, scripts []*Script) error {
	if n, left := scripts[0].sessions, sessionsOf(scripts); n > left {
		return fmt.Errorf("%s: the trace has %d sessions, and an update would leave %d", file, n, left)
	}
	if slices.ContainsFunc(scripts, (*Script).Changed) {
		return fmt.Errorf("%s: the trace has changes, and an update would leave none", file)
	}
	return nil
}

// A recorder makes a trace file anew.
type recorder struct {
	file string
	buf  bytes.Buffer
	w    *trace.Writer
}

func newRecorder(file string) *recorder {
	r := &recorder{file: file}
	r.w = trace.NewWriter(&r.buf, trace.Options{By: "wstrace"})
	return r
}

// redact redacts what was recorded as the old trace was.
func (r *recorder) redact() error {
	old, err := LoadFile(r.file)
	if err != nil || len(old.selectors) == 0 {
		return nil // there is none
	}
	var b bytes.Buffer
	err = edit.Redact(&b, &r.buf, old.selectors...)
	r.buf = b
	return err
}

// record returns a sink that records, and hands on to other too.
func (r *recorder) record(other *numbered) *numbered {
	sinks := []decode.Sink{r.w}
	switch sink := other.sink().(type) {
	case nil:
	case *decode.Tee:
		sinks = append(sinks, sink.Sinks...)
	default:
		sinks = append(sinks, sink)
	}
	return &numbered{Sink: &decode.Tee{Sinks: sinks}}
}

// CheckUpdate returns an error if a trace that was made anew is not to replace the one
// that sessions were read of: fewer of them became a WebSocket connection, or in fewer
// a side sent messages at all, as where a client crashed. A session that was not played
// to its end is an update like any other.
func CheckUpdate(anew io.Reader, recorded []*Script) error {
	p, err := LoadAll(Trace(anew))
	if err != nil {
		return err
	}
	count := func(ok func(*Script) bool) (was, is int) {
		for _, s := range recorded {
			if ok(s) {
				was++
			}
		}
		for _, s := range p.scripts {
			if ok(s) {
				is++
			}
		}
		return was, is
	}
	if was, is := count(func(s *Script) bool { return s.plain == nil && s.accepted() }); is < was {
		return fmt.Errorf("of %d sessions that became WebSocket connections only %d did", was, is)
	}
	for d := range decode.Dir(2) {
		was, is := count(func(s *Script) bool { return s.Messages(d) > 0 })
		switch {
		case is >= was:
		case was == 1:
			return fmt.Errorf("the %s sent no message", d)
		default:
			return fmt.Errorf("the %s sent messages in %d sessions, and not in %d", d, is, was)
		}
	}
	return nil
}

// finish replaces the file.
func (r *recorder) finish() error {
	if err := r.w.Err(); err != nil {
		return err
	}
	if r.buf.Len() == 0 {
		return fmt.Errorf("%s: nothing came to be recorded", r.file)
	}
	recorded, _ := loadFile(r.file, loading{}, true) // there may be none yet
	if err := CheckUpdate(bytes.NewReader(r.buf.Bytes()), recorded); err != nil {
		return fmt.Errorf("%s stays as it is: %w", r.file, err)
	}
	if err := r.redact(); err != nil {
		return err
	}
	return edit.Replace(r.file, func(w io.Writer) error {
		if !strings.HasSuffix(r.file, ".gz") {
			_, err := w.Write(r.buf.Bytes())
			return err
		}
		z := gzip.NewWriter(w)
		_, err := z.Write(r.buf.Bytes())
		return errors.Join(err, z.Close())
	})
}
