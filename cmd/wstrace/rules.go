package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/explain"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
)

const rulesExample = `  wstrace rules
        list them all
  wstrace rules frame-client-unmasked
        an example of bytes that break it, why it matters, and how to fix the sender
  wstrace rules pmd
        list those about permessage-deflate, which begin with pmd-`

func newRules() *cobra.Command {
	var asJSON bool
	var s severity
	cmd := &cobra.Command{
		Use:               "rules [flags] [ID]",
		Short:             "List the rules of the protocol, or explain one",
		Example:           rulesExample,
		ValidArgsFunction: completeRules,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("want one ID, got %d arguments", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			entries, err := explain.Parse()
			if err != nil {
				return fmt.Errorf("explanations of the rules: %w", err)
			}
			if len(args) == 1 {
				if entries = named(entries, args[0]); len(entries) == 0 {
					return unknownRule(args[0])
				}
			}
			one := len(args) == 1 && string(entries[0].ID) == args[0]
			if !one {
				entries = slices.DeleteFunc(entries, func(e explain.Entry) bool { return e.Severity > s.least() })
			}
			var b []byte
			switch {
			case asJSON:
				for i := range entries {
					b = appendRuleJSON(b, &entries[i])
				}
			case one:
				b = appendRule(nil, &entries[0])
			default:
				b = appendRules(nil, entries)
			}
			return printOut(b)
		},
	}
	s.register(cmd, "info", "list rules of severity `LEVEL` and worse: error, warning or info")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

func completeRules(_ *cobra.Command, args []string, _ string) (ids []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		for _, r := range decode.Rules {
			ids = append(ids, cobra.CompletionWithDesc(string(r.ID), r.Text))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// named returns the entry of the rule called name, or those of the rules whose
// names begin with it and a hyphen.
func named(entries []explain.Entry, name string) (of []explain.Entry) {
	group := strings.TrimRight(name, "-*") + "-"
	for i := range entries {
		switch id := string(entries[i].ID); {
		case id == name:
			return entries[i : i+1]
		case strings.HasPrefix(id, group):
			of = append(of, entries[i])
		}
	}
	return of
}

func unknownRule(id string) error {
	ids := make([]string, len(decode.Rules))
	for i := range decode.Rules {
		ids[i] = string(decode.Rules[i].ID)
	}
	if near := filter.Nearest(id, ids); near != "" {
		return usagef("unknown rule %q, did you mean %q?", id, near)
	}
	return usageError{hinted{fmt.Errorf("unknown rule %q", id), "wstrace rules lists them"}}
}

// appendRules appends a line for each rule, in columns, under their headings.
func appendRules(b []byte, entries []explain.Entry) []byte {
	var id, severity, who, section int
	for _, e := range entries {
		id = max(id, len(e.ID))
		severity = max(severity, len(e.Severity.String()))
		who = max(who, len(e.Who.String()))
		section = max(section, utf8.RuneCountInString(e.Section))
	}
	group := ""
	for _, e := range entries {
		if e.Group != group {
			if group != "" {
				b = append(b, '\n')
			}
			group = e.Group
			b = fmt.Appendf(b, "%s\n", group)
		}
		b = fmt.Appendf(b, "  %-*s  %-*s  %-*s  %-*s  %s\n", id, e.ID, severity, e.Severity, who, e.Who, section, e.Section, e.Text)
	}
	return b
}

// appendRule appends what there is to know about a rule.
func appendRule(b []byte, e *explain.Entry) []byte {
	b = fmt.Appendf(b, "%s: %s\n", e.ID, e.Text)
	b = fmt.Appendf(b, "rule for the %s, severity %s, %s\n", e.Who, e.Severity, e.Section)
	b = append(b, "\nWhat breaks it:\n"...)
	for _, l := range e.Example {
		b = l.Append(b, "  ")
	}
	b = append(b, "\nWhy it matters:\n"...)
	b = appendWrapped(b, e.Why)
	b = append(b, "\nHow to fix the sender:\n"...)
	return appendWrapped(b, e.Fix)
}

// appendWrapped appends text in lines of at most 78 columns, indented by 2.
func appendWrapped(b []byte, text string) []byte {
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			b = append(b, "  "...)
			column = 2
		case column+1+n > 78:
			b = append(b, "\n  "...)
			column = 2
		default:
			b = append(b, ' ')
			column++
		}
		b = append(b, word...)
		column += n
	}
	return append(b, '\n')
}

// appendRuleJSON appends a rule as a line of JSON, with the keys of a violation
// where they mean the same.
func appendRuleJSON(b []byte, e *explain.Entry) []byte {
	var example []byte
	for _, l := range e.Example {
		example = l.Append(example, "")
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Rule     decode.RuleID `json:"rule"`
		Severity string        `json:"severity"`
		Who      string        `json:"who"`
		Section  string        `json:"section"`
		Text     string        `json:"text"`
		Example  string        `json:"example"`
		Why      string        `json:"why"`
		Fix      string        `json:"fix"`
	}{e.ID, e.Severity.String(), e.Who.String(), e.Section, e.Text, string(example), e.Why, e.Fix})
	if err != nil {
		panic(err) // strings can be encoded
	}
	return append(b, line.Bytes()...)
}
