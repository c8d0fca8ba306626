package decode

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestRules checks the table: names, texts and what they have in common.
func TestRules(t *testing.T) {
	seen := map[RuleID]bool{}
	for _, r := range Rules {
		if seen[r.ID] || LookupRule(r.ID).ID != r.ID {
			t.Errorf("%s comes twice, or is not found", r.ID)
		}
		seen[r.ID] = true
		if r.Text == "" || r.Text[len(r.Text)-1] == '.' || r.Section == "" {
			t.Errorf("%s: got text %q, section %q", r.ID, r.Text, r.Section)
		}
	}
	if LookupRule("no-such-rule") != nil {
		t.Error("a rule that there is not is found")
	}
}

// TestRulesAreReported looks through the code of the judge: every id that it
// reports is a rule, and every rule is reported.
func TestRulesAreReported(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	reported := map[RuleID]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "rules.go" || name == "iana.go" || name == "event.go" {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, _ := strconv.Unquote(lit.Value)
				if LookupRule(RuleID(s)) != nil {
					reported[RuleID(s)] = true
				} else if ruleLike.MatchString(s) {
					t.Errorf("%s: %q looks like a rule, and there is none", name, s)
				}
			}
			return true
		})
	}
	for _, r := range Rules {
		if !reported[r.ID] {
			t.Errorf("%s: nothing reports it", r.ID)
		}
	}
}

// ruleLike matches what begins as the ids of rules do.
var ruleLike = regexp.MustCompile(`^(head|req|res|pmd|frame|mask|frag|control|text|close|ping|pong|tcp|tls)-[a-z0-9-]+$`)
