package main

import (
	"fmt"
	"net"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// remedies are the hints for failures of the proxy.
var remedies = map[proxy.Reason]string{
	proxy.ReasonUntrustedAuthority: "wstrace ca install makes this machine trust it; wstrace ca export prints it for clients " +
		"with their own list; --pass HOST relays TLS to HOST without reading it",
	proxy.ReasonConnectToSelf:           "for a server on this machine start wstrace URL and point the client at wstrace",
	proxy.ReasonClientProtocol:          "--pass HOST relays TLS to HOST without reading it",
	proxy.ReasonUntrustedServer:         "--upstream-ca FILE trusts the authority, or the certificate, in FILE; --insecure trusts any server",
	proxy.ReasonInvalidCertificate:      "--insecure trusts any server",
	proxy.ReasonClientCertificateWanted: "--client-cert FILE sends the certificate in FILE",
}

// page is what a browser shows that was pointed at the proxy, as if it were a
// server.
func page(self net.Addr) string {
	return fmt.Sprintf(`<!doctype html>
<title>wstrace</title>
<h1>wstrace</h1>
<p>This is a proxy that shows WebSocket traffic, not a server. Make it the HTTP
proxy of the program you want to watch:</p>
<pre>http_proxy=http://%[1]s program
curl --proxy http://%[1]s http://example.com/</pre>
<p>Many clients bypass the proxy for addresses on their own machine. For a server
there, start <code>wstrace ws://HOST:PORT</code> and point the client at
ws://%[1]s instead.</p>
`, self)
}

// hints is a sink that knows the remedy for some failures.
type hints struct {
	con   *console
	given bool
}

// Emit says what can be done about ev, once.
func (h *hints) Emit(ev *decode.Event) {
	if h.given || ev.Kind != decode.KindResponse || ev.Head.Status != 403 {
		return
	}
	hs := ev.Handshake
	if hs == nil || !hs.WebSocket || hs.Forwarded == nil {
		return
	}
	origin, host := hs.Request.Get("Origin"), hs.Forwarded.Get("Host")
	if origin == "" || host == hs.Request.Get("Host") {
		return
	}
	h.given = true
	h.con.hint("the server received Host %s with Origin %s, and may refuse that; --keep-host keeps the Host header that the client sent", host, origin)
}
