package decode

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"strings"
)

// A Handshake is the opening handshake of a session (RFC 6455 §4): both heads
// verbatim, and what they agreed on. For an exchange that did not ask for
// websocket it is just the two heads.
type Handshake struct {
	Request   *Head
	Forwarded *Head // the request as it was sent on; nil if it went as it came
	Response  *Head // the final one; nil until it comes

	WebSocket   bool   // the request asks for websocket
	Accepted    bool   // the response is a 101 to it
	Key         string // Sec-WebSocket-Key
	Accept      string // Sec-WebSocket-Accept
	Subprotocol string // the one chosen
	Extensions  string // those chosen, as the response lists them
}

const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 §1.3

// AcceptKey returns the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key
// (RFC 6455 §4.2.2). The hash is over the key as it is spelled.
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + keyGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// AcceptOK reports whether the response proves that the server read the key.
func (h *Handshake) AcceptOK() bool { return h.Accept == AcceptKey(h.Key) }

// AsksForWebSocket reports whether the request h wants to become a WebSocket
// connection, well or badly: Upgrade lists websocket, or there is a
// Sec-WebSocket-Key or -Version.
func AsksForWebSocket(h *Head) bool {
	if upgradesToWebSocket(h) {
		return true
	}
	_, key := h.Lookup("Sec-WebSocket-Key")
	_, version := h.Lookup("Sec-WebSocket-Version")
	return key || version
}

// upgradesToWebSocket reports whether Upgrade lists websocket, with or without
// a version (RFC 9110 §7.8).
func upgradesToWebSocket(h *Head) bool {
	for _, t := range h.Tokens("Upgrade") {
		name, _, _ := strings.Cut(t, "/")
		if strings.EqualFold(name, "websocket") {
			return true
		}
	}
	return false
}

func (h *Handshake) setRequest(req *Head) {
	h.Request = req
	h.WebSocket = !req.Cut && AsksForWebSocket(req)
	h.Key = req.Get("Sec-WebSocket-Key")
}

func (h *Handshake) setResponse(res *Head) {
	h.Response = res
	h.Accepted = h.WebSocket && res.Status == 101
	h.Accept = res.Get("Sec-WebSocket-Accept")
	h.Subprotocol = res.Get("Sec-WebSocket-Protocol")
	h.Extensions = strings.Join(res.Values("Sec-WebSocket-Extensions"), ", ")
}

// checkRequest reports what is wrong with a request for websocket.
func (s *Session) checkRequest() {
	h := s.hs.Request
	if h.Method != "GET" {
		s.report("req-method-not-get", FromClient, noFrame, "method is %.20q, not GET", h.Method)
	}
	if h.Proto < "HTTP/1.1" {
		s.report("req-http-version-low", FromClient, noFrame, "request is %s, which cannot upgrade", h.Proto)
	}
	if v, ok := h.Lookup("Upgrade"); !ok {
		s.report("req-upgrade-missing", FromClient, noFrame, "no Upgrade header")
	} else if !upgradesToWebSocket(h) {
		s.report("req-upgrade-not-websocket", FromClient, noFrame, "Upgrade is %.40q, not websocket", v)
	}
	if !h.HasToken("Connection", "Upgrade") {
		s.report("req-connection-no-upgrade", FromClient, noFrame, "Connection is %.60q, without Upgrade", strings.Join(h.Values("Connection"), ", "))
	}
	if h.Get("Sec-WebSocket-Key") == "" {
		s.report("req-key-missing", FromClient, noFrame, "no Sec-WebSocket-Key")
	} else if text := keyFault(s.hs.Key); text != "" {
		s.report("req-key-invalid", FromClient, noFrame, "key %.60q %s", s.hs.Key, text)
	}
	if v, ok := h.Lookup("Sec-WebSocket-Version"); !ok {
		s.report("req-version-missing", FromClient, noFrame, "no Sec-WebSocket-Version")
	} else if v != "13" {
		s.report("req-version-not-13", FromClient, noFrame, "version is %.20q, not 13", v)
	}
}

// keyFault says what keeps key from being 16 bytes in base64 (RFC 6455
// §4.2.1), or returns "".
func keyFault(key string) string {
	b, err := base64.StdEncoding.DecodeString(key)
	switch {
	case err != nil, strings.ContainsAny(key, "\r\n"): // which the decoder skips
		return "is not base64"
	case len(b) != 16:
		return fmt.Sprintf("is %d bytes in base64, not 16", len(b))
	}
	return ""
}

// checkResponse reports what is wrong with a 101 to a request for websocket.
func (s *Session) checkResponse() {
	h := s.hs.Response
	if v, ok := h.Lookup("Upgrade"); !ok {
		s.report("res-upgrade-missing", FromServer, noFrame, "no Upgrade header in the 101")
	} else if !strings.EqualFold(v, "websocket") {
		s.report("res-upgrade-wrong", FromServer, noFrame, "Upgrade is %.40q, not websocket", v)
	}
	if !h.HasToken("Connection", "Upgrade") {
		s.report("res-connection-missing", FromServer, noFrame, "Connection is %.60q, without Upgrade", strings.Join(h.Values("Connection"), ", "))
	}
	if s.hs.Accept == "" {
		s.report("res-accept-missing", FromServer, noFrame, "no Sec-WebSocket-Accept")
	} else if s.hs.Key != "" && !s.hs.AcceptOK() {
		s.report("res-accept-mismatch", FromServer, noFrame, "accept is %.60q, key %.60q makes %q", s.hs.Accept, s.hs.Key, AcceptKey(s.hs.Key))
	}
}
