package pcap

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// Types of records (RFC 8446 §5.1).
const (
	recordChange    = 20
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
)

// Types of handshake messages (RFC 8446 §4).
const (
	helloClient         = 1
	helloServer         = 2
	newTicket           = 4
	encryptedExtensions = 8
	finished            = 20
	keyUpdate           = 24
)

// Extensions.
const (
	extServerName = 0
	extALPN       = 16
	extTicket     = 35
	extVersions   = 43
)

const (
	version12 = 0x0303
	version13 = 0x0304
)

// maxHandshake is the length, in bytes, of the longest handshake message that is looked
// at; of others only the end is.
const maxHandshake = 64 << 10

// tlsStart is how TLS begins: with a handshake record.
var tlsStart = [6]byte{recordHandshake, 3, 0, 0, 0, helloClient}

// isHello reports whether b begins with a ClientHello.
func isHello(b []byte) bool {
	return len(b) >= len(tlsStart) && b[0] == recordHandshake && b[1] == 3 && b[2] <= 3 && b[5] == helloClient
}

// isRecord reports whether b begins with a record of TLS 1.2 or 1.3.
func isRecord(b []byte) bool {
	return len(b) >= recordHeader && b[0] >= recordChange && b[0] <= recordData && b[1] == 3 && b[2] == 3 && binary.BigEndian.Uint16(b[3:]) <= maxCiphertext
}

// A tlsConn decrypts a conversation over TLS 1.2 or 1.3.
type tlsConn struct {
	outer *stream
	plain *stream // what is inside

	halves  [2]tlsHalf // by decode.Dir
	client  [32]byte   // the random of the ClientHello
	server  [32]byte
	version uint16
	suite   *suite
	session []byte // the number that the ClientHello asks for
	ticket  []byte // and the ticket, of TLS 1.2
	master  []byte
	pending [2]*recordCipher // of TLS 1.2, for after the ChangeCipherSpec, by decode.Dir
	info    *decode.TLS
	opened  bool // content was decrypted
	missing secretID
	hold    *hold // until the keys are known; nil if they can't come any more
}

// A tlsHalf is one direction.
type tlsHalf struct {
	buf     []byte // a record that is not complete, or what is searched for one
	cipher  *recordCipher
	message []byte // a handshake message that is not complete
	pass    int64  // bytes of a handshake message that are not looked at
	closed  bool   // with close_notify
	lost    int64  // bytes since the last record, with gaps, while the next is searched for; 0 if none is
	rest    int64  // bytes of a record of which a part is lost
	tries   int    // to find a record
	final   bool   // cipher is that for content, of TLS 1.3
}

// beginTLS begins to decrypt with a ClientHello, which begins in b.
func (s *stream) beginTLS(side int, at place, b []byte) {
	c := &tlsConn{outer: s}
	c.begin()
	s.mode, s.inner = modeTLS, c
	if s.player.blocks.ng {
		c.hold = s.player.held.add(c)
	}
	c.data(side, at, b)
}

// begin makes c what it is before the first byte.
func (c *tlsConn) begin() {
	s := c.outer
	*c = tlsConn{outer: s, info: &decode.TLS{}, hold: c.hold}
	c.plain = &stream{player: s.player, flow: s.flow, client: s.client, server: s.server, tls: [legs]*decode.TLS{c.info, c.info}}
}

// lookup returns a secret of the conversation. Without it, it is noted as missing.
func (c *tlsConn) lookup(l label) []byte {
	id := secretID{l, c.client}
	secret := c.outer.player.keys.lookup(id)
	if secret == nil {
		c.missing = id
	}
	return secret
}

// fail ends the decrypting.
func (c *tlsConn) fail(at place, why string) {
	s := c.outer
	if c.plain.showed {
		c.plain.opaque(at, why)
	}
	s.pass(why)
	c.release()
}

// release lets go of what was kept.
func (c *tlsConn) release() {
	c.unhold()
	c.drop()
}

// drop lets go of what is incomplete.
func (c *tlsConn) drop() {
	c.plain.release()
	for d := range c.halves {
		c.outer.player.cost -= len(c.halves[d].buf) + len(c.halves[d].message)
		c.halves[d] = tlsHalf{}
	}
}

// opaque says that what follows can't be read.
func (s *stream) opaque(at place, why string) {
	s.resetGuesses()
	if x := s.relayed; x != nil {
		x.place(at)
		for d := range decode.Dir(2) {
			x.Opaque(d, at.time, why)
		}
		x.FlushAll(decode.FromClient, at.time)
		x.FlushAll(decode.FromServer, at.time)
		s.relayed = nil
	}
	s.abandon(at)
	s.mode = modePassed
}

// data takes bytes of TLS.
func (c *tlsConn) data(side int, at place, b []byte) {
	if c.hold != nil {
		kept := bytes.Clone(b)
		c.keep(len(b), func() { c.records(side, at, bytes.Clone(kept)) }) // they are decrypted in place
	}
	if !c.waits() {
		c.records(side, at, b)
	}
}

// records takes records, or parts of them.
func (c *tlsConn) records(side int, at place, b []byte) {
	h := &c.halves[c.outer.dir(side)]
	for len(b) > 0 && c.outer.mode == modeTLS && !c.waits() {
		switch {
		case h.rest > 0:
			n := min(h.rest, int64(len(b)))
			h.rest, b = h.rest-n, b[n:]
		case h.lost > 0:
			h.lost += int64(len(b))
			c.setBuf(h, append(h.buf, b...))
			c.search(side, at, h)
			return
		default:
			b = c.record(side, at, h, b)
		}
	}
}

// setBuf keeps b until more comes.
func (c *tlsConn) setBuf(h *tlsHalf, b []byte) {
	c.outer.player.cost += len(b) - len(h.buf)
	h.buf = b
}

// record takes the first record in b, behind what was kept, and returns the rest.
func (c *tlsConn) record(side int, at place, h *tlsHalf, b []byte) []byte {
	need := recordHeader
	for {
		if len(h.buf) >= recordHeader {
			need = recordHeader + int(binary.BigEndian.Uint16(h.buf[3:]))
		} else if len(h.buf) == 0 && len(b) >= recordHeader {
			need = recordHeader + int(binary.BigEndian.Uint16(b[3:]))
			if len(b) >= need {
				c.take(side, at, h, b[:need])
				return b[need:]
			}
		}
		if need > recordHeader+maxCiphertext {
			c.fail(at, PassedDamaged)
			return nil
		}
		n := min(need-len(h.buf), len(b))
		if c.outer.player.full(n) {
			c.fail(at, PassedDamaged)
			return nil
		}
		c.setBuf(h, append(h.buf, b[:n]...))
		if b = b[n:]; len(h.buf) < need {
			return nil
		}
		if need > recordHeader || binary.BigEndian.Uint16(h.buf[3:]) == 0 {
			break
		}
	}
	record := h.buf
	c.setBuf(h, nil)
	c.take(side, at, h, record)
	return b
}

// take takes a record.
func (c *tlsConn) take(side int, at place, h *tlsHalf, record []byte) {
	if record[1] != 3 || record[0] < recordChange || record[0] > recordData {
		c.fail(at, PassedDamaged)
		return
	}
	kind, content := record[0], record[recordHeader:]
	if h.cipher == nil && kind == recordData && c.suite == nil {
		c.fail(at, PassedEarly)
		return
	}
	if h.cipher != nil && !(h.cipher.suite.modern && kind == recordChange) {
		var err error
		kind, content, err = h.cipher.open(record, h.cipher.seq, true)
		if err != nil {
			c.fail(at, PassedDamaged)
			return
		}
		h.cipher.seq++
	}
	c.content(side, at, h, kind, content)
}

// content takes what is in a record.
func (c *tlsConn) content(side int, at place, h *tlsHalf, kind byte, b []byte) {
	d := c.outer.dir(side)
	switch kind {
	case recordData:
		if c.opened = true; len(b) > 0 && !h.closed {
			c.plain.data(side, at, b, true)
		}
	case recordAlert:
		if len(b) == 2 && b[1] == 0 && !h.closed { // close_notify
			h.closed = true
			c.plain.end(side, at, decode.EndFIN)
		}
	case recordHandshake:
		c.handshake(side, at, h, b)
	case recordChange:
		if next := c.pending[d]; next != nil {
			h.cipher, c.pending[d] = next, nil
		}
	}
}

// handshake takes a part of the handshake messages.
func (c *tlsConn) handshake(side int, at place, h *tlsHalf, b []byte) {
	const header = 4
	had := len(h.message)
	if had > 0 {
		b = append(h.message, b...)
	}
	for {
		skip := min(h.pass, int64(len(b)))
		h.pass, b = h.pass-skip, b[skip:]
		if len(b) < header {
			break
		}
		n := header + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
		if n > maxHandshake {
			h.pass = int64(n)
			continue
		}
		if len(b) < n {
			break
		}
		switch why := c.message(h, c.outer.dir(side), b[0], b[header:n]); {
		case why == PassedNoKey && c.wait():
			return
		case why != "":
			c.fail(at, why)
			return
		}
		b = b[n:]
	}
	if c.outer.player.full(len(b) - had) {
		c.fail(at, PassedDamaged)
		return
	}
	c.outer.player.cost += len(b) - had
	h.message = append(h.message[:0], b...)
}

// message takes a handshake message. It returns why the conversation can't be
// decrypted, or "".
func (c *tlsConn) message(h *tlsHalf, d decode.Dir, kind byte, b []byte) (why string) {
	keys := c.outer.player.keys
	switch {
	case kind == helloClient && d == decode.FromClient:
		c.helloClient(b)
	case kind == helloServer && d == decode.FromServer:
		return c.helloServer(b)
	case kind == newTicket && d == decode.FromServer && c.version == version12 && len(b) >= 4:
		ticket, _ := vector(b[4:], 2)
		keys.remember(ticket, c.master)
	case kind == encryptedExtensions && c.version == version13:
		if len(b) >= 2 {
			c.extensions(b[2:], false)
		}
	case kind == finished && c.version == version13:
		secret := c.lookup(labelClientTraffic + label(d))
		if secret == nil {
			return PassedNoKey
		}
		var err error
		if h.cipher, err = newCipher13(c.suite, secret); err != nil {
			return PassedDamaged
		}
		if h.final = true; c.halves[d.Peer()].final {
			c.unhold()
		}
	case kind == keyUpdate && c.version == version13 && h.cipher != nil:
		var err error
		if h.cipher, err = h.cipher.next(); err != nil {
			return PassedDamaged
		}
	}
	return ""
}

// helloClient takes a ClientHello (RFC 8446 §4.1.2).
func (c *tlsConn) helloClient(b []byte) {
	if len(b) < 34 {
		return
	}
	copy(c.client[:], b[2:34])
	b = b[34:]
	session, b := vector(b, 1)
	c.session, c.ticket = bytes.Clone(session), nil
	for _, size := range [...]int{2, 1} { // cipher suites, compressions
		if _, b = vector(b, size); b == nil {
			return
		}
	}
	ext, _ := vector(b, 2)
	c.extensions(ext, false)
}

// helloRetry is the random of a HelloRetryRequest (RFC 8446 §4.1.3).
var helloRetry = []byte("\xCF\x21\xAD\x74\xE5\x9A\x61\x11\xBE\x1D\x8C\x02\x1E\x65\xB8\x91\xC2\xA2\x11\x16\x7A\xBB\x8C\x5E\x07\x9E\x09\xE2\xC8\xA8\x33\x9C")

// helloServer takes a ServerHello.
func (c *tlsConn) helloServer(b []byte) (why string) {
	if len(b) < 35 {
		return PassedDamaged
	}
	if bytes.Equal(b[2:34], helloRetry) {
		return ""
	}
	c.version = binary.BigEndian.Uint16(b)
	copy(c.server[:], b[2:34])
	session, b := vector(b[34:], 1)
	if len(b) < 3 {
		return PassedDamaged
	}
	id := binary.BigEndian.Uint16(b)
	ext, _ := vector(b[3:], 2)
	c.extensions(ext, true)
	s, ok := suites[id]
	c.suite = &s
	c.info.Version, c.info.Cipher = strings.ReplaceAll(tls.VersionName(c.version), " ", ""), tls.CipherSuiteName(id)
	if c.version != version12 && c.version != version13 {
		return "TLS before 1.2"
	}
	if !ok || s.modern != (c.version == version13) {
		return "TLS with " + c.info.Cipher
	}
	keys := c.outer.player.keys
	if c.version == version12 {
		c.master = c.lookup(labelMaster)
		if c.master == nil && bytes.Equal(session, c.session) { // RFC 5246 §7.4.1.3, RFC 5077 §3.4
			c.master = keys.resume(c.ticket, c.session)
		}
		if c.master == nil {
			return PassedNoKey
		}
		keys.remember(session, c.master)
		var err error
		if c.pending, err = newCiphers12(c.suite, c.master, c.client, c.server); err != nil {
			return PassedDamaged
		}
		c.unhold()
		return ""
	}
	for d := range c.halves {
		secret := c.lookup(labelClientHandshake + label(d))
		if secret == nil {
			return PassedNoKey
		}
		var err error
		if c.halves[d].cipher, err = newCipher13(c.suite, secret); err != nil {
			return PassedDamaged
		}
	}
	return ""
}

// extensions takes those of a hello, of the server's own if selects is set.
func (c *tlsConn) extensions(b []byte, selects bool) {
	for len(b) >= 4 {
		kind := binary.BigEndian.Uint16(b)
		v, rest := vector(b[2:], 2)
		if b = rest; rest == nil {
			return
		}
		switch {
		case kind == extVersions && selects && len(v) == 2:
			c.version = binary.BigEndian.Uint16(v)
		case kind == extTicket && !selects:
			c.ticket = bytes.Clone(v)
		case kind == extALPN:
			list, _ := vector(v, 2)
			if name, rest := vector(list, 1); len(rest) == 0 { // one is the answer
				c.info.ALPN = string(name)
			}
		case kind == extServerName && c.version == 0:
			list, _ := vector(v, 2)
			if len(list) > 3 && list[0] == 0 {
				name, _ := vector(list[1:], 2)
				c.info.SNI = string(name)
			}
		}
	}
}

// vector returns the bytes at the start of b that have their length, of so many bytes,
// before them, and what follows, which is nil if b is too short.
func vector(b []byte, size int) (v, rest []byte) {
	if len(b) < size {
		return nil, nil
	}
	n := 0
	for _, c := range b[:size] {
		n = n<<8 | int(c)
	}
	if b = b[size:]; len(b) < n {
		return nil, nil
	}
	return b[:n:n], b[n:len(b):len(b)]
}

// end takes the end of a direction.
func (c *tlsConn) end(side int, at place, how decode.End) {
	if c.keep(0, func() { c.end(side, at, how) }); c.waits() {
		return
	}
	if how == decode.EndFIN {
		how = decode.EndTLSEOF // unless close_notify came
	}
	c.plain.end(side, at, how)
}

// gap takes that n bytes are missing. Without the content of a record, how much was in it
// is known from its length, and the number of the next one from trying.
func (c *tlsConn) gap(side int, at place, n int64) {
	if c.keep(0, func() { c.gap(side, at, n) }); c.waits() {
		return
	}
	h := &c.halves[c.outer.dir(side)]
	if h.cipher == nil || !c.opened {
		c.fail(at, PassedDamaged)
		return
	}
	switch {
	case h.rest > 0 && n <= h.rest:
		h.rest -= n
		return
	case h.rest > 0:
		n -= h.rest
		h.rest, h.lost = 0, n
		return
	case h.lost > 0:
		// What came before the gap was searched in vain.
		h.lost += n
		c.setBuf(h, nil)
		return
	case len(h.buf) >= recordHeader:
		size := int64(binary.BigEndian.Uint16(h.buf[3:])) + recordHeader
		left := size - int64(len(h.buf))
		if n <= left {
			data := h.buf[0] == recordData
			c.setBuf(h, nil)
			h.rest = left - n
			h.cipher.seq++
			if data {
				c.plain.gap(side, at, max(size-h.cipher.overhead(), 0))
			}
			return
		}
	}
	h.lost = int64(len(h.buf)) + n
	c.setBuf(h, nil)
}

const (
	maxSearch = 64 << 10 // bytes in which a record is searched for
	maxSkips  = 4096     // records that may be missing
	maxTries  = 1 << 14  // to decrypt one, in all of a direction
)

// search searches for a record behind a gap.
func (c *tlsConn) search(side int, at place, h *tlsHalf) {
	header := []byte{recordData, 3, 3}
	for from := 0; ; from++ {
		i := bytes.Index(h.buf[from:], header)
		if i < 0 {
			break
		}
		from += i
		b := h.buf[from:]
		if len(b) < recordHeader {
			break
		}
		size := recordHeader + int(binary.BigEndian.Uint16(b[3:]))
		if size > recordHeader+maxCiphertext {
			continue
		}
		if len(b) < size {
			continue // a later one may be complete
		}
		over := h.cipher.overhead()
		before := h.lost - int64(len(b)) // bytes of the records that are missing
		for k := uint64(1); int64(k)*over <= before && k <= maxSkips && h.tries < maxTries; k++ {
			h.tries++
			kind, content, err := h.cipher.open(b[:size], h.cipher.seq+k, false)
			if err != nil {
				continue
			}
			h.cipher.seq += k + 1
			h.lost = 0
			rest := bytes.Clone(b[size:])
			c.setBuf(h, nil)
			c.plain.gap(side, at, before-int64(k)*over)
			c.content(side, at, h, kind, content)
			c.records(side, at, rest)
			return
		}
	}
	if len(h.buf) > maxSearch || h.tries >= maxTries || c.outer.player.full(0) {
		c.fail(at, PassedDamaged)
	}
}
