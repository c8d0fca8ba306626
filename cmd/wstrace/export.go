package main

import (
	"encoding/csv"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
)

// An export is how the forms are written that are for other programs: csv and raw.
type export struct {
	fields    fieldsFlag
	separator separatorFlag
	pretty    bool

	state filter.State  // of the columns
	seen  *filter.State // that, once a form shows columns; nil if none does
	row   []string      // scratch
}

func (e *export) registerExport(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Var(&e.fields, "fields", "print these `FIELDS` in front of the payload, or with -o csv alone, see wstrace help filter: session,op,json.price")
	flags.Lookup("fields").DefValue = "for csv " + defaultFields
	cmd.RegisterFlagCompletionFunc("fields", completeFields)
	flags.BoolVar(&e.pretty, "pretty", false, "print JSON indented below the line of its message or HTTP body")
	flags.Var(&e.separator, "separator", `with -o raw, write `+"`TEXT`"+` between payloads, such as '\n' or '\0'`)
}

// completeFields completes the last name of a list.
func completeFields(_ *cobra.Command, _ []string, typed string) (names []string, _ cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	for _, f := range filter.Fields() {
		stem, _, family := strings.Cut(f.Name, ".NAME")
		if !family {
			stem, _, family = strings.Cut(f.Name, ".PATH")
		}
		if family {
			stem += "."
		}
		names = append(names, before+stem)
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// check returns an error if a form has no use for what was asked for.
func (e *export) check(form string) error {
	switch {
	case e.pretty && form != "compact":
		return usagef("--pretty is for -o compact")
	case e.fields.Columns != nil && form != "compact" && form != "csv":
		return usagef("--fields is for -o compact and csv")
	}
	return nil
}

// maxLead is how much of a value stands in front of a payload, in bytes.
const maxLead = 60

// lead appends the values of the event that was seen last which it has: "type=next".
func (e *export) lead(dst []byte, _ *decode.Event) []byte {
	e.row = e.fields.Append(e.row[:0], &e.state)
	for i, value := range e.row {
		if value == "" {
			continue
		}
		if e.fields.Columns.Type(i) == filter.Duration {
			if seconds, err := strconv.ParseFloat(value, 64); err == nil {
				value = took(int64(math.Round(seconds * float64(time.Second))))
			}
		}
		if len(dst) > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, strings.TrimPrefix(e.fields.Names[i], "json.")...)
		dst = append(dst, '=')
		b := []byte(value)
		if len(b) > maxLead {
			b = decode.WholeChars(b[:maxLead])
		}
		if strings.ContainsAny(value, " \"") {
			dst = decode.AppendText(dst, b)
		} else {
			dst = decode.AppendEscaped(dst, b, false)
		}
		if len(b) < len(value) {
			dst = append(dst, "…"...)
		}
	}
	return dst
}

const defaultFields = "session,time,from,kind,op,len,text"

// A fieldsFlag is the value of --fields.
type fieldsFlag struct{ *filter.Columns }

func (f *fieldsFlag) Type() string   { return "FIELDS" }
func (f *fieldsFlag) String() string { return "" }

func (f *fieldsFlag) Set(text string) (err error) {
	f.Columns, err = filter.ParseColumns(text)
	return err
}

// columns returns the fields that were asked for, or the usual ones.
func (f *fieldsFlag) columns() *filter.Columns {
	if f.Columns == nil {
		f.Set(defaultFields) // they exist
	}
	return f.Columns
}

// A separatorFlag is the value of --separator.
type separatorFlag string

func (s *separatorFlag) Type() string   { return "TEXT" }
func (s *separatorFlag) String() string { return "" }

func (s *separatorFlag) Set(text string) error {
	escapes := []string{`\\`, `\`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\0`, "\x00"}
	without := slices.Clone(escapes)
	for i := 1; i < len(without); i += 2 {
		without[i] = ""
	}
	if strings.Contains(strings.NewReplacer(without...).Replace(text), `\`) {
		return errors.New(`want text, with \n, \r, \t, \0 and \\`)
	}
	*s = separatorFlag(strings.NewReplacer(escapes...).Replace(text))
	return nil
}

// A csvForm writes a line for each event that is complete, as RFC 4180 has it, after
// one with the names of the fields.
type csvForm struct {
	w       *csv.Writer
	columns *filter.Columns
	state   *filter.State
	row     []string
}

func newCSV(w io.Writer, c *filter.Columns, state *filter.State) *csvForm {
	f := &csvForm{w: csv.NewWriter(w), columns: c, state: state}
	f.w.Write(c.Names)
	f.w.Flush()
	return f
}

// seeing returns a sink that sees all events, which then go to sink, if a form shows
// columns of them.
func (e *export) seeing(sink decode.Sink) decode.Sink {
	if e.seen == nil {
		return sink
	}
	return passOn{func(ev *decode.Event) {
		e.fields.See(e.seen, ev)
		sink.Emit(ev)
	}, sink}
}

// A passOn is a sink in front of another, which is closed with it.
type passOn struct {
	decode.SinkFunc
	to decode.Sink
}

// Close ends what the events are passed on to.
func (p passOn) Close() error {
	if c, ok := p.to.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Emit writes the line of the event that was seen last.
func (f *csvForm) Emit(ev *decode.Event) {
	switch ev.Kind {
	case decode.KindFrame:
		if !ev.Frame.Complete {
			return
		}
	case decode.KindMessage:
		if repeats(ev) {
			return
		}
	case decode.KindBody:
		if ev.Body == nil {
			return
		}
	case decode.KindRequest, decode.KindResponse, decode.KindClosed, decode.KindJunk, decode.KindGap, decode.KindNotice:
	default:
		if len(ev.Violations) == 0 {
			return
		}
	}
	f.row = f.columns.Append(f.row[:0], f.state)
	f.w.Write(visible(f.row))
	f.w.Flush()
}

// visible escapes the control characters, but for white space, and what is not UTF-8 in
// cells, which may come from the wire: a terminal would do what they say.
func visible(row []string) []string {
	for i, cell := range row {
		if strings.IndexFunc(cell, unsafe) < 0 {
			continue
		}
		var b []byte
		for len(cell) > 0 {
			n := len(cell)
			if at := strings.IndexAny(cell, "\t\r\n"); at >= 0 {
				n = at
			}
			b = decode.AppendEscaped(b, []byte(cell[:n]), false)
			if n < len(cell) {
				b = append(b, cell[n])
				n++
			}
			cell = cell[n:]
		}
		row[i] = string(b)
	}
	return row
}

func unsafe(r rune) bool {
	return r != '\t' && r != '\r' && r != '\n' && !strconv.IsPrint(r) || r == utf8.RuneError
}

// A rawForm writes the payloads of data frames, or whole messages, and HTTP bodies if it
// is to, and nothing else.
type rawForm struct {
	w         io.Writer
	separator string // in front of each payload but the first
	messages  bool
	bodies    bool   // write HTTP bodies too
	cut       func() // called for a message that is not whole
	begun     bool
	buf       []byte
}

// Emit writes a payload.
func (f *rawForm) Emit(ev *decode.Event) {
	switch m, fr := ev.Message, ev.Frame; {
	case repeats(ev):
	case f.bodies && ev.Body != nil:
		f.begin()
		f.w.Write(ev.Body.Data)
		if (ev.Body.Cut || ev.Body.Unfinished) && f.cut != nil {
			f.cut()
		}
	case m != nil && (f.messages || m.Frames == 0) && m.Op <= ws.OpBinary:
		f.begin()
		f.w.Write(m.Data)
		if (m.Cut || m.Unread || m.Unfinished) && f.cut != nil {
			f.cut()
		}
	case !f.messages && ev.Kind == decode.KindFrame && !fr.Control():
		if !fr.More {
			f.begin()
		}
		f.buf = fr.AppendPayload(f.buf[:0], -1)
		f.w.Write(f.buf)
	}
}

// repeats reports whether an event has only the message that that of its final frame
// has, too.
func repeats(ev *decode.Event) bool {
	return ev.Kind == decode.KindMessage && ev.Message.Frames > 0 && !ev.Message.Unfinished
}

func (f *rawForm) begin() {
	if f.begun {
		io.WriteString(f.w, f.separator)
	}
	f.begun = true
}
