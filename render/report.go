package render

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A Report is a Sink that collects the violations in the sessions of a recording.
// End writes them, the worst session first.
type Report struct {
	printer
	least    decode.Severity // nothing less severe is written
	open     decode.PerSession[judged]
	sessions []*judged // those that are over and have something to write; the worst, if there are too many
	size     int       // of them, about
	unlisted int64     // sessions that had something to write, too

	total  int64 // sessions
	found  [3]int64
	faulty int64 // sessions with errors
}

// A judged session is what the report has to say of one.
type judged struct {
	conn     int64
	began    time.Time
	title    string
	verdict  string
	findings []finding
	found    [3]int64 // cases, by severity
}

// A finding is a rule that a side broke, with its first case.
type finding struct {
	decode.Violation
	n      int64
	detail string // lines
}

// NewReport returns a Report that writes violations of severity least and
// worse to w.
func NewReport(w io.Writer, o Options, least decode.Severity) *Report {
	r := &Report{printer: newPrinter(w, o, '.'), least: least}
	if r.preview == 0 {
		r.preview = 1
	}
	r.open.Forgotten = func(_ int64, s *judged) { r.settle(s) }
	return r
}

// MaxListed is how many sessions a [Report] writes at most, the worst ones. The
// others are counted.
const MaxListed = 10_000

// maxListedSize is how much they may take together, in bytes. There may be twice
// as much, and as many, before the worst are sought.
const maxListedSize = 32 << 20

// Errors returns how many errors there were in the sessions so far.
func (r *Report) Errors() int64 { return r.found[decode.SeverityError] }

// Emit takes ev.
func (r *Report) Emit(ev *decode.Event) {
	if ev.Kind == decode.KindOpen {
		r.settle(r.open.Lookup(ev.Conn))
		i := ev.Info
		r.total++
		*r.open.Of(ev) = judged{conn: ev.Conn, began: ev.Time, title: strings.TrimSpace(cmp.Or(i.URL, i.Server) + "  " + i.Client)}
	}
	s := r.open.Lookup(ev.Conn)
	if s == nil {
		return
	}
	for i := range ev.Violations {
		v := ev.Violations[i]
		s.findings = append(s.findings, finding{v, 1, r.detail(ev, &v)})
	}
	if ev.Kind == decode.KindClosed {
		s.close(ev, &r.printer)
		r.settle(s)
	}
}

// close takes the counts and the verdict of a session that is closed.
func (s *judged) close(ev *decode.Event, p *printer) {
	for i := range s.findings {
		f := &s.findings[i]
		for _, c := range ev.Totals.Rules {
			if c.Rule == f.Rule && c.Severity == f.Severity && c.From == f.From {
				f.n = c.N
			}
		}
	}
	if hs := ev.Handshake; hs != nil && hs.Accepted {
		t := ev.Totals
		p.buf = append(p.buf[:0], "closed "...)
		p.verdict(t)
		switch {
		case t.Abnormal():
		case t.Answered:
			p.text(", answered")
		case !ev.Info.NoFrames: // else one Close may be all that is known
			p.text(", not answered")
		}
		s.verdict = string(p.buf)
	}
}

// settle counts a session that is over, and keeps it if there is something to
// write.
func (r *Report) settle(s *judged) {
	if s == nil {
		return
	}
	r.open.Forget(s.conn)
	for _, f := range s.findings {
		s.found[f.Severity] += f.n
	}
	for i, n := range s.found {
		r.found[i] += n
	}
	if s.found[decode.SeverityError] > 0 {
		r.faulty++
	}
	s.findings = slices.DeleteFunc(s.findings, func(f finding) bool { return f.Severity > r.least })
	if len(s.findings) == 0 {
		return
	}
	r.sessions = append(r.sessions, s)
	if r.size += s.size(); len(r.sessions) > 2*MaxListed || r.size > 2*maxListedSize {
		r.prune()
	}
}

// size returns about how many bytes s takes.
func (s *judged) size() int {
	n := 256 + len(s.title) + len(s.verdict)
	for i := range s.findings {
		n += 256 + len(s.findings[i].Text) + len(s.findings[i].detail)
	}
	return n
}

// prune puts the worst sessions first, and keeps no more than are to be written.
func (r *Report) prune() {
	slices.SortStableFunc(r.sessions, func(a, b *judged) int {
		return cmp.Or(slices.Compare(b.found[:], a.found[:]), cmp.Compare(a.conn, b.conn))
	})
	n := 0
	for r.size = 0; n < min(len(r.sessions), MaxListed); n++ {
		size := r.sessions[n].size()
		if n > 0 && r.size+size > maxListedSize {
			break
		}
		r.size += size
	}
	r.unlisted += int64(len(r.sessions) - n)
	clear(r.sessions[n:])
	r.sessions = r.sessions[:n]
}

// End writes the report.
func (r *Report) End() {
	for _, conn := range r.open.Open() {
		r.settle(r.open.Lookup(conn))
	}
	r.prune()
	r.buf = r.buf[:0]
	for _, s := range r.sessions {
		r.judged(s)
		r.w.Write(r.buf)
		r.buf = r.buf[:0]
	}
	if r.unlisted > 0 {
		r.int(r.unlisted)
		r.text(" more sessions with violations are not listed\n")
	}
	r.count(r.total, "session")
	if r.faulty > 0 {
		r.text(", ")
		r.int(r.faulty)
		r.text(" with errors")
	}
	r.text(": ")
	r.severities(r.found)
	r.text("\n")
	r.w.Write(r.buf)
}

// severities appends "2 errors, 1 warning", or "no violations".
func (p *printer) severities(found [3]int64) {
	sep := ""
	for i, n := range found {
		if n > 0 {
			p.text(sep)
			p.count(n, decode.Severity(i).String())
			sep = ", "
		}
	}
	if sep == "" {
		p.text("no violations")
	}
}

func (r *Report) judged(s *judged) {
	r.time(s.began)
	r.text(" ")
	r.session(s.conn)
	if s.title != "" {
		r.text(" ")
		r.wire(s.title)
	}
	if s.verdict != "" {
		r.text("  ")
		r.text(s.verdict)
	}
	r.text(": ")
	r.severities(s.found)
	r.wrap(0, reportColumns, 4)
	r.text("\n\n")
	slices.SortStableFunc(s.findings, func(a, b finding) int { return cmp.Compare(a.Severity, b.Severity) })
	for _, f := range s.findings {
		r.finding(&f)
	}
	r.text("\n")
}

func (r *Report) finding(f *finding) {
	pen := r.severityPen(f.Severity)
	start := len(r.buf)
	r.text("  ")
	r.colored(pen, f.Severity.String())
	r.text(" ")
	r.text(f.From.String())
	r.text(" ")
	r.colored(pen, string(f.ID))
	if f.n > 1 {
		r.text(" ×")
		r.int(f.n)
	}
	r.text(": ")
	r.wire(f.Text)
	r.text(" (")
	r.text(f.Section)
	r.text(")")
	r.wrap(start, reportColumns, 6)
	r.text("\n")
	r.text(f.detail)
}

// detail returns the lines that show where v is: the frame and its bytes, with
// the fault marked, or the head.
func (r *Report) detail(ev *decode.Event, v *decode.Violation) string {
	r.buf = r.buf[:0]
	r.text("    ")
	if ev.Line > 0 {
		r.text("line ")
		r.int(int64(ev.Line))
		r.text(": ")
	}
	r.time(ev.Time)
	switch {
	case ev.Kind == decode.KindFrame:
		r.frameDetail(ev, v)
	case ev.Kind == decode.KindMessage:
		r.messageDetail(ev)
	case ev.Kind == decode.KindRequest && !ev.Handshake.Request.Cut:
		r.headDetail(ev.Handshake.Request, v, ">")
	case ev.Kind == decode.KindResponse && !ev.Head.Cut:
		r.headDetail(ev.Head, v, "<")
	case ev.Kind == decode.KindJunk:
		r.text(" ")
		r.text(ev.Dir.Arrow())
		r.text(" junk\n")
		r.row(0, ev.Data[:min(len(ev.Data), 16)], v.Where)
	case ev.Kind == decode.KindEnd:
		if !ev.Both {
			r.text(" ")
			r.text(ev.Dir.Arrow())
		}
		r.text(" end ")
		r.text(ev.How.String())
		r.text("\n")
	default:
		r.text("\n")
	}
	return string(r.buf)
}

func (r *Report) frameDetail(ev *decode.Event, v *decode.Violation) {
	f := ev.Frame
	r.text(" ")
	r.text(ev.Dir.Arrow())
	r.text(" frame ")
	r.int(f.N)
	r.text(" at byte ")
	r.int(f.Offset)
	r.text(": ")
	r.text(decode.OpName(f.OpCode))
	r.text(" ")
	r.buf = appendBits(r.buf, f.Flags())
	r.text(", ")
	r.count(f.Length, "byte")
	if v.Where.Inflated != "" {
		r.text(", inflated:")
	}
	r.wrap(0, reportColumns, 8)
	r.text("\n")

	if w := v.Where; w.Inflated != "" {
		r.row(w.From&^15, []byte(w.Inflated), w)
		return
	}
	r.payload = append(r.payload[:0], f.Head...)
	if f.More { // the header came before, and what is at hand need not follow it
		r.row(0, r.payload, v.Where)
		r.payload = r.payload[:0]
	}
	start := int64(len(r.payload))
	r.payload = f.AppendPayload(r.payload, -1)
	first := int64(len(f.Head)) + f.At - start // where the bytes at hand begin
	if !f.More && v.Where.From >= 16 {
		r.row(0, r.payload[:min(16, len(r.payload))], v.Where)
	}
	if f.More && v.Where.From < int64(len(f.Head)) {
		return
	}
	from := max(v.Where.From&^15, first)
	if have := first + int64(len(r.payload)); from < have {
		r.row(from, r.payload[from-first:min(v.Where.From&^15+16, have)-first], v.Where)
	}
}

// messageDetail appends the line of a message without a frame.
func (r *Report) messageDetail(ev *decode.Event) {
	m := ev.Message
	r.text(" ")
	r.text(ev.Dir.Arrow())
	if m.Op <= ws.OpBinary {
		r.text(" message ")
		r.int(m.N)
		r.text(":")
	}
	r.text(" ")
	r.text(decode.OpName(m.Op))
	r.text(", ")
	r.count(m.Len, "byte")
	r.wrap(0, reportColumns, 8)
	r.text("\n")
}

// row appends a row of at most 16 bytes, the first of which is the one at an
// offset of at. Below them it marks those that are at fault.
func (r *Report) row(at int64, b []byte, w decode.Span) {
	if len(b) == 0 {
		return
	}
	r.text(rowIndent)
	r.buf = appendRow(r.buf, at, b)
	r.mark(at, int64(len(b)), w.From, w.N)
}

// rowIndent lets a row end in column 80.
const rowIndent = "  "

// mark appends the line below a row of size bytes from offset at on, which marks
// those of the n bytes from offset from on that the row has.
func (r *Report) mark(at, size, from int64, n int) {
	if from+int64(n) <= at || from >= at+size {
		return
	}
	r.text(rowIndent)
	r.text("        ") // of the offset
	for i := range size {
		if i%8 == 0 {
			r.text(" ")
		}
		if at+i < from || at+i >= from+int64(n) {
			r.text("   ")
		} else {
			r.text(" ^^")
		}
	}
	r.end()
}

// headDetail appends the first line of a head and the field that v is about.
func (r *Report) headDetail(h *decode.Head, v *decode.Violation, arrow string) {
	r.text(" ")
	r.text(arrow)
	r.text(" ")
	r.wire(startLine(h))
	r.wrap(0, reportColumns, 8)
	r.end()
	if v.Where.Field == "" {
		return
	}
	for _, f := range h.Fields {
		if strings.EqualFold(f.Name, v.Where.Field) {
			start := len(r.buf)
			r.text("      ")
			r.wire(f.Name)
			r.text(": ")
			r.wire(f.Value)
			r.wrap(start, reportColumns, 8)
			r.end()
		}
	}
}
