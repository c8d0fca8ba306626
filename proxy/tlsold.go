package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// widen has config take all that package tls can speak, where it does not say
// otherwise: the versions and cipher suites that are no longer safe, too. They
// come last, so that they are chosen only if the peer has nothing better, or
// wants it so. It can't speak SSL 3.0, and it knows no DHE.
func (p *Proxy) widen(config *tls.Config) {
	if p.Strict {
		return
	}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS10
	}
	if config.CipherSuites == nil {
		config.CipherSuites = allSuites
	}
}

var allSuites = func() (ids []uint16) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, s.ID)
	}
	return ids
}()

// oldTLS names what is no longer safe in a TLS connection, or returns "".
func oldTLS(i *decode.TLS) string {
	var old []string
	if i.Version == "TLS1.0" || i.Version == "TLS1.1" {
		old = append(old, i.Version)
	}
	if strings.HasPrefix(i.Cipher, "TLS_RSA_") {
		old = append(old, "RSA key exchange")
	}
	for _, cipher := range []string{"RC4", "3DES"} {
		if strings.Contains(i.Cipher, "_"+cipher+"_") {
			old = append(old, cipher)
		}
	}
	return strings.Join(old, ", ")
}

// warnOfOldTLS warns that TLS with a peer is no longer safe: what says who has
// left us no better.
func (p *Proxy) warnOfOldTLS(i *decode.TLS, what string, peer any) {
	if old := oldTLS(i); old != "" {
		p.warnOf(ReasonOldTLS, fmt.Sprintf(what, peer, old))
	}
}

// noRenegotiation is what we answer to a server that wants another handshake.
const noRenegotiation tls.AlertError = 100

// wantsRenegotiation reports whether err says that the server has asked for
// another handshake, which ends the connection.
func wantsRenegotiation(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "local error" && op.Err.Error() == noRenegotiation.Error()
}

// helloMost is how much of a ClientHello is kept.
const helloMost = 4 << 10

// dottedName returns the name in the server_name extension (RFC 6066 §3) in a
// ClientHello, of which b is the beginning, if the name ends in a dot: package tls
// then reads none of the message.
func dottedName(b []byte) string {
	for i := 0; i+9 < len(b); i++ {
		if b[i] != 0 || b[i+1] != 0 || b[i+6] != 0 { // the type of the extension, and of the name
			continue
		}
		n := int(b[i+7])<<8 | int(b[i+8])
		list, ext := int(b[i+4])<<8|int(b[i+5]), int(b[i+2])<<8|int(b[i+3])
		if list == n+3 && ext == n+5 && n > 1 && n <= len(b)-i-9 && b[i+9+n-1] == '.' {
			return string(b[i+9 : i+9+n])
		}
	}
	return ""
}
