package decode

import "unicode/utf8"

// utf8Check follows a text that comes in pieces and finds the first sequence in it
// that is not UTF-8 (RFC 3629).
type utf8Check struct {
	n      int64             // bytes so far
	start  [utf8.UTFMax]byte // its first nstart bytes are a sequence that has not ended
	nstart int
}

// add takes the next piece. If that makes the text invalid, at is the offset in
// the text of the sequence at fault, and bad are its bytes up to the first wrong
// one; otherwise at is negative.
func (u *utf8Check) add(p []byte) (at int64, bad []byte) {
	for u.nstart > 0 && len(p) > 0 {
		u.start[u.nstart] = p[0]
		u.nstart++
		u.n++
		p = p[1:]
		seq := u.start[:u.nstart]
		if !utf8.FullRune(seq) {
			continue
		}
		if !utf8.Valid(seq) {
			return u.n - int64(u.nstart), seq
		}
		u.nstart = 0
	}
	if len(p) == 0 {
		return -1, nil
	}
	rest := p[len(p)-partial(p):]
	whole := p[:len(p)-len(rest)]
	if !utf8.Valid(whole) {
		i := 0
		for {
			r, size := utf8.DecodeRune(whole[i:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			i += size
		}
		n := 1
		for n < utf8.UTFMax && i+n < len(p) && !utf8.FullRune(p[i:i+n]) {
			n++
		}
		return u.n + int64(i), p[i : i+n]
	}
	u.nstart = copy(u.start[:], rest)
	u.n += int64(len(p))
	return -1, nil
}

// partial returns the length of the incomplete sequence at the end of p, or 0.
func partial(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return n
			}
			break
		}
	}
	return 0
}

// open returns the incomplete sequence at the end of the text, and its offset.
func (u *utf8Check) open() (at int64, seq []byte) {
	return u.n - int64(u.nstart), u.start[:u.nstart]
}
