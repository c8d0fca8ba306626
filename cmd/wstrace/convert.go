package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/har"
	"github.com/wstrace/wstrace/decode/saz"
	"github.com/wstrace/wstrace/decode/trace"
)

const convertExample = `  wstrace convert chat.har chat.wst
  wstrace convert -e 'path == "/chat"' chat.wst.gz chat.har
  ssh server cat /tmp/chat.wst | wstrace convert - har:- > chat.har`

// An outFormat is a kind of file that convert can make.
type outFormat struct {
	name   string // how the names of such files end; before :- for stdout
	binary bool   // no terminal shows it
	lacks  lack   // what of a recording it has no place for

	// open returns what writes the events of sessions to w. Its Close ends the
	// file, and not w; it returns the first error of writing.
	open func(w io.Writer, o *outOptions) closingSink
}

// A closingSink is a sink that has to be closed.
type closingSink interface {
	decode.Sink
	io.Closer
}

// outOptions are what a format may need besides the events. These have whole messages
// and bodies, of up to maxWhole bytes.
type outOptions struct {
	spool      *file.Spool // for what does not fit into memory
	harControl bool        // control frames of HAR are messages
}

// outFormats are the formats that convert can make.
var outFormats = []outFormat{
	{"wst", false, 0, func(w io.Writer, _ *outOptions) closingSink { return traceSink{trace.NewWriter(w, convertOptions())} }},
	{"har", false, lackFrames | lackTunnels | lackInterim | lackJunk | lackGaps | lackChanges, openHAR},
	{"pcapng", true, lackMessages | lackHTTP2, func(w io.Writer, _ *outOptions) closingSink { return captureTo(w).(closingSink) }},
	{"saz", true, lackTunnels | lackInterim | lackGaps | lackBehind | lackChanges, openSAZ},
}

// openHAR returns what writes a HAR.
func openHAR(w io.Writer, o *outOptions) closingSink {
	return har.NewWriter(w, har.Options{By: traceOptions().By, Spool: o.spool, Control: o.harControl})
}

// openSAZ returns what writes an archive of Fiddler.
func openSAZ(w io.Writer, o *outOptions) closingSink {
	return saz.NewWriter(w, saz.Options{By: traceOptions().By, Temp: o.spool})
}

// convertOptions are those of a trace that was made of another file.
func convertOptions() trace.Options {
	o := traceOptions()
	o.Mode = "convert"
	return o
}

// A traceSink writes a trace.
type traceSink struct{ *trace.Writer }

func (s traceSink) Close() error { return s.Err() }

// An outFile is where convert writes.
type outFile struct {
	*outFormat
	name string // "-" for stdout
	comp file.Compression
}

// parseOut returns what OUT names, by its ending or as FORMAT:-.
func parseOut(name string) (outFile, error) {
	base, stdout := strings.CutSuffix(name, ":-")
	if stdout {
		base = "." + base
	}
	comp := file.Plain
	if s, ok := strings.CutSuffix(base, ".gz"); ok {
		base, comp = s, file.Gzip
	} else if s, ok := strings.CutSuffix(base, ".zst"); ok {
		base, comp = s, file.Zstd
	}
	base = strings.ToLower(base)
	for i := range outFormats {
		f := &outFormats[i]
		switch {
		case stdout && base == "."+f.name:
			return outFile{f, "-", comp}, nil
		case !stdout && strings.HasSuffix(base, "."+f.name):
			return outFile{f, name, comp}, nil
		}
	}
	switch ext := filepath.Ext(base); ext {
	case ".pcap", ".cap":
		return outFile{}, usagef("%q: %s is read only, .pcapng is written", name, ext)
	case ".flow", ".mitm":
		return outFile{}, usagef("%q: %s is read only; want %s", name, ext, outNames())
	}
	return outFile{}, usagef("%q: unknown format, want %s, or FORMAT:- for stdout, such as %s:-", name, outNames(), outFormats[0].name)
}

// A conversion is wstrace convert.
type conversion struct {
	con       *console
	filter    filterFlag
	sessions  sessionsFlag
	tlsKeys   tlsKeysFlag
	keepGoing bool
	options   outOptions

	in     string
	out    outFile
	chosen map[int64]bool // by -e; nil for all
	last   int64          // session in the file
	some   bool           // sessions were written
	bad    error          // damage that was passed over, and reported
}

func newConvert(con *console) *cobra.Command {
	c := &conversion{con: con}
	cmd := &cobra.Command{
		Use:   "convert [flags] IN OUT",
		Short: "Make another kind of file of a recording",
		Long: `Write the sessions of IN, a recording or a file of another tool, to OUT. Its name says
in which format: ` + outNames() + `; .gz or .zst may follow. FORMAT:- is
stdout: wst:-, har:-, pcapng.gz:- and so on.

-e and --session choose whole sessions: those in which something matches, as in ls. What
the format of OUT has no place for is left out, and stderr says what that was. OUT is
replaced only when all is written, and stays if no session was chosen. A .wst that is made
of a .wst has the same lines`,
		Example:           convertExample,
		ValidArgsFunction: completeConvert,
		Args: func(_ *cobra.Command, args []string) (err error) {
			if len(args) != 2 {
				return usagef("want IN and OUT: two files, or - for stdin and FORMAT:- for stdout")
			}
			c.in = args[0]
			if c.out, err = parseOut(args[1]); err != nil {
				return err
			}
			if sameFile(c.in, c.out.name) {
				return usagef("%q would be overwritten while it is read", c.in)
			}
			if c.options.harControl && c.out.outFormat.name != "har" {
				return usagef("--har-control: OUT is no .har")
			}
			if c.out.name == "-" && (c.out.binary || c.out.comp != file.Plain) && term.IsTerminal(int(os.Stdout.Fd())) {
				return usagef("%s: stdout is a terminal", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	ignores(cmd, "output", "to", "preview", "messages", "color", "time", "number")
	c.filter.register(cmd, "convert only sessions in which `EXPR` selects something, see wstrace help filter")
	cmd.Flags().Var(&c.sessions, "session", "convert only session `N`, or N,M,…")
	c.tlsKeys.register(cmd)
	cmd.Flags().BoolVar(&c.options.harControl, "har-control", false, "write control frames into a HAR as messages, not only for wstrace to read; few programs expect them")
	cmd.Flags().BoolVar(&c.keepGoing, "keep-going", false, "skip what is damaged and continue")
	return cmd
}

// outNames returns how the names of files end that convert can make.
func outNames() string {
	var names []string
	for _, f := range outFormats {
		names = append(names, "."+f.name)
	}
	return strings.Join(names, ", ")
}

// completeConvert completes IN with what can be read, and OUT with what can be written.
func completeConvert(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return completeRecordings(cmd, args, typed)
	case 1:
		var exts []string
		for _, f := range outFormats {
			exts = append(exts, f.name, f.name+".gz", f.name+".zst")
		}
		return exts, cobra.ShellCompDirectiveFilterFileExt
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (c *conversion) run(ctx context.Context) error {
	if c.filter.Filter != nil && c.in == "-" {
		return usagef("-e: stdin can be read only once, and sessions are chosen by all of their events")
	}
	c.options.spool = new(file.Spool)
	defer c.options.spool.Close()
	if err := c.choose(ctx); err != nil {
		return err
	}
	in, err := source.Open(c.in)
	if err != nil {
		return c.con.failIn("convert", c.in, err) // also if it is empty, as there is no OUT then
	}
	defer in.Close()
	if c.tlsKeys.Keys != nil && !in.Capture() {
		return usagef("--tls-keys: %q is no capture", c.in)
	}
	in.Keys = c.tlsKeys.Keys
	if c.keepGoing {
		in.Bad = func(err error) { c.bad = c.con.failIn("convert", c.in, err) }
	}
	left := leftOut{format: c.out.outFormat}
	var failed error
	err = file.Save(c.out.name, c.out.comp, func(w io.Writer) error {
		failed = unlessSignalled(w, func(w io.Writer) (err error) {
			if r := in.Records(); r != nil && c.out.outFormat.name == "wst" {
				err = c.copy(w, in)
			} else {
				err = c.play(ctx, in, w, &left)
			}
			if c.none() && (err == nil || errors.Is(err, decode.ErrCut)) {
				err = errNoneChosen
			}
			return err
		})
		if errors.Is(failed, decode.ErrCut) {
			return nil // what is there is worth having
		}
		return failed
	})
	if s, ok := errors.AsType[signalled](failed); ok {
		os.Exit(128 + int(s.Signal)) // what reads may wait for long
	}
	switch {
	case failed == errNoneChosen:
		if some, _ := c.sessions.sayMissing(c.con, c.last); !some {
			c.con.say("convert %q: no session matches", c.in)
		}
		return errReported
	case failed != nil: // the fault is in what is read, unless it was said otherwise
		err = c.failure(failed)
	case err != nil && !isPipe(err):
		err = c.con.failIn("write", c.out.name, err)
	}
	if err == nil {
		left.tell(c.con)
		c.sessions.sayMissing(c.con, c.last)
	}
	if err == nil {
		err = c.bad
	}
	return err
}

// errNoneChosen says that there is nothing to write, and OUT stays as it is.
var errNoneChosen = errors.New("no session matches")

// none reports whether sessions were chosen of which the recording has none.
func (c *conversion) none() bool { return (c.sessions != nil || c.chosen != nil) && !c.some }

// A signalled error says that a signal asks the program to end.
type signalled struct{ syscall.Signal }

func (s signalled) Error() string { return s.String() }

// unlessSignalled calls write, and returns its error, or at once that there was a signal.
// Then nothing more is written to w.
func unlessSignalled(w io.Writer, write func(io.Writer) error) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	defer signal.Stop(signals)
	gate := &gatedWriter{w: w}
	written := make(chan error, 1)
	go func() { written <- write(gate) }()
	select {
	case err := <-written:
		return err
	case s := <-signals:
		err := signalled{syscall.SIGINT}
		if s, ok := s.(syscall.Signal); ok {
			err.Signal = s
		}
		gate.shut(err)
		return err
	}
}

// A gatedWriter writes until it is shut.
type gatedWriter struct {
	mu  sync.Mutex
	w   io.Writer
	err error
}

func (g *gatedWriter) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	return g.w.Write(p)
}

func (g *gatedWriter) shut(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

// A writeError is an error of writing OUT.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// failure reports why the content could not be written.
func (c *conversion) failure(err error) error {
	var w writeError
	switch {
	case !errors.As(err, &w):
		return c.con.failIn("convert", c.in, err)
	case isPipe(w.error):
		return nil
	}
	return c.con.failIn("write", c.out.name, w.error)
}

// play gives the sessions that were chosen to the format.
func (c *conversion) play(ctx context.Context, in *source.File, w io.Writer, left *leftOut) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	writer := &errWriter{w: w, failed: cancel}
	sink := c.out.open(writer, &c.options)
	failing, _ := sink.(interface{ Err() error }) // what it keeps in a temporary file, too
	both := decode.SinkFunc(func(ev *decode.Event) {
		if c.wants(ev.Conn) {
			left.see(ev)
			sink.Emit(ev)
			if failing != nil && failing.Err() != nil {
				cancel(failing.Err())
			}
		}
	})
	look := convertLook()
	look.Tap, _ = sink.(decode.Tap)
	look.FactsOnly = look.Tap == nil // a capture has comments on what is wrong
	err := in.Play(ctx, both, look)
	c.last = in.Last()
	closed := sink.Close()
	switch {
	case writer.err != nil:
		return writeError{writer.err}
	case closed != nil && (err == nil || err == closed || errors.Is(err, decode.ErrCut)):
		return writeError{closed}
	}
	notePlayed(c.con, "convert", c.in, in)
	if c.out.lacks&(lackFrames|lackMessages) != 0 { // it has no frames either, or leaves such messages out
		c.con.messages = nil
	}
	return err
}

// convertLook is what the sessions look into that are converted. Nothing is judged.
func convertLook() decode.Look {
	return decode.Look{Messages: true, Keep: maxWhole, Bodies: math.MaxInt64, WholeBodies: true, FactsOnly: true, Unpack: unpackWhole}
}

// An errWriter keeps the first error of writing, and tells of it as soon as it happens:
// there may be much to read that nobody would get.
type errWriter struct {
	w      io.Writer
	failed func(error) // may be nil
	err    error
}

func (w *errWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil && w.err == nil {
		if w.err = err; w.failed != nil {
			w.failed(err)
		}
	}
	return n, err
}

// wants reports whether a session was chosen. What belongs to none is always wanted.
func (c *conversion) wants(conn int64) bool {
	if conn == 0 {
		return true
	}
	wanted := (c.sessions == nil || slices.Contains(c.sessions, conn)) && (c.chosen == nil || c.chosen[conn])
	c.some = c.some || wanted
	return wanted
}

// choose finds the sessions in which the filter selects something.
func (c *conversion) choose(ctx context.Context) error {
	if c.filter.Filter == nil {
		return nil
	}
	in, err := source.Open(c.in)
	if err != nil {
		return nil // which is told when it is opened again
	}
	defer in.Close()
	in.Keys, in.Bad = c.tlsKeys.Keys, func(error) {}
	c.chosen = map[int64]bool{}
	look := decode.Look{Messages: true, Keep: 1, Seen: new(decode.Seen), Unpack: unpack}
	c.filter.Needs().AddTo(&look)
	sink := c.filter.Where(decode.SinkFunc(func(ev *decode.Event) { c.chosen[ev.Conn] = true }))
	in.Play(ctx, sink, look) // an error comes again
	return nil
}

// copy copies the lines of a trace that are of the sessions that were chosen.
func (c *conversion) copy(w io.Writer, in *source.File) error {
	writer := &errWriter{w: w}
	p := places{all: c.sessions == nil && c.chosen == nil}
	keep := func(rec *trace.Record) ([]*trace.Record, error) {
		if rec == nil {
			return nil, nil
		}
		return p.keep(rec, c.wants), nil
	}
	err := error(nil)
	if in.Bad != nil {
		err = trace.RewriteGood(writer, in, in.Bad, keep)
	} else {
		err = trace.Rewrite(writer, in, nil, keep)
	}
	c.last = p.highest
	if writer.err != nil {
		return writeError{writer.err}
	}
	return err
}

// places follow which session a line belongs to, and its time, which may stand in lines
// before it.
type places struct {
	all           bool
	base, highest int64  // as the sessions of several recordings in one file are counted
	run           string // of the part at hand
	part          int64
	last          int64 // the session opened last
	t             trace.Record
	dropped       bool // the line that has the time of the next may be gone
}

// keep returns rec if the session that it belongs to is wanted.
func (p *places) keep(rec *trace.Record, wants func(int64) bool) []*trace.Record {
	if rec.IsHeader() {
		if rec.Run == "" || rec.Run != p.run || rec.Part != p.part+1 {
			p.base = p.highest
		}
		p.run, p.part, p.last = rec.Run, rec.Part, 0
		p.t, p.dropped = trace.Record{}, false
		return []*trace.Record{rec}
	}
	conn := p.last
	if rec.C != 0 {
		conn = p.base + rec.C
		p.highest = max(p.highest, conn)
	}
	if rec.Kind == trace.KindOpen {
		p.last = conn
	}
	if p.all {
		return []*trace.Record{rec}
	}
	if rec.HasT {
		p.t.T, p.t.HasT, p.dropped = rec.T, true, false
	}
	if !wants(conn) || rec.Kind == trace.KindSum {
		p.dropped = true
		return nil
	}
	if rec.C == 0 && conn != 0 {
		rec.C = conn - p.base // its open may be gone, or that of another
	}
	if p.dropped && !rec.HasT {
		rec.T, rec.HasT, p.dropped = p.t.T, p.t.HasT, false
	}
	return []*trace.Record{rec}
}

// A lack is something that a format has no place for.
type lack uint16

const (
	lackFrames   lack = 1 << iota // masks, length forms, fragments, compressed bytes: messages are all it has
	lackMessages                  // messages of which no frames are known
	lackHTTP2                     // heads of HTTP/2, of which no bytes are known
	lackTunnels                   // tunnels, of which only the length is known
	lackInterim                   // interim responses
	lackJunk                      // bytes that are no frames
	lackGaps                      // that something was lost
	lackBehind                    // bytes behind a gap that are no frames
	lackChanges                   // what was sent in place of what came
)

// lackNames are what is left out, in the order of the bits; one of them and several.
var lackNames = [...][2]string{
	{"the frames of 1 session, whose messages are in it", "the frames of %s sessions, whose messages are in it"},
	{"1 message without frames", "%s messages without frames"},
	{"1 exchange of HTTP/2", "%s exchanges of HTTP/2"},
	{"1 tunnel", "%s tunnels"},
	{"1 interim response", "%s interim responses"},
	{"junk in 1 place", "junk in %s places"},
	{"1 gap", "%s gaps"},
	{"bytes behind a gap in 1 place", "bytes behind gaps in %s places"},
	{"what was changed in 1 session", "what was changed in %s sessions"},
}

// leftOut counts what is in a recording and not in the format that is made of it.
type leftOut struct {
	format   *outFormat
	sessions decode.PerSession[leftSession]
	counts   [len(lackNames)]int64 // by bit of lack
	cut      int64                 // messages and bodies longer than maxWhole
}

// A leftSession is what was counted of one session.
type leftSession struct {
	counted lack
	lost    [2]bool // by decode.Dir: no frame has come since a gap
}

// see takes an event.
func (l *leftOut) see(ev *decode.Event) {
	if l.format.lacks == 0 {
		return
	}
	for _, m := range []*decode.Message{ev.Message, ev.Body} {
		if m != nil && m.Cut && len(m.Data) == maxWhole && !repeats(ev) {
			l.cut++
		}
	}
	hs := ev.Handshake
	if ev.Out || ev.Fate.FX != decode.FXNone || hs != nil && (hs.Forwarded != nil || hs.Relayed != nil) {
		l.once(ev, lackChanges)
	}
	if ev.Out {
		return
	}
	switch ev.Kind {
	case decode.KindRequest:
		if hs.Request.Proto == "HTTP/2" {
			l.once(ev, lackHTTP2)
		}
	case decode.KindFrame:
		l.once(ev, lackFrames)
		l.sessions.OfConn(ev.Conn).lost[ev.Dir] = false
	case decode.KindMessage:
		if ev.Message.Frames == 0 {
			l.add(lackMessages)
		}
	case decode.KindResponse:
		if h := ev.Head; h.Status >= 100 && h.Status < 200 && h.Status != 101 {
			l.add(lackInterim)
		}
	case decode.KindOpaque:
		if hs == nil || hs.Request == nil {
			l.once(ev, lackTunnels)
		}
	case decode.KindJunk:
		l.add(lackJunk)
		if l.sessions.OfConn(ev.Conn).lost[ev.Dir] {
			l.add(lackBehind)
		}
	case decode.KindGap:
		l.add(lackGaps)
		l.sessions.OfConn(ev.Conn).lost[ev.Dir] = hs != nil && hs.Accepted
	case decode.KindClosed:
		l.sessions.Forget(ev.Conn)
	}
}

func (l *leftOut) add(what lack) {
	for i := range l.counts {
		if what == 1<<i {
			l.counts[i]++
		}
	}
}

// once adds what counts once a session.
func (l *leftOut) once(ev *decode.Event, what lack) {
	s := l.sessions.OfConn(ev.Conn)
	if s.counted&what == 0 {
		s.counted |= what
		l.add(what)
	}
}

// tell says what was left out.
func (l *leftOut) tell(con *console) {
	var parts []string
	for i, n := range l.counts {
		switch {
		case n == 0 || l.format.lacks&(1<<i) == 0:
		case n == 1:
			parts = append(parts, lackNames[i][0])
		default:
			parts = append(parts, fmt.Sprintf(lackNames[i][1], number(n)))
		}
	}
	if l.cut > 0 {
		parts = append(parts, "what is longer than 32 MiB of "+plural(l.cut, "message"))
	}
	if len(parts) > 0 {
		con.note("%s has no place for these: %s", l.format.name, strings.Join(parts, "; "))
	}
}
