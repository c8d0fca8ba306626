package decode

import (
	"slices"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/internal/vectors"
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
		if fix := r.Remedy().Fix; fix == "" || fix[len(fix)-1] != '.' {
			t.Errorf("%s: got remedy %q, want sentences", r.ID, fix)
		}
		if (r.Remedy().Sample == "") != acrossSessions[r.ID] {
			t.Errorf("%s: got sample %q, want one unless it compares sessions", r.ID, r.Remedy().Sample)
		}
	}
	for id := range remedies {
		if !seen[id] {
			t.Errorf("a remedy for %s, which is no rule", id)
		}
	}
	if LookupRule("no-such-rule") != nil {
		t.Error("a rule that there is not is found")
	}
}

// TestSamples checks that what is shown as breaking a rule does so, and blames
// a side that the rule is for.
func TestSamples(t *testing.T) {
	for _, r := range Rules {
		if acrossSessions[r.ID] {
			continue
		}
		vs, err := vectors.Parse("vector x\nref x\nadvice on\n" + r.Remedy().Sample)
		if err != nil {
			t.Errorf("%s: %v", r.ID, err)
			continue
		}
		got, _ := play(vs[0], vs[0].Steps)
		i := slices.IndexFunc(rulesOf(got), func(v vectors.Rule) bool { return v.ID == string(r.ID) })
		if i < 0 {
			t.Errorf("%s: the sample %q breaks %v", r.ID, strings.ReplaceAll(r.Remedy().Sample, "\n", "; "), rulesOf(got))
			continue
		}
		if from := Dir(rulesOf(got)[i].From); r.Who != EitherSide && r.Who.String() != from.String() {
			t.Errorf("%s: the %s is blamed, the rule is for the %s", r.ID, from, r.Who)
		}
	}
}
