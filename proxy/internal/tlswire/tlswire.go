// Package tlswire recognizes TLS by its bytes, where something else is spoken.
package tlswire

import (
	"bytes"
	"crypto/tls"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// Info returns what a handshake of TLS agreed on.
func Info(s tls.ConnectionState) *decode.TLS {
	return &decode.TLS{
		Version: strings.Replace(tls.VersionName(s.Version), " ", "", 1),
		Cipher:  tls.CipherSuiteName(s.CipherSuite),
		ALPN:    s.NegotiatedProtocol,
		SNI:     s.ServerName,
	}
}

// IsHandshake reports whether b begins like a TLS connection: with a record of type
// handshake and major version 3 (RFC 8446 §5.1).
func IsHandshake(b []byte) bool { return isRecord(b, 22) }

func isRecord(b []byte, contentType byte) bool {
	return len(b) > 0 && b[0] == contentType && (len(b) == 1 || b[1] == 3)
}

// IsRefusal reports whether b is what a server of TLS says to a client that has
// sent it HTTP: an alert, or a page with status 400 that says so.
func IsRefusal(b []byte) bool {
	if isRecord(b, 21) && len(b) > 1 {
		return true
	}
	for _, words := range pages {
		if bytes.Contains(b, words) {
			return true
		}
	}
	return false
}

// pages are the words of servers written in Go, of nginx, Apache and Tomcat.
var pages = [][]byte{
	[]byte("Client sent an HTTP request to an HTTPS server"),
	[]byte("The plain HTTP request was sent to HTTPS port"),
	[]byte("speaking plain HTTP to an SSL-enabled server port"),
	[]byte("This combination of host and port requires TLS"),
}
