package filter

import (
	"math"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A Filter is an expression that was parsed. It does not change, and can be used
// by several goroutines.
type Filter struct {
	root      *node
	test      test
	may       test
	needs     Needs
	remembers bool
}

// Parse parses an expression. The error is an [*Error].
func Parse(text string) (*Filter, error) {
	n, err := parse(text)
	if err != nil {
		return nil, err
	}
	f := &Filter{root: n}
	f.test, f.may = f.compile(n, false), f.compileMay(n, false)
	return f, nil
}

// ParsePrefix parses the expression at the beginning of text, and returns where it
// ends, in bytes. The error is an [*Error].
func ParsePrefix(text string) (f *Filter, end int, err error) {
	p := &parser{lexer: lexer{s: text}}
	n, err := p.expression()
	if err != nil {
		return nil, 0, err
	}
	f = &Filter{root: n}
	f.test, f.may = f.compile(n, false), f.compileMay(n, false)
	return f, p.tok.at, nil
}

// String returns the expression in its usual form.
func (f *Filter) String() string {
	var b strings.Builder
	f.root.append(&b, "")
	return b.String()
}

// Names reports whether f names the field of that name.
func (f *Filter) Names(field string) bool { return f.root.names(field) }

func (n *node) names(field string) bool {
	return n != nil && (n.field != nil && n.field.Name == field || n.left.names(field) || n.right.names(field))
}

// Needs are what sessions have to look into.
type Needs struct {
	Messages bool // put them together
	Keep     int  // how many bytes of them, at least
	Advice   bool // rules of severity info
	Bodies   bool // put HTTP bodies together
}

func (n *Needs) add(m Needs) {
	n.Messages, n.Advice = n.Messages || m.Messages, n.Advice || m.Advice
	n.Keep, n.Bodies = max(n.Keep, m.Keep), n.Bodies || m.Bodies
}

// Needs returns what f needs of the sessions whose events it gets.
func (f *Filter) Needs() Needs { return f.needs }

// AddTo adds n to look.
func (n Needs) AddTo(look *decode.Look) {
	if n.Messages && !look.Messages {
		look.Messages, look.Keep = true, max(n.Keep, 1)
	} else if look.Keep != 0 {
		look.Keep = max(look.Keep, n.Keep)
	}
	look.Advice = look.Advice || n.Advice
	if n.Bodies {
		look.Bodies, look.WholeBodies = math.MaxInt64, true
	}
}

// A State is what one filter remembers of sessions, and its scratch space. The
// zero value is ready for use. What it takes is bounded, as in
// [decode.PerSession].
type State struct {
	// Messages says that messages stand for their frames: op of a final frame is
	// that of the message.
	Messages bool

	sessions decode.PerSession[memory]
	subject  Subject
}

// A memory is what is remembered of a session.
type memory struct {
	last  time.Time // of the event before the one at hand
	now   time.Time // of that
	some  bool      // there was one before
	begun [2]int64  // by Dir: data messages
	open  [2]bool   // by Dir: one is in flight or has just ended
	done  [2]bool   // by Dir: it has ended
}

// Match reports whether f selects ev. It must see every event of a session, once.
func (f *Filter) Match(st *State, ev *decode.Event) bool {
	st.take(f.remembers, ev)
	ok := f.test(&st.subject)
	st.subject.Event, st.subject.memory = nil, nil
	return ok
}

// take notes an event.
func (st *State) take(remembers bool, ev *decode.Event) {
	st.subject.Event, st.subject.Finding, st.subject.messages = ev, nil, st.Messages
	if remembers {
		st.subject.memory = st.sessions.Of(ev)
		st.subject.memory.take(ev)
	}
}

func (m *memory) take(ev *decode.Event) {
	m.some, m.last, m.now = !m.now.IsZero(), m.now, ev.Time
	fr, d := ev.Frame, ev.Dir
	if ev.Kind != decode.KindFrame || ev.Out || fr.Control() {
		return
	}
	if !fr.More {
		if fr.OpCode == ws.OpText || fr.OpCode == ws.OpBinary {
			m.begun[d]++
			m.open[d], m.done[d] = true, false
		} else if m.done[d] {
			m.open[d] = false // it continues nothing
		}
	}
	if fr.Fin && fr.Complete {
		m.done[d] = true
	}
}

// Where returns a sink that passes on to sink the events that f selects.
func (f *Filter) Where(sink decode.Sink) decode.Sink { return f.where(new(State), sink) }

// WhereMessages is Where for a sink that shows messages in place of their frames.
func (f *Filter) WhereMessages(sink decode.Sink) decode.Sink {
	return f.where(&State{Messages: true}, sink)
}

func (f *Filter) where(st *State, sink decode.Sink) decode.Sink {
	return decode.Where(func(ev *decode.Event) bool { return f.Match(st, ev) }, sink)
}

// Findings returns a sink that passes every event on to sink, with those of its
// violations alone that f selects. Each is judged by itself: from is the side at
// fault.
func (f *Filter) Findings(sink decode.Sink) decode.Sink {
	st := new(State)
	return decode.SinkFunc(func(ev *decode.Event) {
		st.take(f.remembers, ev)
		all := ev.Violations
		var some []decode.Violation
		for i := range all {
			ev.Violations, st.subject.Finding = all[i:i+1], &all[i]
			if f.test(&st.subject) {
				some = append(some, all[i])
			}
		}
		ev.Violations = some
		sink.Emit(ev)
		ev.Violations = all
	})
}
