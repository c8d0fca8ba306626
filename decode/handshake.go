package decode

import (
	"crypto/sha1"
	"encoding/base64"
	"strings"
)

// A Handshake is the opening handshake of a session (RFC 6455 §4): both heads
// verbatim, and what they agreed on. For an exchange that did not ask for
// websocket it is just the two heads.
type Handshake struct {
	Request   *Head
	Forwarded *Head // the request as it was forwarded; nil if unchanged
	Response  *Head // the final one; nil until it comes
	Relayed   *Head // the response as it was sent on; nil if it went as it came

	WebSocket   bool   // the request asks for websocket
	Accepted    bool   // the response is a 101 to it, or a 2xx over HTTP/2
	Key         string // Sec-WebSocket-Key
	Accept      string // Sec-WebSocket-Accept
	Subprotocol string // the one chosen
	Extensions  string // those chosen, as the response lists them
	Deflate     Deflate
}

const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 §1.3

// AcceptKey returns the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key
// (RFC 6455 §4.2.2). The hash is over the key as it is spelled.
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + keyGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// AcceptOK reports whether the response proves that the server read the key that it
// was sent.
func (h *Handshake) AcceptOK() bool {
	key := h.Key
	if h.Forwarded != nil {
		key = h.Forwarded.Get(fieldKey)
	}
	return h.Accept == AcceptKey(key)
}

// asked returns the request as the server was sent it.
func (h *Handshake) asked() *Head {
	if h.Forwarded != nil {
		return h.Forwarded
	}
	return h.Request
}

// AsksForWebSocket reports whether the request h asks for a WebSocket connection,
// even if it does so badly: Upgrade lists websocket, or there is a
// Sec-WebSocket-Key or -Version. Over HTTP/2 that is an extended CONNECT with the
// protocol websocket (RFC 8441 §5).
func AsksForWebSocket(h *Head) bool {
	if h.http2() {
		return h.Method == "CONNECT" && h.Get(":protocol") == "websocket"
	}
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
	h.Accepted = h.WebSocket && (res.Status == 101 || res.http2() && res.Status/100 == 2)
	h.Accept = res.Get("Sec-WebSocket-Accept")
	h.Subprotocol = res.Get("Sec-WebSocket-Protocol")
	h.Extensions = strings.Join(res.Values("Sec-WebSocket-Extensions"), ", ")
}
