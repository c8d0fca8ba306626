package main

import (
	"runtime/debug"
	"testing"
)

func TestBuiltFrom(t *testing.T) {
	clone := []debug.BuildSetting{
		{Key: "vcs", Value: "git"},
		{Key: "vcs.revision", Value: "40370370000000000000000000000000000000ff"},
		{Key: "vcs.time", Value: "2026-11-21T12:34:56Z"},
		{Key: "vcs.modified", Value: "false"},
	}
	modified := append(append([]debug.BuildSetting{}, clone[:3]...), debug.BuildSetting{Key: "vcs.modified", Value: "true"})
	for _, test := range []struct {
		version  string
		settings []debug.BuildSetting
		want     string
	}{
		{"v0.3.0", nil, "0.3.0"},
		{"v0.3.0", clone, "0.3.0"},
		{"v0.0.0-20261121123456-403703700000", nil, "0.0.0-20261121123456-403703700000"}, // of go install
		{"v0.0.0-20261121123456-403703700000", clone, "devel 4037037 (2026-11-21)"},
		{"v0.3.1-0.20261121123456-403703700000", clone, "devel 4037037 (2026-11-21)"},
		{"v0.3.0+dirty", modified, "devel 4037037 (2026-11-21, modified)"},
		{"(devel)", clone, "devel 4037037 (2026-11-21)"},
		{"(devel)", nil, "(devel)"},
		{"", nil, "(devel)"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: test.version}, Settings: test.settings}
		if got := builtFrom(info); got != test.want {
			t.Errorf("%s, %d settings: got %q, want %q", test.version, len(test.settings), got, test.want)
		}
	}
}
