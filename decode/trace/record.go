package trace

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// Version is the version of the format that this package reads and writes.
const Version = 1

// A Record is one line of a trace. Which fields mean something depends on its
// kind. A payload is at most as long as its frame; that of a frame in several
// pieces is at most [decode.MaxPiece].
type Record struct {
	Line int       // number of the line it was read from, from 1; 0 if from none
	Time time.Time // t0 + T; set by [Reader] only

	Kind   string        // k; "" for a header line
	T      time.Duration // t
	HasT   bool          // false: as in the line before
	C      int64         // c, or conn of a violation; 0: the session opened last
	Dir    decode.Dir    // d; valid iff HasDir
	HasDir bool

	// header
	Version int
	T0      string // RFC 3339; "" stands for 1970-01-01 00:00:00 local time
	By      string
	Host    string
	Mode    string
	Redact  []string
	Snap    int64 // valid iff HasSnap: longer payloads were cut to this length
	HasSnap bool

	// open
	Client, Server, URL, Via string
	Ext                      string // extensions in force without a handshake
	TLS                      []byte // JSON

	// req, res
	Head    *decode.Head
	RawHead bool   // Head.Raw is the head; otherwise its parts are
	Body    []byte // the beginning of the body
	BodyLen int64  // blen: length of the whole body; 0 if not known

	// frame; the payload also of more and junk
	Op       ws.OpCode
	Fin      bool
	Rsv      byte // RSV1 is 4
	Masked   bool
	Mask     [4]byte
	LenBits  int    // lenc: 7, 16 or 64; 0 for as few as needed
	Len      uint64 // as declared; of more and junk: as it was, if Cut
	Form     Form
	Payload  []byte // unmasked
	Inflated string // =text; valid iff HasInflated
	Leg, FX  string
	Cut      bool // the payload was cut when it was written

	HasInflated bool

	Why               string // junk, opaque
	How, Err          string // end
	Status            int64  // end: of the answer that the proxy gave in place of the server; 0 if none
	N                 int64  // gap
	Sent, Got         int64  // done
	Text              string // note, violation
	From              string // violation
	Rule              string
	Severity, Section string
	Frame             int64 // violation; valid iff HasFrame
	HasFrame          bool
	Conns             int64 // sum
	Frames, Bytes     int64

	Extra []Member // keys that are not of this kind, in the order they came
}

// A Member is a key with its JSON value.
type Member struct {
	Key   string
	Value []byte
}

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

// IsHeader reports whether r is a header line.
func (r *Record) IsHeader() bool { return r.Kind == "" }

// Append appends the line that r is, with its LF, to dst: keys in their fixed
// order, defaults left out.
func (r *Record) Append(dst []byte) []byte {
	if r.IsHeader() {
		dst = r.appendHeader(dst)
	} else {
		dst = append(dst, `{"k":`...)
		dst = appendString(dst, r.Kind)
		if r.HasT {
			dst = append(dst, `,"t":`...)
			dst = appendSeconds(dst, r.T)
		}
		if r.C != 0 && r.Kind != "violation" {
			dst = appendInt(dst, `,"c":`, r.C)
		}
		if r.HasDir {
			dst = append(dst, `,"d":"`...)
			dst = append(dst, r.Dir.Arrow()...)
			dst = append(dst, '"')
		}
		dst = r.appendKind(dst)
	}
	for _, m := range r.Extra {
		dst = append(dst, ',')
		dst = appendString(dst, m.Key)
		dst = append(dst, ':')
		dst = append(dst, m.Value...)
	}
	return append(dst, '}', '\n')
}

func (r *Record) appendHeader(dst []byte) []byte {
	dst = appendInt(dst, `{"wstrace":`, int64(r.Version))
	dst = appendText(dst, `,"t0":`, r.T0)
	dst = appendText(dst, `,"by":`, r.By)
	dst = appendText(dst, `,"host":`, r.Host)
	dst = appendText(dst, `,"mode":`, r.Mode)
	for i, name := range r.Redact {
		if i == 0 {
			dst = append(dst, `,"redact":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendString(dst, name)
	}
	if len(r.Redact) > 0 {
		dst = append(dst, ']')
	}
	if r.HasSnap {
		dst = appendInt(dst, `,"snap":`, r.Snap)
	}
	return dst
}

func (r *Record) appendKind(dst []byte) []byte {
	switch r.Kind {
	case "open":
		dst = appendText(dst, `,"client":`, r.Client)
		dst = appendText(dst, `,"server":`, r.Server)
		dst = appendText(dst, `,"url":`, r.URL)
		dst = appendText(dst, `,"via":`, r.Via)
		dst = appendText(dst, `,"ext":`, r.Ext)
		if len(r.TLS) > 0 {
			dst = append(dst, `,"tls":`...)
			dst = append(dst, r.TLS...)
		}
	case "req", "res":
		dst = r.appendHead(dst)
		dst = appendBase64(dst, `,"body":`, r.Body)
		if r.BodyLen != 0 {
			dst = appendInt(dst, `,"blen":`, r.BodyLen)
		}
		dst = r.appendFate(dst)
	case "frame":
		dst = r.appendFrame(dst)
	case "more":
		if r.Cut {
			dst = appendUint(dst, `,"len":`, r.Len)
		}
		dst = r.appendPayload(dst)
		dst = r.appendFate(dst)
	case "junk":
		if r.Cut {
			dst = appendUint(dst, `,"len":`, r.Len)
		}
		dst = r.appendPayload(dst)
		dst = appendText(dst, `,"why":`, r.Why)
		dst = r.appendFate(dst)
	case "opaque":
		dst = appendText(dst, `,"why":`, r.Why)
	case "end":
		dst = appendText(dst, `,"how":`, r.How)
		dst = appendText(dst, `,"err":`, r.Err)
		if r.Status != 0 {
			dst = appendInt(dst, `,"status":`, r.Status)
		}
	case "done":
		dst = appendInt(dst, `,"sent":`, r.Sent)
		dst = appendInt(dst, `,"got":`, r.Got)
	case "gap":
		dst = appendInt(dst, `,"n":`, r.N)
	case "note":
		dst = appendText(dst, `,"text":`, r.Text)
	case "violation":
		if r.C != 0 {
			dst = appendInt(dst, `,"conn":`, r.C)
		}
		dst = appendText(dst, `,"from":`, r.From)
		if r.HasFrame {
			dst = appendInt(dst, `,"frame":`, r.Frame)
		}
		dst = appendText(dst, `,"rule":`, r.Rule)
		dst = appendText(dst, `,"severity":`, r.Severity)
		dst = appendText(dst, `,"section":`, r.Section)
		dst = appendText(dst, `,"text":`, r.Text)
	case "sum":
		dst = appendInt(dst, `,"conns":`, r.Conns)
		dst = appendInt(dst, `,"frames":`, r.Frames)
		dst = appendInt(dst, `,"bytes":`, r.Bytes)
	}
	return dst
}

func (r *Record) appendHead(dst []byte) []byte {
	h := r.Head
	switch {
	case r.RawHead:
		return appendBase64(dst, `,"raw":`, h.Raw)
	case r.Kind == "req":
		dst = append(dst, `,"m":`...)
		dst = appendString(dst, h.Method)
		dst = append(dst, `,"target":`...)
		dst = appendString(dst, h.Target)
		dst = append(dst, `,"v":`...)
		dst = appendString(dst, h.Proto)
	default:
		dst = append(dst, `,"v":`...)
		dst = appendString(dst, h.Proto)
		dst = appendInt(dst, `,"code":`, int64(h.Status))
		dst = append(dst, `,"reason":`...)
		dst = appendString(dst, h.Reason)
	}
	dst = append(dst, `,"h":[`...)
	for i, f := range h.Fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		dst = appendString(dst, f.Name)
		dst = append(dst, ',')
		dst = appendString(dst, f.Value)
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

func (r *Record) appendFrame(dst []byte) []byte {
	dst = append(dst, `,"op":`...)
	if name := opNames[r.Op&15]; name != "" {
		dst = append(dst, '"')
		dst = append(dst, name...)
		dst = append(dst, '"')
	} else {
		dst = strconv.AppendUint(dst, uint64(r.Op&15), 10)
	}
	if !r.Fin {
		dst = append(dst, `,"fin":false`...)
	}
	if r.Rsv != 0 {
		dst = appendInt(dst, `,"rsv":`, int64(r.Rsv))
	}
	if r.Masked {
		dst = append(dst, `,"mask":"`...)
		for _, b := range r.Mask {
			dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
		}
		dst = append(dst, '"')
	}
	if r.Form != FormDeflate {
		if r.LenBits > lenBits(r.Len) {
			dst = appendInt(dst, `,"lenc":`, int64(r.LenBits))
		}
		if r.Len != uint64(len(r.Payload)) {
			dst = appendUint(dst, `,"len":`, r.Len)
		}
	}
	dst = r.appendPayload(dst)
	if r.HasInflated {
		dst = append(dst, `,"=text":`...)
		dst = appendString(dst, r.Inflated)
	}
	return r.appendFate(dst)
}

// appendFate appends what became of a head or frame, and whether it is whole.
func (r *Record) appendFate(dst []byte) []byte {
	dst = appendText(dst, `,"leg":`, r.Leg)
	dst = appendText(dst, `,"fx":`, r.FX)
	if r.Cut {
		dst = append(dst, `,"cut":true`...)
	}
	return dst
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
	case r.Kind == "junk" || r.Rsv != 0:
	case r.Op == ws.OpText || r.Op == ws.OpContinuation:
		if utf8.Valid(p) {
			return FormText
		}
	case r.Op == ws.OpClose && r.Kind == "frame" && len(p) >= 2:
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

// opNames are the opcodes that have a name in traces; the others are numbers.
var opNames = [16]string{0: "cont", 1: "text", 2: "bin", 8: "close", 9: "ping", 10: "pong"}

// lenBits returns the width of the narrowest length field that can hold n.
func lenBits(n uint64) int {
	switch {
	case n < 126:
		return 7
	case n <= 0xffff:
		return 16
	}
	return 64
}

const hexDigits = "0123456789abcdef"

func appendInt(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(dst, key...), n, 10)
}

func appendUint(dst []byte, key string, n uint64) []byte {
	return strconv.AppendUint(append(dst, key...), n, 10)
}

// appendText appends key and s, or nothing if s is empty. Bytes of s that are
// not UTF-8 are spelled as the forms for people spell them, \xff: only remarks
// and names go this way, never traffic.
func appendText(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	if !utf8.ValidString(s) {
		s = escapeInvalid(s)
	}
	return appendString(append(dst, key...), s)
}

func escapeInvalid(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			b.WriteString(`\x`)
			b.WriteByte(hexDigits[s[0]>>4])
			b.WriteByte(hexDigits[s[0]&15])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func appendBase64[S string | []byte](dst []byte, key string, p S) []byte {
	if len(p) == 0 {
		return dst
	}
	dst = append(dst, key...)
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, []byte(p))
	return append(dst, '"')
}

// appendString appends s, which is UTF-8, as a JSON string. Control characters
// are escaped, those beyond ASCII too, so that a line never moves a terminal's
// cursor; so are the two line ends of Unicode.
func appendString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if plain[c] {
			continue
		}
		n := 1 // bytes that the escape stands for
		r := uint16(c)
		switch {
		case c == 0xc2 && i+1 < len(s):
			if s[i+1] >= 0xa0 {
				continue
			}
			n, r = 2, uint16(s[i+1])
		case c == 0xe2 && i+2 < len(s):
			if s[i+1] != 0x80 || s[i+2]&^1 != 0xa8 {
				continue
			}
			n, r = 3, 0x2028|uint16(s[i+2]&1)
		case c >= 0x80:
			continue
		}
		dst = append(dst, s[from:i]...)
		if e := shortEscape[c&0x7f]; e != 0 && n == 1 {
			dst = append(dst, '\\', e)
		} else {
			dst = append(dst, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		}
		i += n - 1
		from = i + 1
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// plain has the bytes that stand for themselves in a JSON string, or that are
// part of a character that does.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && c != 0xc2 && c != 0xe2
	}
	return t
}()

var shortEscape = [128]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// appendSeconds appends d in seconds, with as many decimals as it needs.
func appendSeconds(dst []byte, d time.Duration) []byte {
	n := uint64(d)
	if d < 0 {
		dst = append(dst, '-')
		n = -n
	}
	dst = strconv.AppendUint(dst, n/1e9, 10)
	frac := n % 1e9
	if frac == 0 {
		return dst
	}
	var digits [9]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = '0' + byte(frac%10)
		frac /= 10
	}
	dst = append(dst, '.')
	return append(dst, bytes.TrimRight(digits[:], "0")...)
}
