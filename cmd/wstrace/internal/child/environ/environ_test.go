package environ_test

import (
	"slices"
	"testing"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/environ"
)

func TestEnviron(t *testing.T) {
	env := []string{"A=1", "odd", "B=x=y", "A=2", "=C:=C:\\"}
	for name, want := range map[string]string{"A": "2", "B": "x=y", "C": "", "odd": "", "a": ""} {
		if got := environ.Get(env, name); got != want {
			t.Errorf("Get %s: got %q, want %q", name, got, want)
		}
	}
	for _, tt := range []struct {
		got, want []string
	}{
		{environ.Set(env, "A", "3"), []string{"odd", "B=x=y", "=C:=C:\\", "A=3"}},
		{environ.Set(env, "N", ""), append(slices.Clone(env), "N=")},
		{environ.Append(env, "A", "3"), []string{"odd", "B=x=y", "=C:=C:\\", "A=2 3"}},
		{environ.Append(nil, "A", "3"), []string{"A=3"}},
		{environ.Append([]string{"A="}, "A", "3"), []string{"A=3"}},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	if env[0] != "A=1" || len(env) != 5 {
		t.Errorf("the environment was changed: %q", env)
	}
}
