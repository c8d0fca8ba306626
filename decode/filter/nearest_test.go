package filter

import (
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"frame-rsv-set", "frame-client-unmasked", "req-key-reused", "listen"}
	for _, c := range []struct{ name, want string }{
		{"frame-rsv-st", "frame-rsv-set"},
		{"Frame-RSV-Set", "frame-rsv-set"},
		{"frame-client-masked", "frame-client-unmasked"},
		{"unmasked", "frame-client-unmasked"},
		{"req-keys-reused", "req-key-reused"},
		{"lisen", "listen"},
		{"x", ""},
		{"frobnicate", ""},
		{"", ""},
	} {
		if got := Nearest(c.name, names); got != c.want {
			t.Errorf("Nearest(%q): got %q, want %q", c.name, got, c.want)
		}
	}
}
