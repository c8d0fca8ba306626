package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
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
			for _, topic := range root.Commands() {
				if !topic.IsAdditionalHelpTopicCommand() {
					continue
				}
				page := filepath.Join(args[0], "wstrace-"+topic.Name()+".1")
				if err := os.WriteFile(page, manTopic(topic, header), 0o644); err != nil {
					return failed("write", page, err)
				}
			}
			return nil
		},
	}
}

// manTopic returns the page on a topic, as help prints it.
func manTopic(topic *cobra.Command, header *doc.GenManHeader) []byte {
	quote := func(s string) string { return strings.ReplaceAll(s, `\`, `\e`) }
	var b bytes.Buffer
	fmt.Fprintf(&b, ".TH %q %q %q %q %q\n.SH NAME\nwstrace-%s - %s\n.SH DESCRIPTION\n.nf\n", strings.ToUpper("wstrace-"+topic.Name()), header.Section,
		header.Date.Format("Jan 2006"), header.Source, header.Manual, topic.Name(), topic.Short)
	for line := range strings.Lines(topic.Long) {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			b.WriteString(`\&`) // else it is a request
		}
		b.WriteString(quote(line))
	}
	b.WriteString(".fi\n")
	return b.Bytes()
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
