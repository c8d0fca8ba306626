package trace

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Form is how a payload is spelled.
type Form uint8

const (
	FormAuto    Form = iota // as it reads best
	FormText                // text
	FormBase64              // b64
	FormHex                 // hex, for traces made by hand
	FormCode                // code and reason of a Close frame
	FormDeflate             // deflate, text to be compressed: no bytes yet
)

// payload is the first of the keys that a kind of record has for its payload.
// It appends the payload in whatever form.
func payload(name string, form Form) key {
	k := otherPayload(name, form)
	k.append = func(dst []byte, _ string, r *Record) []byte { return r.appendPayload(dst) }
	return k
}

// otherPayload is another one.
func otherPayload(name string, form Form) key {
	parse := str
	switch form {
	case FormBase64:
		parse = fromBase64
	case FormHex:
		parse = fromHex
	}
	return newKey(name, nil, func(p *parser, v []byte) (err error) {
		if err = p.setForm(form); err == nil {
			p.Payload, err = parse(v)
		}
		return err
	})
}

func closeCode(name string) key {
	return newKey(name, nil, func(p *parser, v []byte) error {
		n, err := upTo(v, 1<<16-1, "is more than 16 bits")
		p.code = binary.BigEndian.AppendUint16(nil, uint16(n))
		return err
	})
}

func closeReason(name string) key {
	return newKey(name, nil, func(p *parser, v []byte) (err error) {
		p.reason, err = str(v)
		return err
	})
}

// setForm notes how the payload is spelled.
func (p *parser) setForm(form Form) error {
	if p.Form != FormAuto {
		return errTwoPayloads
	}
	p.Form = form
	return nil
}

var errTwoPayloads = errors.New("a second payload")

func fromHex(v []byte) ([]byte, error) {
	s, err := str(v)
	if err != nil {
		return nil, fmt.Errorf("%s is not pairs of hexadecimal digits", v)
	}
	s = bytes.ReplaceAll(s, []byte(" "), nil)
	n, err := hex.Decode(s, s)
	if err != nil {
		return nil, fmt.Errorf("%s is not pairs of hexadecimal digits", v)
	}
	return s[:n], nil
}

func (r *Record) appendPayload(dst []byte) []byte {
	p := r.Payload
	form := r.Form
	switch {
	case form == FormDeflate: // empty or not, it asks for a compressed message
	case len(p) == 0:
		return dst
	case form == FormAuto,
		form == FormText && !utf8.Valid(p),
		form == FormCode && (len(p) < 2 || !utf8.Valid(p[2:])):
		form = r.bestForm()
	}
	switch form {
	case FormText:
		dst = append(dst, `,"text":`...)
		dst = appendString(dst, p)
	case FormDeflate:
		dst = append(dst, `,"deflate":`...)
		dst = appendString(dst, p)
	case FormCode:
		dst = appendInt(dst, `,"code":`, int64(binary.BigEndian.Uint16(p)))
		if len(p) > 2 {
			dst = append(dst, `,"reason":`...)
			dst = appendString(dst, p[2:])
		}
	case FormHex:
		dst = append(dst, `,"hex":"`...)
		for i, b := range p {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
		}
		dst = append(dst, '"')
	default:
		dst = appendBase64(dst, `,"b64":`, p)
	}
	return dst
}

// bestForm returns the form in which recordings keep the payload: text where
// it is text, base64 otherwise.
func (r *Record) bestForm() Form {
	p := r.Payload
	switch {
	case r.Kind == KindJunk || r.Rsv != 0:
	case r.Kind == KindBody:
		if utf8.Valid(p) {
			return FormText
		}
	case r.Op == ws.OpText || r.Op == ws.OpContinuation:
		if utf8.Valid(p) {
			return FormText
		}
	case r.Op == ws.OpClose && (r.Kind == KindFrame || r.Kind == KindMessage && !r.Cut) && len(p) >= 2:
		if utf8.Valid(p[2:]) {
			return FormCode
		}
	case r.Op == ws.OpClose || r.Op == ws.OpPing || r.Op == ws.OpPong:
		if printable(p) {
			return FormText
		}
	}
	return FormBase64
}

func printable(p []byte) bool {
	for len(p) > 0 {
		c, n := utf8.DecodeRune(p)
		if c == utf8.RuneError && n == 1 || !strconv.IsPrint(c) {
			return false
		}
		p = p[n:]
	}
	return true
}
