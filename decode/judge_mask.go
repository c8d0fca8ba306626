package decode

import "fmt"

// checkMask reports what is wrong with masking (RFC 6455 §5.1, §5.3).
func (j *judge) checkMask(f *Frame) {
	switch {
	case f.Dir == FromServer && f.Masked:
		if !j.repeated("frame-server-masked", f.Dir) {
			j.fatal(SeverityError, f, maskOf(f), "frame-server-masked", "frame with masking key %s", keyText(f.Mask))
		}
	case f.Dir == FromClient && !f.Masked:
		j.fatal(SeverityError, f, maskBitOf(f), "frame-client-unmasked", "frame without a masking key")
	case f.Masked:
		j.checkKeys(f)
	}
}

// maskKeys is what the judge remembers of the masking keys of a client.
type maskKeys struct {
	n         int64  // keys so far
	last      uint32 // the latest
	diff, xor uint32 // between the latest two
	same      int64  // how many in a row were the latest
	diffs     int64  // how often in a row keys had the difference diff
	xors      int64  // the same for xor
	small     int64  // how many in a row were below 65536
	changed   bool   // not all keys were the same
	zero      bool   // one of them was 0
}

// checkKeys looks for keys that are not random (RFC 6455 §5.3). By chance, 8 keys
// in a row never follow such a simple pattern.
func (j *judge) checkKeys(f *Frame) {
	const enough = 8
	k := &j.connection.keys
	key := uint32(f.Mask[0])<<24 | uint32(f.Mask[1])<<16 | uint32(f.Mask[2])<<8 | uint32(f.Mask[3])
	diff, xor := key-k.last, key^k.last
	k.n++
	if k.n == 1 {
		j.firstKey(f, key)
	} else {
		k.diffs, k.xors = again(k.diffs, diff == k.diff), again(k.xors, xor == k.xor)
		k.same = again(k.same, diff == 0)
		k.changed = k.changed || diff != 0
	}
	if k.n == 1 || diff != 0 {
		k.same = 1
	}
	if k.small++; key >= 1<<16 {
		k.small = 0
	}
	k.last, k.diff, k.xor = key, diff, xor

	switch {
	case key != 0:
	case !k.zero:
		k.zero = true
		j.at(f, maskOf(f), "mask-key-zero", "masking key 00-00-00-00 masks nothing")
	default:
		j.atAs(SeverityError, f, maskOf(f), "mask-key-zero", "masking key 00-00-00-00 again, which is no coincidence")
	}
	switch {
	case k.same > 2 && !k.changed:
		if !j.repeated("mask-key-constant", f.Dir) {
			j.at(f, maskOf(f), "mask-key-constant", "the %d frames so far all have masking key %s", k.n, keyText(f.Mask))
		}
	case k.same > 1:
		if !j.repeated("mask-key-repeated", f.Dir) {
			j.at(f, maskOf(f), "mask-key-repeated", "masking key %s is that of the frame before", keyText(f.Mask))
		}
	case k.diffs+2 >= enough && k.n >= enough:
		if !j.repeated("mask-key-predictable", f.Dir) {
			j.at(f, maskOf(f), "mask-key-predictable", "the last %d masking keys are %d apart", k.diffs+2, int32(diff))
		}
	case k.xors+2 >= enough && k.n >= enough:
		if !j.repeated("mask-key-predictable", f.Dir) {
			j.at(f, maskOf(f), "mask-key-predictable", "the last %d masking keys differ in the same bits", k.xors+2)
		}
	case k.small >= enough:
		if !j.repeated("mask-key-predictable", f.Dir) {
			j.at(f, maskOf(f), "mask-key-predictable", "the last %d masking keys are all below 65536", k.small)
		}
	}
}

// firstKey compares the first masking key with those of other sessions. By chance,
// three never have the same (RFC 6455 §5.3).
func (j *judge) firstKey(f *Frame, key uint32) {
	if key == 0 || j.otherLeg || j.info.incomplete() { // 0 is judged by itself
		return
	}
	if first, n := j.seen.mask(key, j.info.Conn); n >= 3 {
		j.at(f, maskOf(f), "mask-key-seed-fixed", "the first masking key %s is that of %d sessions before, first of #%d", keyText(f.Mask), n-1, first)
	}
}

// again counts how often in a row something was so.
func again(n int64, so bool) int64 {
	if so {
		return n + 1
	}
	return 0
}

// keyText spells a masking key as every output does: 16-39-8F-63.
func keyText(key [4]byte) string {
	return fmt.Sprintf("%02X-%02X-%02X-%02X", key[0], key[1], key[2], key[3])
}
