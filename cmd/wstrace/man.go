package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan is wstrace man, which packagers run: the pages are made of the commands, so
// that they say the same as --help.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages",
		Long:    "Write a manual page for each command into DIR, for packages to ship. They say what --help says",
		Example: "  wstrace man /usr/local/share/man/man1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want the folder for the pages")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return failed("create", args[0], err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // the date of the build would make each package another one
			header := &doc.GenManHeader{Title: "WSTRACE", Section: "1", Source: "wstrace " + versionString(), Manual: "wstrace", Date: builtAt()}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return failed("write", args[0], err)
			}
			return nil
		},
	}
}

// builtAt returns when the commit was made that this is built from.
func builtAt() *time.Time {
	at := time.Unix(0, 0).UTC()
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				at = t
			}
		}
	}
	return &at
}

// newVersion is wstrace version.
func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return printOut(fmt.Appendf(nil, "wstrace %s\n", versionString()))
		},
	}
}
