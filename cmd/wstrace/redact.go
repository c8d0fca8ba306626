package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode/trace/edit"
)

const redactExample = `  wstrace redact chat.wst > shared.wst
        the headers and parameters that usually hold secrets
  wstrace redact -i chat.wst Cookie: '?session' '$.user.email' '/key=(\w+)/'
        a header, a parameter of the query, a value of JSON, part of a message`

func newRedact(con *console) *cobra.Command {
	var inPlace bool
	cmd := &cobra.Command{
		Use:   "redact [flags] FILE [SELECTOR...]",
		Short: "Replace secrets in a trace with placeholders",
		Long: `Print a trace with placeholders for what the selectors select: Header:,
?parameter, $.path of the JSON in messages, or what /expression/, or its first
group, matches in messages. The same secret gets the same placeholder wherever
it is selected`,
		Example:           redactExample,
		ValidArgsFunction: completeRecordings,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usagef("want a FILE, or - for stdin")
			case inPlace && args[0] == "-":
				return usagef("stdin cannot be changed in place")
			}
			if _, err := edit.NewRedactWriter(nil, selectors(args)...); err != nil {
				return usageError{err}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return format(con, "redact", args[0], inPlace, func(w io.Writer, r io.Reader) error {
				return edit.Redact(w, r, selectors(args)...)
			})
		},
	}
	cmd.Flags().BoolVarP(&inPlace, "in-place", "i", false, "change FILE instead of printing it")
	return cmd
}

// selectors returns those given behind the file, or the usual ones.
func selectors(args []string) []string {
	if len(args) > 1 {
		return args[1:]
	}
	return edit.Secrets
}
