package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/replay"
)

// A loadTally is what a run of sessions adds up to: how long answers took, and what failed.
// It may be used from several goroutines.
type loadTally struct {
	mu      sync.Mutex
	all     histogram
	answers map[answerKey]*histogram
	failed  map[string]int64 // by kind
}

// An answerKey is a message that was waited for.
type answerKey struct {
	session       int64
	message, line int
	name          string // of a request; "" for a message
}

// maxAnswers is how many messages are told apart.
const maxAnswers = 1000

// answer takes how long an answer took.
func (l *loadTally) answer(a replay.Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.add(int64(a.Took))
	key := answerKey{a.Session, a.Message, a.Line, a.Name}
	h := l.answers[key]
	if h == nil && len(l.answers) < maxAnswers {
		if l.answers == nil {
			l.answers = map[answerKey]*histogram{}
		}
		h = new(histogram)
		l.answers[key] = h
	}
	if h != nil {
		h.add(int64(a.Took))
	}
}

// fail takes why a session failed.
func (l *loadTally) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = map[string]int64{}
	}
	l.failed[failureKind(err)]++
}

// failureKind returns what kind of failure an error is.
func failureKind(err error) string {
	var differs *replay.Difference
	var net *net.OpError
	switch {
	case errors.Is(err, replay.ErrStalled):
		return "stalled"
	case errors.As(err, &differs):
		return "differ"
	case errors.As(err, &net) && net.Op == "dial":
		return "not connected"
	}
	return "other"
}

// failures returns what failed, by kind: "2 differ, 1 stalled".
func (l *loadTally) failures() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(l.failed)) {
		parts = append(parts, number(l.failed[kind])+" "+kind)
	}
	return strings.Join(parts, ", ")
}

// slowest returns the messages that were waited for, the slowest first.
func (l *loadTally) slowest() []answerKey {
	return slices.SortedFunc(maps.Keys(l.answers), func(a, b answerKey) int {
		return cmp.Or(cmp.Compare(l.answers[b].at(0.99), l.answers[a].at(0.99)), cmp.Compare(a.session, b.session), cmp.Compare(a.message, b.message))
	})
}

// maxRows is how many of them are printed.
const maxRows = 10

// String returns a line on how long answers took, or with each a table of the slowest
// ones, too; "" if there were none.
func (l *loadTally) String(each bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all.n == 0 {
		return ""
	}
	text := "\nanswers after " + percentiles(&l.all)
	if !each || len(l.answers) < 2 {
		return text
	}
	for i, key := range l.slowest() {
		if i == maxRows {
			text += fmt.Sprintf("\n  and %s", plural(int64(len(l.answers)-i), "other message"))
			break
		}
		where := ""
		if key.line > 0 {
			where = fmt.Sprintf(" (line %d)", key.line)
		}
		name := key.name
		if name == "" {
			name = fmt.Sprintf("message %d", key.message)
		}
		text += fmt.Sprintf("\n  %s%s after %s", name, where, percentiles(l.answers[key]))
	}
	return text
}

func percentiles(h *histogram) string {
	at := func(share float64) time.Duration { return round(time.Duration(h.at(share))) }
	return fmt.Sprintf("%v (p50), %v (p90), %v (p99), %v (max)", at(0.5), at(0.9), at(0.99), round(time.Duration(h.max)))
}

// What replay --json writes; times are in seconds.
type (
	loadDocument struct {
		Sessions int64            `json:"sessions"`
		Failed   map[string]int64 `json:"failed,omitempty"` // by kind
		Seconds  float64          `json:"seconds"`
		Rate     float64          `json:"sessions_per_second"`
		Messages [2]int64         `json:"messages"` // by the client, by the server, in each session
		Answers  *statSpread      `json:"answers,omitempty"`
		Slowest  []answerDocument `json:"by_message,omitempty"`
	}
	answerDocument struct {
		Session int64       `json:"session"`
		Message int         `json:"message"`
		Request string      `json:"request,omitempty"` // in place of a message
		Line    int         `json:"line,omitempty"`
		Took    *statSpread `json:"took"`
	}
)

// document returns what was played, as JSON.
func (p *performance) document() []byte {
	l := &p.tally
	l.mu.Lock()
	defer l.mu.Unlock()
	took := time.Duration(0)
	if !p.start.IsZero() {
		took = time.Since(p.start)
	}
	d := loadDocument{Sessions: p.ended.Load(), Failed: l.failed, Seconds: took.Seconds(), Answers: l.all.document(1e9)}
	d.Rate = float64(d.Sessions) / max(d.Seconds, 1e-9)
	for _, s := range p.scripts() {
		for side := range d.Messages {
			d.Messages[side] += int64(s.Messages(decode.Dir(side)))
		}
	}
	for _, key := range l.slowest() {
		d.Slowest = append(d.Slowest, answerDocument{key.session, key.message, key.name, key.line, l.answers[key].document(1e9)})
	}
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // numbers and strings
	}
	return append(b, '\n')
}
