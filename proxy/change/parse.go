package change

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
	"github.com/wstrace/wstrace/decode/pick"
)

// Limits of what is parsed.
const (
	MaxLine  = 64 << 10 // bytes of a line
	MaxLines = 10_000
	MaxDelay = time.Hour // of delay and stall
)

// ParseLine parses a line. The error is an [*Error].
func ParseLine(s string) (*Line, error) {
	p := &scanner{s: s}
	switch {
	case len(s) > MaxLine:
		return nil, p.errorf(0, "the line is longer than 64 KiB")
	case !utf8.ValidString(s):
		return nil, p.errorf(0, "the line is not UTF-8")
	}
	l := &Line{text: strings.TrimSpace(s)}
	if w, at := p.peek(); w == "when" {
		p.i = at + len(w)
		p.space()
		f, n, err := filter.ParsePrefix(s[p.i:])
		if err != nil {
			return nil, p.filterError(p.i, err)
		}
		l.cond = f
		p.i += n
	}
	if err := p.triggers(l); err != nil {
		return nil, err
	}
	if err := p.actions(l); err != nil {
		return nil, err
	}
	l.late = l.kind&onMessages != 0 || l.cond != nil && l.cond.Needs().Messages
	l.data = l.kind&onMessages != 0 || l.late && l.kind&onFrames != 0 && !l.cond.Names("op")
	l.timer = l.kind == onSession && l.has(everyTime, afterTime)
	return l, nil
}

// triggers takes those of a line, and "do".
func (p *scanner) triggers(l *Line) error {
	for {
		var t trigger
		w, at := p.peek()
		switch {
		case w == "do":
			p.word()
			return nil
		case w == "once":
			p.word()
			t.when = once
		case w == "every", w == "after":
			p.word()
			if err := p.numberOrTime(w, &t); err != nil {
				return err
			}
		case strings.HasPrefix(w, "p="):
			p.word()
			x, err := strconv.ParseFloat(w[2:], 64)
			if err != nil || !(x > 0 && x <= 1) {
				return p.errorf(at+2, "p is more than 0 and at most 1, not %q", w[2:])
			}
			t.when, t.p = chance, x
		case l.cond == nil && len(l.triggers) == 0:
			return p.errorf(at, "want when, every, after, once, p= or do, found %s", p.found())
		default:
			return p.errorf(at, "want every, after, once, p= or do, found %s", p.found())
		}
		l.triggers = append(l.triggers, t)
	}
}

// numberOrTime takes what stands behind every or after.
func (p *scanner) numberOrTime(name string, t *trigger) error {
	t.when = everyN
	if name == "after" {
		t.when = afterN
	}
	w, at := p.word()
	n, err := strconv.ParseInt(w, 10, 64)
	if err == nil {
		if t.n = n; n < 1 {
			return p.errorf(at, "%s wants 1 or more, found %d", name, n)
		}
		return nil
	}
	t.when++ // the same by time
	if t.d, err = time.ParseDuration(w); err != nil {
		return p.errorf(at, "%s wants a number such as 3 or a time such as 500ms, found %q", name, w)
	}
	if t.d < time.Millisecond {
		return p.errorf(at, "%s wants 1ms or more, found %q", name, w)
	}
	return nil
}

// actions takes those of a line, and its end.
func (p *scanner) actions(l *Line) error {
	for {
		w, at := p.word()
		i := slices.Index(verbNames, w)
		if i < 0 {
			return p.noAction(w, at)
		}
		v := verbs[i]
		a := action{verb: verb(i)}
		if err := p.arguments(&a); err != nil {
			return err
		}
		if l.kind != 0 && (l.kind|v.kind)&onHeads != 0 && l.kind != v.kind {
			return p.errorf(at, "status and header act on the handshake, and other actions do not; write two lines")
		}
		l.kind |= v.kind
		l.actions = append(l.actions, a)
		if p.next() == ',' {
			p.i++
			continue
		}
		if w, at := p.word(); w == "also" {
			l.also = true
		} else if w != "" {
			return p.errorf(at, "want a comma, also or the end, found %q", w)
		}
		if p.next() != 0 {
			return p.errorf(p.i, "also ends the line, found %s", p.found())
		}
		return nil
	}
}

func (p *scanner) noAction(w string, at int) error {
	all := "there are " + strings.Join(verbNames, ", ")
	switch near := filter.Nearest(w, verbNames); {
	case w == "":
		return p.errorf(at, "want an action, found %s; %s", p.found(), all)
	case near != "":
		return p.errorf(at, "no action %q; the nearest is %s", w, near)
	}
	return p.errorf(at, "no action %q; %s", w, all)
}

// arguments takes those of an action.
func (p *scanner) arguments(a *action) (err error) {
	name := verbs[a.verb].name
	switch a.verb {
	case delay:
		a.d, a.jitter, err = p.duration(name)
	case stall:
		at := p.i
		if a.d, a.jitter, err = p.duration(name); err == nil && a.jitter != 0 {
			err = p.errorf(at+1, "stall takes a time without ±")
		}
	case split:
		a.n, err = p.number("split", " of bytes", 1, math.MaxInt32)
	case truncate:
		a.n, err = p.number("truncate", " of bytes", 0, math.MaxInt32)
	case flip:
		w, at := p.word()
		i := slices.Index(bitNames, w)
		if a.bit = bit(max(i, 0)); i < 0 {
			err = p.errorf(at, "flip wants one of %s, found %q", strings.Join(bitNames, ", "), w)
		}
	case replace:
		var parts [2]string
		var at int
		if parts, at, err = p.delimited(); err != nil {
			return err
		}
		a.text = parts[1]
		if a.expr, err = regexp.Compile(parts[0]); err != nil {
			return p.errorf(at+1, "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		if name := missingGroup(a.expr, a.text); name != "" {
			err = p.errorf(at, "the expression has no group %q; ${1} is its first, also before letters, and $$ a dollar", name)
		}
	case set:
		w, at := p.bracketed()
		if a.path, err = pick.ParsePath(w); err != nil {
			return p.errorf(at, "%v", err)
		}
		a.value, err = p.json()
	case text:
		a.payload, err = p.str("the text")
	case inject:
		err = p.injection(a)
	case closing:
		err = p.closeCode(a)
	case rate:
		w, at := p.word()
		size, ok := strings.CutSuffix(w, "/s")
		n, isSize := filter.ParseSize(size)
		if a.n = n; !ok || !isSize || n < 1 {
			err = p.errorf(at, "rate wants bytes a second such as 10KB/s, found %q", w)
		}
	case status:
		switch a.n, err = p.number("status", "", 200, 599); {
		case err != nil:
		case p.startsString():
			a.payload, err = p.str("the body")
		default:
			err = p.inQuotes("the body")
		}
	case header:
		err = p.header(a)
	}
	return err
}

// reference is a reference to a group, as regexp.Expand has it.
var reference = regexp.MustCompile(`\$(?:\$|(\w+)|\{(\w+)\})`)

// missingGroup returns the first group that template names and expr does not have, or "".
func missingGroup(expr *regexp.Regexp, template string) string {
	for _, m := range reference.FindAllStringSubmatch(template, -1) {
		name := m[1] + m[2]
		if n, err := strconv.Atoi(name); name != "" && (err != nil || n > expr.NumSubexp()) && expr.SubexpIndex(name) < 0 {
			return name
		}
	}
	return ""
}

// inQuotes returns an error if a word comes next that should stand in quotes.
func (p *scanner) inQuotes(what string) error {
	if w, at := p.peek(); w != "" && w != "also" {
		return p.errorf(at, "%s stands in quotes, found %q", what, w)
	}
	return nil
}

// duration takes a time, and by how much it may differ.
func (p *scanner) duration(name string) (d, jitter time.Duration, err error) {
	w, at := p.word()
	main, more, both := strings.Cut(w, "±")
	if !both {
		main, more, both = strings.Cut(w, "+-")
	}
	if d, err = time.ParseDuration(main); err == nil && both {
		jitter, err = time.ParseDuration(more)
	}
	if err != nil || d < 0 || jitter < 0 || d > MaxDelay || jitter > MaxDelay {
		return 0, 0, p.errorf(at, "%s wants a time of up to an hour such as 200ms or 200ms±50ms, found %q", name, w)
	}
	return d, jitter, nil
}

func (p *scanner) number(name, of string, least, most int64) (int64, error) {
	w, at := p.word()
	n, err := strconv.ParseInt(w, 10, 64)
	if err != nil || n < least || n > most {
		return 0, p.errorf(at, "%s wants a number%s from %d to %d, found %q", name, of, least, most, w)
	}
	return n, nil
}

// json takes a value of JSON; a word that is none is a string.
func (p *scanner) json() (string, error) {
	switch c := p.next(); c {
	case 0, ',':
		return "", p.errorf(p.i, "set wants a value, found %s", p.found())
	case '\'':
		s, err := p.str("the value")
		return string(pick.Encode(s)), err
	case '"', '{', '[':
		at := p.i
		d := json.NewDecoder(strings.NewReader(p.s[at:]))
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return "", p.errorf(at, "want a value of JSON: %v", err)
		}
		p.i += int(d.InputOffset())
		return string(v), nil
	}
	w, _ := p.word()
	if json.Valid([]byte(w)) {
		return w, nil
	}
	return string(pick.Encode(w)), nil
}

// injection takes what is injected: its direction, opcode and payload.
func (p *scanner) injection(a *action) (err error) {
	switch w, at := p.word(); w {
	case ">":
		a.dir = decode.FromClient
	case "<":
		a.dir = decode.FromServer
	default:
		return p.errorf(at, "inject wants > for the way to the server, or < for that to the client, found %q", w)
	}
	w, at := p.word()
	switch w {
	case "text":
		a.op = ws.OpText
		a.payload, err = p.str("the text")
	case "bin":
		a.op = ws.OpBinary
		a.payload, err = p.bytes()
	case "ping", "pong":
		if a.op = ws.OpPing; w == "pong" {
			a.op = ws.OpPong
		}
		if c := p.next(); c == '"' || c == '\'' || c == '[' {
			at := p.i
			if a.payload, err = p.bytes(); err == nil && len(a.payload) > ws.MaxControlFramePayloadSize {
				err = p.errorf(at, "the payload of a %s has at most 125 bytes (RFC 6455 §5.5)", w)
			}
		}
	case "close":
		a.op = ws.OpClose
		if next, _ := p.peek(); next == "" || next == "also" {
			return nil
		}
		if err = p.closeCode(a); err == nil {
			a.payload = closePayload(a.n, a.reason)
		}
	default:
		err = p.errorf(at, "inject wants text, bin, ping, pong or close, found %q", w)
	}
	return err
}

// closeCode takes the code of a Close, and its reason if there is one.
func (p *scanner) closeCode(a *action) (err error) {
	if a.n, err = p.number("close", "", 0, math.MaxUint16); err != nil {
		return err
	}
	if !p.startsString() {
		return p.inQuotes("the reason")
	}
	at := p.i
	if a.reason, err = p.str("the reason"); err == nil && len(a.reason) > ws.MaxControlFramePayloadSize-2 {
		err = p.errorf(at, "the reason of a Close has at most 123 bytes (RFC 6455 §5.5)")
	}
	return err
}

func closePayload(code int64, reason string) string {
	return string([]byte{byte(code >> 8), byte(code)}) + reason
}

// header takes Name: value, or -Name.
func (p *scanner) header(a *action) (err error) {
	const want = "header wants Name: value or -Name, found %s"
	if p.next() == '-' {
		at := p.i
		p.i++
		a.name, _ = p.word()
		if a.remove = true; !isToken(a.name) {
			return p.errorf(at, want, strconv.Quote("-"+a.name))
		}
		return nil
	}
	name, _, ok := strings.Cut(p.s[p.i:], ":")
	if !ok || !isToken(name) {
		return p.errorf(p.i, want, p.found())
	}
	a.name = name
	p.i += len(name) + 1
	if !p.startsString() {
		a.text = p.upToComma()
		return nil
	}
	at := p.i
	if a.text, err = p.str("the value"); err == nil && strings.ContainsAny(a.text, "\r\n\x00") {
		err = p.errorf(at, "the value of a header is one line")
	}
	return err
}

// isToken reports whether s can be the name of a header (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isWordByte(s[i]) && strings.IndexByte("!#$%&'*+-.^`|~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// Parse parses lines. Empty ones, and those that begin with #, are comments. The error of
// a line is an [*Error].
func Parse(r io.Reader) (lines []*Line, err error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, MaxLine+2)
	n := 0
	for s.Scan() {
		n++
		t := s.Text()
		if n == 1 {
			t = strings.TrimPrefix(t, "\uFEFF")
		}
		if trimmed := strings.TrimSpace(t); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		l, err := ParseLine(t)
		if err != nil {
			var e *Error
			if errors.As(err, &e) {
				e.Line = n
			}
			return nil, err
		}
		if lines = append(lines, l); len(lines) > MaxLines {
			return nil, fmt.Errorf("there are more than %d changes", MaxLines)
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return nil, &Error{Line: n + 1, Column: 1, Text: "the line is longer than 64 KiB"}
	}
	return lines, s.Err()
}
