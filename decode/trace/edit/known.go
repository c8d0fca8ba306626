package edit

import (
	"encoding/binary"
	"strings"

	"github.com/wstrace/wstrace/decode/pick"
)

// A known finds secrets that were selected before in other texts: a server that
// repeats a key in a message, say. It knows the last maxKnown of them at least,
// and those only that are no word that may stand for something else.
type known struct{ young, old *knownSecrets }

const (
	maxKnown      = 1024
	shortestKnown = 8    // bytes
	longestKnown  = 1024 // bytes
)

// knownSecrets are secrets by their first eight bytes. The filter has a bit for
// each of these, so that most places of a text cost one look.
type knownSecrets struct {
	filter [1 << 13]uint64
	by     map[uint64][]string
	n      int
}

// add adds a secret, if it is one that is looked for.
func (k *known) add(secret string) {
	if len(secret) < shortestKnown || len(secret) > longestKnown || isWords(secret) {
		return
	}
	if k.young == nil || k.young.n >= maxKnown {
		k.old, k.young = k.young, &knownSecrets{by: map[uint64][]string{}}
	}
	first := first8(secret)
	h := hash8(first)
	k.young.filter[h>>6] |= 1 << (h & 63)
	k.young.by[first] = append(k.young.by[first], strings.Clone(secret))
	k.young.n++
}

// in returns where in s there are secrets, in order and apart.
func (k *known) in(s string) []pick.Span {
	if k.young == nil {
		return nil
	}
	var spans []pick.Span
	for i := 0; i+shortestKnown <= len(s); i++ {
		first := first8(s[i:])
		h := hash8(first)
		n := k.young.at(s[i:], first, h)
		if k.old != nil {
			n = max(n, k.old.at(s[i:], first, h))
		}
		if n > 0 {
			spans = append(spans, pick.Span{Start: i, End: i + n})
			i += n - 1
		}
	}
	return spans
}

// at returns the length of the longest secret that s begins with, or 0.
func (k *knownSecrets) at(s string, first uint64, h uint32) (n int) {
	if k.filter[h>>6]>>(h&63)&1 == 0 {
		return 0
	}
	for _, secret := range k.by[first] {
		if len(secret) > n && strings.HasPrefix(s, secret) {
			n = len(secret)
		}
	}
	return n
}

func first8(s string) uint64 { return binary.LittleEndian.Uint64([]byte(s[:8])) }

// hash8 returns 19 bits.
func hash8(first uint64) uint32 { return uint32(first * 0x9e3779b97f4a7c15 >> 45) }

// isWords reports whether a secret has neither digits nor letters of both cases,
// so that it may be a word or a number that stands for something else.
func isWords(secret string) bool {
	var digit, lower, upper bool
	for i := range len(secret) {
		c := secret[i]
		digit = digit || c >= '0' && c <= '9'
		lower = lower || c >= 'a' && c <= 'z'
		upper = upper || c >= 'A' && c <= 'Z'
	}
	return !(digit && (lower || upper) || lower && upper && !strings.ContainsAny(secret, " "))
}
