package decode

import (
	"strings"
	"testing"
	"time"
)

const aJWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

func TestFindCredentials(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"/chat", ""},
		{"/c?token=abc&x=1", "abc"},
		{"/c?x=1&%74oken=a%20b#f", "a%20b"},
		{"/c?apikey=1&auth=2;jwt=3&sig=4&session=5&password=6&Access-Token=7", "1 2 3 4 5 6 7"},
		{"/c?tokens=3&token=&v=eyJ.1.2", ""},
		{"/ws/" + aJWT + "/x", aJWT},
		{"/c?next=http://h/?v=" + aJWT, "http://h/?v=" + aJWT},
		{"http://ann:s3cret@h/p", "s3cret"},
		{"http://h/a:b@c", ""},
		{"/c?id=5&sid=lv_VI97HAXpY6yYWAAAC", "lv_VI97HAXpY6yYWAAAC"},
		{"/hub?id=CfDJ8Zx0Qw3rT5yU7iO9pA", "CfDJ8Zx0Qw3rT5yU7iO9pA"},
		{"/c?id=3f2504e0-4f89-11d3-9a0c-0305e82c3301", ""},
		{"/c?key=AIzaSyA1234567890abcdefghijklmnopqrst", "AIzaSyA1234567890abcdefghijklmnopqrst"},
		{"dial http://a:b@h/?token=x: refused", "b x:"},
		{`sent "Authorization: Bearer hunter2SECRET"`, "hunter2SECRET"},
		{"/c?token=redacted-token-1", ""},
		{"/c?token=redacted-hunter2", "redacted-hunter2"},
		{"the key is sk-proj-AbCdEfGhIjKlMnOpQr", "sk-proj-AbCdEfGhIjKlMnOpQr"},
		{"/ws?awps_reconnection_token=abc", "abc"},
		{"/ws;jsessionid=a1?PHPSESSID=b2&session_id=c3&X-Amz-Credential=d4567890&listenKey=e5", "a1 b2 c3 d4567890 e5"},
		{"/ws?auth[token]=a1&token%5B%5D=b2&tokens[]=c3", "a1 b2"},
		{"/ws?user_token=abcdefgh&ws_token=short&max_tokens=12345678", "abcdefgh"},
		{"/hub?id=8zw3p9cxsbutok", "8zw3p9cxsbutok"},
		{"/hub?id=AbCDEfGhIJKlMnOpQrStUw", "AbCDEfGhIJKlMnOpQrStUw"},
		{"/room?id=order12345678901&id=MyVeryFirstChatRoomName&id=507f1f77bcf86cd799439011", ""},
		{"https://ghp_1234567890abcdefghij@h/ https://alice@h/ //u:pw@h/", "ghp_1234567890abcdefghij pw"},
		{"access_token=abc&x=1", "abc"},
		{"with password='a b', tokens=4", "a b"},
		{`<a:Password Type="x">pw</a:Password><id>5</id>`, "pw"},
		{"Basic dXNlcjpwYXNz1", "dXNlcjpwYXNz1"},
	} {
		var got []string
		for _, f := range FindCredentials(c.text) {
			got = append(got, c.text[f.From:f.To])
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("in %q found %q, want %q", c.text, s, c.want)
		}
	}
}

// A text made to take long takes no longer than others.
func TestFindCredentialsInTime(t *testing.T) {
	for _, s := range []string{"?a=", "&a=b", "://a:b", "eyJ", "eyJ.", "bearer ", "%3", "?a=://", "eyJhbGciOiJI.", "?token=?", "?id=", "//a:b@", "//", "a=", "password=", "a='", "<a", "<a>", "<a></"} {
		times := func(size int) time.Duration {
			start := time.Now()
			FindCredentials(strings.Repeat(s, size/len(s)))
			return time.Since(start)
		}
		// Other programs run too, so the least of many times counts, until it will do.
		short, long, tries := time.Millisecond, time.Hour, 0
		for ; long > 30*short && tries < 50; tries++ { // 64 times if it were quadratic
			short, long = max(short, times(32<<10)), min(long, times(256<<10))
		}
		if long > 30*short {
			t.Errorf("256 KiB of %q takes %v, 32 KiB %v", s, long, short)
		}
	}
}

func TestCredentialProtocol(t *testing.T) {
	for _, c := range []struct{ offered, want string }{
		{"chat, v12.stomp.example", ""},
		{"Bearer," + aJWT, aJWT},
		{"bearer, opaque-token", "opaque-token"},
		{"bearer, mqtt", ""},
		{"base64url.bearer.authorization.k8s.io.QWxhZGRpbg, v5.channel.k8s.io", "QWxhZGRpbg"},
		{"realtime, openai-insecure-api-key.S3cr3tS3cr3t", "S3cr3tS3cr3t"},
		{"realtime, openai-insecure-api-key.redacted-subprotocol-1", ""},
		{"aws-appsync-event-ws, header-eyJob3N0IjoiYS5iIn0", "eyJob3N0IjoiYS5iIn0"},
	} {
		h := &Head{Fields: []Field{{"Sec-WebSocket-Protocol", c.offered}}}
		offered := h.Tokens("Sec-WebSocket-Protocol")
		got := ""
		for i, p := range offered {
			if from, ok := CredentialProtocol(offered, i); ok {
				got += p[from:]
			}
		}
		if got != c.want {
			t.Errorf("in %q found %q, want %q", c.offered, got, c.want)
		}
	}
}
