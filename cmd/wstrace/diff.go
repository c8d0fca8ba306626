package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
	"github.com/wstrace/wstrace/proxy/replay"
)

const diffExample = `  wstrace diff old.wst new.wst
  wstrace diff --session 1,2 chat.wst chat.wst
  wstrace diff --ignore '$.time' old.wst new.wst
  wstrace diff -e 'from == server and json.type == "trade"' old.wst new.wst`

// diffFlags are the flags of wstrace diff.
type diffFlags struct {
	view     *view
	filter   filterFlag
	sessions pairFlag
	exact    bool
	ignore   []string
	capture  []string
	optional []string
	leg      legFlag
}

func newDiff(con *console, v *view) *cobra.Command {
	d := &diffFlags{view: v}
	cmd := &cobra.Command{
		Use:   "diff [flags] A B",
		Short: "Compare two recorded sessions",
		Long: `Compare two recorded sessions message by message. Masking keys, times and
heartbeats are not compared, and JSON and XML are compared by what they mean. A
line with ~ is a message that was sent in a different number of frames, or is
compressed in only one of the sessions. What a file that has messages and no frames
does not know is not compared. A message of more than 8 MiB is compared to
the byte, by its length and a hash. Below messages that are long, or are no text,
stands where they differ; -n N prints more or less of each line there. The exit
status is 1 if the sessions differ`,
		Example:           diffExample,
		ValidArgsFunction: completeRecordings,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 2:
				return usagef("want two files")
			case args[0] == "-" && args[1] == "-":
				return usagef("only one of the files can be stdin")
			case slices.Contains(d.capture, captureAuto):
				return usageError{hinted{errors.New("--capture auto is for replay, which waits for what comes back"), "name the values with --capture SELECTOR"}}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return d.run(con, args[0], args[1]) },
	}
	ignores(cmd, "output", "messages", "time", "number")
	flags := cmd.Flags()
	v.tlsKeys.register(cmd)
	flags.Var(&d.sessions, "session", "compare session `N` of both, or N,M, as numbered by show (default: the first WebSocket session of each)")
	d.filter.register(cmd, "compare only what `EXPR` selects, see wstrace help filter")
	d.leg.register(cmd, "compare what came, or `out`, what the other side received, where changes made that differ")
	flags.BoolVar(&d.exact, "exact", false, "compare frame by frame and byte by byte, heartbeats too")
	flags.StringArrayVar(&d.ignore, "ignore", nil, "do not compare what `SELECTOR` selects; may be repeated")
	flags.StringArrayVar(&d.optional, "optional", nil, "do not compare messages that `SELECTOR`, or a filter, selects; may be repeated")
	flags.StringArrayVar(&d.capture, "capture", nil, "let a value that `SELECTOR` selects be another one in B, wherever it is used; may be repeated")
	return cmd
}

// loadTightly is called before sessions are loaded that stay until the end. To leave as
// much again for what is thrown away, as the garbage collector does, would double them.
func loadTightly() { debug.SetGCPercent(40) }

// A pairFlag is the value of a flag that takes one number or two.
type pairFlag [2]int64

func (p *pairFlag) Type() string { return "N" }

func (p *pairFlag) String() string {
	if *p == (pairFlag{}) {
		return ""
	}
	return fmt.Sprintf("%d,%d", p[0], p[1])
}

func (p *pairFlag) Set(s string) error {
	a, b, ok := strings.Cut(s, ",")
	if !ok {
		b = a
	}
	n, err1 := strconv.ParseInt(a, 10, 64)
	m, err2 := strconv.ParseInt(b, 10, 64)
	if err1 != nil || err2 != nil || n < 1 || m < 1 {
		return errors.New("want a number, or two: 1,2")
	}
	*p = pairFlag{n, m}
	return nil
}

// sayLong says that messages are too long to be compared by value.
func sayLong(con *console, op, name string, scripts ...*replay.Script) {
	n := 0
	for _, s := range scripts {
		n += s.Long()
	}
	if n > 0 {
		con.note("%s %q: %s compared to the byte, as too long to be compared by value", op, name, plural(int64(n), "message"))
	}
}

// selected returns what is compared of one recording.
func (d *diffFlags) selected() replay.LoadOption {
	if d.filter.Filter == nil {
		return replay.Select(nil)
	}
	var st filter.State
	return replay.Select(func(ev *decode.Event) bool { return d.filter.Match(&st, ev) })
}

// run is wstrace diff.
func (d *diffFlags) run(con *console, a, b string) error {
	loadTightly()
	compare := replay.CompareOptions(compareOption(d.exact, false, d.ignore, d.capture, d.optional), d.leg.option(decode.FromClient, decode.FromServer))
	if err := replay.Check(compare); err != nil {
		return usageError{err}
	}
	var scripts [2]*replay.Script
	for i, name := range []string{a, b} {
		in, err := source.Open(name)
		if err != nil {
			return failed("diff", name, err)
		}
		in.Keys = d.view.tlsKeys.Keys
		scripts[i], err = replay.Load(in, compare, replay.Session(d.sessions[i]), d.selected())
		in.Close()
		if err != nil {
			return failed("diff", name, err)
		}
		if err := scripts[i].Warning(); err != nil {
			con.say("diff %q: %v", name, err)
		}
		sayLong(con, "diff", name, scripts[i])
		notePlayed(con, "diff", name, in)
	}
	d.leg.note(con, "diff", a, scripts[0].Changed() || scripts[1].Changed())
	var out bytes.Buffer
	fmt.Fprintf(&out, "--- %s #%d\n+++ %s #%d\n", decode.AppendEscaped(nil, []byte(a), false), scripts[0].Number(), decode.AppendEscaped(nil, []byte(b), false), scripts[1].Number())
	differ, err := replay.Diff(&out, scripts[0], scripts[1], d.view.width())
	if err != nil {
		return fmt.Errorf("diff --exact: %w", err) // writing to memory does not fail
	}
	if !differ {
		return nil
	}
	to, err := d.view.output()
	if err != nil {
		return err
	}
	_, err = to.Write(coloredDiff(out.Bytes(), d.view.colored()))
	if to != os.Stdout {
		err = cmp.Or(err, to.Close())
	}
	if err != nil && !isPipe(err) {
		return failed("write", to.Name(), err)
	}
	return errFound
}

// coloredDiff returns the lines of a diff, in colours if there are to be any: what is
// in one session only, and what was sent in another number of frames.
func coloredDiff(diff []byte, use bool) []byte {
	if !use {
		return diff
	}
	pens := map[byte]*color.Color{'-': color.New(color.FgRed), '+': color.New(color.FgGreen), '~': color.New(color.FgYellow)}
	var out []byte
	for line := range bytes.Lines(diff) {
		pen := pens[line[0]]
		if len(line) > 2 && string(line[:2]) == "  " { // inside a message
			pen = pens[line[2]]
		}
		if pen == nil {
			out = append(out, line...)
			continue
		}
		pen.EnableColor() // the library would ask the terminal
		out = append(append(out, pen.Sprint(string(bytes.TrimSuffix(line, []byte("\n"))))...), '\n')
	}
	return out
}
