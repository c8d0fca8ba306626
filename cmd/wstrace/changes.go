package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/change"
)

// changeFlags say what is changed on the way.
type changeFlags struct {
	lines  changeLines
	file   string
	faults faultNames
	seed   seed
	dryRun string

	fixed   []*change.Line // all but those of the file
	changes *change.Changes
}

func (c *changeFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Var(&c.lines, "change", "change what passes as `LINE` says, see wstrace help changes: 'when op == text every 3 do drop'; may be given more than once")
	flags.StringVar(&c.file, "changes", "", "change what passes as the lines of `FILE` say; they are read again at the signal USR1, at which a recording begins a new file, too")
	flags.Var(&c.faults, "fault", "spoil the connection as `NAME` says, see wstrace help faults: slow-3g, flaky, …")
	flags.Var(&c.seed, "seed", "`N` that chances and masking keys come from, to have the same ones again; printed at the start")
	flags.StringVar(&c.dryRun, "dry-run", "", "print what the changes would do with the recording `FILE`, and listen to nobody")
	cmd.RegisterFlagCompletionFunc("fault", cobra.FixedCompletions(faultNameList(), cobra.ShellCompDirectiveNoFileComp))
}

// changeLines is the value of --change.
type changeLines []*change.Line

func (c *changeLines) Type() string   { return "LINE" }
func (c *changeLines) String() string { return "" }

func (c *changeLines) Set(s string) error {
	l, err := change.ParseLine(s)
	if err == nil {
		*c = append(*c, l)
	}
	return err
}

// faultNames is the value of --fault.
type faultNames []string

func (f *faultNames) Type() string   { return "NAME" }
func (f *faultNames) String() string { return strings.Join(*f, ",") }

func (f *faultNames) Set(s string) error {
	for name := range strings.SplitSeq(s, ",") {
		if !slices.Contains(faultNameList(), name) {
			return fmt.Errorf("want one of %s", strings.Join(faultNameList(), ", "))
		}
		*f = append(*f, name)
	}
	return nil
}

func faultNameList() (names []string) {
	for _, f := range change.Faults {
		names = append(names, f.Name)
	}
	return names
}

// A seed is the value of --seed. As a number of JSON it is exact.
type seed struct{ n int64 }

func (s *seed) Type() string { return "N" }

func (s *seed) String() string {
	if s.n == 0 {
		return ""
	}
	return fmt.Sprint(s.n)
}

func (s *seed) Set(text string) error {
	const most = 1<<53 - 1
	if _, err := fmt.Sscanf(text, "%d", &s.n); err != nil || fmt.Sprint(s.n) != text || s.n < 1 || s.n > most {
		return fmt.Errorf("want a whole number from 1 to %d", int64(most))
	}
	return nil
}

// load makes the changes that were asked for; none if there are none.
func (c *changeFlags) load(flags *pflag.FlagSet) error {
	c.fixed = c.lines
	for _, name := range c.faults {
		c.fixed = append(c.fixed, change.FaultLines(name)...)
	}
	asked := len(c.fixed) > 0 || c.file != ""
	for _, name := range []string{"seed", "dry-run"} {
		if !asked && flags.Changed(name) {
			return usagef("--%s: there are no changes; --change, --changes or --fault makes some", name)
		}
	}
	if !asked {
		return nil
	}
	lines, err := c.read()
	if err != nil {
		return err
	}
	if c.seed.n == 0 {
		c.seed.n = rand.Int64N(1e9) + 1
	}
	c.changes = change.New(uint64(c.seed.n), lines)
	return nil
}

// read returns all lines, with those that the file has now.
func (c *changeFlags) read() ([]*change.Line, error) {
	lines := slices.Clip(c.fixed)
	if c.file == "" {
		return lines, nil
	}
	f, err := os.Open(c.file)
	if err != nil {
		return nil, failed("read changes", c.file, err)
	}
	defer f.Close()
	more, err := change.Parse(f)
	if err != nil {
		return nil, usageError{failed("read changes", c.file, err)}
	}
	return append(lines, more...), nil
}

// tell says which changes are in force.
func (c *changeFlags) tell(con *console, lines int) {
	con.note("%s in force, --seed %d", plural(int64(lines), "change"), c.seed.n)
}

// watch reads the file again at the signal, until stop is called.
func (c *changeFlags) watch(con *console) (stop func()) {
	if c.file == "" || len(newPartSignals) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, newPartSignals...)
	var done sync.WaitGroup
	done.Go(func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			if lines, err := c.read(); err != nil {
				con.fail(err)
				con.say("the previous changes stay in force")
			} else {
				c.changes.Set(lines)
				c.tell(con, len(lines))
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// sum says how often each change has acted.
func (c *changeFlags) sum(con *console) {
	for _, a := range c.changes.Acts() {
		if a.N == 0 {
			con.note("never acted: %s", a.Line)
		} else {
			con.note("acted %s: %s", plural(a.N, "time"), a.Line)
		}
	}
}

// dry prints what the changes would do with a recording.
func (c *changeFlags) dry(ctx context.Context, con *console, v *view) error {
	if v.form.value == "json" || v.form.value == "csv" || v.form.value == "raw" {
		return usagef("--dry-run: -o is compact, fiddler, hex or none")
	}
	in, err := openRecording(con, "read", c.dryRun)
	if in == nil {
		return err
	}
	defer in.Close()
	f := &flow{con: con, totals: totals{partial: true}}
	if err := v.addTo(f, false, false); err != nil {
		return f.abandon(err)
	}
	if err := f.begin(); err != nil {
		return f.abandon(err)
	}
	look := v.look()
	c.changes.AddTo(&look)
	err = in.Play(ctx, decode.LockedWith(&f.tee, c.changes.Dry(&f.tee).Emit), look)
	notePlayed(con, "read", c.dryRun, in)
	err = con.failIn("read", c.dryRun, err)
	f.partly = true
	if err = f.end(err); err == nil {
		c.sum(con)
	}
	return err
}

// newChangesHelp is the page that wstrace help changes prints.
func newChangesHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "changes",
		Short: "How --change alters what passes",
		Long:  change.Help(),
	}
}

// newFaultsHelp is the page that wstrace help faults prints.
func newFaultsHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "faults",
		Short: "What --fault has, and the changes that it stands for",
		Long:  change.FaultHelp(),
	}
}
