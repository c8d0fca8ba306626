package decode

import (
	"fmt"
	"strconv"
	"strings"
)

// An Extension is one element of a Sec-WebSocket-Extensions list
// (RFC 6455 §9.1).
type Extension struct {
	Name   string
	Params []Param
}

// A Param is one parameter of an [Extension].
type Param struct {
	Name     string
	Value    string // unquoted
	HasValue bool
}

// ParseExtensions parses the Sec-WebSocket-Extensions headers of a head, in
// order. If there is a mistake, it returns the extensions before it, and the
// mistake as an error.
func ParseExtensions(lines []string) ([]Extension, error) {
	p := extParser{s: strings.Join(lines, ",")}
	if p.space(); p.s == "" {
		return nil, fmt.Errorf("the list is empty")
	}
	for {
		ext, err := p.extension()
		if err != nil {
			return p.list, err
		}
		p.list = append(p.list, ext)
		if p.i == len(p.s) {
			return p.list, nil
		}
		if !p.skip(',') {
			return p.list, p.want("a comma or a semicolon")
		}
	}
}

type extParser struct {
	s    string
	i    int
	list []Extension
}

func (p *extParser) extension() (ext Extension, err error) {
	if ext.Name = p.token(); ext.Name == "" {
		return ext, p.want("the name of an extension")
	}
	for p.skip(';') {
		var param Param
		if param.Name = p.token(); param.Name == "" {
			return ext, p.want("the name of a parameter")
		}
		if param.HasValue = p.skip('='); param.HasValue {
			if param.Value, err = p.value(ext.Name); err != nil {
				return ext, err
			}
		}
		ext.Params = append(ext.Params, param)
	}
	return ext, nil
}

// value parses a token, or a quoted string that must hold one; only BBF TR-369
// quotes what is not a token.
func (p *extParser) value(ext string) (string, error) {
	at := p.i
	if !p.skip('"') {
		if v := p.token(); v != "" {
			return v, nil
		}
		return "", p.want("a value")
	}
	var b strings.Builder
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			p.space()
			if !isToken(b.String()) && ext != "bbf-usp-protocol" {
				p.i = at
				return "", p.want("a value that is a token")
			}
			return b.String(), nil
		case c == '\\' && p.i+1 < len(p.s):
			p.i++
			b.WriteByte(p.s[p.i])
		default:
			b.WriteByte(c)
		}
	}
	return "", p.want("the end of a quoted string")
}

// token takes a token and the white space after it.
func (p *extParser) token() string {
	p.space()
	start := p.i
	for p.i < len(p.s) && tokenChar(p.s[p.i]) {
		p.i++
	}
	t := p.s[start:p.i]
	p.space()
	return t
}

// skip takes c and the white space around it, if it comes next.
func (p *extParser) skip(c byte) bool {
	p.space()
	if p.i == len(p.s) || p.s[p.i] != c {
		return false
	}
	p.i++
	if c != '"' {
		p.space()
	}
	return true
}

func (p *extParser) space() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
}

func (p *extParser) want(what string) error {
	if p.i == len(p.s) {
		return fmt.Errorf("it ends where %s should be", what)
	}
	return fmt.Errorf("%.20q stands where %s should be", p.s[p.i:], what)
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

func tokenChar(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

const permessageDeflate = "permessage-deflate"

// Deflate is what a handshake agreed on about permessage-deflate
// (RFC 7692 §7.1).
type Deflate struct {
	On         bool
	NoTakeover [2]bool // by Dir: each message of it is compressed on its own
	WindowBits [2]int  // by Dir: matches reach back at most 2 to the power of this
}

// agreement returns what extensions, as a response or a trace lists them, mean
// for the frames: the reserved bits that they define (RFC 6455 §5.2), RSV1 being
// 4, and the agreement on compression. Mistakes are left to the rules and
// ignored here.
func agreement(lines ...string) (rsv byte, _ Deflate) {
	exts, err := ParseExtensions(lines)
	if err != nil && strings.Trim(strings.Join(lines, ""), " \t,") != "" && len(exts) == 0 {
		rsv = 7 // unknown extensions may define any bit
	}
	for _, ext := range exts {
		if ext.Name == permessageDeflate {
			rsv |= 4
		} else {
			rsv = 7
		}
	}
	return rsv, AgreedDeflate(exts)
}

// AgreedDeflate returns what extensions, as a response or a trace lists them,
// agree on about permessage-deflate. Of several the first counts; a parameter
// that is wrong stands for nothing.
func AgreedDeflate(extensions []Extension) Deflate {
	for _, ext := range extensions {
		if ext.Name != permessageDeflate {
			continue
		}
		p, _ := deflateParams(ext, false)
		agreed := Deflate{On: true, NoTakeover: p.noTakeover, WindowBits: p.bits}
		for d, n := range p.bits {
			if n <= 0 {
				agreed.WindowBits[d] = 15
			}
		}
		return agreed
	}
	return Deflate{}
}

// DeflateAnswers reports whether a server may give answer to a client that
// offers offer, both permessage-deflate: it grants what the offer demands, and
// takes no window size that the client doesn't know (RFC 7692 §7.1).
func DeflateAnswers(offer, answer Extension) bool {
	o, faults := deflateParams(offer, true)
	a, _ := deflateParams(answer, false)
	switch {
	case len(faults) > 0: // the server has to decline it
		return false
	case o.noTakeover[FromServer] && !a.noTakeover[FromServer]:
		return false
	case o.bits[FromServer] != 0 && (a.bits[FromServer] == 0 || a.bits[FromServer] > o.bits[FromServer]):
		return false
	}
	return o.bits[FromClient] != 0 || a.bits[FromClient] == 0
}

// pmdParams are the parameters of permessage-deflate in an offer or a response.
type pmdParams struct {
	noTakeover [2]bool // by Dir
	bits       [2]int  // by Dir; 0 if absent, bitsAny without a value
}

const bitsAny = -1

// A pmdFault is something wrong with the parameters of permessage-deflate.
type pmdFault struct {
	offer, response RuleID // the rule it breaks in an offer, and in a response
	text            string
}

var pmdNames = map[string]Dir{
	"client_no_context_takeover": FromClient,
	"server_no_context_takeover": FromServer,
	"client_max_window_bits":     FromClient,
	"server_max_window_bits":     FromServer,
}

// deflateParams reads the parameters of permessage-deflate in an offer, or else
// in a response (RFC 7692 §7.1).
func deflateParams(ext Extension, offer bool) (p pmdParams, faults []pmdFault) {
	seen := map[string]bool{}
	unknown := pmdFault{offer: "pmd-offer-param-unknown", response: "pmd-res-param-unknown"}
	duplicate := pmdFault{offer: "pmd-offer-param-duplicate", response: "pmd-res-param-duplicate"}
	invalid := pmdFault{offer: "pmd-offer-param-invalid", response: "pmd-res-param-invalid"}
	fault := func(x pmdFault, format string, args ...any) {
		x.text = fmt.Sprintf(format, args...)
		faults = append(faults, x)
	}
	for _, param := range ext.Params {
		d, known := pmdNames[param.Name]
		switch {
		case !known:
			fault(unknown, "permessage-deflate has no parameter %.40q", param.Name)
			continue
		case seen[param.Name]:
			fault(duplicate, "%s comes more than once", param.Name)
			continue
		}
		seen[param.Name] = true
		if strings.HasSuffix(param.Name, "takeover") {
			if p.noTakeover[d] = true; param.HasValue {
				fault(invalid, "%s has the value %.20q, it takes none", param.Name, param.Value)
			}
			continue
		}
		n, err := strconv.Atoi(param.Value)
		switch {
		case !param.HasValue && d == FromClient:
			p.bits[d] = bitsAny // in a response this breaks a rule of its own
		case !param.HasValue:
			fault(invalid, "%s has no value", param.Name)
		case err != nil || n < 8 || n > 15 || param.Value != strconv.Itoa(n):
			fault(invalid, "%s is %.20q, not 8 to 15", param.Name, param.Value)
		default:
			p.bits[d] = n
		}
	}
	return p, faults
}
