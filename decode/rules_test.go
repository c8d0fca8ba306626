package decode

import "testing"

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
