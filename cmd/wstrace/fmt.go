package main

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/decode/trace"
)

const fmtExample = `  wstrace fmt chat.wst
  wstrace fmt -i testdata/chat.wst`

func newFmt(con *console) *cobra.Command {
	var inPlace bool
	cmd := &cobra.Command{
		Use:               "fmt [flags] FILE",
		Short:             "Print a trace in its canonical form",
		Long:              "Print a trace in its canonical form: keys in order, defaults left out. Comments stay.",
		Example:           fmtExample,
		ValidArgsFunction: completeTraces,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usagef("want one FILE, or - for stdin")
			case inPlace && args[0] == "-":
				return usagef("stdin cannot be changed in place")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return format(con, args[0], inPlace) },
	}
	cmd.Flags().BoolVarP(&inPlace, "in-place", "i", false, "change FILE instead of printing it")
	return cmd
}

// format is wstrace fmt. What is cut off at the end of a trace is left out.
func format(con *console, name string, inPlace bool) error {
	r, err := file.Open(name)
	if err != nil {
		return failed("fmt", name, err)
	}
	defer r.Close()
	cut := false
	write := func(w io.Writer) error {
		err := trace.Format(w, r)
		if cut = errors.Is(err, trace.ErrCut); cut {
			con.say("fmt %q: %v", name, err)
			return nil
		}
		return err
	}
	if inPlace {
		err = file.Replace(name, r.Compression, write)
	} else {
		err = write(os.Stdout)
	}
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		return failed("fmt", name, err)
	}
	return nil
}
