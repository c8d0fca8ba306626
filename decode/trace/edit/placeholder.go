package edit

import (
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// placeholders are those of the secrets that were met lately, by the sum of the
// secret: of at least the last maxSecrets of them.
type placeholders struct {
	young, old map[[16]byte]string
	count      map[string]int // by name; "" for numbers
	known      known
	again      bool              // the trace was redacted before: what looks like a placeholder is one
	met        func(name string) // called for each secret, but numbers, when it gets a placeholder; may be nil
}

const (
	maxSecrets = 8192
	maxNames   = 1024 // with numbers of their own
	otherName  = "value"
)

func (ps *placeholders) lookup(kind, secret string) (sum [16]byte, p string, ok bool) {
	h := sha256.New()
	h.Write([]byte(kind))
	h.Write([]byte(secret))
	copy(sum[:], h.Sum(nil))
	if p, ok = ps.young[sum]; ok {
		return sum, p, true
	}
	if p, ok = ps.old[sum]; ok {
		ps.keep(sum, p)
	}
	return sum, p, ok
}

func (ps *placeholders) keep(sum [16]byte, p string) {
	if ps.young == nil || len(ps.young) >= maxSecrets {
		ps.old, ps.young = ps.young, map[[16]byte]string{}
	}
	ps.young[sum] = p
}

// next returns the next number for a name, which it may change.
func (ps *placeholders) next(name string) (string, int) {
	if ps.count == nil {
		ps.count = map[string]int{}
	}
	if _, ok := ps.count[name]; !ok && len(ps.count) >= maxNames {
		name = otherName
	}
	ps.count[name]++
	return name, ps.count[name]
}

// text returns the placeholder of a secret that is called name.
func (ps *placeholders) text(name, secret string) string {
	if secret == "" || ps.is(secret) {
		return secret
	}
	sum, p, ok := ps.lookup("", secret)
	if !ok {
		word, n := ps.next(token(name))
		p = "redacted-" + word + "-" + strconv.Itoa(n)
		ps.keep(sum, p)
		ps.known.add(secret)
		if ps.met != nil {
			ps.met(name)
		}
	}
	return p
}

// is reports whether s is a placeholder, and not a secret that looks like one.
func (ps *placeholders) is(s string) bool {
	name, number, ok := decode.CutPlaceholder(s)
	if !ok {
		return false
	}
	n, _ := strconv.Atoi(number)
	if ps.again && n > ps.count[name] && n < 1<<31 {
		if ps.count == nil {
			ps.count = map[string]int{}
		}
		if _, ok := ps.count[name]; ok || len(ps.count) < maxNames {
			ps.count[name] = n // no other secret gets the same
		}
	}
	return ps.again || n <= ps.count[name]
}

// number returns the placeholder of a secret number.
func (ps *placeholders) number(n json.Number) json.Number {
	sum, p, ok := ps.lookup("number", string(n))
	if !ok {
		_, i := ps.next("")
		p = strconv.Itoa(i)
		ps.keep(sum, p)
	}
	return json.Number(p)
}

// token returns a name that can stand in a placeholder anywhere: it is a token of
// HTTP, and part of a path or a host.
func token(name string) string {
	const most = 40
	b := []byte(strings.ToLower(name))
	b = b[:min(len(b), most)]
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			b[i] = '_'
		}
	}
	if len(b) == 0 {
		return otherName
	}
	return string(b)
}
