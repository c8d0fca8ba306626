package replay

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
)

// MaxMessage is how many bytes of a message are kept, to be compared as what they
// mean: JSON by value, without what is ignored. A longer one is compared to the
// byte, by its length, its beginning and a hash of all of it.
const MaxMessage = 8 << 20

// maxInflated and inflatedRatio bound what the compressed messages of a file may
// take in memory together: that many bytes, and so many times the bytes that they
// came in. Beyond that only the first keptOfLong bytes of one are kept.
const (
	maxInflated   = 64 << 20
	inflatedRatio = 16
	keptOfLong    = 4 << 10
)

// A long is what is known of a content of which only the beginning is kept.
type long struct {
	size int64
	sum  [sha256.Size]byte // SHA-256 of all of it
}

// length returns how many bytes the content of u has.
func (u *unit) length() int64 {
	if u.long != nil {
		return u.long.size
	}
	return int64(len(u.data))
}

// digest returns what is the same for equal contents only.
func (u *unit) digest() [sha256.Size]byte {
	if u.long != nil {
		return u.long.sum
	}
	return sha256.Sum256(u.data)
}

// keep keeps only the first n bytes of the content of u, if it has more.
func (u *unit) keep(n int) {
	if len(u.data) <= n {
		return
	}
	if u.long == nil {
		u.long = &long{int64(len(u.data)), u.digest()}
	}
	u.data = bytes.Clone(u.data[:n])
}

// longDiffer compares two contents, one of which is too long to be kept. It
// returns "" if they are equal.
func longDiffer(want, got *unit) string {
	switch n := common(want.data, got.data); {
	case n < min(len(want.data), len(got.data)):
		return differAt(n)
	case want.length() != got.length():
		return fmt.Sprintf("which has %d bytes, expected %d", got.length(), want.length())
	case want.digest() != got.digest():
		return fmt.Sprintf("which differs behind byte %d", n)
	}
	return ""
}

// whyLong says how a content that is too long is compared.
var whyLong = fmt.Sprintf("longer than the %d MiB that are compared by value, so its length and hash are", MaxMessage>>20)

// A gathering is a content that comes in pieces, of which the beginning is kept.
type gathering struct {
	size int64
	hash hash.Hash // nil while all of it is kept
}

// add adds to the content of u the bytes that add appends to what it is given.
func (g *gathering) add(u *unit, add func([]byte) []byte) {
	if g.hash != nil {
		p := add(nil)
		g.size += int64(len(p))
		g.hash.Write(p)
		return
	}
	u.data = add(u.data)
	if g.size = int64(len(u.data)); g.size > MaxMessage {
		g.hash = sha256.New()
		g.hash.Write(u.data)
		u.data = bytes.Clone(u.data[:MaxMessage])
	}
}

// end is called when u is complete.
func (g *gathering) end(u *unit) {
	if g.hash != nil {
		u.long = &long{g.size, [sha256.Size]byte(g.hash.Sum(nil))}
	}
}

// An allowance is how many bytes of inflated messages may still be kept.
type allowance int64

// spend takes what u needs of it, or makes u need less. wire is how many bytes
// it was sent in.
func (a *allowance) spend(u *unit, wire int) {
	if *a += allowance(wire) * inflatedRatio; int64(*a) < int64(len(u.data)) {
		u.keep(keptOfLong)
	}
	*a -= allowance(len(u.data))
}
