package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"sync"

	"github.com/wstrace/wstrace/proxy/ca"
)

// authority vouches for the servers of tests and for the proxy.
var authority = sync.OnceValue(func() *ca.Authority {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	a, err := ca.New(dir)
	if err != nil {
		panic(err)
	}
	return a
})

func trusting(certs ...*x509.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	for _, c := range certs {
		roots.AddCert(c)
	}
	return &tls.Config{RootCAs: roots}
}

// A secureConn is a TLS connection that tells a stream that was cut from one
// that was ended.
type secureConn struct {
	*tls.Conn
	below *endConn
}

func (c *secureConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF && c.below.ended {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// An endConn keeps whether its stream has ended.
type endConn struct {
	*net.TCPConn
	ended bool
}

func (c *endConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.ended = c.ended || err == io.EOF
	return n, err
}

// secureClient begins TLS on c, for 127.0.0.1.
func secureClient(c net.Conn) *secureConn {
	below := &endConn{TCPConn: c.(*net.TCPConn)}
	config := trusting(authority().Certificate())
	config.ServerName = "127.0.0.1"
	return &secureConn{tls.Client(below, config), below}
}

// A secureListener accepts TLS, as 127.0.0.1 unless config says otherwise.
type secureListener struct {
	*net.TCPListener
	config *tls.Config
}

func (l *secureListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	below := &endConn{TCPConn: c}
	return &secureConn{tls.Server(below, l.config), below}, nil
}

// secure has both legs of a rig speak TLS.
func (r *rig) secure() {
	r.p.Authority = authority()
	r.p.UpstreamTLS = trusting(authority().Certificate())
	if r.p.Upstream != nil {
		r.p.Upstream.Scheme = "wss"
	}
	r.origin = &secureListener{r.origin.(*net.TCPListener), &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return authority().Leaf("127.0.0.1") },
	}}
}
