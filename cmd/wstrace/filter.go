package main

import (
	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
)

// A filterFlag is the value of -e.
type filterFlag struct{ *filter.Filter }

func (f *filterFlag) Type() string { return "EXPR" }

func (f *filterFlag) String() string {
	if f.Filter == nil {
		return ""
	}
	return f.Filter.String()
}

func (f *filterFlag) Set(s string) (err error) {
	f.Filter, err = filter.Parse(s)
	return err
}

func (f *filterFlag) register(cmd *cobra.Command, usage string) {
	cmd.Flags().VarP(f, "filter", "e", usage)
}

// where returns a sink that passes on what f selects, of messages in place of their
// frames if they stand for them.
func (f *filterFlag) where(sink decode.Sink, messages bool) decode.Sink {
	if messages {
		return f.WhereMessages(sink)
	}
	return f.Where(sink)
}

const filterUsage = "show only what `EXPR` selects, see wstrace help filter; what is recorded, and the totals, stay whole"

// newFilterHelp is the page that wstrace help filter prints.
func newFilterHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "filter",
		Short: "How -e selects what is shown",
		Long:  filter.Help(),
	}
}
