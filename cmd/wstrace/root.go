package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode/filter"
)

// version is set when a release is built.
var version string

func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return builtFrom(info)
	}
	return "unknown"
}

// builtFrom returns the version of a module, or the commit of a clone: "0.3.0",
// "devel 4037037 (2026-11-21)".
func builtFrom(info *debug.BuildInfo) string {
	vcs := map[string]string{}
	for _, s := range info.Settings {
		vcs[s.Key] = s.Value
	}
	version, revision := info.Main.Version, vcs["vcs.revision"]
	release := !strings.Contains(version, "-0.") && !strings.HasPrefix(version, "v0.0.0-") && vcs["vcs.modified"] != "true"
	switch {
	case version == "" || version == "(devel)":
		version = "(devel)"
	case release || revision == "":
		return strings.TrimPrefix(version, "v")
	}
	if revision == "" {
		return version
	}
	day, _, _ := strings.Cut(vcs["vcs.time"], "T")
	if vcs["vcs.modified"] == "true" {
		day += ", modified"
	}
	return fmt.Sprintf("devel %.7s (%s)", revision, day)
}

const rootExample = `  wstrace ws://localhost:1901
        watch a server: point its clients at ws://127.0.0.1:8080
  wstrace -- node client.js
        run a program, and see every connection that it makes
  wstrace -l 3000 http://localhost:3001 -- npm run dev -- --port 3001
        run a server behind the proxy, at http://127.0.0.1:3000
  wstrace -w chat.wst ws://localhost:1901
        record as well
  wstrace show chat.wst
        print the recording
  wstrace
        act as an HTTP proxy, for clients that can be told to use one
  wstrace demo
        see an example`

func newRoot(con *console) *cobra.Command {
	var v view
	var live liveFlags
	cmd := &cobra.Command{
		Use:               "wstrace [flags] [URL] [-- CMD [ARG...]]",
		Short:             "Strace for WebSockets: a proxy that shows every frame as it stood on the wire",
		Example:           rootExample,
		Version:           versionString(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              rootArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			urls, argv := beforeDash(cmd, args)
			return live.run(cmd.Context(), con, &v, urls, argv)
		},
	}
	cmd.SetOut(os.Stdout)
	cmd.SetErr(os.Stderr)
	cmd.SetHelpFunc(help)
	cmd.SetHelpCommand(newHelp())
	cmd.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		hideIgnored(cmd, args)
		return checkIgnored(cmd)
	}
	cmd.SetFlagErrorFunc(flagError)
	cmd.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)

	flags := cmd.PersistentFlags()
	v.register(cmd)
	flags.BoolVarP(&con.quiet, "quiet", "q", false, "print no notices or totals, only errors")
	flags.BoolVarP(&con.verbose, "verbose", "v", false, "also print connection attempts, timeouts, the process of each request, if known, and violations of severity info")
	flags.BoolP("help", "h", false, "show help")
	live.register(cmd)
	v.filter.register(cmd, filterUsage)
	v.registerContext(cmd.Flags())
	v.registerExport(cmd)
	v.registerStat(cmd.Flags())
	v.registerSeverity(cmd)
	cmd.Flags().Bool("version", false, "print the version")

	cmd.AddCommand(newShow(con, &v), newCheck(con, &v), newRules(), newFmt(con), newRedact(con),
		newLs(con, &v), newStat(con, &v), newReplay(con, &v), newDiff(con, &v), newConvert(con), newCA(con), newDemo(con, &v))
	cmd.AddCommand(newFilterHelp(), newChangesHelp(), newFaultsHelp(), newMan(), newVersion())
	return cmd
}

// beforeDash returns the arguments before "--", and a command behind it.
func beforeDash(cmd *cobra.Command, args []string) (before, argv []string) {
	n := cmd.ArgsLenAtDash()
	if n < 0 {
		n = len(args)
	}
	return args[:n], args[n:]
}

// rootArgs checks the arguments of the command without a subcommand.
func rootArgs(cmd *cobra.Command, args []string) error {
	args, argv := beforeDash(cmd, args)
	switch {
	case cmd.ArgsLenAtDash() >= 0 && len(argv) == 0:
		return usagef("want a command after --")
	case len(args) == 0:
		return nil
	case !isURL(args[0]) && meantCommand(cmd, args):
		return usageError{hinted{fmt.Errorf("unknown command %q", args[0]), "to run a program: wstrace -- " + strings.Join(args, " ")}}
	case isRecording(args[0]):
		return usageError{hinted{fmt.Errorf("unknown command %q", args[0]), "to print a recording: wstrace show " + args[0]}}
	case !strings.Contains(args[0], "://") && meantURL(args[0]) == "":
		return unknownCommand(cmd, args[0])
	case len(args) > 1:
		return usageError{hinted{fmt.Errorf("want one URL, got %d arguments", len(args)), "to run a server: wstrace URL -- CMD"}}
	}
	return nil
}

func isURL(arg string) bool { return strings.Contains(arg, "://") }

// meantCommand reports whether arguments are a program and its arguments, before which
// "--" is missing.
func meantCommand(cmd *cobra.Command, args []string) bool {
	cmd.SuggestionsMinimumDistance = 1
	if len(args) == 1 && (!strings.Contains(args[0], "/") || len(cmd.SuggestionsFor(args[0])) > 0) {
		return false
	}
	path, err := exec.LookPath(args[0])
	return err == nil && path != ""
}

// isRecording reports whether name is that of a file, or looks like one of a
// recording.
func isRecording(name string) bool {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		return true
	}
	return !strings.Contains(name, "://") && slices.ContainsFunc(source.Extensions(), func(ext string) bool { return strings.HasSuffix(name, "."+ext) })
}

func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return usagef("unknown command %q, did you mean %q?", name, near[0])
	}
	return usageError{hinted{fmt.Errorf("unknown command %q", name), cmd.CommandPath() + " --help lists the commands"}}
}

// ignores says that cmd has no use for some of the flags that all commands have.
func ignores(cmd *cobra.Command, flags ...string) {
	cmd.Annotations = map[string]string{"ignores": strings.Join(flags, " ")}
}

func ignored(cmd *cobra.Command, flag string) bool {
	return slices.Contains(strings.Fields(cmd.Annotations["ignores"]), flag)
}

// hideIgnored keeps flags that a command has no use for out of the completion of its
// arguments.
func hideIgnored(complete *cobra.Command, args []string) {
	if complete.Name() != cobra.ShellCompRequestCmd {
		return
	}
	if cmd, _, err := complete.Root().Find(args); err == nil {
		complete.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = f.Hidden || ignored(cmd, f.Name) })
	}
}

// checkIgnored returns an error for a flag that cmd has no use for.
func checkIgnored(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if ignored(cmd, f.Name) {
			err = usagef("--%s: %s has no use for it", f.Name, cmd.CommandPath())
		}
	})
	return err
}

// newHelp is wstrace help.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command, or on a topic",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			for _, c := range cmd.Root().Commands() {
				if len(args) == 0 {
					names = append(names, c.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := cmd.Root().Find(args)
			if err != nil || c == cmd.Root() && len(args) > 0 {
				var names []string
				for _, c := range cmd.Root().Commands() {
					names = append(names, c.Name())
				}
				if near := filter.Nearest(args[0], names); near != "" {
					return usagef("no help on %q, did you mean %q?", args[0], near)
				}
				return usagef("no help on %q", args[0])
			}
			return c.Help()
		},
	}
}

// flagError says what is wrong with a flag of cmd.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	var errno syscall.Errno
	switch {
	case errors.As(err, &invalid):
		err = fmt.Errorf("--%s %q: %w", invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap())
		if errors.As(err, &errno) {
			return err // the flag is right, and its file can't be read
		}
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if letters := unknown.GetSpecifiedShortnames(); len(letters) > 1 { // one hyphen is missing
			name = letters
		}
		if near := filter.Nearest(name, flagNames(cmd)); near != "" {
			err = fmt.Errorf("%w, did you mean --%s?", err, near)
		}
	}
	return usageError{err}
}

// flagNames are the names of the flags of cmd.
func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// help prints the help of cmd, examples first.
func help(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	if !cmd.Runnable() { // a page
		fmt.Fprint(w, hung(cmd.Long))
		return
	}
	fmt.Fprintf(w, "%s.\n", strings.TrimRight(cmp.Or(cmd.Long, cmd.Short), ".\n"))
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	fmt.Fprintf(w, "\nUsage:\n  %s\n", cmd.UseLine())
	if cmd.HasAvailableSubCommands() {
		if cmd.Parent() == nil {
			fmt.Fprintf(w, "  %s COMMAND\n", cmd.CommandPath())
		}
		fmt.Fprint(w, "\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(w, "  %-11s %s\n", c.Name(), c.Short)
			}
		}
		fmt.Fprint(w, "\nTopics:\n")
		for _, c := range cmd.Commands() {
			if c.IsAdditionalHelpTopicCommand() {
				fmt.Fprintf(w, "  %-11s %s\n", c.Name(), c.Short)
			}
		}
	}
	own, all, shared := pflag.NewFlagSet("", 0), cmd.Root().PersistentFlags(), pflag.NewFlagSet("", 0)
	cmd.Flags().SortFlags, own.SortFlags, all.SortFlags, shared.SortFlags = false, false, false, false
	all.VisitAll(func(f *pflag.Flag) {
		if !ignored(cmd, f.Name) {
			shared.AddFlag(f)
		}
	})
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if all.Lookup(f.Name) != f {
			own.AddFlag(f)
		}
	})
	if own.HasAvailableFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", own.FlagUsagesWrapped(helpColumns()))
	}
	fmt.Fprintf(w, "\nGlobal flags, before or after the command:\n%s", shared.FlagUsagesWrapped(helpColumns()))
}

// helpColumns returns how wide help is: as a terminal, or as it comes.
func helpColumns() int {
	if !term.IsTerminal(int(os.Stdout.Fd())) {
		return 0
	}
	return terminalColumns()
}

// hung returns a page of which lines that are too long for the terminal go on below
// their last column.
func hung(page string) string {
	columns := helpColumns()
	if columns == 0 {
		return page
	}
	var b strings.Builder
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		indent := 0
		if i := strings.LastIndex(line, "  "); i >= 0 {
			indent = min(i+2, columns/2)
		}
		for len(line) > columns {
			at := strings.LastIndexByte(line[:columns], ' ')
			if at <= indent {
				break
			}
			b.WriteString(line[:at] + "\n")
			line = strings.Repeat(" ", indent) + line[at+1:]
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
