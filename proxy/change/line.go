package change

import (
	"regexp"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
	"github.com/wstrace/wstrace/decode/pick"
)

// A Line is a change that a user has written. It does not change, and can be used by
// several goroutines.
type Line struct {
	text     string
	cond     *filter.Filter // nil selects every frame
	triggers []trigger
	actions  []action
	also     bool

	kind  kind // all that its actions act on
	late  bool // it is about whole messages
	data  bool // and about no control frames
	timer bool // it acts when it is time, not at an event
}

// String returns the line as it was written, without space around it.
func (l *Line) String() string { return l.text }

// A kind is a set of what actions act on.
type kind uint8

const (
	onFrames kind = 1 << iota
	onMessages
	onSession
	onHeads
)

// A trigger says when a line that matches acts.
type trigger struct {
	when when
	n    int64
	d    time.Duration
	p    float64
}

type when uint8

const (
	everyN when = iota
	everyTime
	afterN
	afterTime
	once
	chance
)

// An action is something that a line does.
type action struct {
	verb verb

	d, jitter time.Duration  // delay, stall
	n         int64          // split, truncate: bytes; rate: bytes a second; close, status: the code
	bit       bit            // flip
	dir       decode.Dir     // inject: who seems to send it
	op        ws.OpCode      // inject
	payload   string         // inject, text: as it is sent; status: the body
	reason    string         // close
	expr      *regexp.Regexp // replace
	text      string         // replace: the template; header: the value
	path      pick.Path      // set
	value     string         // set: JSON
	name      string         // header
	remove    bool           // header
}

type verb uint8

const (
	drop verb = iota
	delay
	dup_
	split
	flip
	len16
	len64
	truncate
	stall
	replace
	set
	text
	inject
	closing
	reset
	rate
	status
	header
)

// verbs are the actions with their names, in the order in which they are told.
var verbs = [...]struct {
	name string
	kind kind
}{
	drop:     {"drop", onFrames},
	delay:    {"delay", onFrames},
	dup_:     {"dup", onFrames},
	split:    {"split", onFrames},
	flip:     {"flip", onFrames},
	len16:    {"len16", onFrames},
	len64:    {"len64", onFrames},
	truncate: {"truncate", onFrames},
	stall:    {"stall", onFrames},
	replace:  {"replace", onMessages},
	set:      {"set", onMessages},
	text:     {"text", onMessages},
	inject:   {"inject", onSession},
	closing:  {"close", onSession},
	reset:    {"reset", onSession},
	rate:     {"rate", onSession},
	status:   {"status", onHeads},
	header:   {"header", onHeads},
}

var verbNames = func() (names []string) {
	for i := range verbs {
		names = append(names, verbs[i].name)
	}
	return names
}()

// A bit is one that flip flips.
type bit uint8

const (
	bitFin bit = iota
	bitRSV1
	bitRSV2
	bitRSV3
	bitMask
)

var bitNames = []string{"fin", "rsv1", "rsv2", "rsv3", "mask"}

// has reports whether the line has one of the triggers.
func (l *Line) has(kinds ...when) bool {
	for i := range l.triggers {
		for _, k := range kinds {
			if l.triggers[i].when == k {
				return true
			}
		}
	}
	return false
}

// does reports whether the line has one of the actions.
func (l *Line) does(verbs ...verb) bool {
	for i := range l.actions {
		for _, v := range verbs {
			if l.actions[i].verb == v {
				return true
			}
		}
	}
	return false
}

// addCondition adds what the condition needs of sessions to look.
func (l *Line) addCondition(look *decode.Look) {
	if l.cond != nil {
		l.cond.Needs().AddTo(look)
	}
}

// addActions adds what the actions need of sessions to look, to which the conditions of
// all lines were added before: they need less of a message.
func (l *Line) addActions(look *decode.Look) {
	if l.kind&onMessages != 0 || l.late && l.kind&onFrames != 0 {
		look.Messages, look.Keep = true, max(look.Keep, MaxHeld)
	}
	if l.kind&onMessages != 0 || l.does(drop, dup_, truncate, flip) {
		look.Inflate, look.Pieces = true, true
		if look.Keep != 0 {
			look.Keep = max(look.Keep, MaxHeld)
		}
	}
}

// concerns reports whether l has an action that has something to do with f, whose header
// has come.
func (l *Line) concerns(f *decode.Frame) bool {
	for i := range l.actions {
		if l.actions[i].concerns(f) {
			return true
		}
	}
	return false
}
