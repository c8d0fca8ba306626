package main

import (
	"io"
	"math"
	"os"
	"slices"

	"github.com/fatih/color"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/output"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/render"
)

// A view is how events are shown, and where: flags that work before and after
// every subcommand.
type view struct {
	selection
	export
	form     choice
	inJSON   *trace.Writer // that form, with -o json
	to       string        // a file instead of stdout
	beside   bool          // stdout is that of a command which runs: events go to stderr
	preview  count
	messages bool
	color    choice
	time     choice
	numbers  bool
	severity severity
	stat     bool // print statistics in place of events
	tlsKeys  tlsKeysFlag

	notWhole func() // called when -o raw writes a message that is not whole; nil for nothing

	flags *pflag.FlagSet // to ask which were given
}

const hexPreview = 4096 // bytes, unless -n is given

func (v *view) register(cmd *cobra.Command) {
	v.form = choice{"compact", []string{"compact", "fiddler", "hex", "json", "csv", "raw", "none"}}
	v.color = choice{"auto", []string{"auto", "always", "never"}}
	v.preview = 80
	v.flags = cmd.PersistentFlags()
	v.flags.VarP(&v.form, "output", "o", "print events as `FORM`: compact, fiddler, hex, json, csv, raw (payloads and nothing else) or none")
	v.flags.StringVar(&v.to, "to", "", "print to `FILE` instead of stdout")
	v.flags.VarP(&v.preview, "preview", "n", "print at most `N` bytes of each payload")
	v.flags.Lookup("preview").DefValue = "what fits the terminal, else 80; for hex 4096; for json all"
	v.flags.BoolVarP(&v.messages, "messages", "m", false, "print one line per message instead of per frame, and one per HTTP body")
	v.flags.Var(&v.color, "color", "use colors `WHEN`: auto, always or never")
	v.time = choice{"clock", []string{"clock", "delta", "since", "unix", "iso"}}
	v.flags.Var(&v.time, "time", "print the time as `FORM`: clock; delta, since the line before, or since, since the session began, in seconds; unix or iso")
	v.flags.BoolVar(&v.numbers, "number", false, "print the number of each frame, or with -m message, counted from 0 in its direction")
	completeChoice(cmd, "time", &v.time)
	completeChoice(cmd, "output", &v.form)
	completeChoice(cmd, "color", &v.color)
}

// registerSeverity gives cmd, which prints violations, the flag that says which.
func (v *view) registerSeverity(cmd *cobra.Command) {
	v.severity.register(cmd, "", "print violations of severity `LEVEL` and worse: error, warning or info (default: warning; with -v info)")
}

// least returns the severity of which violations are printed, and worse ones.
func (v *view) least() decode.Severity {
	switch {
	case v.severity.value != "":
		return v.severity.least()
	case v.verbose():
		return decode.SeverityInfo
	}
	return decode.SeverityWarning
}

func (v *view) verbose() bool {
	verbose, _ := v.flags.GetBool("verbose")
	return verbose
}

func completeChoice(cmd *cobra.Command, flag string, c *choice) {
	cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(c.of, cobra.ShellCompDirectiveNoFileComp))
}

// output returns where a command that makes no events prints: the file of --to, which
// is created, or stdout. Closing is the caller's.
func (v *view) output() (*os.File, error) {
	if v.to == "" {
		return os.Stdout, nil
	}
	f, err := os.Create(v.to)
	if err != nil {
		return nil, failed("create", v.to, err)
	}
	return f, nil
}

// addTo makes f show its events. Live, a terminal that is slow loses lines,
// and always means that those of a file are there when the traffic goes on.
func (v *view) addTo(f *flow, live, always bool) error {
	if err := v.export.check(v.form.value); err != nil {
		return err
	}
	if v.stat {
		if err := v.checkStat(); err != nil {
			return err
		}
	}
	if v.form.value == "none" {
		return nil
	}
	name := "-"
	switch {
	case v.to != "":
		name = v.to
	case v.beside && v.form.value != "compact" && !v.stat:
		return usagef("-o %s needs --to FILE, such as /dev/stderr: stdout is the command's", v.form.value)
	case v.beside:
		name = toStderr
	}
	d := &drain{sink: v.sink}
	if err := f.add(d, name, file.Plain); err != nil {
		return err
	}
	if live {
		d.opts = output.Options{Drop: !d.file.Regular(), Always: always && d.file.Regular()}
	}
	return nil
}

// keeps returns an error if what is shown would overwrite one of the files that
// are read.
func (v *view) keeps(names []string) error {
	for _, name := range names {
		if sameFile(name, v.to) {
			return usagef("%q would be overwritten while it is read", name)
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	sa, errA := os.Stat(a)
	sb, errB := os.Stat(b)
	return errA == nil && errB == nil && sa.Mode().IsRegular() && os.SameFile(sa, sb)
}

// shown returns how many bytes of a payload are printed at most; all of them if
// that is negative, or in the compact form render.Fit.
func (v *view) shown() int {
	if !v.flags.Changed("preview") {
		switch v.form.value {
		case "hex":
			return hexPreview
		case "json", "raw":
			return -1
		case "compact":
			return render.Fit
		}
	}
	return int(v.preview)
}

// width returns how many bytes of a line are printed where contents differ: 0 for the
// usual number, less for no such lines.
func (v *view) width() int {
	switch {
	case !v.flags.Changed("preview"):
		return 0
	case v.preview == 0:
		return -1
	}
	return int(v.preview)
}

// prettyUpTo returns how long a message is at most that is printed indented, in bytes.
func (v *view) prettyUpTo() int {
	switch {
	case !v.pretty:
		return 0
	case v.flags.Changed("preview"):
		return int(v.preview)
	}
	return decode.MaxMessageData
}

// maxWhole is how many bytes of a message are shown, unless -n says less.
const maxWhole = 32 << 20

// look returns what the sessions of a run look into: they put messages together
// if anybody looks at them, and judge rules of severity info if they are printed.
func (v *view) look() decode.Look {
	if v.stat {
		return v.countLook()
	}
	l := decode.Look{Messages: v.form.value != "none", Advice: v.least() == decode.SeverityInfo, Seen: new(decode.Seen)}
	l.Keep, l.Unpack = maxWhole, unpack
	switch n := v.shown(); {
	case n >= 0:
		l.Keep = min(max(n, 1), maxWhole)
	case v.form.value == "compact":
		l.Keep = render.MaxFit
	}
	l.Keep = max(l.Keep, v.prettyUpTo())
	if l.WholeBodies = l.Messages && (v.messages || v.pretty); l.WholeBodies || v.form.value == "json" {
		l.Bodies = math.MaxInt64
	}
	if f := v.filter.Filter; f != nil && l.Messages {
		f.Needs().AddTo(&l)
	}
	if v.form.value == "csv" || v.fields.Columns != nil {
		v.fields.columns().Needs().AddTo(&l)
	}
	return l
}

// sink returns what prints to w, of what is selected.
func (v *view) sink(w io.Writer) decode.Sink {
	if v.stat {
		return newStatistics(w, v.form.value == "json", v.filter.Filter)
	}
	sink := v.where(w, v)
	sink = v.export.seeing(sink)
	if v.least() == decode.SeverityError {
		return errorsOnly(sink)
	}
	return sink // sessions judge no more than is printed
}

// apart reports whether lines can stand between others that are no events.
func (v *view) apart() bool {
	switch v.form.value {
	case "json", "csv", "raw":
		return false
	}
	return true
}

// errorsOnly returns a sink that passes on to form all events, with violations of
// severity error alone.
func errorsOnly(form decode.Sink) decode.Sink {
	lesser := func(v decode.Violation) bool { return v.Severity != decode.SeverityError }
	return passOn{func(ev *decode.Event) {
		if !slices.ContainsFunc(ev.Violations, lesser) {
			form.Emit(ev)
			return
		}
		e := *ev // other sinks get all of them
		e.Violations = slices.DeleteFunc(slices.Clone(ev.Violations), lesser)
		if e.Kind != decode.KindViolation || len(e.Violations) > 0 {
			form.Emit(&e)
		}
	}, form}
}

// options returns how lines look.
func (v *view) options() render.Options {
	o := render.Options{Preview: v.shown(), Color: v.colored(), Messages: v.messages, Date: v.to == "" && isTerminal(v.std()),
		Time: render.Time(slices.Index(v.time.of, v.time.value)), Numbers: v.numbers, Process: v.verbose(), Pretty: v.prettyUpTo(), Later: v.picks()}
	if v.onTerminal() {
		o.Columns = func() int { return columnsOf(v.std()) }
	}
	return o
}

// std returns where events go if no file is named.
func (v *view) std() *os.File {
	if v.beside {
		return os.Stderr
	}
	return os.Stdout
}

// renderer returns the form that was chosen, which prints to w.
func (v *view) renderer(w io.Writer) decode.Sink {
	o := v.options()
	v.state.Messages = v.messages
	switch v.form.value {
	case "fiddler":
		return render.NewFiddler(w, o)
	case "hex":
		return render.NewHex(w, o)
	case "csv":
		form := newCSV(w, v.fields.columns(), &v.state)
		v.seen = &v.state
		if v.messages {
			return decode.MessagesOnly(form)
		}
		return form
	case "raw":
		return &rawForm{w: w, separator: string(v.separator), messages: v.messages, bodies: v.namesBodies(), cut: v.notWhole}
	case "json":
		to := traceOptions()
		to.Derived, to.Preview, to.Messages = true, o.Preview, o.Messages
		v.inJSON = trace.NewWriter(w, to)
		return v.inJSON
	}
	if v.fields.Columns != nil {
		v.seen = &v.state
		o.Lead = v.lead
	}
	return render.NewCompact(w, o)
}

// namesBodies reports whether HTTP bodies are asked for by the filter or the fields.
func (v *view) namesBodies() bool { return v.filter.Filter != nil && v.filter.Needs().Bodies }

// onTerminal reports whether events go to a terminal.
func (v *view) onTerminal() bool { return v.to == "" && term.IsTerminal(int(v.std().Fd())) }

// terminalColumns returns how wide the terminal is.
func terminalColumns() int { return columnsOf(os.Stdout) }

func columnsOf(terminal *os.File) int {
	columns, _, err := term.GetSize(int(terminal.Fd()))
	if err != nil || columns <= 0 {
		return 80
	}
	return max(columns, 20)
}

// isTerminal reports whether f is a terminal, or another device that keeps nothing.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// colored reports whether to use colors.
func (v *view) colored() bool {
	switch v.color.value {
	case "always":
		return true
	case "never":
		return false
	}
	if v.beside { // color.NoColor is about stdout
		return v.onTerminal() && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return v.to == "" && !color.NoColor
}
