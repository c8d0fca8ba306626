package main

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// remedies are the hints for failures of the proxy.
var remedies = map[proxy.Reason]string{
	proxy.ReasonUntrustedAuthority: "wstrace ca install makes this machine trust it; wstrace ca export prints it for clients " +
		"with their own list; --pass HOST relays TLS to HOST without reading it",
	proxy.ReasonConnectToSelf:           "for a server on this machine start wstrace URL and point the client at wstrace",
	proxy.ReasonUpgradeToSelf:           "start wstrace URL, with the URL of the server, and point the client at wstrace; or make wstrace the client's HTTP proxy",
	proxy.ReasonConnectToReverse:        "wstrace without a URL is an HTTP proxy",
	proxy.ReasonClientProtocol:          "--pass HOST relays TLS to HOST without reading it",
	proxy.ReasonUntrustedServer:         "--upstream-ca FILE trusts the authority, or the certificate, in FILE; --insecure trusts any server",
	proxy.ReasonInvalidCertificate:      "--insecure trusts any server",
	proxy.ReasonServerWantsTLS:          "the URL of a server that speaks TLS begins with wss://, or https://",
	proxy.ReasonClientCertificateWanted: "--client-cert FILE sends the certificate in FILE",
	proxy.ReasonOldTLS:                  "--strict refuses it",
	proxy.ReasonStrictTLS:               "without --strict TLS 1.0, TLS 1.1 and RSA key exchange are spoken too",
	proxy.ReasonServerName:              "--pass HOST relays TLS to HOST without reading it",
	proxy.ReasonUnsupportedTLS: "wstrace can't do SSL 3.0, DHE key exchange and renegotiation; " +
		"--pass HOST relays TLS to HOST without reading it",
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

// hints is a sink that knows a remedy for what goes wrong without a fault of the
// protocol. Each hint is given once.
type hints struct {
	con        *console
	given      map[string]bool         // by format
	pages      int                     // HTML that was relayed
	webSockets int                     // requests for a WebSocket
	wrong      decode.PerSession[bool] // sessions whose request breaks a rule, which may be why it is refused
}

// hint gives a hint, the first time.
func (h *hints) hint(format string, args ...any) {
	if h.given == nil {
		h.given = make(map[string]bool)
	}
	if !h.given[format] {
		h.given[format] = true
		h.con.hint(format, args...)
	}
}

// Emit says what can be done about ev.
func (h *hints) Emit(ev *decode.Event) {
	hs := ev.Handshake
	switch {
	case hs == nil || hs.Request == nil:
	case ev.Kind == decode.KindRequest && hs.WebSocket:
		h.webSockets++
		if slices.ContainsFunc(ev.Violations, func(v decode.Violation) bool { return v.Severity == decode.SeverityError }) {
			*h.wrong.Of(ev) = true
		}
	case ev.Kind == decode.KindResponse && ev.Head == hs.Response:
		h.response(ev)
	case ev.Kind == decode.KindClosed:
		h.closed(ev)
		h.wrong.Forget(ev.Conn)
	}
}

func (h *hints) response(ev *decode.Event) {
	hs, status := ev.Handshake, ev.Head.Status
	origin := hs.Request.Get("Origin")
	switch {
	case status >= 400 && status < 500 && rewrittenFrom(hs, origin):
		h.hint("the server received Host %s with Origin %s, and may refuse that; --keep-host keeps the Host header that the client sent",
			hs.Forwarded.Get("Host"), origin)
	case hs.WebSocket && origin == "" && (status == 400 || status == 403) && h.wrong.Lookup(ev.Conn) == nil:
		h.hint(noOrigin)
	case hs.Accepted:
		for _, ext := range unknownExtensions(ev.Head) {
			h.hint("the extension %s is in force, which wstrace does not know: the payload is shown as it comes, and messages are not checked", ext)
		}
	case status == 200 && strings.HasPrefix(ev.Head.Get("Content-Type"), "text/html"):
		h.pages++
	}
}

func (h *hints) closed(ev *decode.Event) {
	hs, end := ev.Handshake, &ev.Totals.Verdict
	if ev.Totals.OwnURL != "" {
		h.hint("the server names itself %s, and a client that goes there passes wstrace by; --keep-host keeps the Host header that the client sent", ev.Totals.OwnURL)
	}
	if !hs.WebSocket || hs.Response != nil || end.Ended != decode.FromServer || end.Unknown || end.How > decode.EndRST {
		return
	}
	const tls = "a server that speaks TLS may end the connection without an answer, and has a URL with wss://"
	switch hasOrigin := hs.Request.Get("Origin") != ""; {
	case ev.Info.ServerTLS == nil && hasOrigin:
		h.hint(tls)
	case ev.Info.ServerTLS == nil:
		h.hint(tls + "; " + noOrigin)
	case !hasOrigin:
		h.hint(noOrigin)
	}
}

// noOrigin is the hint for a handshake that is refused or gets no answer.
const noOrigin = "the client sent no Origin, and some servers want one"

// rewrittenFrom reports whether the server was told another Host than the client's,
// which the origin of the request fitted.
func rewrittenFrom(hs *decode.Handshake, origin string) bool {
	if origin == "" || hs.Forwarded == nil {
		return false
	}
	host := hs.Request.Get("Host")
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, host) && !strings.EqualFold(hs.Forwarded.Get("Host"), host)
}

// unknownExtensions returns the names of the extensions that a response puts in
// force and that only the peers know.
func unknownExtensions(h *decode.Head) []string {
	exts, _ := decode.ParseExtensions(h.Values("Sec-WebSocket-Extensions"))
	var names []string
	for _, ext := range exts {
		if ext.Name != "permessage-deflate" {
			names = append(names, strconv.Quote(ext.Name))
		}
	}
	return names
}

// atEnd says why nothing may have come. origin is that of the reverse proxy, or nil.
func (h *hints) atEnd(origin *url.URL, self net.Addr, sessions int64) {
	switch {
	case origin != nil && h.pages > 0 && h.webSockets == 0:
		h.con.hint("no WebSocket came: a page may hold the address of %s and open its WebSocket there; "+
			"with wstrace alone as its HTTP proxy the browser's traffic comes through all the same", origin.Host)
	case origin == nil && sessions == 0:
		host, port, _ := net.SplitHostPort(self.String())
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		h.con.hint("many clients bypass the proxy for localhost, and Node and Java ignore http_proxy for every host; " +
			"for one server, run wstrace URL and point the client at wstrace")
		h.con.hint("Java's HttpClient takes a proxy from JAVA_TOOL_OPTIONS=\"-Dhttp.proxyHost=%[1]s -Dhttp.proxyPort=%[2]s "+
			"-Dhttps.proxyHost=%[1]s -Dhttps.proxyPort=%[2]s -Dhttp.nonProxyHosts=\"; Jetty and Netty take it from the program alone", host, port)
	}
}
