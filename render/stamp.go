package render

import (
	"bytes"
	"io"
	"strings"
	"time"
)

// A Stamp writes lines that a form with [Options.Later] has made, some time after that,
// and not all of them: with what depends on the line before.
type Stamp struct{ printer }

// NewStamp returns a Stamp that writes to w the lines of forms with the same options.
func NewStamp(w io.Writer, o Options) *Stamp { return &Stamp{newPrinter(w, o, '.')} }

// room stands in a line for the time since the line before.
var room = strings.Repeat("\x00", secondsWidth)

// Write writes the lines of an event that came at a time.
func (s *Stamp) Write(lines string, at time.Time) {
	s.buf = append(s.buf[:0], lines...)
	switch s.timeForm {
	case TimeClock:
		s.payload = s.clock.append(s.payload[:0], at, s.point)
		s.date()
	case TimeDelta:
		for i := bytes.Index(s.buf, []byte(room)); i >= 0; i = bytes.Index(s.buf, []byte(room)) {
			rest := append(s.payload[:0], s.buf[i+len(room):]...)
			s.buf = s.buf[:i]
			s.delta(at)
			s.buf, s.payload = append(s.buf, rest...), rest
			s.before = at
		}
	}
	s.before = at
	s.w.Write(s.buf)
}
