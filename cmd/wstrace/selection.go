package main

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
	"github.com/wstrace/wstrace/render"
)

// A selection is which of the events are shown: those that a filter selects, of
// some sessions, with some around them, the first or the last of them. The zero
// value is all.
type selection struct {
	filter   filterFlag
	sessions sessionsFlag
	before   context1000 // events shown before each that was selected
	after    context1000 // and behind it
	head     count
	tail     count

	ranges *pflag.FlagSet // in which head and tail may be given; nil if they can't
	full   func()         // called when head have been shown; may be nil

	caughtUp func() // shows the last of what there is, and from then on all
}

// registerContext gives a command the flags for what stands around a match.
func (s *selection) registerContext(flags *pflag.FlagSet) {
	flags.VarP(&s.before, "before", "B", "also show the `N` events before each match of -e, in the same session")
	flags.VarP(&s.after, "after", "A", "also show the `N` events after each match of -e, in the same session")
	flags.VarP(&bothContexts{s}, "context", "C", "also show the `N` events around each match of -e, in the same session")
}

// registerRange gives a command the flags that choose from a recording.
func (s *selection) registerRange(flags *pflag.FlagSet) {
	flags.Var(&s.sessions, "session", "show only session `N`, or N,M,…")
	flags.Var(&s.head, "head", "show only the first `N` events")
	flags.Var(&s.tail, "tail", "show only the last `N` events; with -f, and what follows")
	for _, name := range []string{"head", "tail"} {
		flags.Lookup(name).DefValue = ""
	}
	s.ranges = flags
}

// check returns an error for flags that don't go together.
func (s *selection) check() error {
	switch {
	case (s.before > 0 || s.after > 0) && s.filter.Filter == nil:
		return usagef("-A, -B and -C: there is nothing to stand around without -e")
	case s.given("head") && s.given("tail"):
		return usagef("--head and --tail: one of them")
	}
	return nil
}

func (s *selection) given(flag string) bool { return s.ranges != nil && s.ranges.Changed(flag) }

// picks reports whether what is shown is chosen of the text of events.
func (s *selection) picks() bool {
	return s.before > 0 || s.after > 0 || s.given("head") || s.given("tail")
}

// where returns a sink for what v's form prints to w of the events that are selected.
func (s *selection) where(w io.Writer, v *view) decode.Sink {
	if !s.picks() {
		sink := v.renderer(w)
		if s.filter.Filter != nil {
			sink = s.filter.where(sink, v.messages)
		}
		if s.sessions != nil {
			sink = decode.Where(s.sessions.has, sink)
		}
		return sink
	}
	p := &picker{selection: s, w: w, apart: v.apart(), state: filter.State{Messages: v.messages}}
	if p.apart {
		p.stamp = render.NewStamp(w, v.options())
	}
	p.form = v.renderer(&p.text)
	if raw, ok := p.form.(*rawForm); ok {
		raw.begun, p.separator = true, raw.separator
	}
	w.Write(p.text.Bytes()) // what stands in front, if anything
	s.caughtUp = p.release
	return p
}

// A picker prints what is selected of the text that a form makes of each event.
type picker struct {
	*selection
	w         io.Writer
	apart     bool          // groups that don't follow each other have a line between them
	stamp     *render.Stamp // writes lines that depend on the line before; nil if none do
	form      decode.Sink
	text      bytes.Buffer // of the event at hand
	separator string       // in front of each text but the first that is shown

	state   filter.State
	open    decode.PerSession[surroundings]
	skipped int  // events that have a text and were not shown since one was
	wrote   bool // something was shown
	printed bool // and printed
	shown   int64
	last    []shownText // with --tail
	all     bool        // --tail no longer counts
}

// A shownText is what a form makes of an event.
type shownText struct {
	text string
	at   time.Time
}

// Surroundings are what a picker keeps of a session.
type surroundings struct {
	before []shownText // of the latest events, which were not shown
	size   int         // of these, in bytes
	after  int         // events still to be shown after one that was selected
}

// maxBefore bounds what is kept of a session, in bytes.
const maxBefore = 4 << 20

// Emit shows an event if it is selected, or close to one that is.
func (p *picker) Emit(ev *decode.Event) {
	if p.given("head") && p.shown >= int64(p.head) {
		return
	}
	if p.sessions != nil && !p.sessions.has(ev) {
		return
	}
	selected := p.filter.Filter == nil || p.filter.Match(&p.state, ev)
	around := p.before > 0 || p.after > 0
	if !selected && !around {
		return
	}
	at := p.open.Of(ev)
	p.text.Reset()
	p.form.Emit(ev)
	if text := p.text.Bytes(); !p.wrote && bytes.HasPrefix(text, []byte(`{"wstrace":`)) { // the header stays in front
		p.w.Write(p.text.Next(bytes.IndexByte(text, '\n') + 1))
	}
	if p.text.Len() == 0 {
		return
	}
	switch {
	case selected:
		if p.apart && p.wrote && around && p.skipped > len(at.before) {
			io.WriteString(p.w, "--\n")
		}
		for _, text := range at.before {
			p.show(text)
		}
		p.show(shownText{p.text.String(), ev.Time})
		*at = surroundings{after: int(p.after)}
	case at.after > 0:
		at.after--
		p.show(shownText{p.text.String(), ev.Time})
	default:
		at.keep(shownText{p.text.String(), ev.Time}, int(p.before))
		p.skipped++
	}
}

// keep keeps the text of an event, of n at most.
func (s *surroundings) keep(text shownText, n int) {
	s.before = append(s.before, text)
	s.size += len(text.text)
	for len(s.before) > n || s.size > maxBefore && len(s.before) > 1 {
		s.size -= len(s.before[0].text)
		s.before = slices.Delete(s.before, 0, 1)
	}
}

func (p *picker) show(text shownText) {
	p.wrote, p.skipped = true, 0
	if p.given("tail") && !p.all {
		if n := int(p.tail); len(p.last) >= 2*n {
			p.last = append(p.last[:0], p.last[len(p.last)-n:]...)
		}
		p.last = append(p.last, text)
		return
	}
	if p.given("head") && p.shown >= int64(p.head) {
		return
	}
	p.print(text)
	if p.shown++; p.given("head") && p.shown == int64(p.head) && p.full != nil {
		p.full()
	}
}

// print writes the text of an event.
func (p *picker) print(text shownText) {
	if p.stamp != nil {
		p.stamp.Write(text.text, text.at)
		return
	}
	if !p.printed {
		text.text = strings.TrimPrefix(text.text, p.separator)
		p.printed = true
	}
	io.WriteString(p.w, text.text)
}

// release prints what --tail has kept; what follows is printed at once.
func (p *picker) release() {
	for _, text := range p.last[max(len(p.last)-int(p.tail), 0):] {
		p.print(text)
	}
	p.last, p.all = nil, true
}

// Close prints what --tail has kept.
func (p *picker) Close() error {
	p.release()
	return nil
}

// A sessionsFlag is a list of numbers of sessions; nil is all of them.
type sessionsFlag []int64

func (s *sessionsFlag) Type() string   { return "N" }
func (s *sessionsFlag) String() string { return "" }

func (s *sessionsFlag) Set(text string) error {
	*s = nil
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil || n < 1 {
			return errors.New("want the number of a session, or several: 1,2")
		}
		*s = append(*s, n)
	}
	return nil
}

func (s *sessionsFlag) has(ev *decode.Event) bool { return slices.Contains(*s, ev.Conn) }

// sayMissing says which of the sessions come behind the last there is, and reports
// whether some and whether all do.
func (s *sessionsFlag) sayMissing(con *console, last int64) (some, all bool) {
	all = len(*s) > 0
	for _, n := range *s {
		if n > last {
			con.say("there is no session %d, the last is %d", n, last)
			some = true
		} else {
			all = false
		}
	}
	return some, all
}

// A context1000 is how many events are shown around one.
type context1000 int

func (c *context1000) Type() string   { return "N" }
func (c *context1000) String() string { return "" }

func (c *context1000) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1000 {
		return errors.New("want a number up to 1000")
	}
	*c = context1000(n)
	return nil
}

// bothContexts is the value of -C.
type bothContexts struct{ s *selection }

func (b *bothContexts) Type() string   { return "N" }
func (b *bothContexts) String() string { return "" }

func (b *bothContexts) Set(text string) error {
	if err := b.s.before.Set(text); err != nil {
		return err
	}
	return b.s.after.Set(text)
}
