package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// alpn is what we speak inside TLS (RFC 7301); WebSocket over HTTP/2 is not
// among it.
var alpn = []string{"http/1.1"}

// startsTLS reports whether the client's first byte begins a TLS connection
// that is to be looked into.
func (k *link) startsTLS() bool {
	b := k.client.unread()
	if len(b) == 0 || b[0] != recordTypeHandshake || k.p.Authority == nil || k.clientTLS != nil || k.asked {
		return false
	}
	host, _, _ := net.SplitHostPort(k.boundTo())
	return k.bound() && (k.p.Pass == nil || !k.p.Pass(host))
}

// interceptTLS ends the client's TLS here and, in a tunnel, begins ours with
// the server; if that fails, requests are told. It reports whether requests can
// follow.
func (k *link) interceptTLS() bool {
	host, _, _ := net.SplitHostPort(k.boundTo())
	var c net.Conn
	if k.tunnel != "" {
		c = k.detach()
	}
	name, err := k.acceptTLS(host)
	if err != nil {
		if c != nil {
			k.p.forget(c)
		}
		k.clientTLS = &decode.TLS{SNI: name}
		k.untrusted(err)
		return false
	}
	if k.tunnel == "" {
		return true // a reverse proxy speaks to its origin as it was told to
	}
	k.serverName = name
	if c != nil {
		k.upErr = k.use(k.tunnel, c, nil)
	}
	return true
}

// untrusted ends a session that never was, because of the client's TLS.
func (k *link) untrusted(err error) {
	s := k.open(decode.Info{Server: k.boundTo(), URL: "wss://" + k.boundTo()})
	now := time.Now()
	name := k.clientTLS.SNI
	if name == "" {
		name, _, _ = net.SplitHostPort(k.boundTo())
	}
	s.End(decode.FromClient, now, decode.EndLocal, clientTLSText(name, err))
	s.End(decode.FromServer, now, decode.EndLocal, "")
	s.Done(now)
	if isAlert(err) || errors.Is(err, io.EOF) {
		k.p.log().Warn("a client does not accept our certificate", "hint", "wstrace ca install makes this machine trust it; wstrace ca export prints it for clients with a list of their own")
	}
}

// acceptTLS makes the client's leg a TLS connection, with a certificate for the
// name that the client asks for, or else for host. It returns that name.
func (k *link) acceptTLS(host string) (name string, err error) {
	name = host
	c := tls.Server(&unreadConn{k.client.Conn, append([]byte(nil), k.client.unread()...)}, &tls.Config{
		NextProtos:                  alpn,
		KeyLogWriter:                k.p.KeyLog,
		DynamicRecordSizingDisabled: true, // small records cost a fifth of the CPU
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if h.ServerName != "" {
				name = h.ServerName
			}
			return k.p.Authority.Leaf(name)
		},
	})
	k.client.drop()
	ctx, cancel := context.WithTimeout(k.ctx, k.p.handshakeTimeout())
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return name, err
	}
	l := newLeg(c)
	l.when = k.client.when
	k.mu.Lock()
	defer k.mu.Unlock()
	k.client, k.clientTLS = l, tlsInfo(c.ConnectionState())
	return name, nil
}

// An unreadConn is a connection of which some bytes were read too early.
type unreadConn struct {
	net.Conn
	unread []byte
}

func (c *unreadConn) Read(b []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(b, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// dialTLS begins TLS with the server called name on c, which is closed if that
// fails.
func (p *Proxy) dialTLS(ctx context.Context, c net.Conn, addr, name string) (*tls.Conn, error) {
	config := p.UpstreamTLS.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	config.ServerName = name
	config.NextProtos = alpn
	config.KeyLogWriter = p.KeyLog
	config.DynamicRecordSizingDisabled = true
	config.ClientSessionCache = p.tickets
	t := tls.Client(c, config)
	ctx, cancel := context.WithTimeout(ctx, p.dialTimeout())
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		p.forget(c)
		return nil, p.upstreamTLSFailure(addr, err)
	}
	return t, nil
}

// upstreamTLSFailure says why TLS with the server at addr did not come about.
func (p *Proxy) upstreamTLSFailure(addr string, err error) *failure {
	var unverified *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unverified):
		p.log().Warn(fmt.Sprintf("upstream %q is not trusted", addr), "hint", "--upstream-ca FILE trusts the authority in FILE, --insecure trusts anything")
		return failed(http.StatusBadGateway, "certificate of upstream %q: %s", addr, certificateText(unverified.Err))
	case errors.Is(err, context.DeadlineExceeded):
		return failed(http.StatusGatewayTimeout, "TLS with upstream %q: timed out", addr)
	}
	return failed(http.StatusBadGateway, "TLS with upstream %q: %s", addr, tlsText(err))
}

func certificateText(err error) string {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil {
		if time.Now().Before(invalid.Cert.NotBefore) {
			return "not valid before " + invalid.Cert.NotBefore.UTC().Format(time.DateTime)
		}
		return "expired on " + invalid.Cert.NotAfter.UTC().Format(time.DateTime)
	}
	return strings.TrimPrefix(err.Error(), "x509: ")
}

// tlsText returns the reason of a failed TLS handshake in a few words.
func tlsText(err error) string {
	var alert tls.AlertError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &alert):
		return strings.TrimPrefix(alert.Error(), "tls: ")
	case errors.As(err, &record):
		return "the first bytes are not TLS"
	case errors.Is(err, io.EOF):
		return "connection closed in the handshake"
	}
	return strings.TrimPrefix(errorText(err), "tls: ")
}

// clientTLSText says what went wrong with a client's TLS.
func clientTLSText(name string, err error) string {
	if isAlert(err) {
		return fmt.Sprintf("client refuses our certificate for %q: %s", name, tlsText(err))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "TLS with the client: no complete handshake in time"
	}
	return fmt.Sprintf("TLS with the client for %q: %s", name, tlsText(err))
}

// isAlert reports whether err is an alert that the peer sent.
func isAlert(err error) bool {
	var op *net.OpError
	var alert tls.AlertError
	return errors.As(err, &op) && op.Op == "remote error" && errors.As(err, &alert)
}

func tlsInfo(s tls.ConnectionState) *decode.TLS {
	return &decode.TLS{
		Version: strings.Replace(tls.VersionName(s.Version), " ", "", 1),
		Cipher:  tls.CipherSuiteName(s.CipherSuite),
		ALPN:    s.NegotiatedProtocol,
		SNI:     s.ServerName,
	}
}
