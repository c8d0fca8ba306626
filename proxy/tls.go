package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// alpn is what we speak inside TLS (RFC 7301); WebSocket over HTTP/2 is not
// among it.
var alpn = []string{"http/1.1"}

// startsTLS reports whether the client's first bytes begin a TLS connection
// that is to be looked into.
func (k *link) startsTLS() bool {
	if !tlswire.IsHandshake(k.client.unread()) || k.secure || k.phase != phaseFirst || k.server == "" {
		return false
	}
	if !k.weighed {
		k.weighed, k.unreadTLS = true, k.whyUnread()
	}
	return k.unreadTLS == ""
}

// interceptTLS ends the client's TLS here and, in a tunnel, begins ours with
// the server; if that fails, the answers to requests say so.
func (k *link) interceptTLS() phase {
	var l *leg
	if k.up != nil {
		var silent bool
		switch l, silent = k.detach(); {
		case !silent && k.via == viaDirect:
			k.begin(k.server, l, nil)
			return k.opaque(decode.FromServer, k.server, "server speaks first")
		case !silent:
			l.release()
			k.p.forget(l.Conn)
			l = nil
		}
	}
	k.hello, k.secure = new(clientHello), true
	if err := k.acceptTLS(k.hello); err != nil {
		if l != nil {
			k.p.forget(l.Conn)
		}
		k.clientTLS = &decode.TLS{SNI: k.hello.sni}
		k.distrusted(err)
		return phaseClose
	}
	if k.isTunnel() { // a reverse proxy speaks to its origin as it was told to
		k.serverName = k.hello.name
		if l != nil {
			k.upstreamErr = k.useLeg(k.server, l, nil)
		}
	}
	k.hello.done = time.Now()
	if k.isTunnel() {
		return k.enter()
	}
	return phaseFirst
}

// A clientHello is what a client's first message, and our answer to it, say.
type clientHello struct {
	name     string    // of the server, for which our certificate is
	sni      string    // that name if the client asked for one
	protos   []string  // that the client speaks
	read     bool      // it is a ClientHello
	answered bool      // our certificate was sent
	done     time.Time // when requests could follow
}

// acceptTLS makes the client's leg a TLS connection, with a certificate for the
// name that the client asks for. A client that asks for none wants the host
// that it has connected to.
func (k *link) acceptTLS(h *clientHello) error {
	at := k.client.LocalAddr().String()
	if k.isTunnel() {
		at = k.server
	}
	h.name, _, _ = net.SplitHostPort(at)
	r := &records{Conn: k.client.Conn, leg: k.client, wait: true, first: make([]byte, 0, helloMost)}
	config := &tls.Config{
		NextProtos:   alpn,
		KeyLogWriter: k.p.KeyLog,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			h.read = true
			h.sni, h.protos = hello.ServerName, slices.Clone(hello.SupportedProtos)
			h.name = cmp.Or(h.sni, h.name)
			return nil, nil
		},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			h.answered = true
			return k.p.Authority.LeafFor(h.name, hello)
		},
		SessionTicketsDisabled:      true, // so that every connection tells whether the client trusts us
		DynamicRecordSizingDisabled: true, // small records cost a fifth of the CPU
	}
	k.p.widen(config)
	c := tls.Server(r, config)
	ctx, cancel := context.WithTimeout(k.ctx, k.p.handshakeTimeout())
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		if !h.read {
			h.name = cmp.Or(dottedName(r.first), h.name)
		}
		return r.reason(err)
	}
	info := tlswire.Info(c.ConnectionState())
	k.p.log().Debug(fmt.Sprintf("TLS with client %s: %s", k.client.RemoteAddr(), tlsSummary(info)))
	host, _, _ := net.SplitHostPort(k.client.RemoteAddr().String())
	k.p.warnOfOldTLS(info, "TLS with client %s, which offers nothing better, is no longer safe: %s", host)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.client, k.clientTLS = r.secured(c), info
	return nil
}

// soon is how long a client that does not trust our certificate takes to go
// away. Others that send no request, such as browsers that connect ahead of
// need, take longer.
const soon = time.Second

// gone takes the end, with err, of a client between requests, and reports
// whether it was because of the client's TLS.
func (k *link) gone(err error) bool {
	if !k.secure || k.clientTLS == nil || k.phase != phaseFirst || isTimeout(err) || !isAlert(err) && time.Since(k.hello.done) > soon {
		return false
	}
	k.distrusted(err)
	return true
}

// records is the connection below TLS. In the handshake its reads wait; after
// that they give what the leg has read, and the leg waits without a buffer for
// what it decrypts to.
type records struct {
	net.Conn
	leg   *leg // of the same connection
	wait  bool
	last  [alertLen]byte // that were read in the handshake
	first []byte         // that were read in it, as many as fit
}

// alertLen is the length of an alert record that is not encrypted: type 21,
// version, length 2, level, alert (RFC 8446 §5.1, §6).
const alertLen = 7

// reason returns why a handshake failed, given what TLS says. A client with
// OpenSSL sends its alert in plain where TLS 1.3 has keys already, which TLS
// takes for a record that was tampered with.
func (r *records) reason(err error) error {
	if err == io.ErrUnexpectedEOF {
		return io.EOF
	}
	if l := r.last; !isAlert(err) && l[0] == 21 && l[1] == 3 && l[3] == 0 && l[4] == 2 {
		return &net.OpError{Op: "remote error", Err: tls.AlertError(l[6])}
	}
	return err
}

// errNoRecord says that TLS wants more than was read. It is temporary, so that
// the TLS connection lives on.
var errNoRecord net.Error = noRecord{}

type noRecord struct{}

func (noRecord) Error() string   { return "no complete record at hand" }
func (noRecord) Timeout() bool   { return true }
func (noRecord) Temporary() bool { return true }

func (r *records) Read(b []byte) (int, error) {
	if len(r.leg.unread()) == 0 {
		if !r.wait {
			return 0, errNoRecord
		}
		if err := r.leg.fill(); err != nil {
			return 0, err
		}
		if b := r.leg.unread(); len(b) >= alertLen {
			copy(r.last[:], b[len(b)-alertLen:])
		}
	}
	n := copy(b, r.leg.unread())
	r.first = append(r.first, b[:min(n, cap(r.first)-len(r.first))]...)
	r.leg.use(n)
	return n, nil
}

// secured returns the leg of c, whose records are r's and whose handshake is
// over.
func (r *records) secured(c *tls.Conn) *leg {
	r.wait, r.first = false, nil
	return &leg{Conn: c, below: r.leg, class: 1, clock: r.leg.clock, when: r.leg.when}
}

// readTLS reads what the records at hand decrypt to into the buffer, and waits
// if that is nothing. A stream that ends without close_notify was cut.
func (l *leg) readTLS() (n int, err error) {
	for {
		if l.dry {
			if err := l.below.fill(); err == io.EOF {
				return 0, io.ErrUnexpectedEOF
			} else if err != nil {
				return 0, err
			}
		}
		l.take()
		for b := l.buf.b[l.w:]; n < len(b) && err == nil; {
			var m int
			m, err = l.Conn.Read(b[n:])
			n += m
		}
		l.dry = err == errNoRecord
		switch {
		case n > 0:
			return n, nil // an error comes again
		case !l.dry:
			return 0, err
		}
		if err = nil; l.r == l.w {
			l.drop()
		}
	}
}

// dialTLS begins TLS with the server called name, speaking protos, on l, which
// is closed if that fails.
func (p *Proxy) dialTLS(ctx context.Context, l *leg, addr, name string, protos []string) (*leg, *decode.TLS, error) {
	config := p.UpstreamTLS.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	config.ServerName = name
	config.NextProtos = protos
	config.KeyLogWriter = p.KeyLog
	config.DynamicRecordSizingDisabled = true
	wanted, shown := false, false // a certificate of ours
	if p.tickets != nil {
		config.ClientSessionCache = ticketCache{p.tickets, func() bool { return wanted && !shown }}
	}
	show := ourCertificate(config)
	config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c, err := show(info)
		wanted, shown = true, c != nil && len(c.Certificate) > 0
		return c, err
	}
	p.widen(config)
	r := &records{Conn: l.Conn, leg: l, wait: true}
	t := tls.Client(r, config)
	ctx, cancel := context.WithTimeout(ctx, p.dialTimeout())
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		l.drop()
		p.forget(l.Conn)
		return nil, nil, p.upstreamTLSFailure(addr, r.reason(err), wanted)
	}
	info := tlswire.Info(t.ConnectionState())
	p.log().Debug(fmt.Sprintf("TLS with upstream %q: %s", addr, tlsSummary(info)))
	p.warnOfOldTLS(info, "TLS with upstream %q, which chooses so, is no longer safe: %s", addr)
	l = r.secured(t)
	l.unidentified = wanted && !shown
	return l, info, nil
}

// A ticketCache keeps no tickets of servers that we have not shown the certificate
// they asked for: in a resumed session they would not ask again, and it could not
// be told why they end it.
type ticketCache struct {
	tls.ClientSessionCache
	unidentified func() bool
}

// Put keeps the ticket of a server, or forgets it for nil.
func (c ticketCache) Put(key string, s *tls.ClientSessionState) {
	if s == nil || !c.unidentified() {
		c.ClientSessionCache.Put(key, s)
	}
}

// ourCertificate returns what chooses the certificate that we show a server.
func ourCertificate(config *tls.Config) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if config.GetClientCertificate != nil {
		return config.GetClientCertificate
	}
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		for i := range config.Certificates {
			if info.SupportsCertificate(&config.Certificates[i]) == nil {
				return &config.Certificates[i], nil
			}
		}
		return new(tls.Certificate), nil
	}
}

func tlsSummary(i *decode.TLS) string {
	return fmt.Sprintf("%s, %s, protocol %q, server name %q", i.Version, i.Cipher, i.ALPN, i.SNI)
}
