package proxy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// distrusted ends a session that never was, because of the client's TLS.
func (k *link) distrusted(err error) {
	text, how := "", howEnded(err)
	if isAlert(err) { // about what we have said
		how = decode.EndLocal
	}
	if k.ctx.Err() == nil { // else it was us
		text = k.clientTLSText(err)
		if errors.Is(err, context.DeadlineExceeded) {
			how = decode.EndTimeout
		}
	}
	s := k.open(decode.Info{Server: k.server, URL: k.named(k.server)}, nil)
	now := s.now()
	s.End(decode.FromClient, now, how, text)
	s.End(decode.FromServer, now, decode.EndLocal, "")
	s.Done(now)
}

// clientTLSText says what went wrong with a client's TLS, and warns of it if it
// can be mended.
func (k *link) clientTLSText(err error) string {
	p, h := k.p, k.hello
	a, isAlert := alertOf(err)
	switch {
	case isAlert && aboutCertificate(a):
		k.untrusted(doesNotTrust)
		return fmt.Sprintf("client refuses our certificate for %q: %s", h.name, tlsText(err))
	case h.answered && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)):
		k.untrusted(mayNotTrust)
		if h.done.IsZero() {
			return fmt.Sprintf("client closes the connection when it sees our certificate for %q", h.name)
		}
		return fmt.Sprintf("client closes the connection after the TLS handshake, without a request; our certificate is for %q", h.name)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("TLS with the client: handshake is not complete after %v", p.handshakeTimeout())
	case len(h.protos) > 0 && !slices.Contains(h.protos, alpn[0]):
		p.warn(ReasonClientProtocol, "a client does not speak HTTP/1.1")
		return fmt.Sprintf("TLS with the client for %q: it speaks only %s, not %s", h.name, strings.Join(h.protos, ", "), alpn[0])
	}
	if strings.HasSuffix(h.name, ".") && !h.read {
		p.warn(ReasonServerName, "a client asks for a server name that TLS does not allow")
		return fmt.Sprintf("TLS with the client: it asks for %q, and a server name ends without a dot (RFC 6066 §3)", h.name)
	}
	if h.read && !isAlert {
		p.warn(ReasonUnsupportedTLS, "a client's TLS can't be spoken here")
	}
	return fmt.Sprintf("TLS with the client for %q: %s", h.name, tlsText(err))
}

// upstreamTLSFailure says why TLS with the server at addr, which may have wanted
// a certificate of ours, did not come about, and warns of it if it can be
// mended.
func (p *Proxy) upstreamTLSFailure(addr string, err error, wanted bool) *failure {
	var unverified *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	a, isAlert := alertOf(err)
	switch {
	case errors.As(err, &unverified):
		return failed(http.StatusBadGateway, "certificate of upstream %q: %s", addr, p.certificateText(unverified))
	case isAlert && (aboutCertificate(a) || wanted && a == handshakeFailure):
		p.warn(ReasonClientCertificateWanted, "a server wants a client certificate")
		return failed(http.StatusBadGateway, "upstream %q demands a client certificate that it accepts: %s", addr, tlsText(err))
	case isAlert && a == noApplicationProtocol:
		return failed(http.StatusBadGateway, "TLS with upstream %q: it speaks no HTTP/1.1: %s", addr, tlsText(err))
	case isAlert && slices.Contains(nothingInCommon, a) && p.Strict:
		p.warn(ReasonStrictTLS, "a server refuses the TLS that is spoken here")
	case isAlert && slices.Contains(nothingInCommon, a):
		p.warn(ReasonUnsupportedTLS, "a server's TLS can't be spoken here")
	case strings.Contains(err.Error(), "x509: negative serial number"): // which package tls says in words only
		p.warn(ReasonInvalidCertificate, "a server is not trusted")
		return failed(http.StatusBadGateway, "certificate of upstream %q: negative serial number", addr)
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		return failed(http.StatusBadGateway, "TLS with upstream %q: it speaks HTTP without TLS", addr)
	case errors.Is(err, context.DeadlineExceeded):
		return failed(http.StatusGatewayTimeout, "TLS with upstream %q: timed out", addr)
	}
	return failed(http.StatusBadGateway, "TLS with upstream %q: %s", addr, tlsText(err))
}

// certificateText says why the certificate of a server is not trusted, and warns
// of it.
func (p *Proxy) certificateText(e *tls.CertificateVerificationError) string {
	var invalid x509.CertificateInvalidError
	if errors.As(e.Err, &x509.UnknownAuthorityError{}) && len(e.UnverifiedCertificates) > 0 {
		p.warn(ReasonUntrustedServer, "a server is not trusted")
		leaf := e.UnverifiedCertificates[0]
		if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
			return "self-signed"
		}
		return "signed by an unknown authority, " + strconv.Quote(leaf.Issuer.String())
	}
	p.warn(ReasonInvalidCertificate, "a server is not trusted")
	if errors.As(e.Err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil {
		if time.Now().Before(invalid.Cert.NotBefore) {
			return "not valid before " + invalid.Cert.NotBefore.UTC().Format(time.DateTime)
		}
		return "expired on " + invalid.Cert.NotAfter.UTC().Format(time.DateTime)
	}
	return strings.TrimPrefix(e.Err.Error(), "x509: ")
}

// tlsText returns the reason of a failed TLS handshake in a few words.
func tlsText(err error) string {
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		return "the first bytes are not TLS"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed in the handshake"
	}
	return strings.TrimPrefix(errorText(err), "tls: ")
}

// alertOf returns the alert that the peer has ended TLS with, if err says so.
func alertOf(err error) (a tls.AlertError, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	v := reflect.ValueOf(op.Err) // of a type of package tls
	if v.Kind() != reflect.Uint8 {
		return 0, false
	}
	return tls.AlertError(v.Uint()), true
}

// nothingInCommon are the alerts of a peer that finds nothing that both sides
// can speak: handshake failure, protocol version, insufficient security.
var nothingInCommon = []tls.AlertError{handshakeFailure, 70, 71}

// noApplicationProtocol is what a server says that speaks nothing of what the
// client has offered (RFC 7301 §3.2).
const noApplicationProtocol tls.AlertError = 120

// handshakeFailure is what some servers say that miss a certificate, others
// that miss something else.
const handshakeFailure tls.AlertError = 40

func isAlert(err error) bool {
	_, ok := alertOf(err)
	return ok
}

// aboutCertificate reports whether an alert is about the certificate that was
// shown, or missed (RFC 8446 §6.2): bad, unsupported, revoked, expired or
// unknown, from an unknown authority, denied access, or required.
func aboutCertificate(a tls.AlertError) bool {
	return 42 <= a && a <= 46 || a == 48 || a == 49 || a == 116
}

// alertName returns the name of an alert in RFC 8446 §6 or RFC 5246 §7.2, or its
// number.
func alertName(a tls.AlertError) string {
	return cmp.Or(alertNames[a], strconv.Itoa(int(a)))
}

var alertNames = map[tls.AlertError]string{
	10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed", 22: "record_overflow",
	30: "decompression_failure", 40: "handshake_failure", 42: "bad_certificate", 43: "unsupported_certificate",
	44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter",
	48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error", 70: "protocol_version",
	71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled",
	100: "no_renegotiation", 109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name",
	113: "bad_certificate_status_response", 115: "unknown_psk_identity", 116: "certificate_required",
	120: "no_application_protocol",
}
