package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// Parse reads one line. The record shares no bytes with it.
//
// What can't be kept is an error: a line that is not a JSON object in UTF-8, a
// value of the wrong type or out of range, a known key that comes twice, half
// of a surrogate pair.
func Parse(line []byte) (*Record, error) {
	line = bytes.Trim(line, " \t\r\n")
	switch {
	case !utf8.Valid(line):
		return nil, errors.New("not UTF-8")
	case len(line) == 0 || line[0] != '{' || !json.Valid(line):
		return nil, errors.New("not a JSON object")
	}
	ms, err := members(line)
	if err != nil {
		return nil, err
	}
	p := parser{Record: Record{Fin: true}}
	named, err := p.name(ms)
	if err != nil {
		return nil, err
	}
	p.keys = keysOf(p.Kind)
	for _, m := range ms {
		if m.Key != named {
			err = p.member(m)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	return &p.Record, nil
}

// A parser is a record of which not all keys were read.
type parser struct {
	Record
	keys []key
	seen uint64 // which of keys the line has, the first in the lowest bit

	code, reason []byte // of a Close frame
}

// name finds out what kind of line it is, and returns the key that says so.
func (p *parser) name(ms []Member) (string, error) {
	var kinds, versions int
	var version []byte
	for _, m := range ms {
		switch m.Key {
		case "k":
			kinds++
			kind, err := str(m.Value)
			if err == nil && len(kind) == 0 {
				err = errors.New("is empty")
			}
			if err != nil {
				return "", fmt.Errorf("k: %w", err)
			}
			p.Kind = string(kind)
		case "wstrace":
			versions++
			version = m.Value
		}
	}
	key, n := "k", kinds
	if n == 0 {
		key, n = "wstrace", versions
	}
	switch {
	case n == 0:
		return "", errors.New(`has no "k"`)
	case n > 1:
		return "", fmt.Errorf("%s: comes twice", key)
	}
	switch p.Kind {
	case KindHeader:
		v, err := whole(version, 1)
		if err == nil && v != Version {
			err = fmt.Errorf("version %d of the format, known is %d", v, Version)
		}
		if err != nil {
			return "", fmt.Errorf("wstrace: %w", err)
		}
		p.Version = int(v)
	case KindReq, KindRes:
		p.Head = new(decode.Head)
	case KindMessage:
		p.Message = new(Message)
	case KindClosed:
		p.Closed = new(Closed)
	}
	return key, nil
}

// member takes one member.
func (p *parser) member(m Member) (err error) {
	for i := range p.keys {
		k := &p.keys[i]
		if k.name != m.Key {
			continue
		}
		if err := k.parse(p, m.Value); err != nil {
			return fmt.Errorf("%s: %w", m.Key, err)
		}
		if p.seen&(1<<i) != 0 {
			return fmt.Errorf("%s: comes twice", m.Key)
		}
		p.seen |= 1 << i
		return nil
	}
	if m.Value, err = compact(m.Value); err != nil {
		return fmt.Errorf("%q: %w", m.Key, err)
	}
	p.Extra = append(p.Extra, m)
	return nil
}

// has reports whether the line has a key.
func (p *parser) has(name string) bool {
	for i := range p.keys {
		if p.keys[i].name == name {
			return p.seen&(1<<i) != 0
		}
	}
	return false
}

// hasAll reports whether the line has all of some keys.
func (p *parser) hasAll(names ...string) bool {
	for _, name := range names {
		if !p.has(name) {
			return false
		}
	}
	return true
}

// finish checks what only the whole record tells.
func (p *parser) finish() error {
	for i := range p.keys {
		if k := &p.keys[i]; k.needed && p.seen&(1<<i) == 0 {
			return fmt.Errorf("%s has no %s", p.Kind, k.name)
		}
	}
	if len(p.Payload) == 0 && p.Form != FormDeflate {
		p.Form, p.Payload = FormAuto, nil
	}
	switch p.Kind {
	case KindReq:
		if !p.RawHead && !p.hasAll("m", "target", "v") {
			return errors.New("req has neither raw nor m, target and v")
		}
	case KindRes:
		if !p.RawHead && !p.hasAll("v", "code") {
			return errors.New("res has neither raw nor v and code")
		}
	case KindFrame:
		return p.finishFrame()
	case KindMessage:
		op, _ := decode.ParseOp(p.Message.Op)
		return p.finishClose(op)
	case KindBody, KindMore, KindJunk:
		if p.has("len") != p.Cut {
			return errors.New("len and cut go together")
		}
	}
	if p.RawHead && (p.has("m") || p.has("target") || p.has("v") || p.has("code") || len(p.Head.Fields) > 0 || p.Head.Reason != "") {
		return errors.New("raw and the parts of a head")
	}
	return nil
}

// finishClose makes the code and reason of a Close its payload.
func (p *parser) finishClose(op ws.OpCode) error {
	switch {
	case p.code != nil:
		if err := p.setForm(FormCode); err != nil {
			return err
		}
		if op != ws.OpClose {
			return errors.New("code: is for close frames")
		}
		p.Payload = append(p.code, p.reason...)
	case p.reason != nil:
		return errors.New("reason: without a code")
	}
	return nil
}

func (p *parser) finishFrame() error {
	if err := p.finishClose(p.Op); err != nil {
		return err
	}
	if p.Form == FormDeflate {
		if p.has("len") || p.LenBits != 0 {
			return errors.New("deflate: with a length")
		}
		return nil
	}
	if !p.has("len") {
		p.Len = uint64(len(p.Payload))
	}
	if p.Len < uint64(len(p.Payload)) {
		return fmt.Errorf("len: %d, and %d bytes of payload", p.Len, len(p.Payload))
	}
	switch least := decode.LengthBits(p.Len); {
	case p.LenBits == least:
		p.LenBits = 0
	case p.LenBits != 0 && p.LenBits < least:
		return fmt.Errorf("lenc: %d bits can't hold %d", p.LenBits, p.Len)
	}
	return nil
}
