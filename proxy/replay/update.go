package replay

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

// keepsAll returns an error if a file has sessions besides those of scripts,
// which would be lost if a recording of those took its place.
func keepsAll(file string, scripts []*Script) error {
	if n, left := scripts[0].sessions, sessionsOf(scripts); n > left {
		return fmt.Errorf("%s: the trace has %d sessions, and an update would leave %d", file, n, left)
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

// finish replaces the file.
func (r *recorder) finish() error {
	if err := r.w.Err(); err != nil {
		return err
	}
	if r.buf.Len() == 0 {
		return fmt.Errorf("%s: nothing came to be recorded", r.file)
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
