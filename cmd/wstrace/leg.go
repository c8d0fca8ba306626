package main

import (
	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/replay"
)

// A legFlag is the value of --leg: which messages of a recording with changes count.
type legFlag struct{ choice }

func (l *legFlag) register(cmd *cobra.Command, usage string) {
	l.choice = choice{"came", []string{"came", "out"}}
	cmd.Flags().Var(&l.choice, "leg", usage)
	completeChoice(cmd, "leg", &l.choice)
}

// option takes, with out, what was sent in place of what the given sides sent.
func (l *legFlag) option(sides ...decode.Dir) replay.CompareOption {
	if l.value == "came" {
		return replay.CompareOptions()
	}
	return replay.AsSent(sides...)
}

// note says what the flag means for recordings, where that may surprise.
func (l *legFlag) note(con *console, op, name string, changed bool) {
	switch out := l.value == "out"; {
	case out && !changed:
		con.note("%s %q: nothing was changed, so --leg out is what came", op, name)
	case !out && changed:
		con.note("%s %q: something was changed; --leg out takes what the other side received", op, name)
	}
}
