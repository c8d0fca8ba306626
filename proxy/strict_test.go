package proxy

import (
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// TestStrict lets good handshakes pass, refuses bad ones with the violation for
// a body, and has nothing to say on other requests.
func TestStrict(t *testing.T) {
	strict := func(p *Proxy) { p.Strict = true }
	const because = "Content-Type: text/plain; charset=utf-8\r\nContent-Length: "

	t.Run("good", func(t *testing.T) {
		r := newRig(t, inReverse, strict)
		c, s := r.upgrade()
		c.send(masked("hello"))
		s.want("the frame", masked("hello"))
	})
	t.Run("bad request", func(t *testing.T) {
		r := newRig(t, inReverse, strict)
		c := r.dial()
		c.send(strings.Replace(upgradeRequest, "Version: 13", "Version: 12", 1))
		c.wantRest("the refusal", "HTTP/1.1 400 Bad Request\r\n"+because+"68\r\nConnection: close\r\n\r\n"+
			"client req-version-not-13: version is \"12\", not 13 (RFC 6455 §4.1)\n", decode.EndFIN)
		r.wantStatus(t, 1, 400)
	})
	t.Run("bad response", func(t *testing.T) {
		r := newRig(t, inReverse, strict)
		c, s := r.ask(upgradeRequest)
		s.send(strings.Replace(switching, "Upgrade: websocket", "Upgrade: websockets", 1))
		c.wantRest("the refusal", "HTTP/1.1 502 Bad Gateway\r\n"+because+"82\r\nConnection: close\r\n\r\n"+
			"server res-upgrade-wrong: Upgrade is \"websockets\", not websocket (RFC 6455 §4.1)\n", decode.EndFIN)
		r.wantStatus(t, 1, 502)
	})
	t.Run("no handshake", func(t *testing.T) {
		r := newRig(t, inReverse, strict)
		const head = "GET / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
		c := r.dial()
		c.send(head + "0\r\n\r\n")
		r.accept().want("the request", head+"0\r\n\r\n")
	})
}
