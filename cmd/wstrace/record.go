package main

import (
	"errors"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/output"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// record is what the flags say about recordings.
type record struct {
	targets targets
	flush   choice
}

func (r *record) register(cmd *cobra.Command) {
	r.flush = choice{"auto", []string{"auto", "always"}}
	flags := cmd.Flags()
	flags.VarP(&r.targets, "write", "w", "record to `FILE`: .wst, .wst.gz, .wst.zst, or wst:- for stdout; may be repeated")
	flags.Var(&r.flush, "flush", "write lines to files `WHEN`: auto, or always before the bytes go on")
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
		return errors.New("is given twice")
	}
	*t = append(*t, n)
	return nil
}

// addTo makes f record. A recording on stdout leaves no room for the view.
func (r *record) addTo(f *flow, v *view) error {
	for _, t := range r.targets {
		if t.name == "-" && v.to == "" {
			if v.flags.Changed("output") && v.form.value != "none" {
				return usagef("stdout takes the recording: -o %s wants --to FILE", v.form.value)
			}
			v.form.value = "none"
		}
		d := &drain{record: true, sink: recordTo, opts: output.Options{Always: r.always()}}
		if err := f.add(d, t.name, t.comp); err != nil {
			return err
		}
	}
	return nil
}

func recordTo(w io.Writer) decode.Sink { return trace.NewWriter(w, traceOptions()) }

func traceOptions() trace.Options {
	return trace.Options{By: "wstrace " + versionString(), Mode: "proxy"}
}
