package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
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
		ValidArgsFunction: completeRecordings,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), args) },
	}
	cmd.Flags().BoolVar(&s.keepGoing, "keep-going", false, "skip damaged lines and continue")
	return cmd
}

func atLeastOneFile(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("want a FILE, or - for stdin")
	}
	return nil
}

func completeRecordings(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return source.Extensions(), cobra.ShellCompDirectiveFilterFileExt
}

func (s *show) run(ctx context.Context, names []string) error {
	if err := s.view.keeps(names); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &flow{con: s.con, unwanted: cancel, totals: totals{partial: true}}
	if err := s.view.addTo(f, false, false); err != nil {
		return f.abandon(err)
	}
	if err := f.begin(); err != nil {
		return f.abandon(err)
	}
	var last int64 // session
	var failure error
	for _, name := range names {
		var err error
		if last, err = s.play(ctx, name, f, last); err != nil && failure == nil {
			failure = err
		}
	}
	return f.end(failure)
}

// play shows the sessions of one file, counted on from last, and returns the
// number of its last one. Errors are reported.
func (s *show) play(ctx context.Context, name string, f *flow, last int64) (int64, error) {
	in, err := openRecording(s.con, "show", name)
	if in == nil {
		return last, err
	}
	defer in.Close()
	in.After = last
	var bad error
	if s.keepGoing {
		in.Bad = func(err error) { bad = s.con.failIn("show", name, err) }
	}
	err = in.Play(ctx, &f.tee, s.view.look())
	if f.broken() { // nobody wants to know more
		return in.Last(), bad
	}
	return in.Last(), cmp.Or(s.con.failIn("show", name, err), bad)
}

// openRecording opens a recording for a command called op. One that is empty or
// cut off is nil: there is nothing in it, and that was said. Errors are reported.
func openRecording(con *console, op, name string) (*source.File, error) {
	in, err := source.Open(name)
	if err == source.ErrEmpty {
		con.note("%q: %v", name, err)
		return nil, nil
	}
	return in, con.failIn(op, name, err)
}
