package decode

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A record is a Sink that keeps all events, for tests to look at.
type record []*Event

func (r *record) Emit(ev *Event) { *r = append(*r, ev.Clone()) }

// wire returns what d sent, as far as the events hold it: heads, frames and
// junk. Bodies and what goes through a tunnel are not kept.
func (r record) wire(d Dir) []byte {
	var b []byte
	for _, ev := range r {
		if ev.Dir != d {
			continue
		}
		switch ev.Kind {
		case KindRequest:
			b = append(b, ev.Handshake.Request.Raw...)
		case KindResponse:
			b = append(b, ev.Head.Raw...)
			b = append(b, ev.Data...)
		case KindFrame:
			b = ev.Frame.AppendWire(b)
		case KindJunk:
			b = append(b, ev.Data...)
		}
	}
	return b
}

// junk returns the junk from d.
func (r record) junk(d Dir) []byte {
	var b []byte
	for _, ev := range r {
		if ev.Kind == KindJunk && ev.Dir == d {
			b = append(b, ev.Data...)
		}
	}
	return b
}

// frames returns the frames from d, their pieces put together again.
func (r record) frames(d Dir) []*Frame {
	var fs []*Frame
	for _, ev := range r {
		switch f := ev.Frame; {
		case ev.Kind != KindFrame || ev.Dir != d:
		case f.More:
			whole := fs[len(fs)-1]
			whole.payload = append(whole.payload, f.payload...)
			whole.Complete = f.Complete
		default:
			fs = append(fs, f.Clone())
		}
	}
	return fs
}

// lines returns one line for each event. Bytes that can't be framed may come
// in events of any size; those that follow each other make one line here.
func (r record) lines() []string {
	var lines []string
	for i := 0; i < len(r); i++ {
		ev := r[i]
		if ev.Kind == KindJunk {
			ev = ev.Clone()
			for i+1 < len(r) && r[i+1].Kind == KindJunk && r[i+1].Dir == ev.Dir {
				i++
				ev.Data = append(ev.Data, r[i].Data...)
				ev.Violations = append(ev.Violations, r[i].Violations...)
			}
		}
		if ev.Kind == KindBody { // as are the pieces of a body
			ev = ev.Clone()
			for i+1 < len(r) && r[i+1].Kind == KindBody && r[i+1].Dir == ev.Dir {
				i++
				ev.Data, ev.BodyLen = append(ev.Data, r[i].Data...), ev.BodyLen+r[i].BodyLen
				ev.Body, ev.Part, ev.CutOff = r[i].Body, r[i].Part, r[i].CutOff
			}
		}
		lines = append(lines, line(ev))
	}
	return lines
}

func line(ev *Event) string {
	var b strings.Builder
	switch ev.Kind {
	case KindOpen:
		b.WriteString("open")
	case KindRequest:
		h := ev.Handshake.Request
		if h.Cut {
			fmt.Fprintf(&b, "> request cut %s", short(h.Raw))
			break
		}
		fmt.Fprintf(&b, "> request %s %s", h.Method, h.Target)
		if f := ev.Handshake.Forwarded; f != nil {
			fmt.Fprintf(&b, " as %s %s", f.Method, f.Target)
		}
	case KindResponse:
		if ev.Head.Cut {
			fmt.Fprintf(&b, "< response cut %s", short(ev.Head.Raw))
			break
		}
		fmt.Fprintf(&b, "< response %d", ev.Head.Status)
		if ev.Data != nil || ev.BodyLen != 0 {
			fmt.Fprintf(&b, " %s of %d", short(string(ev.Data)), ev.BodyLen)
		}
	case KindFrame:
		f := ev.Frame
		fmt.Fprintf(&b, "%s %s %08b %d", ev.Dir.Arrow(), OpName(f.OpCode), f.Flags(), f.Length)
		if f.At > 0 || f.More || !f.Complete {
			fmt.Fprintf(&b, " %d-%d", f.At, f.At+int64(f.Len()))
		}
		if f.More {
			b.WriteString(" more")
		}
		fmt.Fprintf(&b, " %s", short(string(f.AppendPayload(nil, -1))))
	case KindOpaque:
		fmt.Fprintf(&b, "%s opaque: %s", ev.Dir.Arrow(), ev.Text)
	case KindJunk:
		fmt.Fprintf(&b, "%s junk %s: %s", ev.Dir.Arrow(), short(string(ev.Data)), ev.Text)
	case KindBody:
		fmt.Fprintf(&b, "%s body %s of %d", ev.Dir.Arrow(), short(string(ev.Data)), ev.BodyLen)
		if ev.Part {
			b.WriteString(" goes on")
		}
		if ev.CutOff {
			b.WriteString(" cut off")
		}
		if m := ev.Body; m != nil {
			fmt.Fprintf(&b, " whole %s %s of %d cut %t unfinished %t", OpName(m.Op), short(string(m.Data)), m.Len, m.Cut, m.Unfinished)
		}
	case KindGap:
		fmt.Fprintf(&b, "%s gap %d", ev.Dir.Arrow(), ev.Lost)
	case KindNotice:
		fmt.Fprintf(&b, "notice: %s", ev.Text)
	case KindEnd:
		if !ev.Both {
			fmt.Fprintf(&b, "%s ", ev.Dir.Arrow())
		}
		fmt.Fprintf(&b, "end %s", ev.How)
		if ev.Text != "" {
			fmt.Fprintf(&b, ": %s", ev.Text)
		}
	case KindClosed:
		t := ev.Totals
		by := t.By.String()
		if t.Closer() == "" {
			by = "nobody"
		}
		fmt.Fprintf(&b, "closed %d by %s, %s: frames %d %d, bytes %d %d", t.Code, by, t.How,
			t.Frames[0], t.Frames[1], t.Bytes[0], t.Bytes[1])
	}
	for _, v := range ev.Violations {
		fmt.Fprintf(&b, " !%s", v.ID)
	}
	return b.String()
}

// short shows s, or the length and the ends of it if it is long.
func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%q…%q(%d)", s[:4], s[len(s)-4:], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// findings returns one line for each violation and message.
func (r record) findings() []string {
	var lines []string
	for _, ev := range r {
		if m := ev.Message; ev.Kind == KindMessage {
			lines = append(lines, fmt.Sprintf("message %s %d frames %d wire %d len %d %s cut %t unread %t unfinished %t",
				m.Dir, m.N, m.Frames, m.Wire, m.Len, short(string(m.Data)), m.Cut, m.Unread, m.Unfinished))
		}
		for _, v := range ev.Violations {
			lines = append(lines, fmt.Sprintf("frame %d at %v %s %s", v.Frame, v.Where, v.Severity, v.String()))
		}
	}
	return lines
}

// A script drives a Session, one step a second, and looks at its events.
type script struct {
	*Session
	t      *testing.T
	record record
	seen   int // events that want has looked at
	now    time.Time
}

var start = time.Date(2026, 11, 21, 7, 31, 41, 0, time.UTC)

// newScript returns a script whose Session was just opened.
func newScript(t *testing.T) *script {
	s := &script{t: t, now: start}
	s.Session = &Session{Sink: &s.record}
	s.Open(Info{Conn: 1, Time: start})
	s.seen = len(s.record)
	return s
}

// upgraded returns a script whose Session is past the handshake.
func upgraded(t *testing.T) *script {
	s := newScript(t)
	s.Upgraded()
	return s
}

func (s *script) tick() time.Time {
	s.now = s.now.Add(time.Second)
	return s.now
}

func (s *script) client(b string) { s.Data(FromClient, s.tick(), []byte(b)) }
func (s *script) server(b string) { s.Data(FromServer, s.tick(), []byte(b)) }

// ends ends both directions.
func (s *script) ends() {
	s.End(FromClient, s.tick(), EndFIN, "")
	s.End(FromServer, s.tick(), EndFIN, "")
}

// want compares the events since the last call with lines.
func (s *script) want(lines ...string) {
	s.t.Helper()
	got := s.record[s.seen:].lines()
	s.seen = len(s.record)
	if !slices.Equal(got, lines) {
		s.t.Fatalf("got events\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
}
