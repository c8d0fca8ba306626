package replay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// A begun connection is one of which the first bytes were read.
type begun struct {
	net.Conn
	early []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.early) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.early)
	b.early = b.early[n:]
	return n, nil
}

// CloseWrite ends our side of the connection.
func (b *begun) CloseWrite() error {
	if c, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// accept readies the connection of a client, which has TLS if it begins so and we
// speak it. It returns what was read of what the client sends then. If it fails, conn
// is closed.
func (p *playing) accept(ctx context.Context, conn net.Conn) (net.Conn, []byte, error) {
	if p.secure == nil {
		return conn, nil, nil
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetReadDeadline(time.Now().Add(p.stall))
	first := make([]byte, 4<<10)
	n, _ := conn.Read(first) // an end, or nothing, is seen again
	conn.SetReadDeadline(time.Time{})
	if first = first[:n]; !tlswire.IsHandshake(first) {
		return conn, first, nil
	}
	t := tls.Server(&begun{conn, first}, p.secure)
	limited, cancel := context.WithTimeoutCause(ctx, p.stall, &stallError{text: "server waits for the TLS handshake of the client", stall: p.stall})
	defer cancel()
	if err := t.HandshakeContext(limited); err != nil {
		conn.Close()
		switch {
		case ctx.Err() != nil:
			return nil, nil, context.Cause(ctx)
		case limited.Err() != nil:
			return nil, nil, context.Cause(limited)
		}
		return nil, nil, &HandshakeError{err}
	}
	return t, nil, nil
}

// A HandshakeError is why a client could not be served with TLS: most often it does not
// trust the certificate.
type HandshakeError struct{ Err error }

func (e *HandshakeError) Error() string { return fmt.Sprintf("TLS handshake of the client: %v", e.Err) }
func (e *HandshakeError) Unwrap() error { return e.Err }

// underTLS returns what a connection of TLS is made of.
func underTLS(conn net.Conn) net.Conn {
	for {
		switch c := conn.(type) {
		case *tls.Conn:
			conn = c.NetConn()
		case *begun:
			conn = c.Conn
		default:
			return conn
		}
	}
}

// tlsOf returns the TLS that a connection is made of, or nil.
func tlsOf(conn net.Conn) *tls.Conn {
	for {
		switch c := conn.(type) {
		case *tls.Conn:
			return c
		case *begun:
			conn = c.Conn
		default:
			return nil
		}
	}
}

// ownCertificate returns a certificate for this machine, and what trusts it. It lives
// as long as a test.
func ownCertificate() (*tls.Config, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}, pool, nil
}
