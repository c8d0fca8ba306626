package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode"
)

const rulesExample = `  wstrace rules
  wstrace rules frame-client-unmasked`

func newRules() *cobra.Command {
	var s severity
	cmd := &cobra.Command{
		Use:     "rules [flags] [ID]",
		Short:   "List the rules that sessions are checked by, or explain one",
		Example: rulesExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("want one ID, got %d arguments", len(args))
			}
			return nil
		},
		ValidArgsFunction: completeRules,
		RunE: func(_ *cobra.Command, args []string) error {
			var b bytes.Buffer
			if len(args) == 0 {
				listRules(&b, s.least())
			} else if err := explainRule(&b, args[0]); err != nil {
				return err
			}
			if _, err := os.Stdout.Write(b.Bytes()); err != nil && !isPipe(err) {
				return failed("write", "stdout", err)
			}
			return nil
		},
	}
	s.register(cmd, "list what is at least so bad, `WORD`: error, warning, info")
	return cmd
}

func completeRules(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	for _, r := range decode.Rules {
		ids = append(ids, string(r.ID)+"\t"+r.Text)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// listRules prints a line for each rule that is severe enough.
func listRules(b *bytes.Buffer, least decode.Severity) {
	for _, r := range decode.Rules {
		if r.Severity <= least {
			fmt.Fprintf(b, "%-29s %-7s %-16s %-18s %s\n", r.ID, r.Severity, r.Who, r.Section, r.Text)
		}
	}
}

// explainRule prints all that is known of a rule.
func explainRule(b *bytes.Buffer, id string) error {
	r := decode.LookupRule(decode.RuleID(id))
	if r == nil {
		err := fmt.Errorf("unknown rule %q", id)
		if near := nearRules(id); near != "" {
			return usageError{hinted{err, "wstrace rules " + near}}
		}
		return usageError{hinted{err, "wstrace rules lists the rules"}}
	}
	fmt.Fprintf(b, "%s: %s of the %s (%s)\n\n", r.ID, r.Severity, r.Who, r.Section)
	fmt.Fprintf(b, "The rule:  %s.\n", upper(r.Text))
	remedy := r.Remedy()
	fmt.Fprintf(b, "The fix:   %s\n", wrap(remedy.Fix, 11))
	if remedy.Sample == "" {
		return nil
	}
	b.WriteString("\nWhat breaks it:\n\n")
	for line := range strings.Lines(remedy.Sample) {
		fmt.Fprintf(b, "    %s\n", sampleLine(strings.TrimSuffix(line, "\n")))
	}
	return nil
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// nearRules returns the rule whose name has the most in common with id.
func nearRules(id string) string {
	best, most := "", 0
	for _, r := range decode.Rules {
		n := 0
		for word := range strings.SplitSeq(id, "-") {
			if word != "" && strings.Contains(string(r.ID), word) {
				n += len(word)
			}
		}
		if n > most {
			best, most = string(r.ID), n
		}
	}
	if most < 4 {
		return ""
	}
	return best
}

// sampleLine turns a line of a sample into what a person reads: "> 81 00" are
// bytes from the client, and so on.
func sampleLine(line string) string {
	word, value, _ := strings.Cut(line, " ")
	arrow := map[string]string{"request": ">", "response": "<"}[word]
	switch {
	case arrow == "":
		switch word {
		case "ext":
			return "agreed on: " + value
		case "at":
			return "after " + value + ":"
		case "url":
			return "to " + value + ":"
		case "sni":
			return "TLS for " + cmp.Or(strings.Trim(value, "-"), "no name") + ":"
		case "end":
			side, how, _ := strings.Cut(value, " ")
			return side + " end: " + how
		}
		return line
	case value == "ok":
		return arrow + " a good " + word
	case strings.HasPrefix(value, "-"):
		return arrow + " no " + value[1:]
	}
	return arrow + " " + strings.TrimPrefix(value, "+")
}

// wrap breaks text into lines of about 78 characters, the later ones indented.
func wrap(text string, indent int) string {
	var b strings.Builder
	col := indent
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case col+1+len(word) > 78:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			col = indent
		default:
			b.WriteString(" ")
			col++
		}
		b.WriteString(word)
		col += len(word)
	}
	return b.String()
}
