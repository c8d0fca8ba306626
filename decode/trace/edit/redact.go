package edit

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
)

// Secrets are the selectors of what is secret in most traces.
var Secrets = []string{"Authorization:", "Proxy-Authorization:", "Cookie:", "Set-Cookie:", "?token", "?access_token", "?api_key"}

// ErrNoSelectors says that nothing is named that could be redacted.
var ErrNoSelectors = errors.New("nothing is to be redacted")

// Redact copies a trace like [trace.Format], with placeholders for what the
// selectors name. A secret has the same placeholder wherever it is selected, so
// that a session still fits together. In JSON a number stays a number. The
// header of the trace gets the selectors.
//
// A message that has changed goes in one frame, compressed anew if it was
// compressed. What can't be looked into, such as a message that is cut off, is
// left out where selectors concern messages, and reported as a note in the trace.
func Redact(w io.Writer, r io.Reader, selectors ...string) error {
	red, err := newRedactor(selectors)
	if err != nil {
		return err
	}
	return trace.Rewrite(w, r, red.take)
}

// A RedactWriter redacts the lines of a trace that is being written. It holds
// lines back while a message is in flight.
type RedactWriter struct {
	w   io.Writer
	red *redactor
	buf []byte
}

// NewRedactWriter returns a writer to w. Each Write must be of whole lines. An
// error is for selectors that are none.
func NewRedactWriter(w io.Writer, selectors ...string) (*RedactWriter, error) {
	red, err := newRedactor(selectors)
	if err != nil {
		return nil, err
	}
	return &RedactWriter{w: w, red: red}, nil
}

// Write redacts lines.
func (w *RedactWriter) Write(p []byte) (int, error) {
	w.buf = w.buf[:0]
	for line := range bytes.Lines(p) {
		rec, err := trace.Parse(line)
		if err == nil {
			err = w.add(rec)
		}
		if err != nil {
			return 0, err
		}
	}
	if len(w.buf) == 0 {
		return len(p), nil
	}
	if _, err := w.w.Write(w.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what is held back. It does not close the writer below.
func (w *RedactWriter) Close() error {
	w.buf = w.buf[:0]
	if err := w.add(nil); err != nil || len(w.buf) == 0 {
		return err
	}
	_, err := w.w.Write(w.buf)
	return err
}

func (w *RedactWriter) add(rec *trace.Record) error {
	recs, err := w.red.take(rec)
	for _, rec := range recs {
		w.buf = rec.Append(w.buf)
	}
	return err
}

// A redactor puts placeholders into the records of a trace.
type redactor struct {
	selectors  []pick.Selector
	inMessages bool // some of them concern messages
	placeholders

	last     int64              // session opened last
	sessions map[int64]*session // that have not ended, by c
	queue    []*held            // records not returned yet, in order
}

// A held record waits for the end of the message that it is part of.
type held struct {
	rec     *trace.Record // nil if it is dropped
	waiting bool
}

func newRedactor(selectors []string) (*redactor, error) {
	list, err := pick.ParseAll(selectors)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, ErrNoSelectors
	}
	return &redactor{selectors: list, inMessages: slices.ContainsFunc(list, pick.Selector.InMessages),
		placeholders: placeholders{bySecret: map[string]string{}, count: map[string]int{}}, sessions: map[int64]*session{}}, nil
}

// take takes a record, or nil at the end, and returns those that are ready.
func (r *redactor) take(rec *trace.Record) ([]*trace.Record, error) {
	if rec == nil {
		for _, s := range r.sessions {
			s.abandon()
		}
		return r.ready(), nil
	}
	switch {
	case rec.IsHeader():
		for _, s := range r.sessions {
			s.abandon()
		}
		clear(r.sessions)
		for _, sel := range r.selectors {
			if text := sel.String(); !slices.Contains(rec.Redact, text) {
				rec.Redact = append(rec.Redact, text)
			}
		}
	case rec.Kind == "open":
		r.last = rec.C
		rec.URL = r.target(rec.URL)
		r.sessions[rec.C] = &session{r: r, opened: rec}
	}
	h := &held{rec: rec}
	r.queue = append(r.queue, h)
	c := rec.C
	if c == 0 {
		c = r.last
	}
	s := r.sessions[c]
	var err error
	switch {
	case rec.Kind == "req" || rec.Kind == "res":
		r.head(rec)
		if s != nil && r.inMessages {
			s.head(rec)
		}
	case s == nil || !r.inMessages:
	case rec.Kind == "frame" || rec.Kind == "more" || rec.Kind == "junk":
		err = s.bytes(h)
	case rec.Kind == "end":
		for d := range decode.Dir(2) {
			if !rec.HasDir || rec.Dir == d {
				s.cutOff(d)
				s.sides[d].ended = true
			}
		}
		if s.sides[0].ended && s.sides[1].ended {
			delete(r.sessions, c)
		}
	}
	return r.ready(), err
}

// ready takes the records that wait for nothing off the queue.
func (r *redactor) ready() []*trace.Record {
	var recs []*trace.Record
	n := 0
	for n < len(r.queue) && !r.queue[n].waiting {
		if rec := r.queue[n].rec; rec != nil {
			recs = append(recs, rec)
		}
		n++
	}
	r.queue = slices.Delete(r.queue, 0, n)
	return recs
}
