package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/output"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pcap"
	"github.com/wstrace/wstrace/decode/trace"
)

// record is what the flags say about recordings.
type record struct {
	seed    int64 // of the changes in force; 0 if there are none
	targets targets
	flush   choice
	redact  []string
	bodies  bodyFlag
	parts   partFlags
}

func (r *record) register(cmd *cobra.Command) {
	r.flush = choice{"auto", []string{"auto", "always"}}
	flags := cmd.Flags()
	flags.VarP(&r.targets, "write", "w", "record to `FILE`: .wst, or .pcapng for Wireshark, which .gz or .zst may follow; wst:- and pcapng:- are stdout; may be repeated")
	flags.Var(&r.flush, "flush", "write to files `WHEN`: auto (within 100 ms), or always (before the last byte of a frame is forwarded; with --redact a message that is looked into waits for its end); either way the other bytes of a frame in flight go on before they are recorded")
	flags.StringArrayVar(&r.redact, "redact", nil, "record and show a placeholder for what `SELECTOR` selects: credentials, Header:, ?parameter, $.path, xml:/path or /expression/; may be repeated")
	r.bodies = decode.DefaultBodies
	flags.Var(&r.bodies, "bodies", "record and show at most `SIZE` of each HTTP body, 0 for none; without it 64KiB, and of requests and JSON answers 1MiB")
	cmd.RegisterFlagCompletionFunc("write", cobra.FixedCompletions([]string{"wst", "wst.gz", "wst.zst", "pcapng", "pcapng.gz", "pcapng.zst"}, cobra.ShellCompDirectiveFilterFileExt))
	completeChoice(cmd, "flush", &r.flush)
}

// A bodyFlag is the value of --bodies: bytes, or [decode.DefaultBodies].
type bodyFlag int64

func (n *bodyFlag) Type() string { return "size" }

func (n *bodyFlag) String() string {
	if *n == decode.DefaultBodies {
		return ""
	}
	s := size(*n)
	return s.String()
}

func (n *bodyFlag) Set(s string) error {
	v, ok := parseSize(s)
	if !ok && s != "0" {
		return errors.New("want a size such as 64KiB, or 0")
	}
	*n = bodyFlag(v)
	return nil
}

// look returns what the sessions of a live run look into, of which v is shown.
func (r *record) look(v *view) decode.Look {
	l := v.look()
	if l.Bodies != 0 || slices.ContainsFunc(r.targets, target.takesBodies) {
		l.Bodies = int64(r.bodies)
	}
	return l
}

func (r *record) always() bool { return r.flush.value == "always" }

// A target is where a recording goes.
type target struct {
	name    string // "-" for stdout
	comp    file.Compression
	capture bool // it is .pcapng, and not .wst
}

// takesBodies reports whether the recording has bodies from their events. A capture
// has the bytes.
func (t target) takesBodies() bool { return !t.capture }

// String returns what -w was given.
func (t target) String() string {
	switch {
	case t.name != "-":
		return t.name
	case t.capture:
		return "pcapng:-"
	}
	return "wst:-"
}

// targets is the value of -w.
type targets []target

func (t *targets) Type() string   { return "file" }
func (t *targets) String() string { return "" }

func (t *targets) Set(s string) error {
	n := target{name: "-", capture: s == "pcapng:-"}
	if s != n.String() {
		c, err := file.ByName(s)
		if err != nil {
			return err
		}
		n = target{s, c, file.IsCapture(s)}
	}
	for _, other := range *t {
		if other == n {
			return errors.New("given twice")
		}
		if other.name == n.name {
			return fmt.Errorf("%s goes to stdout already", other)
		}
	}
	*t = append(*t, n)
	return nil
}

// addTo makes f record. If a recording goes to stdout, nothing else does.
func (r *record) addTo(f *flow, v *view) error {
	for _, t := range r.targets {
		if t.capture && len(r.redact) > 0 {
			return usagef("-w %s: a capture has all bytes as they came; --redact is for .wst", t)
		}
	}
	if len(r.redact) > 0 {
		var err error
		look := v.look()
		if r.look(v).Bodies != 0 {
			look.Bodies = math.MaxInt64 // of what --bodies has let through
		}
		look.Unpack = nil // what is packed is not redacted, and so is not shown as text
		if f.redaction, err = newRedaction(r.redact, look); err != nil {
			return usagef("--redact: %w", err)
		}
		hideIn(f.con, r.redact)
	}
	if err := r.parts.check(r.targets); err != nil {
		return err
	}
	for _, t := range r.targets {
		if t.name == "-" && v.beside {
			return usagef("-w %s: stdout is the command's", t)
		}
		if t.name == "-" && v.to == "" {
			if v.flags.Changed("output") && v.form.value != "none" {
				return usagef("the recording goes to stdout: -o %s needs --to FILE", v.form.value)
			}
			if !v.flags.Changed("output") {
				f.totals.silent = "-w " + t.String()
			}
			v.form.value = "none"
		}
		d := &drain{record: true, sink: r.recordTo, opts: output.Options{Always: r.always()}}
		if t.capture {
			d.sink = captureTo
		}
		if t.capture && t.name == "-" && term.IsTerminal(int(os.Stdout.Fd())) {
			return usagef("-w %s: stdout is a terminal; a pipe takes it: | wireshark -k -i -", t)
		}
		if err := f.add(d, t.name, t.comp); err != nil {
			return err
		}
		if t.capture {
			continue
		}
		if err := r.parts.prepare(f.con, d, t.name); err != nil {
			return err
		}
		if r.parts.run != "" && d.file.HasParts() {
			d.sink, d.parted = r.partsTo(f.redaction), &parted{d: d, con: f.con, flags: &r.parts, part: 1}
		}
	}
	return nil
}

// partsTo returns what makes a recording with parts. One that is redacted takes
// the events that are played again.
func (r *record) partsTo(red *redaction) func(io.Writer) decode.Sink {
	o := r.options()
	o.Run, o.Part = r.parts.run, 1
	if red != nil {
		o.Redact = red.red.Told()
	}
	return func(w io.Writer) decode.Sink { return trace.NewWriter(w, o) }
}

// recordTo returns what records to w.
func (r *record) recordTo(w io.Writer) decode.Sink { return trace.NewWriter(w, r.options()) }

func (r *record) options() trace.Options {
	o := traceOptions()
	o.Seed = r.seed
	return o
}

// captureTo returns what makes a capture in w.
func captureTo(w io.Writer) decode.Sink {
	return pcap.NewWriter(w, pcap.Options{By: "wstrace " + versionString()})
}

func traceOptions() trace.Options {
	return trace.Options{By: "wstrace " + versionString(), Mode: "proxy"}
}
