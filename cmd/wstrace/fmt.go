package main

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

const fmtExample = `  wstrace fmt chat.wst
  wstrace fmt -i testdata/chat.wst
  wstrace fmt -i --freeze testdata/compressed.wst`

func newFmt(con *console) *cobra.Command {
	var inPlace, freeze bool
	cmd := &cobra.Command{
		Use:               "fmt [flags] FILE",
		Short:             "Print a .wst file in its canonical form",
		Long:              "Print a .wst file in its canonical form: keys in order, defaults left out. Comments are kept.",
		Example:           fmtExample,
		ValidArgsFunction: completeTrace,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usagef("want one FILE, or - for stdin")
			case inPlace && args[0] == "-":
				return usagef("stdin cannot be changed in place")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			rewrite := trace.Format
			if freeze {
				rewrite = edit.Freeze
			}
			return format(con, "fmt", args[0], inPlace, rewrite)
		},
	}
	cmd.Flags().BoolVarP(&inPlace, "in-place", "i", false, "change FILE instead of printing it")
	cmd.Flags().BoolVar(&freeze, "freeze", false, "replace each deflate text with the compressed bytes that it stands for")
	return cmd
}

// completeTrace completes the first argument with the names of .wst files.
func completeTrace(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"wst", "wst.gz", "wst.zst"}, cobra.ShellCompDirectiveFilterFileExt
}

// errNoTrace is for a file in another format, for those who change traces.
var errNoTrace = usageError{hinted{errors.New("is no .wst file"), "wstrace convert makes one of it"}}

// format is wstrace fmt, and what is like it: rewrite copies a trace. What is cut
// off at its end is left out.
func format(con *console, op, name string, inPlace bool, rewrite func(io.Writer, io.Reader) error) error {
	r, err := source.Open(name)
	if err != nil {
		return failed(op, name, err)
	}
	defer r.Close()
	if r.Records() == nil {
		return failed(op, name, errNoTrace)
	}
	cut := false
	write := func(w io.Writer) error {
		err := rewrite(w, r)
		if cut = errors.Is(err, trace.ErrCut); cut {
			con.say("%s %q: %v", op, name, err)
			return nil
		}
		return err
	}
	if inPlace {
		err = file.Replace(name, r.Compression(), write)
	} else {
		err = write(os.Stdout)
	}
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		return failed(op, name, err)
	}
	return nil
}
