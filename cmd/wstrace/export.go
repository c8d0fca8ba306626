package main

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
)

// An export is how the forms are written that are for other programs: csv and raw.
type export struct {
	fields    fieldsFlag
	separator separatorFlag

	csv *csvForm // the form, once it is made; nil if it is another
}

func (e *export) registerExport(flags *pflag.FlagSet) {
	flags.Var(&e.fields, "fields", "with -o csv, write these `FIELDS` of an event, see wstrace help filter: session,time,op,json.price")
	flags.Lookup("fields").DefValue = defaultFields
	flags.Var(&e.separator, "separator", `with -o raw, write `+"`TEXT`"+` between payloads, such as '\n' or '\0'`)
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
	state   filter.State
	row     []string
}

func newCSV(w io.Writer, c *filter.Columns) *csvForm {
	f := &csvForm{w: csv.NewWriter(w), columns: c}
	f.w.Write(c.Names)
	f.w.Flush()
	return f
}

// seeing returns a sink that has f see all events, which then go to sink.
func (f *csvForm) seeing(sink decode.Sink) decode.Sink {
	if f == nil {
		return sink
	}
	return passOn{func(ev *decode.Event) {
		f.columns.See(&f.state, ev)
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
	case decode.KindRequest, decode.KindResponse, decode.KindClosed, decode.KindJunk, decode.KindGap, decode.KindNotice:
	default:
		return
	}
	f.row = f.columns.Append(f.row[:0], &f.state)
	f.w.Write(f.row)
	f.w.Flush()
}

// A rawForm writes the payloads of data frames, or whole messages, and nothing else.
type rawForm struct {
	w         io.Writer
	separator string
	messages  bool
	cut       func() // called for a message that is not whole
	begun     bool
	buf       []byte
}

// Emit writes a payload.
func (f *rawForm) Emit(ev *decode.Event) {
	switch m, fr := ev.Message, ev.Frame; {
	case repeats(ev):
	case f.messages && m != nil && m.Op.IsData():
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
