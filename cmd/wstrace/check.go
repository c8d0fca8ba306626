package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/render"
)

const checkExample = `  wstrace check chat.wst
  wstrace check --severity error chat.wst && echo fine
  wstrace check -e 'session == 3 and from == client' chat.wst
  wstrace check --json chat.wst | jq -r .rule | sort | uniq -c`

// check is wstrace check.
type check struct {
	con  *console
	view *view
	json bool
}

func newCheck(con *console, v *view) *cobra.Command {
	c := &check{con: con, view: v}
	cmd := &cobra.Command{
		Use:   "check [flags] FILE...",
		Short: "Report protocol violations in recorded sessions",
		Long: `Report which side broke which rule of the protocol, and where. The worst session
comes first. The exit status is 1 if there is a violation of severity error.
"wstrace rules ID" explains a rule`,
		Example:           checkExample,
		Args:              atLeastOneFile,
		ValidArgsFunction: completeRecordings,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args) },
	}
	ignores(cmd, "output", "messages", "time", "number")
	v.filter.register(cmd, "report only findings that `EXPR` selects, see wstrace help filter; others don't count")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one JSON object per line")
	v.registerSeverity(cmd)
	v.tlsKeys.register(cmd)
	return cmd
}

func (c *check) run(ctx context.Context, names []string) error {
	if err := c.view.keeps(names); err != nil {
		return err
	}
	out, err := c.view.output()
	if err != nil {
		return err
	}
	if out != os.Stdout {
		defer out.Close()
	}
	var failure error
	bad := int64(0) // errors in the sessions
	for _, name := range names {
		w := bufio.NewWriterSize(out, 64<<10)
		n, err := c.file(ctx, name, len(names) > 1, w)
		bad += n
		if err != nil && failure == nil {
			failure = err
		}
		if err := w.Flush(); isPipe(err) {
			break
		} else if err != nil {
			return failed("write", out.Name(), err)
		}
	}
	if failure == nil && bad > 0 {
		failure = errFound
	}
	return failure
}

func isPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

// printOut writes b to stdout. That nobody reads it is no error.
func printOut(b []byte) error {
	if _, err := os.Stdout.Write(b); err != nil && !isPipe(err) {
		return failed("write", "stdout", err)
	}
	return nil
}

// A judge is a sink that reports what it found wrong, at the latest at the end.
type judge interface {
	decode.Sink
	Errors() int64
	End()
}

// file writes what is wrong in one file to w and returns how many errors there
// are. That of the file itself is reported.
func (c *check) file(ctx context.Context, name string, named bool, w io.Writer) (int64, error) {
	in, err := openRecording(c.con, "check", name)
	if in == nil {
		return 0, err
	}
	defer in.Close()
	in.Keys = c.view.tlsKeys.Keys
	least := c.view.least()
	var j judge
	if c.json {
		f := &findings{w: w, least: least}
		f.open.Forgotten = f.write
		if named {
			f.file = name
		}
		j = f
	} else {
		if named {
			fmt.Fprintf(w, "%s:\n", decode.AppendEscaped(nil, []byte(name), false))
		}
		j = render.NewReport(w, render.Options{Preview: c.view.shown(), Color: c.view.colored()}, least)
	}
	look := decode.Look{Messages: true, Advice: least == decode.SeverityInfo, Seen: new(decode.Seen), Unpack: unpack}
	var sink decode.Sink = j
	if f := c.view.filter.Filter; f != nil {
		f.Needs().AddTo(&look)
		sink = f.Findings(j)
	}
	err = in.Play(ctx, sink, look)
	j.End()
	notePlayed(c.con, "check", name, in)
	return j.Errors(), c.con.failIn("check", name, err)
}

// findings are a sink that writes violations as JSON, one object a line, when
// their session is closed.
type findings struct {
	w      io.Writer
	file   string
	least  decode.Severity
	open   decode.PerSession[[]*found]
	start  time.Time // of the file
	errors int64
}

// A found violation, as check --json writes it.
type found struct {
	File     string  `json:"file,omitempty"` // if there are several
	Conn     int64   `json:"conn"`
	T        seconds `json:"t"`              // since t0, as in the trace; in other files since the first session began
	Line     int     `json:"line,omitempty"` // of the trace
	From     string  `json:"from,omitempty"`
	Frame    *int64  `json:"frame,omitempty"`
	Offset   *int64  `json:"offset,omitempty"` // of the byte in the frame or head; in what was inflated if the fault is there
	Rule     string  `json:"rule"`
	Severity string  `json:"severity"`
	Section  string  `json:"section"`
	Text     string  `json:"text"`
	Count    int64   `json:"count"` // how often the side broke the rule so badly

	violation decode.Violation
}

// seconds are a duration that JSON has as a trace has it: in seconds.
type seconds time.Duration

func (s seconds) MarshalJSON() ([]byte, error) {
	return trace.AppendSeconds(nil, time.Duration(s)), nil
}

func (f *findings) Errors() int64 { return f.errors }

// Emit takes ev.
func (f *findings) Emit(ev *decode.Event) {
	if f.start.IsZero() {
		f.start = ev.Time
	}
	if !ev.Start.IsZero() {
		f.start = ev.Start
	}
	if ev.Kind == decode.KindOpen {
		if before := f.open.Lookup(ev.Conn); before != nil {
			f.write(ev.Conn, before)
			f.open.Forget(ev.Conn)
		}
	}
	if ev.Kind != decode.KindClosed && len(ev.Violations) == 0 {
		return
	}
	open := f.open.Of(ev)
	for _, v := range ev.Violations {
		o := &found{File: f.file, Conn: ev.Conn, T: seconds(ev.Time.Sub(f.start)), Line: ev.Line, From: v.From.String(), Rule: string(v.ID), Severity: v.Severity.String(),
			Section: v.Section, Text: v.Text, Count: 1, violation: v}
		if v.Frame >= 0 {
			o.Frame = &v.Frame
		}
		if v.Where.N > 0 {
			o.Offset = &v.Where.From
		}
		*open = append(*open, o)
	}
	if ev.Kind != decode.KindClosed {
		return
	}
	for _, o := range *open {
		for _, c := range ev.Totals.Rules {
			if v := &o.violation; c.Rule == v.Rule && c.Severity == v.Severity && c.From == v.From {
				o.Count = c.N
			}
		}
	}
	f.write(ev.Conn, open)
}

// write writes what was found in a session that is over.
func (f *findings) write(_ int64, found *[]*found) {
	if found == nil {
		return
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	for _, o := range *found {
		if o.violation.Severity == decode.SeverityError {
			f.errors += o.Count
		}
		if o.violation.Severity <= f.least {
			line.Reset()
			enc.Encode(o)
			f.w.Write(trace.AppendJSON(nil, line.Bytes()))
		}
	}
}

// End writes what was found in sessions that are not closed.
func (f *findings) End() {
	for _, conn := range f.open.Open() {
		f.write(conn, f.open.Lookup(conn))
	}
}
