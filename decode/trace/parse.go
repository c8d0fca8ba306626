package trace

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
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
	if err := p.kind(ms); err != nil {
		return nil, err
	}
	for i, m := range ms {
		known, err := p.set(m.Key, m.Value)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", m.Key, err)
		case !known:
			m.Value, err = compact(m.Value)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", m.Key, err)
			}
			p.Extra = append(p.Extra, m)
		case slices.ContainsFunc(ms[:i], func(o Member) bool { return o.Key == m.Key }):
			return nil, fmt.Errorf("%s: comes twice", m.Key)
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	return &p.Record, nil
}

// members returns the members of the object that line, valid JSON, consists
// of. The values are parts of line.
func members(line []byte) ([]Member, error) {
	var ms []Member
	rest := skipSpace(line[1:])
	for rest[0] != '}' {
		n := valueLen(rest)
		key, err := unquote(rest[:n])
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", rest[:n], err)
		}
		rest = skipSpace(rest[n:])
		rest = skipSpace(rest[1:]) // the colon
		n = valueLen(rest)
		ms = append(ms, Member{string(key), rest[:n]})
		rest = skipSpace(rest[n:])
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
	}
	return ms, nil
}

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// valueLen returns the length of the JSON value at the start of b.
func valueLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // of what a number or word stands in
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}

// compact returns a copy of the JSON value v without white space. Strings and
// numbers stay as they are spelled.
func compact(v []byte) ([]byte, error) {
	var buf bytes.Buffer
	err := json.Compact(&buf, v)
	return buf.Bytes(), err
}

// A parser is a record of which not all keys were read.
type parser struct {
	Record
	code, reason []byte

	// whether the key was there
	op, hasLen, n                 bool
	method, target, proto, status bool
}

// kind finds out what the line is.
func (p *parser) kind(ms []Member) error {
	header := false
	for _, m := range ms {
		switch m.Key {
		case "k":
			if err := str(m.Value, &p.Kind); err != nil {
				return fmt.Errorf("k: %w", err)
			}
			if p.Kind == "" {
				return errors.New("k: is empty")
			}
		case "wstrace":
			header = true
		}
	}
	if p.Kind == "" && !header {
		return errors.New(`has no "k"`)
	}
	return nil
}

// set takes one member. It reports whether the kind has that key.
func (p *parser) set(key string, v []byte) (known bool, err error) {
	if p.IsHeader() {
		return p.setHeader(key, v)
	}
	switch key {
	case "k":
		return true, nil
	case "t":
		p.HasT = true
		p.T, err = seconds(v)
		return true, err
	case "d":
		p.HasDir = true
		var s string
		if err = str(v, &s); err == nil {
			switch s {
			case ">":
				p.Dir = decode.FromClient
			case "<":
				p.Dir = decode.FromServer
			default:
				err = fmt.Errorf(`%s is neither ">" nor "<"`, v)
			}
		}
		return true, err
	case "c":
		if p.Kind != "violation" {
			return true, number(v, &p.C, 1)
		}
	}
	switch p.Kind {
	case "open":
		switch key {
		case "client":
			return true, str(v, &p.Client)
		case "server":
			return true, str(v, &p.Server)
		case "url":
			return true, str(v, &p.URL)
		case "via":
			return true, str(v, &p.Via)
		case "ext":
			return true, str(v, &p.Ext)
		case "tls":
			p.TLS, err = compact(v)
			return true, err
		}
	case "req", "res":
		return p.setHead(key, v)
	case "frame":
		return p.setFrame(key, v)
	case "more", "junk":
		switch key {
		case "why":
			if p.Kind == "more" {
				return false, nil
			}
			return true, str(v, &p.Why)
		case "len":
			p.hasLen = true
			return true, unsigned(v, &p.Len)
		}
		return p.setPayload(key, v)
	case "opaque":
		if key == "why" {
			return true, str(v, &p.Why)
		}
	case "end":
		switch key {
		case "how":
			if err = str(v, &p.How); err == nil {
				if _, ok := decode.ParseEnd(p.How); !ok {
					err = fmt.Errorf("%s is no way to end", v)
				}
			}
			return true, err
		case "err":
			return true, str(v, &p.Err)
		case "status":
			return true, status(v, &p.Status)
		}
	case "done":
		switch key {
		case "sent":
			return true, number(v, &p.Sent, 0)
		case "got":
			return true, number(v, &p.Got, 0)
		}
	case "gap":
		if key == "n" {
			p.n = true
			return true, number(v, &p.N, 0)
		}
	case "note":
		if key == "text" {
			return true, str(v, &p.Text)
		}
	case "violation":
		switch key {
		case "conn":
			return true, number(v, &p.C, 1)
		case "from":
			return true, str(v, &p.From)
		case "frame":
			p.HasFrame = true
			return true, number(v, &p.Frame, 0)
		case "rule":
			return true, str(v, &p.Rule)
		case "severity":
			return true, str(v, &p.Severity)
		case "section":
			return true, str(v, &p.Section)
		case "text":
			return true, str(v, &p.Text)
		}
	case "sum":
		switch key {
		case "conns":
			return true, number(v, &p.Conns, 0)
		case "frames":
			return true, number(v, &p.Frames, 0)
		case "bytes":
			return true, number(v, &p.Bytes, 0)
		}
	}
	return false, nil
}

func (p *parser) setHeader(key string, v []byte) (known bool, err error) {
	switch key {
	case "wstrace":
		var n int64
		if err = number(v, &n, 1); err == nil && n != Version {
			err = fmt.Errorf("version %d of the format, known is %d", n, Version)
		}
		p.Version = int(n)
		return true, err
	case "t0":
		if err = str(v, &p.T0); err == nil {
			var t time.Time
			if t.UnmarshalText([]byte(p.T0)) != nil {
				err = fmt.Errorf("%s is not a time as in RFC 3339", v)
			}
		}
		return true, err
	case "by":
		return true, str(v, &p.By)
	case "host":
		return true, str(v, &p.Host)
	case "mode":
		return true, str(v, &p.Mode)
	case "redact":
		return true, list(v, func(v []byte) error {
			var s string
			err := str(v, &s)
			p.Redact = append(p.Redact, s)
			return err
		})
	case "snap":
		p.HasSnap = true
		return true, number(v, &p.Snap, 0)
	}
	return false, nil
}

func (p *parser) setHead(key string, v []byte) (known bool, err error) {
	if p.Head == nil {
		p.Head = &decode.Head{}
	}
	if p.Kind == "req" {
		switch key {
		case "m":
			p.method = true
			return true, str(v, &p.Head.Method)
		case "target":
			p.target = true
			return true, str(v, &p.Head.Target)
		}
	} else {
		switch key {
		case "code":
			p.status = true
			var n int64
			err = status(v, &n)
			p.Head.Status = int(n)
			return true, err
		case "reason":
			return true, str(v, &p.Head.Reason)
		}
	}
	switch key {
	case "v":
		p.proto = true
		return true, str(v, &p.Head.Proto)
	case "h":
		return true, list(v, func(v []byte) error {
			var f []string
			err := list(v, func(v []byte) error {
				var s string
				err := str(v, &s)
				f = append(f, s)
				return err
			})
			if err == nil && len(f) != 2 {
				err = fmt.Errorf("%s is not a name and a value", v)
			}
			if err == nil {
				p.Head.Fields = append(p.Head.Fields, decode.Field{Name: f[0], Value: f[1]})
			}
			return err
		})
	case "raw":
		var b []byte
		err = fromBase64(v, &b)
		p.Head.Raw, p.RawHead = string(b), len(b) > 0
		return true, err
	case "body":
		return true, fromBase64(v, &p.Body)
	case "blen":
		return true, number(v, &p.BodyLen, 0)
	}
	return p.setFate(key, v)
}

func (p *parser) setFrame(key string, v []byte) (known bool, err error) {
	switch key {
	case "op":
		p.op = true
		p.Op, err = opcode(v)
		return true, err
	case "fin":
		return true, boolean(v, &p.Fin)
	case "rsv":
		var n int64
		if err = number(v, &n, 0); err == nil && n > 7 {
			err = fmt.Errorf("%d is more than 3 bits", n)
		}
		p.Rsv = byte(n)
		return true, err
	case "mask":
		var s string
		if err = str(v, &s); err == nil {
			var b []byte
			if b, err = hex.DecodeString(s); err != nil || len(b) != 4 {
				err = fmt.Errorf("%s is not 8 hexadecimal digits", v)
			} else {
				p.Masked, p.Mask = true, [4]byte(b)
			}
		}
		return true, err
	case "lenc":
		var n int64
		if err = number(v, &n, 0); err == nil && n != 7 && n != 16 && n != 64 {
			err = fmt.Errorf("%d is not 7, 16 or 64", n)
		}
		p.LenBits = int(n)
		return true, err
	case "len":
		p.hasLen = true
		return true, unsigned(v, &p.Len)
	case "code":
		var n int64
		if err = number(v, &n, 0); err == nil && n > math.MaxUint16 {
			err = fmt.Errorf("%d is more than 16 bits", n)
		}
		p.code = binary.BigEndian.AppendUint16(nil, uint16(n))
		return true, err
	case "reason":
		if v[0] != '"' {
			return true, errNoString(v)
		}
		p.reason, err = unquote(v)
		return true, err
	case "deflate":
		return true, p.text(FormDeflate, v)
	case "=text":
		p.HasInflated = true
		return true, str(v, &p.Inflated)
	}
	return p.setPayload(key, v)
}

func (p *parser) setPayload(key string, v []byte) (known bool, err error) {
	switch key {
	case "text":
		if p.Kind == "junk" {
			return false, nil
		}
		return true, p.text(FormText, v)
	case "b64":
		if err = p.form(FormBase64); err == nil {
			err = fromBase64(v, &p.Payload)
		}
		return true, err
	case "hex":
		if err = p.form(FormHex); err == nil {
			var s string
			if err = str(v, &s); err == nil {
				p.Payload, err = hex.DecodeString(strings.ReplaceAll(s, " ", ""))
			}
			if err != nil {
				err = fmt.Errorf("%s is not pairs of hexadecimal digits", v)
			}
		}
		return true, err
	}
	return p.setFate(key, v)
}

func (p *parser) text(form Form, v []byte) (err error) {
	if v[0] != '"' {
		return errNoString(v)
	}
	if err = p.form(form); err == nil {
		p.Payload, err = unquote(v)
	}
	return err
}

// form notes how the payload is spelled.
func (p *parser) form(form Form) error {
	if p.Form != FormAuto {
		return errTwoPayloads
	}
	p.Form = form
	return nil
}

var errTwoPayloads = errors.New("a second payload")

func (p *parser) setFate(key string, v []byte) (known bool, err error) {
	switch key {
	case "leg":
		return true, str(v, &p.Leg)
	case "fx":
		return true, str(v, &p.FX)
	case "cut":
		return true, boolean(v, &p.Cut)
	}
	return false, nil
}

// finish checks what only the whole record tells.
func (p *parser) finish() error {
	switch p.Kind {
	case "frame", "more", "junk", "gap", "opaque":
		if !p.HasDir {
			return fmt.Errorf("%s has no d", p.Kind)
		}
	}
	if len(p.Payload) == 0 && p.Form != FormDeflate {
		p.Form, p.Payload = FormAuto, nil
	}
	switch p.Kind {
	case "req":
		if p.Head == nil || !p.RawHead && !(p.method && p.target && p.proto) {
			return errors.New("req has neither raw nor m, target and v")
		}
	case "res":
		if p.Head == nil || !p.RawHead && !(p.proto && p.status) {
			return errors.New("res has neither raw nor v and code")
		}
	case "frame":
		return p.finishFrame()
	case "more", "junk":
		if p.hasLen != p.Cut {
			return errors.New("len and cut go together")
		}
	case "gap":
		if !p.n {
			return errors.New("gap has no n")
		}
	}
	if p.RawHead && (p.method || p.target || p.proto || p.status || len(p.Head.Fields) > 0 || p.Head.Reason != "") {
		return errors.New("raw and the parts of a head")
	}
	return nil
}

func (p *parser) finishFrame() error {
	if !p.op {
		return errors.New("frame has no op")
	}
	switch {
	case p.code != nil:
		if err := p.form(FormCode); err != nil {
			return err
		}
		if p.Op != ws.OpClose {
			return errors.New("code: is for close frames")
		}
		p.Payload = append(p.code, p.reason...)
	case p.reason != nil:
		return errors.New("reason: without a code")
	}
	if p.Form == FormDeflate {
		if p.hasLen || p.LenBits != 0 {
			return errors.New("deflate: with a length")
		}
		return nil
	}
	if !p.hasLen {
		p.Len = uint64(len(p.Payload))
	}
	if p.Len < uint64(len(p.Payload)) {
		return fmt.Errorf("len: %d, and %d bytes of payload", p.Len, len(p.Payload))
	}
	switch min := lenBits(p.Len); {
	case p.LenBits == min:
		p.LenBits = 0
	case p.LenBits != 0 && p.LenBits < min:
		return fmt.Errorf("lenc: %d bits can't hold %d", p.LenBits, p.Len)
	}
	return nil
}

func opcode(v []byte) (ws.OpCode, error) {
	if v[0] != '"' {
		var n int64
		err := number(v, &n, 0)
		if err == nil && n > 15 {
			err = fmt.Errorf("%d is more than 4 bits", n)
		}
		return ws.OpCode(n), err
	}
	var s string
	if err := str(v, &s); err != nil {
		return 0, err
	}
	i := slices.Index(opNames[:], s)
	if i < 0 || s == "" {
		return 0, fmt.Errorf("%s is no opcode", v)
	}
	return ws.OpCode(i), nil
}

// seconds reads a number of seconds, to the nearest nanosecond.
func seconds(v []byte) (time.Duration, error) {
	if v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		return 0, fmt.Errorf("%.40s is not a number", v)
	}
	tooBig := fmt.Errorf("%.40s seconds are out of range", v)
	num, exp, hasExp := strings.Cut(strings.ToLower(string(v)), "e")
	num, neg := strings.CutPrefix(num, "-")
	whole, frac, _ := strings.Cut(num, ".")
	digits := strings.TrimLeft(whole+frac, "0")
	if digits == "" {
		return 0, nil
	}
	shift := 9 - len(frac) // the value is digits × 10^shift ns
	if hasExp {
		e, err := strconv.Atoi(exp)
		switch {
		case strings.HasPrefix(exp, "-") && (err != nil || e < -len(v)-30):
			return 0, nil
		case err != nil || e > len(v)+30:
			return 0, tooBig
		}
		shift += e
	}
	if len(digits)+shift > 19 {
		return 0, tooBig
	}
	up := false
	if drop := -shift; drop > len(digits) {
		digits = "0"
	} else if drop > 0 {
		up = digits[len(digits)-drop] >= '5'
		digits = "0" + digits[:len(digits)-drop]
	} else {
		digits += strings.Repeat("0", shift)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || up && n == math.MaxInt64 {
		return 0, tooBig
	}
	if up {
		n++
	}
	if neg {
		n = -n
	}
	return time.Duration(n), nil
}

func errNoString(v []byte) error { return fmt.Errorf("%.40s is not a string", v) }

func str(v []byte, s *string) error {
	if v[0] != '"' {
		return errNoString(v)
	}
	b, err := unquote(v)
	*s = string(b)
	return err
}

func boolean(v []byte, b *bool) error {
	*b = string(v) == "true"
	if !*b && string(v) != "false" {
		return fmt.Errorf("%.40s is neither true nor false", v)
	}
	return nil
}

// number reads a whole number of at least least.
func number(v []byte, n *int64, least int64) (err error) {
	*n, err = strconv.ParseInt(string(v), 10, 64)
	if err != nil || *n < least {
		return fmt.Errorf("%.40s is not a whole number from %d", v, least)
	}
	return nil
}

// status reads the status code of a response.
func status(v []byte, n *int64) (err error) {
	if err = number(v, n, 100); err == nil && *n > 999 {
		err = fmt.Errorf("%d is no status code", *n)
	}
	return err
}

func unsigned(v []byte, n *uint64) (err error) {
	*n, err = strconv.ParseUint(string(v), 10, 64)
	if err != nil {
		return fmt.Errorf("%.40s is not a whole number of 64 bits", v)
	}
	return nil
}

func fromBase64(v []byte, b *[]byte) error {
	var s string
	if err := str(v, &s); err != nil {
		return err
	}
	var err error
	if *b, err = base64.StdEncoding.Strict().DecodeString(s); err != nil {
		return fmt.Errorf("%.40s is not base64", v)
	}
	return nil
}

// list calls f for the elements of the array v.
func list(v []byte, f func([]byte) error) error {
	if v[0] != '[' {
		return fmt.Errorf("%.40s is not a list", v)
	}
	for rest := skipSpace(v[1:]); rest[0] != ']'; {
		n := valueLen(rest)
		if err := f(rest[:n]); err != nil {
			return err
		}
		rest = skipSpace(rest[n:])
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
	}
	return nil
}

// unquote returns what the valid JSON string v stands for, in bytes of its own.
// Unlike encoding/json it takes half of a surrogate pair for an error, because
// no UTF-8 stands for it.
func unquote(v []byte) ([]byte, error) {
	s := v[1 : len(v)-1]
	out := make([]byte, 0, len(s))
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(out, s...), nil
		}
		out = append(out, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
					return nil, errSurrogate
				}
				r = utf16.DecodeRune(r, hex4(s[2:]))
				if r == utf8.RuneError {
					return nil, errSurrogate
				}
				s = s[6:]
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		out = append(out, c)
	}
}

var errSurrogate = errors.New("half of a surrogate pair")

func hex4(s []byte) rune {
	n, _ := strconv.ParseUint(string(s[:4]), 16, 16)
	return rune(n)
}
