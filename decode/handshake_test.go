package decode

import (
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/internal/vectors"
)

func TestAcceptKey(t *testing.T) {
	n := 0
	for _, v := range vectors.Load(t, vectorFiles) {
		if v.Key == "" {
			continue
		}
		n++
		if got := AcceptKey(v.Key); got != v.Accept {
			t.Errorf("%s: got %s, want %s", v.Name, got, v.Accept)
		}
		if h := (Handshake{Key: v.Key, Accept: v.Accept}); !h.AcceptOK() {
			t.Errorf("%s: %s does not answer %s", v.Name, v.Accept, v.Key)
		}
		if h := (Handshake{Key: v.Key, Accept: v.Wrong}); h.AcceptOK() {
			t.Errorf("%s: %q answers %s", v.Name, v.Wrong, v.Key)
		}
	}
	if n < 8 {
		t.Errorf("got %d vectors with a key, want 8 or more", n)
	}
}

func TestAsksForWebSocket(t *testing.T) {
	for lines, want := range map[string]bool{
		"":                                   false,
		"Upgrade: websocket":                 true,
		"Upgrade: h2c, WebSocket/13":         true,
		"Upgrade: h2c\r\nUpgrade: websocket": true,
		"Upgrade: websockets":                false,
		"Upgrade: h2c":                       false,
		"Connection: Upgrade":                false,
		"Sec-WebSocket-Key:":                 true,
		"Sec-WebSocket-Version: 8":           true,
		"Sec-WebSocket-Protocol: chat":       false,
	} {
		h, _ := ParseRequest("GET / HTTP/1.1\r\n" + lines + "\r\n\r\n")
		if got := AsksForWebSocket(h); got != want {
			t.Errorf("%q: got %t, want %t", lines, got, want)
		}
	}
}

// TestViolationTexts checks what is said about broken handshakes and frames:
// what was seen and what the limit is.
func TestViolationTexts(t *testing.T) {
	for _, c := range []struct {
		request string // old=>new
		bytes   string // from the server
		want    string
	}{
		{"GET=>POST", "", `client req-method-not-get: method is "POST", not GET (RFC 6455 §4.1)`},
		{"HTTP/1.1=>HTTP/1.0", "", `client req-http-version-low: request is HTTP/1.0, which cannot upgrade (RFC 6455 §4.1)`},
		{"Version: 13=>Version: 8", "", `client req-version-not-13: version is "8", not 13 (RFC 6455 §4.1)`},
		{"8YmBPf+ktDVCLmdeQNEzYw===>dGhl", "", `client req-key-invalid: key "dGhl" is 3 bytes in base64, not 16 (RFC 6455 §4.1)`},
		{"8YmBPf+ktDVCLmdeQNEzYw===>8YmBPf+ktDVCLmdeQNEzYw", "", `client req-key-invalid: key "8YmBPf+ktDVCLmdeQNEzYw" is not base64 (RFC 6455 §4.1)`},
		{"", "\x83\x00", `server frame-opcode-reserved: opcode 3, which is not defined (RFC 6455 §5.2)`},
		{"", "\xd1\x00", `server frame-rsv-set: RSV1, RSV3 set, and no extension in force defines it; it looks like compression, but permessage-deflate was not negotiated (RFC 6455 §5.2)`},
		{"", "\xc9\x00", `server frame-rsv-set: RSV1 set, and no extension in force defines it (RFC 6455 §5.2)`},
		{"", "\x89\x7e\x00\x7e" + strings.Repeat("x", 126), `server control-too-long: ping with 126 byte payload, limit is 125 (RFC 6455 §5.5)`},
		{"", "\x81\x7e\x00\x00", `server frame-length-not-minimal: 0 byte payload in a 16-bit length (RFC 6455 §5.2)`},
		{"", "\x8a\x80\x01\x02\x03\xff", `server frame-server-masked: frame with masking key 01-02-03-FF (RFC 6455 §5.1)`},
		{"", "\x88\x01x", `server close-body-one-byte: body of 1 byte, a code takes 2 (RFC 6455 §5.5.1)`},
		{"", "\x88\x02\x03\xee", `server close-code-forbidden: code 1006 Abnormal Closure (RFC 6455 §7.4.1)`},
		{"", "\x88\x03\x03\xe8\xff", `server close-reason-invalid-utf8: reason "\xff" is not UTF-8 (RFC 6455 §5.5.1)`},
	} {
		s := newScript(t)
		old, new, _ := strings.Cut(c.request, "=>")
		s.client(strings.Replace(upgradeRequest, old, new, 1))
		if c.bytes != "" {
			s.server(upgradeResponse + c.bytes)
		}
		var got []string
		for _, ev := range s.record {
			for _, v := range ev.Violations {
				got = append(got, v.String())
			}
		}
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), c.want)
		}
	}
}
