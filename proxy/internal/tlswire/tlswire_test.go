package tlswire

import "testing"

func TestRecords(t *testing.T) {
	for _, tt := range []struct {
		bytes              string
		handshake, refusal bool
	}{
		{"\x16\x03\x01\x02\x00", true, false},
		{"\x16", true, false},
		{"\x16\x02", false, false},
		{"\x15\x03\x03\x00\x02\x02\x46", false, true},
		{"\x15", false, false},
		{"", false, false},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", false, false},
		{"<center>The plain HTTP request was sent to HTTPS port</center>", false, true},
	} {
		if h, r := IsHandshake([]byte(tt.bytes)), IsRefusal([]byte(tt.bytes)); h != tt.handshake || r != tt.refusal {
			t.Errorf("%q: got %t, %t, want %t, %t", tt.bytes, h, r, tt.handshake, tt.refusal)
		}
	}
}
