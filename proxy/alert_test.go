package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// A spoiler is a client's connection on which one record comes damaged, so that
// its TLS ends with an alert.
type spoiler struct {
	*endConn
	spoil  bool      // the next record
	toEnd  bool      // which is read together with all that follows
	spoilt io.Reader // that was read so
}

func (c *spoiler) Read(b []byte) (n int, err error) {
	switch {
	case c.spoilt != nil:
		return c.spoilt.Read(b)
	case c.spoil && c.toEnd:
		all, err := io.ReadAll(c.endConn)
		if err != nil {
			return 0, err
		}
		all[0] ^= 1
		c.spoilt = bytes.NewReader(all)
		return c.spoilt.Read(b)
	}
	if n, err = c.endConn.Read(b); c.spoil && n > 0 {
		b[0] ^= 1
		c.spoil = false
	}
	return n, err
}

// TestAlert has a client that ends TLS with an alert, which is told as its own, or
// not at all if it answers what the server did.
func TestAlert(t *testing.T) {
	begin := func(t *testing.T, r *rig) (c, s *peer, below *spoiler) {
		below = &spoiler{endConn: r.dialBelow()}
		c = newPeer(t, "client", &secureConn{tls.Client(below, example()), below.endConn})
		c.send(upgradeRequest)
		s = r.accept()
		s.want("the request", upgradeRequest)
		s.send(switching)
		c.want("the 101", switching)
		below.spoil = true
		c.SetReadDeadline(c.deadline())
		return c, s, below
	}
	fails := func(t *testing.T, c *peer) {
		t.Helper()
		if n, err := c.Conn.Read(make([]byte, 100)); err == nil {
			t.Errorf("got %d bytes, want an error", n)
		}
	}
	eachTLS(t, func(t *testing.T, r *rig) {
		c, s, _ := begin(t, r)
		s.send(text("hi"))
		fails(t, c)
		s.wantEnd("the client's alert", decode.EndTLSEOF)
		s.Close()
		r.wantLines(t, 1, "open", "> GET /chat", "< 101", "< text 2", "> end fin: client sent alert bad_record_mac", "< end fin")

		c, s, below := begin(t, r)
		below.toEnd = true
		s.send(text("hi"))
		s.tcp().CloseWrite()
		fails(t, c)
		s.wantEnd("the client's answer to the cut", decode.EndTLSEOF)
		s.Close()
		r.wantLines(t, 2, "open", "> GET /chat", "< 101", "< text 2", "< end tls-eof", "> end fin")
	}, trustAny)
}

// A server that speaks TLS says so, in its way, to a client that does not.
func TestServerWantsTLS(t *testing.T) {
	const alert = "\x15\x03\x03\x00\x02\x02\x46"
	const page = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
	for _, m := range []mode{inReverse, inTunnel} {
		for _, answer := range []string{alert, page} {
			r := newRig(t, m)
			c, s := r.ask(upgradeRequest)
			s.send(answer)
			c.want("the answer", answer)
			r.wantReason(ReasonServerWantsTLS)
			if answer == alert {
				r.wait(t, 1, "< opaque: a TLS alert, not an HTTP response")
			}
		}
	}
	eachTLS(t, func(t *testing.T, r *rig) { // a gateway passes the words on
		c, s := r.ask(upgradeRequest)
		s.send(page)
		c.want("the answer", page)
		r.wantReason("")
	})
}
