package main

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/output"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

// record is what the flags say about recordings.
type record struct {
	targets targets
	flush   choice
	redact  []string
	parts   partFlags
}

func (r *record) register(cmd *cobra.Command) {
	r.flush = choice{"auto", []string{"auto", "always"}}
	flags := cmd.Flags()
	flags.VarP(&r.targets, "write", "w", "record to `FILE`: .wst, .wst.gz or .wst.zst, or wst:- for stdout; may be repeated")
	flags.Var(&r.flush, "flush", "write to files `WHEN`: auto (within 100 ms), or always (before the last byte of a frame is forwarded); either way the other bytes of a frame in flight go on before they are recorded")
	flags.StringArrayVar(&r.redact, "redact", nil, "record a placeholder for what `SELECTOR` selects: Header:, ?parameter, $.path or /expression/; may be repeated")
	cmd.RegisterFlagCompletionFunc("write", cobra.FixedCompletions([]string{"wst", "wst.gz", "wst.zst"}, cobra.ShellCompDirectiveFilterFileExt))
	completeChoice(cmd, "flush", &r.flush)
}

func (r *record) always() bool { return r.flush.value == "always" }

// A target is where a recording goes.
type target struct {
	name string // "-" for stdout
	comp file.Compression
}

// targets is the value of -w.
type targets []target

func (t *targets) Type() string   { return "file" }
func (t *targets) String() string { return "" }

func (t *targets) Set(s string) error {
	n := target{name: "-"}
	if s != "wst:-" {
		c, err := file.ByName(s)
		if err != nil {
			return err
		}
		n = target{s, c}
	}
	if slices.Contains(*t, n) {
		return errors.New("given twice")
	}
	*t = append(*t, n)
	return nil
}

// addTo makes f record. If a recording goes to stdout, nothing else does.
func (r *record) addTo(f *flow, v *view) error {
	if len(r.redact) > 0 {
		if _, err := edit.NewRedactWriter(nil, r.redact...); err != nil {
			return usagef("--redact: %w", err)
		}
	}
	if err := r.parts.check(r.targets); err != nil {
		return err
	}
	for _, t := range r.targets {
		if t.name == "-" && v.to == "" {
			if v.flags.Changed("output") && v.form.value != "none" {
				return usagef("the recording goes to stdout: -o %s needs --to FILE", v.form.value)
			}
			v.form.value = "none"
		}
		d := &drain{record: true, sink: r.recordTo, opts: output.Options{Always: r.always()}}
		if err := f.add(d, t.name, t.comp); err != nil {
			return err
		}
		if err := r.parts.prepare(f.con, d, t.name); err != nil {
			return err
		}
		if r.parts.run != "" && d.file.HasParts() {
			d.sink, d.parted = r.partsTo, &parted{d: d, con: f.con, flags: &r.parts, part: 1}
		}
	}
	return nil
}

// partsTo returns what records the first part to w.
func (r *record) partsTo(w io.Writer) decode.Sink {
	o := traceOptions()
	o.Run, o.Part = r.parts.run, 1
	return r.recordWith(w, o)
}

// recordTo returns what records to w.
func (r *record) recordTo(w io.Writer) decode.Sink { return r.recordWith(w, traceOptions()) }

func (r *record) recordWith(w io.Writer, o trace.Options) decode.Sink {
	if len(r.redact) == 0 {
		return trace.NewWriter(w, o)
	}
	red, _ := edit.NewRedactWriter(w, r.redact...) // the selectors are good
	return &redactedTrace{trace.NewWriter(red, o), red, r.redact}
}

// A redactedTrace is a recording with placeholders for secrets.
type redactedTrace struct {
	*trace.Writer
	red       *edit.RedactWriter
	selectors []string
}

// Close writes what is held back. An error says why something is missing.
func (t *redactedTrace) Close() error { return cmp.Or(t.Err(), t.red.Close()) }

func traceOptions() trace.Options {
	return trace.Options{By: "wstrace " + versionString(), Mode: "proxy"}
}
