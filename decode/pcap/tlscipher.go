package pcap

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// A suite is a cipher suite that can be decrypted: one with AEAD.
type suite struct {
	newAEAD func(key []byte) (cipher.AEAD, error)
	keyLen  int
	hash    func() hash.Hash
	gcm     bool // with the nonces of RFC 5288 in TLS 1.2
	modern  bool // of TLS 1.3
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

var (
	aes128 = suite{newGCM, 16, sha256.New, true, false}
	aes256 = suite{newGCM, 32, sha512.New384, true, false}
	chacha = suite{chacha20poly1305.New, chacha20poly1305.KeySize, sha256.New, false, false}
)

// suites are those of the IANA registry that have AES-GCM or ChaCha20-Poly1305. The
// way in which keys are agreed on makes no difference.
var suites = map[uint16]suite{
	0x1301: {newGCM, 16, sha256.New, true, true},
	0x1302: {newGCM, 32, sha512.New384, true, true},
	0x1303: {chacha20poly1305.New, chacha20poly1305.KeySize, sha256.New, false, true},

	0x009C: aes128, 0x009E: aes128, 0x00A0: aes128, 0x00A2: aes128, 0x00A4: aes128, 0x00A6: aes128, 0x00A8: aes128, 0x00AA: aes128, 0x00AC: aes128,
	0x009D: aes256, 0x009F: aes256, 0x00A1: aes256, 0x00A3: aes256, 0x00A5: aes256, 0x00A7: aes256, 0x00A9: aes256, 0x00AB: aes256, 0x00AD: aes256,
	0xC02B: aes128, 0xC02D: aes128, 0xC02F: aes128, 0xC031: aes128, 0xD001: aes128,
	0xC02C: aes256, 0xC02E: aes256, 0xC030: aes256, 0xC032: aes256, 0xD002: aes256,
	0xCCA8: chacha, 0xCCA9: chacha, 0xCCAA: chacha, 0xCCAB: chacha, 0xCCAC: chacha, 0xCCAD: chacha, 0xCCAE: chacha,
}

const (
	recordHeader  = 5       // bytes
	maxRecord     = 1 << 14 // bytes of content
	maxCiphertext = maxRecord + 2048
	tagLen        = 16 // of all AEADs here
	explicitLen   = 8  // of the nonce in TLS 1.2 with GCM
)

// A recordCipher decrypts the records of one direction.
type recordCipher struct {
	suite  *suite
	aead   cipher.AEAD
	iv     []byte
	secret []byte // of TLS 1.3
	seq    uint64 // of the next record
}

// newCipher13 returns the cipher for a traffic secret (RFC 8446 §7.3).
func newCipher13(s *suite, secret []byte) (*recordCipher, error) {
	if len(secret) != s.hash().Size() {
		return nil, errors.New("a key of another length than the hash of the cipher suite")
	}
	key, err := expandLabel(s, secret, "key", s.keyLen)
	if err != nil {
		return nil, err
	}
	iv, err := expandLabel(s, secret, "iv", 12)
	if err != nil {
		return nil, err
	}
	aead, err := s.newAEAD(key)
	return &recordCipher{suite: s, aead: aead, iv: iv, secret: secret}, err
}

// next returns the cipher behind a KeyUpdate (RFC 8446 §7.2).
func (c *recordCipher) next() (*recordCipher, error) {
	secret, err := expandLabel(c.suite, c.secret, "traffic upd", len(c.secret))
	if err != nil {
		return nil, err
	}
	return newCipher13(c.suite, secret)
}

// expandLabel is HKDF-Expand-Label without a context (RFC 8446 §7.1).
func expandLabel(s *suite, secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(info, byte(len(label))), label...)
	return hkdf.Expand(s.hash, secret, string(append(info, 0)), n)
}

// newCiphers12 returns the ciphers of both directions, by [decode.Dir] (RFC 5246
// §6.3, RFC 5288, RFC 7905).
func newCiphers12(s *suite, master []byte, client, server [32]byte) (pair [2]*recordCipher, err error) {
	ivLen := 12
	if s.gcm {
		ivLen = 4
	}
	block := prf(s.hash, master, append(append([]byte("key expansion"), server[:]...), client[:]...), 2*(s.keyLen+ivLen))
	for d := range pair {
		key, iv := block[d*s.keyLen:][:s.keyLen], block[2*s.keyLen+d*ivLen:][:ivLen]
		pair[d] = &recordCipher{suite: s, iv: iv}
		if pair[d].aead, err = s.newAEAD(key); err != nil {
			return pair, err
		}
	}
	return pair, nil
}

// prf returns n bytes of P_hash (RFC 5246 §5).
func prf(h func() hash.Hash, secret, seed []byte, n int) (out []byte) {
	sum := func(parts ...[]byte) []byte {
		m := hmac.New(h, secret)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}

var errRecord = errors.New("a record can't be decrypted")

// open decrypts a record, as the one with the number seq; in place of it or not.
func (c *recordCipher) open(record []byte, seq uint64, inPlace bool) (kind byte, content []byte, err error) {
	kind, body := record[0], record[recordHeader:]
	var nonce [12]byte
	if !c.suite.modern && c.suite.gcm {
		if len(body) < explicitLen {
			return 0, nil, errRecord
		}
		copy(nonce[copy(nonce[:], c.iv):], body[:explicitLen])
		body = body[explicitLen:]
	} else {
		binary.BigEndian.PutUint64(nonce[4:], seq)
		for i := range nonce {
			nonce[i] ^= c.iv[i]
		}
	}
	if len(body) < tagLen {
		return 0, nil, errRecord
	}
	var buf [13]byte
	extra := record[:recordHeader]
	if !c.suite.modern {
		extra = append(binary.BigEndian.AppendUint64(buf[:0], seq), record[0], record[1], record[2])
		extra = binary.BigEndian.AppendUint16(extra, uint16(len(body)-tagLen))
	}
	var dst []byte
	if inPlace {
		dst = body[:0]
	}
	content, err = c.aead.Open(dst, nonce[:], body, extra)
	if err != nil {
		return 0, nil, errRecord
	}
	if !c.suite.modern {
		return kind, content, nil
	}
	for i := len(content) - 1; i >= 0; i-- { // the padding is zeros
		if content[i] != 0 {
			return content[i], content[:i], nil
		}
	}
	return 0, nil, errRecord
}

// overhead returns how much longer a record is than its content.
func (c *recordCipher) overhead() int64 {
	switch {
	case c.suite.modern:
		return recordHeader + 1 + tagLen
	case c.suite.gcm:
		return recordHeader + explicitLen + tagLen
	}
	return recordHeader + tagLen
}
