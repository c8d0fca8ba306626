package main

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode/pcap"
)

const showExample = `  wstrace show chat.wst
  wstrace show -o hex chat.wst.gz | less
  wstrace show --session 3 -e rule -B 5 chat.wst
  wstrace show --tls-keys keys.log capture.pcapng
  wstrace show -m -o json chat.wst | jq 'select(.op == "text").text'
  ssh server cat /tmp/chat.wst | wstrace show -`

// show is wstrace show.
type show struct {
	con       *console
	view      *view
	keepGoing bool
	follow    bool
	done      bool // all that is wanted has been shown
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
	v.filter.register(cmd, filterUsage)
	v.registerContext(cmd.Flags())
	v.registerRange(cmd.Flags())
	v.registerExport(cmd)
	cmd.Flags().BoolVar(&s.keepGoing, "keep-going", false, "skip what is damaged, and continue where that can be done")
	cmd.Flags().BoolVarP(&s.follow, "follow", "f", false, "go on as the recording grows, over --rotate too, until Ctrl-C; it need not exist yet")
	v.registerSeverity(cmd)
	v.tlsKeys.register(cmd)
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
	if err := s.view.selection.check(); err != nil {
		return err
	}
	switch {
	case s.follow && (len(names) > 1 || names[0] == "-"):
		return usagef("-f: want one file")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.view.full = func() {
		s.done = true
		cancel()
	}
	var once sync.Once
	s.view.notWhole = func() {
		once.Do(func() {
			s.con.say("-o raw: a message is not whole: it is longer than 32 MiB or -n, not finished, not recorded, or can't be inflated")
		})
	}
	f := &flow{con: s.con, unwanted: cancel, totals: totals{partial: true}}
	if err := s.view.addTo(f, false, false); err != nil {
		return f.abandon(err)
	}
	if err := f.begin(); err != nil {
		return f.abandon(err)
	}
	if s.view.given("head") && s.view.head == 0 {
		s.view.full()
	}
	if s.follow {
		var stop context.CancelFunc
		ctx, stop = f.untilSignal(ctx)
		defer stop()
	}
	var before *source.File
	var failure error
	for _, name := range names {
		if s.done {
			break
		}
		in, err := s.play(ctx, name, f, before)
		if in != nil {
			before = in
		}
		if err != nil && failure == nil {
			failure = err
		}
	}
	if before != nil && !s.done && !s.follow && failure == nil {
		_, f.partly = s.view.sessions.sayMissing(s.con, before.Last()) // totals are of all sessions, and none was wanted
	}
	f.partly = f.partly || s.done
	return f.end(failure)
}

// play shows the sessions of one file, counted on from those of the file before,
// and returns the file; nil if it can't be opened. Errors are reported.
func (s *show) play(ctx context.Context, name string, f *flow, before *source.File) (*source.File, error) {
	in, err := s.open(ctx, name)
	if in == nil {
		return nil, err
	}
	defer in.Close()
	in.Keys = s.view.tlsKeys.Keys
	if before == nil && s.view.inJSON != nil && in.Records() == nil { // as convert has it
		s.view.inJSON.SetMode(convertOptions().Mode)
	}
	if before != nil {
		in.After, in.Before = before.Last(), before
	}
	var bad error
	if s.keepGoing {
		in.Bad = func(err error) { bad = s.con.failIn("show", name, err) }
	}
	err = in.Play(ctx, &f.tee, s.view.look())
	if f.broken() || s.done || s.follow && ctx.Err() != nil { // nobody wants to know more
		return in, bad
	}
	notePlayed(s.con, "show", name, in)
	return in, cmp.Or(s.con.failIn("show", name, err), bad)
}

// open opens a recording, or waits for one.
func (s *show) open(ctx context.Context, name string) (*source.File, error) {
	if !s.follow {
		return openRecording(s.con, "show", name)
	}
	in, err := source.Follow(ctx, name, func(there bool) {
		switch {
		case !there:
			s.con.note("waiting for %q, which is not there", name)
		case s.view.caughtUp != nil:
			s.view.caughtUp()
		}
	})
	if err != nil && ctx.Err() != nil {
		return nil, nil // nothing has come
	}
	return in, s.con.failIn("show", name, err)
}

// notePlayed says if what was played is only a piece of a trace, and what of a capture
// was passed over; of one that has no frames at the end, or with tellMessages.
func notePlayed(con *console, op, name string, in *source.File) {
	if in.Messages() {
		con.addMessages(name)
	}
	if in.Piece() {
		con.note("%s %q: a piece of a trace, without its header line: nothing is judged by what may be missing", op, name)
	}
	if n, at := in.Cut(); n > 0 {
		where := ""
		if at > 0 {
			where = fmt.Sprintf(" at %d bytes", at)
		}
		verb := "were"
		if n == 1 {
			verb = "was"
		}
		con.note("%s %q: %s %s cut off%s when captured, and what was behind is missing", op, name, plural(n, "packet"), verb, where)
		con.hint("tcpdump -s 0 captures whole packets; in Wireshark, a snapshot length of default does")
	}
	for _, p := range in.Passed() {
		if p.What == pcap.PassedServerLeg && !con.verbose {
			continue // nothing is missing
		}
		what := "conversation"
		if p.Packets {
			what = "packet"
		}
		con.note("%s %q: %s passed over: %s", op, name, plural(p.N, what), p.What)
		switch {
		case p.What != pcap.PassedNoKey:
		case in.Keys != nil:
			con.hint("the file of --tls-keys has no keys for them; the program that made these connections has to write it")
		default:
			con.hint("--tls-keys FILE decrypts TLS: a browser or curl writes its keys to the file that SSLKEYLOGFILE names, and node --tls-keylog=FILE does")
		}
	}
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
