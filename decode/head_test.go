package decode

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestHeadLen checks where heads end, and that it does not depend on how their
// bytes come.
func TestHeadLen(t *testing.T) {
	for _, head := range []string{
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n",
		"GET / HTTP/1.1\nHost: a\r\n\n",
		"GET / HTTP/1.1\r\nHost: a\n\r\n",
		"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		"\n\n\nGET / HTTP/1.1\n\n",
		"\r\r\nGET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n \r\n c\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\r\nA: b\r\n\r\n",
		"GET / HTTP/1.1\r\nA: \r b\x00\r\n\r\n",
		"\x00\r\n\r\n",
		"GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 1000) + "\r\n",
	} {
		for _, rest := range []string{"", "\r\n\r\n", "\n", "GET / HTTP/1.1\r\n\r\n"} {
			b := []byte(head + rest)
			if got := HeadLen(b, 0); got != len(head) {
				t.Errorf("%.60q before %q: got %d bytes of head, want %d", head, rest, got, len(head))
			}
			for n := range b {
				first := HeadLen(b[:n], 0)
				if want := n >= len(head); (first > 0) != want {
					t.Errorf("%.60q cut at %d: got %d bytes of head", head, n, first)
				}
				if first == 0 && HeadLen(b, n) != len(head) {
					t.Errorf("%.60q split at %d: got %d bytes of head, want %d", head, n, HeadLen(b, n), len(head))
				}
			}
		}
	}
}

func TestHeadLenIncomplete(t *testing.T) {
	for _, b := range []string{"", "\r\n", "\r\n\r\n", "\n\n\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n\r", "A\r\r", "A\n\rB\n"} {
		if got := HeadLen([]byte(b), 0); got != 0 {
			t.Errorf("%q: got %d bytes of head, want none", b, got)
		}
	}
}

func TestParseRequest(t *testing.T) {
	for _, c := range []struct{ raw, method, target, proto string }{
		{"GET /chat HTTP/1.1\r\n\r\n", "GET", "/chat", "HTTP/1.1"},
		{"GET /chat HTTP/1.0\n\n", "GET", "/chat", "HTTP/1.0"},
		{"\r\n\r\nGET http://a/b?c HTTP/1.1\r\n\r\n", "GET", "http://a/b?c", "HTTP/1.1"},
		{"get /a b HTTP/1.1\r\n\r\n", "get", "/a b", "HTTP/1.1"},
		{"CONNECT a:443 HTTP/1.1\r\n\r\n", "CONNECT", "a:443", "HTTP/1.1"},
		{"GET  HTTP/1.1\r\n\r\n", "GET", "", "HTTP/1.1"},
		{"GET /\x00\xff HTTP/9.9\r\n\r\n", "GET", "/\x00\xff", "HTTP/9.9"},
	} {
		h, err := ParseRequest(c.raw)
		if err != nil {
			t.Errorf("%q: %v", c.raw, err)
		}
		if h.Raw != c.raw || h.Method != c.method || h.Target != c.target || h.Proto != c.proto {
			t.Errorf("%q: got %q %q %q, want %q %q %q", c.raw, h.Method, h.Target, h.Proto, c.method, c.target, c.proto)
		}
	}
}

func TestParseRequestIsNone(t *testing.T) {
	for _, raw := range []string{
		"\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1 \r\n\r\n", " / HTTP/1.1\r\n\r\n", "GET / http/1.1\r\n\r\n",
		"GET / HTTP/1\r\n\r\n", "GET / HTTP/1.11\r\n\r\n", "GET / HTTP/x.1\r\n\r\n", "GET / HTTP/1,1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
	} {
		h, err := ParseRequest(raw)
		if err == nil || h == nil || h.Raw != raw {
			t.Errorf("%q: got head %+v, error %v; want the bytes and an error", raw, h, err)
		}
	}
}

func TestParseResponse(t *testing.T) {
	for _, c := range []struct {
		raw, proto string
		status     int
		reason     string
	}{
		{"HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1", 101, "Switching Protocols"},
		{"HTTP/1.0 200 \n\n", "HTTP/1.0", 200, ""},
		{"HTTP/1.1 404\r\n\r\n", "HTTP/1.1", 404, ""},
		{"\r\nHTTP/1.1 999  \xff\r\n\r\n", "HTTP/1.1", 999, " \xff"},
	} {
		h, err := ParseResponse(c.raw)
		if err != nil {
			t.Errorf("%q: %v", c.raw, err)
		}
		if h.Raw != c.raw || h.Proto != c.proto || h.Status != c.status || h.Reason != c.reason {
			t.Errorf("%q: got %q %d %q, want %q %d %q", c.raw, h.Proto, h.Status, h.Reason, c.proto, c.status, c.reason)
		}
	}
}

func TestParseResponseIsNone(t *testing.T) {
	for _, raw := range []string{
		"\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 \r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 +20 OK\r\n\r\n", "HTTP/1.1 -20 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
	} {
		h, err := ParseResponse(raw)
		if err == nil || h == nil || h.Raw != raw || h.Status != 0 {
			t.Errorf("%q: got head %+v, error %v; want the bytes and an error", raw, h, err)
		}
	}
}

func TestHeadFields(t *testing.T) {
	for _, c := range []struct {
		name, lines string
		want        []Field
	}{
		{"none", "", nil},
		{"usual", "Host: a\r\nX-Y: b c\r\n", []Field{{"Host", "a"}, {"X-Y", "b c"}}},
		{"bare LF", "Host: a\nX: b\n", []Field{{"Host", "a"}, {"X", "b"}}},
		{"white space around the value", "A:b\r\nC: \t d \t\r\nE:\r\n", []Field{{"A", "b"}, {"C", "d"}, {"E", ""}}},
		{"space before the colon", "A : b\r\n", []Field{{"A", "b"}}},
		{"colons in the value", "A: b:c\r\n", []Field{{"A", "b:c"}}},
		{"no colon", "A\r\nB: c\r\n", []Field{{"A", ""}, {"B", "c"}}},
		{"no name", ": b\r\n", []Field{{"", "b"}}},
		{"repeated", "A: b\r\na: c\r\n", []Field{{"A", "b"}, {"a", "c"}}},
		{"folded", "A: b\r\n c\r\n\td\r\nE: f\r\n", []Field{{"A", "b\r\n c\r\n\td"}, {"E", "f"}}},
		{"folded at once", "A:\r\n b\r\n", []Field{{"A", "b"}}},
		{"folded with an empty line", "A: b\r\n \r\nC: d\r\n", []Field{{"A", "b"}, {"C", "d"}}},
		{"bare CR", "A: b\rC: d\r\n", []Field{{"A", "b\rC: d"}}},
		{"CR in front of the line end", "A: b\r\r\n", []Field{{"A", "b"}}},
		{"NUL and others", "A: b\x00\x7f\xff\r\n", []Field{{"A", "b\x00\x7f\xff"}}},
	} {
		h, err := ParseRequest("GET / HTTP/1.1\r\n" + c.lines + "\r\n")
		if err != nil || !slices.Equal(h.Fields, c.want) {
			t.Errorf("%s: got %q, %v, want %q", c.name, h.Fields, err, c.want)
		}
	}
}

func TestHeadManyFields(t *testing.T) {
	const n = 20000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-%d: %d\r\n", i, i)
	}
	h, err := ParseRequest("GET / HTTP/1.1\r\n" + b.String() + "\r\n")
	if err != nil || len(h.Fields) != n || h.Get("x-19999") != "19999" {
		t.Errorf("got %d fields, the last %q, %v; want %d", len(h.Fields), h.Get("x-19999"), err, n)
	}
}

func TestHeadLookup(t *testing.T) {
	h, _ := ParseRequest("GET / HTTP/1.1\r\nUpgrade: a\r\nUPGRADE: b\r\nEmpty:\r\n\r\n")
	for _, c := range []struct {
		name, value string
		ok          bool
	}{{"upgrade", "a", true}, {"Empty", "", true}, {"Upgrad", "", false}} {
		if v, ok := h.Lookup(c.name); v != c.value || ok != c.ok || h.Get(c.name) != c.value {
			t.Errorf("%s: got %q, %t, want %q, %t", c.name, v, ok, c.value, c.ok)
		}
	}
	if got := h.Values("upgrade"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got values %q, want a and b", got)
	}
	var none *Head
	if none.Get("Upgrade") != "" || none.Values("Upgrade") != nil || none.HasToken("Upgrade", "") {
		t.Error("a nil Head has fields")
	}
}

func TestHeadTokens(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  []string
	}{
		{"", nil},
		{"Connection:\r\n", nil},
		{"Connection: ,, \t,\r\n", nil},
		{"Connection: Upgrade\r\n", []string{"Upgrade"}},
		{"Connection: keep-alive,Upgrade ,\tx\r\n", []string{"keep-alive", "Upgrade", "x"}},
		{"Connection: a\r\nOther: b\r\nconnection: c, d\r\n", []string{"a", "c", "d"}},
		{"Connection: a,\r\n b\r\n ,c\r\n", []string{"a", "b", "c"}},
		{"Connection: a b\r\n", []string{"a b"}},
	} {
		h, _ := ParseRequest("GET / HTTP/1.1\r\n" + c.lines + "\r\n")
		if got := h.Tokens("Connection"); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.lines, got, c.want)
		}
		for _, token := range c.want {
			if !h.HasToken("CONNECTION", strings.ToUpper(token)) {
				t.Errorf("%q does not have %q", c.lines, token)
			}
		}
		if h.HasToken("Connection", "up") {
			t.Errorf("%q has a token that is only a part of one", c.lines)
		}
	}
}

// RFC 9112 §9.3.
func TestHeadKeepAlive(t *testing.T) {
	for _, c := range []struct {
		proto, connection string
		want              bool
	}{
		{"HTTP/1.1", "", true},
		{"HTTP/1.1", "keep-alive", true},
		{"HTTP/1.1", "close", false},
		{"HTTP/1.1", "keep-alive, Close", false},
		{"HTTP/1.1", "closed", true},
		{"HTTP/1.0", "", false},
		{"HTTP/1.0", "keep-alive", true},
		{"HTTP/1.0", "Keep-Alive, close", false},
		{"HTTP/0.9", "", false},
		{"HTTP/2.0", "", true},
	} {
		h, err := ParseRequest("GET / " + c.proto + "\r\nConnection: " + c.connection + "\r\n\r\n")
		if got := h.KeepAlive(); err != nil || got != c.want {
			t.Errorf("%s, %q: got %t, %v, want %t", c.proto, c.connection, got, err, c.want)
		}
	}
}

func TestHeadCanonical(t *testing.T) {
	parse := func(raw string) *Head {
		h, err := ParseRequest(raw)
		if err != nil {
			h, _ = ParseResponse(raw)
		}
		return h
	}
	for _, raw := range []string{
		"GET / HTTP/1.1\r\n\r\n",
		"GET /a b HTTP/1.1\r\nhost: a\r\nHOST: b\r\n\r\n",
		"GET / HTTP/1.1\r\nA: \r\n: b\r\nC: d\te\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
		"HTTP/1.1 200 \r\n\r\n",
	} {
		h := parse(raw)
		if !h.Canonical() {
			t.Errorf("%q: is not canonical", raw)
		}
		if got := string(h.Append([]byte("before "))); got != "before "+raw {
			t.Errorf("%q: got %q from its parts", raw, got)
		}
	}
	for _, raw := range []string{
		"\r\nGET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\n\n",
		"GET / HTTP/1.1\r\nA: b\n\r\n",
		"GET / HTTP/1.1\r\nA:b\r\n\r\n",
		"GET / HTTP/1.1\r\nA:\r\n\r\n",
		"GET / HTTP/1.1\r\nA:  b\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b \r\n\r\n",
		"GET / HTTP/1.1\r\nA : b\r\n\r\n",
		"GET / HTTP/1.1\r\nA\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n",
		"GET /\x01 HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n\r\nmore",
		"GET / HTTP/1.1\r\nA: b\r\n",
		"HTTP/1.1 200\r\n\r\n",
		"no head\r\n\r\n",
	} {
		if parse(raw).Canonical() {
			t.Errorf("%q: is canonical", raw)
		}
	}
	if (&Head{Raw: "GET / HTTP/1.1\r\n", Cut: true}).Canonical() {
		t.Error("a head that is cut off is canonical")
	}
}

// TestMayBeRequest checks, for every prefix, the number of bytes after which
// it can't be a request any more.
func TestMayBeRequest(t *testing.T) {
	for _, c := range []struct {
		b  string
		no int // bytes, 0 for never; GET may be in any case
	}{
		{"GET / HTTP/1.1\r\nHost: a\r\n", 0},
		{"GET / HTTP/1.0\n", 0},
		{"A b HTTP/1.1\r\n", 0},
		{"\r\n\nGET / HTTP/1.1\r\n", 0},
		{"ABCDEFGHIJKLMNOPQRST / HTTP/1.1\n", 0},
		{"ABCDEFGHIJKLMNOPQRSTU /", 21},
		{"NICK x\r\nUSER y\r\n", 8},
		{"GET /\n", 6},
		{"GET / HTTP/1.1 \n", 16},
		{"PRI * HTTP/2.0\r\n", 16}, // RFC 9113 §3.4
		{"\x16\x03\x01", 1},
		{"Get /x HTTP/1.1\n", 0},
		{"get /", 0},
		{"get /\n", 6},
		{"ge[ /", 3},
		{"ge /", 3},
		{"gets /", 4},
		{"GEt /x HTTP/1.1\n", 0},
		{"Post /", 2},
		{"hello", 1},
		{"GET\t/", 4},
		{"GET\r\n", 4},
		{"GET\n", 4},
		{" GET", 1},
		{"\x81\x85", 1},
		{"SSH-2.0", 4},
		{"GET", 0},
		{"\r\n\r\n", 0},
	} {
		for n := range len(c.b) + 1 {
			if got, want := MayBeRequest([]byte(c.b[:n]), true), c.no == 0 || n < c.no; got != want {
				t.Errorf("%q: got %t, want %t", c.b[:n], got, want)
			}
		}
	}
	for b, want := range map[string]bool{"GET /x HTTP/1.1\n": true, "GE": true, "get": false, "Get /x HTTP/1.1\n": false, "GEt /x HTTP/1.1\n": false} {
		if got := MayBeRequest([]byte(b), false); got != want {
			t.Errorf("%q, in capitals: got %t, want %t", b, got, want)
		}
	}
}
