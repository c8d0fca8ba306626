package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

const showExample = `  wstrace show chat.wst
  wstrace show -o hex chat.wst.gz | less
  wstrace show -m -o json chat.wst | jq 'select(.op == "text").text'
  ssh server cat /tmp/chat.wst | wstrace show -`

// show is wstrace show.
type show struct {
	con       *console
	view      *view
	keepGoing bool
}

func newShow(con *console, v *view) *cobra.Command {
	s := &show{con: con, view: v}
	cmd := &cobra.Command{
		Use:               "show [flags] FILE...",
		Short:             "Print recorded sessions as they were shown live",
		Example:           showExample,
		Args:              atLeastOneFile,
		ValidArgsFunction: completeTraces,
		RunE:              func(_ *cobra.Command, args []string) error { return s.run(args) },
	}
	cmd.Flags().BoolVar(&s.keepGoing, "keep-going", false, "pass over damaged lines")
	return cmd
}

func atLeastOneFile(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("want a FILE, or - for stdin")
	}
	return nil
}

func completeTraces(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"wst", "wst.gz", "wst.zst"}, cobra.ShellCompDirectiveFilterFileExt
}

func (s *show) run(names []string) error {
	for _, name := range names {
		if sameFile(name, s.view.to) {
			return usagef("%q would be written over itself", name)
		}
	}
	f := &flow{con: s.con, totals: totals{partial: true}}
	if err := s.view.addTo(f, false, false); err != nil {
		return f.abandon(err)
	}
	if err := f.begin(); err != nil {
		return f.abandon(err)
	}
	var last int64
	var failure error
	for _, name := range names {
		n, err := s.play(name, f, last)
		if err != nil {
			s.con.fail(failed("show", name, err))
			failure = errReported
		}
		last = n
	}
	return f.end(failure)
}

// play shows the sessions of one file, numbered on from last, and returns the
// highest number.
func (s *show) play(name string, f *flow, last int64) (int64, error) {
	in, err := file.Open(name)
	switch err {
	case file.ErrEmpty:
		s.con.note("%q: nothing was recorded", name)
		return last, nil
	case file.ErrCut:
		s.con.say("show %q: %v", name, err)
		return last, nil
	}
	if err != nil {
		return last, err
	}
	defer in.Close()

	src := trace.Source{R: &wanted{in, f}, After: last}
	var bad error
	if s.keepGoing {
		src.Bad = func(err error) {
			bad = errReported
			s.con.fail(failed("show", name, err))
		}
	}
	err = src.Play(context.Background(), &f.tee, s.view.look())
	switch {
	case errors.Is(err, decode.ErrCut):
		if !f.broken() {
			s.con.say("show %q: %v", name, err)
		}
	case err != nil:
		return src.Last(), err
	}
	return src.Last(), bad
}

// wanted ends what it reads when nobody wants the output any more.
type wanted struct {
	io.Reader
	f *flow
}

func (w *wanted) Read(p []byte) (int, error) {
	if w.f.broken() {
		return 0, io.EOF
	}
	return w.Reader.Read(p)
}

func sameFile(a, b string) bool {
	sa, errA := os.Stat(a)
	sb, errB := os.Stat(b)
	return errA == nil && errB == nil && sa.Mode().IsRegular() && os.SameFile(sa, sb)
}
