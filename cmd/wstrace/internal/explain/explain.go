// Package explain says more about the rules of package decode: bytes that break
// a rule, why that matters, and what to do about it.
package explain

import (
	_ "embed"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
)

// An Entry explains a rule.
type Entry struct {
	*decode.Rule
	Group   string // the heading that the rule stands under
	Example []Line // what breaks the rule
	Why     string // what other programs do about it
	Fix     string // for who maintains the sender
}

// A Line of an example is of one side's bytes if it begins with "> " or "< ".
type Line struct {
	Text   string
	Marked []Span
	Note   string // on what is marked
}

// A Span is a part of a line, as byte offsets.
type Span struct{ From, To int }

//go:embed rules.txt
var source string

// Parse returns the entries for all rules, in the order of decode.Rules.
func Parse() ([]Entry, error) { return parse(source) }

func parse(source string) ([]Entry, error) {
	var entries []Entry
	var e *Entry
	var group string
	n := 0
	for line := range strings.Lines(source) {
		n++
		line = strings.TrimSuffix(line, "\n")
		key, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || key == "#":
		case key == "==":
			group = rest
		case key == "rule":
			r := decode.LookupRule(decode.RuleID(rest))
			if r == nil {
				return nil, fmt.Errorf("line %d: no rule %q", n, rest)
			}
			entries = append(entries, Entry{Rule: r, Group: group})
			e = &entries[len(entries)-1]
		case e == nil:
			return nil, fmt.Errorf("line %d: before the first rule", n)
		case key == "why":
			e.Why = strings.TrimSpace(rest)
		case key == "fix":
			e.Fix = strings.TrimSpace(rest)
		default:
			l, err := parseLine(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			e.Example = append(e.Example, l)
		}
	}
	return entries, nil
}

// parseLine takes the marks and the note out of a line of an example.
func parseLine(s string) (Line, error) {
	var l Line
	s, l.Note, _ = strings.Cut(s, " -- ")
	var text strings.Builder
	open := -1
	for _, r := range s {
		switch {
		case r == '[' && open < 0:
			open = text.Len()
		case r == ']' && open >= 0:
			l.Marked = append(l.Marked, Span{open, text.Len()})
			open = -1
		case r == '[' || r == ']':
			return l, fmt.Errorf("%c without its other half", r)
		default:
			text.WriteRune(r)
		}
	}
	if open >= 0 {
		return l, fmt.Errorf("[ without its other half")
	}
	l.Text = text.String()
	return l, nil
}

// Append appends the line, and one below it that points at what is marked:
//
//	< 81 82 01 02 03 04 69 6b
//	     ^^ the mask bit is 1
func (l Line) Append(b []byte, indent string) []byte {
	b = append(append(b, indent...), l.Text...)
	if len(l.Marked) == 0 {
		if l.Note != "" {
			b = append(append(b, "  "...), l.Note...)
		}
		return append(b, '\n')
	}
	b = append(append(b, '\n'), indent...)
	at := 0
	for _, m := range l.Marked {
		b = append(b, strings.Repeat(" ", utf8.RuneCountInString(l.Text[at:m.From]))...)
		b = append(b, strings.Repeat("^", utf8.RuneCountInString(l.Text[m.From:m.To]))...)
		at = m.To
	}
	if l.Note != "" {
		b = append(append(b, ' '), l.Note...)
	}
	return append(b, '\n')
}
