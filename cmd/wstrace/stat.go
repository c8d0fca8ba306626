package main

import (
	"bufio"
	"context"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wstrace/wstrace/decode"
)

const statExample = `  wstrace stat chat.wst
  wstrace stat -e 'session == 3 and json.type == "trade"' chat.wst
  wstrace stat -o json chat.wst | jq .server.answer.p99
  wstrace -c ws://localhost:1901`

// stat is wstrace stat.
type stat struct {
	con      *console
	view     *view
	sessions sessionsFlag
}

func newStat(con *console, v *view) *cobra.Command {
	s := &stat{con: con, view: v}
	cmd := &cobra.Command{
		Use:   "stat [flags] FILE...",
		Short: "Count what is in recorded sessions",
		Long: `Count what is in recorded sessions, for each side: frames and messages by opcode,
their sizes, how many came in a second, the time between two messages of the side in
a session, how long it took to answer (to its next message after one of the other
side), round trips of its pings, and what compression saved. Below stand HTTP requests
and how sessions ended, with known timeouts that match how long they had been idle.
Where changes were made, what came is counted, and not what was sent in its place.
Values are within 1 %, min and max exact; -o json has the histograms. With -e only
what matches is counted. Live, wstrace -c prints the same at the end`,
		Example:           statExample,
		Args:              atLeastOneFile,
		ValidArgsFunction: completeRecordings,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), args) },
	}
	ignores(cmd, "preview", "messages", "time", "number")
	v.filter.register(cmd, "count only what `EXPR` selects, see wstrace help filter")
	cmd.Flags().Var(&s.sessions, "session", "count only session `N`, or N,M,…")
	v.tlsKeys.register(cmd)
	return cmd
}

// registerStat gives cmd, which shows live traffic, the flag for statistics.
func (v *view) registerStat(flags *pflag.FlagSet) {
	flags.BoolVarP(&v.stat, "stat", "c", false, "print no events but, at the end, what wstrace stat counts")
}

// checkStat returns an error for flags that don't go with statistics.
func (v *view) checkStat() error {
	switch v.form.value {
	case "compact", "json":
	default:
		return usagef("-o %s: statistics are compact or json", v.form.value)
	}
	if v.before > 0 || v.after > 0 {
		return usagef("-c and -A, -B or -C: statistics have no lines around a match")
	}
	return nil
}

// run counts what is in files.
func (s *stat) run(ctx context.Context, names []string) error {
	if err := s.view.keeps(names); err != nil {
		return err
	}
	if err := s.view.checkStat(); err != nil {
		return err
	}
	out, err := s.view.output()
	if err != nil {
		return err
	}
	if out != os.Stdout {
		defer out.Close()
	}
	w := bufio.NewWriter(out)
	counts := newStatistics(w, s.view.form.value == "json", s.view.filter.Filter)
	var sink decode.Sink = counts
	if s.sessions != nil {
		sink = decode.Where(s.sessions.has, sink)
	}
	var failure error
	last := int64(0)
	for _, name := range names {
		n, err := s.view.count(ctx, s.con, "stat", name, last, sink)
		last = max(last, n)
		if err != nil && failure == nil {
			failure = err
		}
	}
	if failure == nil {
		s.sessions.sayMissing(s.con, last)
	}
	if counts.bare && counts.frames() > 0 {
		s.con.note("some sessions have messages, not frames: bytes of these are of messages")
	}
	counts.Close()
	if err := w.Flush(); err != nil && !isPipe(err) {
		return failed("write", out.Name(), err)
	}
	return failure
}

// count plays a file, whose sessions count on from another, to a sink that counts what
// is in it, and returns the number of the last session. The error was reported.
func (v *view) count(ctx context.Context, con *console, op, name string, after int64, sink decode.Sink) (int64, error) {
	in, err := openRecording(con, op, name)
	if in == nil {
		return after, err
	}
	defer in.Close()
	in.After, in.Keys = after, v.tlsKeys.Keys
	err = in.Play(ctx, sink, v.countLook())
	notePlayed(con, op, name, in)
	return in.Last(), con.failIn(op, name, err)
}

// countLook returns what sessions look into to be counted.
func (v *view) countLook() decode.Look {
	look := decode.Look{Messages: true, Keep: 1, Seen: new(decode.Seen), Unpack: unpack}
	if f := v.filter.Filter; f != nil {
		f.Needs().AddTo(&look)
	}
	return look
}
