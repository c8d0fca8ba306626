package pcap

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// Keys are secrets of TLS, as clients and servers log them: in the format of
// SSLKEYLOGFILE (RFC 9850).
type Keys struct{ secrets map[secretID][]byte }

// A secretID names a secret.
type secretID struct {
	label  label
	random [32]byte // of the ClientHello
}

// A label says what a secret is for.
type label uint8

const (
	labelMaster          label = iota // of TLS 1.2
	labelClientHandshake              // of TLS 1.3, as the others
	labelServerHandshake
	labelClientTraffic
	labelServerTraffic
)

var labels = map[string]label{
	"CLIENT_RANDOM":                   labelMaster,
	"CLIENT_HANDSHAKE_TRAFFIC_SECRET": labelClientHandshake,
	"SERVER_HANDSHAKE_TRAFFIC_SECRET": labelServerHandshake,
	"CLIENT_TRAFFIC_SECRET_0":         labelClientTraffic,
	"SERVER_TRAFFIC_SECRET_0":         labelServerTraffic,
}

// maxSecrets is how many secrets are kept.
const maxSecrets = 1 << 20

// ParseKeys returns the keys in a key log. Lines that say something else are passed
// over; it is an error if there is no key at all.
func ParseKeys(log []byte) (*Keys, error) {
	k := &Keys{}
	k.add(log, nil)
	if len(k.secrets) == 0 {
		return nil, errors.New("no keys of TLS: want lines such as CLIENT_TRAFFIC_SECRET_0, a client random and a secret in hex")
	}
	return k, nil
}

// add adds the secrets in a key log. If added is not nil, it is told of each.
func (k *Keys) add(log []byte, added func(secretID)) {
	for line := range bytes.Lines(log) {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			continue
		}
		id := secretID{}
		ok := false
		if id.label, ok = labels[string(fields[0])]; !ok || len(fields[1]) != 2*len(id.random) || len(fields[2]) > 2*maxSecret || len(k.secrets) >= maxSecrets {
			continue
		}
		secret := make([]byte, hex.DecodedLen(len(fields[2])))
		if _, err := hex.Decode(id.random[:], fields[1]); err != nil {
			continue
		}
		if _, err := hex.Decode(secret, fields[2]); err != nil || len(secret) == 0 {
			continue
		}
		if k.secrets == nil {
			k.secrets = map[secretID][]byte{}
		}
		k.secrets[id] = secret
		if added != nil {
			added(id)
		}
	}
}

// maxSecret is the length, in bytes, of the longest secret.
const maxSecret = 64

// A keySet is the keys for one capture: those that are given, and those in it.
type keySet struct {
	given, found Keys

	// Of sessions of TLS 1.2 that can be resumed, of which logs need not tell again: the
	// master secrets, by the sums of their tickets and numbers.
	resumable map[[sha256.Size]byte][]byte
}

// maxResumable is how many of them are kept.
const maxResumable = 1 << 16

// remember keeps the master secret of a session for when it is resumed.
func (k *keySet) remember(ticket, master []byte) {
	if len(ticket) == 0 || len(master) == 0 || len(k.resumable) >= maxResumable {
		return
	}
	if k.resumable == nil {
		k.resumable = map[[sha256.Size]byte][]byte{}
	}
	k.resumable[sha256.Sum256(ticket)] = master
}

// resume returns the master secret of a session that is resumed, or nil.
func (k *keySet) resume(tickets ...[]byte) []byte {
	for _, ticket := range tickets {
		if master := k.resumable[sha256.Sum256(ticket)]; master != nil && len(ticket) > 0 {
			return master
		}
	}
	return nil
}

func newKeySet(given *Keys) *keySet {
	k := &keySet{}
	if given != nil {
		k.given = *given
	}
	return k
}

// lookup returns a secret, or nil.
func (k *keySet) lookup(id secretID) []byte {
	if s := k.found.secrets[id]; s != nil {
		return s
	}
	return k.given.secrets[id]
}
