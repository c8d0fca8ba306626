package proxy

import (
	"net"
	"testing"
)

// portConn is a connection of which only the addresses matter.
type portConn struct {
	net.Conn
	local, remote int
}

func (c portConn) LocalAddr() net.Addr  { return &net.TCPAddr{Port: c.local} }
func (c portConn) RemoteAddr() net.Addr { return &net.TCPAddr{Port: c.remote} }

// A client may use the number of a port that an upstream connection uses too.
func TestLoopNeedsBothEnds(t *testing.T) {
	const listening, origin, ours, other = 8080, 1901, 40000, 40001
	p := &Proxy{ours: map[ends]int{
		endsOf(portConn{local: ours, remote: origin}):     1,
		endsOf(portConn{local: other, remote: listening}): 1,
	}}
	if p.isOurs(portConn{local: listening, remote: ours}) {
		t.Error("a client at the port number of an upstream connection is taken for a loop")
	}
	if !p.isOurs(portConn{local: listening, remote: other}) {
		t.Error("our own connection to ourselves is not recognised")
	}
}
