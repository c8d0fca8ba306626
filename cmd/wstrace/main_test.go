package main

import (
	"flag"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts")

// programs are in the PATH of tests: wstrace, and what it may run.
var programs = map[string]func(){"wstrace": main, "wsc": wsc}

func TestMain(m *testing.M) {
	child.Become() // wstrace starts itself by /proc/self/exe, whose name is not wstrace here
	testscript.Main(m, programs)
}

// gorace keeps programs with the race detector from sleeping before they exit.
const gorace = "atexit_sleep_ms=10"

// TestScripts runs the scripts in testdata/scripts. They have the commands of
// testscript and those of script_test.go.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/scripts",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", gorace)
			env.Setenv("ESC", "\x1b")
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Values[liveRuns{}] = map[string]*liveRun{}
			return nil
		},
		Cmds:      scriptCmds,
		Condition: scriptCondition,
	})
}
