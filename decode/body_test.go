package decode

import (
	"bytes"
	"math/rand/v2"
	"net/http/httputil"
	"strings"
	"testing"
)

// bodyOf returns the body that a request, or a response to method, with the
// given header lines has.
func bodyOf(t *testing.T, start, method string, lines ...string) Body {
	t.Helper()
	raw := start + "\r\n" + strings.Join(append(lines, "", ""), "\r\n")
	if strings.HasPrefix(start, "HTTP/") {
		h, err := ParseResponse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return ResponseBody(h, method)
	}
	h, err := ParseRequest(raw)
	if err != nil {
		t.Fatal(err)
	}
	return RequestBody(h)
}

// form describes how a body that has not begun ends.
func form(b Body) string {
	switch {
	case b.Done():
		return "none"
	case b.UntilClose():
		return "until close"
	case b.form == bodyChunked:
		return "chunked"
	}
	return "length"
}

func TestRequestBody(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{nil, "none"},
		{[]string{"Content-Length: 0"}, "none"},
		{[]string{"Content-Length: 5"}, "length"},
		{[]string{"Transfer-Encoding: chunked"}, "chunked"},
		{[]string{"Transfer-Encoding: gzip, Chunked"}, "chunked"},
		{[]string{"Transfer-Encoding: gzip", "transfer-encoding: chunked"}, "chunked"},
		{[]string{"Transfer-Encoding: gzip,", " chunked"}, "chunked"},
		{[]string{"Transfer-Encoding: chunked", "Content-Length: 5"}, "chunked"},
		// The end of these can't be told, and what stands behind a body must
		// not be taken for a request.
		{[]string{"Transfer-Encoding: chunked, gzip"}, "until close"},
		{[]string{"Transfer-Encoding: identity", "Content-Length: 5"}, "until close"},
		{[]string{"Transfer-Encoding: \vchunked"}, "until close"},
		{[]string{"Transfer-Encoding: xchunked"}, "until close"},
	} {
		if got := form(bodyOf(t, "POST / HTTP/1.1", "", c.lines...)); got != c.want {
			t.Errorf("%q: got %s, want %s", c.lines, got, c.want)
		}
	}
}

func TestResponseBody(t *testing.T) {
	for _, c := range []struct {
		status, method string
		lines          []string
		want           string
	}{
		{"200", "GET", nil, "until close"},
		{"200", "GET", []string{"Content-Length: 0"}, "none"},
		{"200", "GET", []string{"Content-Length: 5"}, "length"},
		{"200", "GET", []string{"Transfer-Encoding: chunked"}, "chunked"},
		{"200", "GET", []string{"Transfer-Encoding: chunked", "Content-Length: 5"}, "chunked"},
		{"200", "GET", []string{"Transfer-Encoding: gzip"}, "until close"},
		{"403", "GET", nil, "until close"},
		{"200", "HEAD", []string{"Content-Length: 5"}, "none"},
		{"200", "HEAD", []string{"Transfer-Encoding: chunked"}, "none"},
		{"100", "POST", []string{"Content-Length: 5"}, "none"},
		{"101", "GET", []string{"Transfer-Encoding: chunked"}, "none"},
		{"204", "GET", []string{"Content-Length: 5"}, "none"},
		{"304", "GET", []string{"Content-Length: 5"}, "none"},
		{"200", "CONNECT", []string{"Content-Length: 5"}, "none"},
		{"407", "CONNECT", []string{"Content-Length: 5"}, "length"},
	} {
		if got := form(bodyOf(t, "HTTP/1.1 "+c.status+" x", c.method, c.lines...)); got != c.want {
			t.Errorf("%s to %s, %q: got %s, want %s", c.status, c.method, c.lines, got, c.want)
		}
	}
}

// TestContentLength checks that a length is believed only if both ends must
// read it the same way.
func TestContentLength(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  int64 // -1 for until close
	}{
		{[]string{"Content-Length: 5"}, 5},
		{[]string{"Content-Length: \t5 "}, 5},
		{[]string{"content-length:5"}, 5},
		{[]string{"Content-Length: 005"}, 5},
		{[]string{"Content-Length:", " 5"}, 5},
		{[]string{"Content-Length: 5, 5"}, 5},
		{[]string{"Content-Length: 5", "Content-Length: 5"}, 5},
		{[]string{"Content-Length: 9223372036854775807"}, 9223372036854775807},
		{[]string{"Content-Length: 5, 6"}, -1},
		{[]string{"Content-Length: 5", "Content-Length: 6"}, -1},
		{[]string{"Content-Length: 5, 05"}, -1},
		{[]string{"Content-Length: 5,"}, -1},
		{[]string{"Content-Length: ,5"}, -1},
		{[]string{"Content-Length:"}, -1},
		{[]string{"Content-Length: +5"}, -1},
		{[]string{"Content-Length: -5"}, -1},
		{[]string{"Content-Length: -0"}, -1},
		{[]string{"Content-Length: 0x5"}, -1},
		{[]string{"Content-Length: 1_0"}, -1},
		{[]string{"Content-Length: 5 5"}, -1},
		{[]string{"Content-Length: 5.0"}, -1},
		{[]string{"Content-Length: 5\v"}, -1},
		{[]string{"Content-Length: \u00a05"}, -1},
		{[]string{"Content-Length: 9223372036854775808"}, -1},
		{[]string{"Content-Length: 18446744073709551621"}, -1},
	} {
		for _, start := range []string{"POST / HTTP/1.1", "HTTP/1.1 200 OK"} {
			b := bodyOf(t, start, "POST", c.lines...)
			got := b.left
			if b.UntilClose() {
				got = -1
			}
			if got != c.want {
				t.Errorf("%s, %q: got %d, want %d", start, c.lines, got, c.want)
			}
		}
	}
}

// feed gives stream to a copy of b in two parts, cut at at, until it is done,
// and returns how many bytes of it are body.
func feed(b Body, stream string, at int) (n int, after Body) {
	for _, part := range []string{stream[:at], stream[at:]} {
		got := 0
		for got < len(part) && !b.Done() {
			got += b.Next([]byte(part[got:]))
		}
		n += got
	}
	return n, b
}

// TestBodyEnds checks where bodies end, at every split.
func TestBodyEnds(t *testing.T) {
	chunked := "Transfer-Encoding: chunked"
	for _, c := range []struct {
		name, line, body, rest string // what follows the body
		want                   string // done, open, or until close
	}{
		{"length", "Content-Length: 5", "Hello", "GET /", "done"},
		{"length, cut off", "Content-Length: 5", "Hell", "", "open"},
		{"no chunk", chunked, "0\r\n\r\n", "GET /", "done"},
		{"one chunk", chunked, "5\r\nHello\r\n0\r\n\r\n", "GET /", "done"},
		{"lower case", chunked, "a\r\n0123456789\r\n0\r\n\r\n", "0", "done"},
		{"upper case", chunked, "0A\r\n0123456789\r\n00\r\n\r\n", "0", "done"},
		{"16", chunked, "10\r\n0123456789abcdef\r\n0\r\n\r\n", "0", "done"},
		{"many zeros", chunked, strings.Repeat("0", 100) + "1\r\nx\r\n0\r\n\r\n", "0", "done"},
		{"line ends in the data", chunked, "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n", "done"},
		{"extensions", chunked, "1;a=b;c=\"d;e\"\r\nx\r\n1 ; y\r\nz\r\n0;last\r\n\r\n", "GET /", "done"},
		{"trailers", chunked, "1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", "GET /", "done"},
		{"bare LF", chunked, "1\nx\n0\nA: b\n\n", "GET /", "done"},
		{"cut off in a size", chunked, "1\r\nx\r\n5", "", "open"},
		{"cut off in the data", chunked, "5\r\nHell", "", "open"},
		{"cut off in the trailers", chunked, "0\r\nA: b\r\n", "", "open"},
		{"longest size", chunked, "fffffffffffffff\r\nx", "", "open"},
		{"size of 64 bits", chunked, "ffffffffffffffff\r\nx", "", "until close"},
		{"size over 64 bits", chunked, "10000000000000001\r\nx\r\n0\r\n\r\n", "GET /", "until close"},
		{"no size", chunked, "\r\nx\r\n0\r\n\r\n", "GET /", "until close"},
		{"no size of the second chunk", chunked, "1\r\nx\r\n\r\n0\r\n\r\n", "GET /", "until close"},
		{"extension without size", chunked, ";x\r\n0\r\n\r\n", "GET /", "until close"},
		{"negative size", chunked, "-1\r\n0\r\n\r\n", "GET /", "until close"},
		{"size with a prefix", chunked, "0x1\r\nx\r\n0\r\n\r\n", "GET /", "until close"},
		{"garbage in the size", chunked, "1g\r\nx\r\n0\r\n\r\n", "GET /", "until close"},
		{"data longer than its size", chunked, "1\r\nxy\r\n0\r\n\r\n", "GET /", "until close"},
		{"CR without LF behind a size", chunked, "1\rx\r\ny\r\n0\r\n\r\n", "GET /", "until close"},
		{"CR without LF behind an extension", chunked, "1;a\rb\r\nx\r\n0\r\n\r\n", "GET /", "until close"},
		{"CR without LF behind the data", chunked, "1\r\nx\r0\r\n\r\n", "GET /", "until close"},
		{"CR without LF in a trailer", chunked, "0\r\nA: b\rc\r\n\r\n", "GET /", "until close"},
		{"two CR behind the trailers", chunked, "0\r\n\r\r\n", "GET /", "until close"},
		{"two CR behind the data", chunked, "1\r\nx\r\r\n0\r\n\r\n", "GET /", "until close"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bodyOf(t, "POST / HTTP/1.1", "", c.line)
			stream := c.body + c.rest
			want := len(c.body)
			if c.want == "until close" {
				want = len(stream)
			}
			for at := range len(stream) + 1 {
				n, after := feed(b, stream, at)
				got := "open"
				switch {
				case after.Done():
					got = "done"
				case after.UntilClose():
					got = "until close"
				}
				if n != want || got != c.want {
					t.Errorf("split at %d: got %d bytes of body, %s, want %d, %s", at, n, got, want, c.want)
				}
			}
		})
	}
}

// TestBodyAgreesWithOthers gives bodies that net/http wrote to a Body.
func TestBodyAgreesWithOthers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var wire bytes.Buffer
		w := httputil.NewChunkedWriter(&wire)
		for range rnd.IntN(10) {
			w.Write(bytes.Repeat([]byte("\r\n0"), 1+rnd.IntN(3000)))
		}
		w.Close()
		wire.WriteString("\r\n") // no trailers
		want := wire.Len()
		wire.WriteString("GET / HTTP/1.1\r\n\r\n")
		b := bodyOf(t, "POST / HTTP/1.1", "", "Transfer-Encoding: chunked")
		if n, after := feed(b, wire.String(), rnd.IntN(want)); n != want || !after.Done() {
			t.Fatalf("got %d bytes of body, done %t, want %d", n, after.Done(), want)
		}
	}
}

func TestBodySkipAndLose(t *testing.T) {
	length := bodyOf(t, "POST / HTTP/1.1", "", "Content-Length: 5")
	chunked := bodyOf(t, "POST / HTTP/1.1", "", "Transfer-Encoding: chunked")
	for _, c := range []struct {
		name string
		body Body
		do   func(*Body)
		want string
	}{
		{"part of a length skipped", length, func(b *Body) { b.Skip(4) }, "length"},
		{"all of a length skipped", length, func(b *Body) { b.Skip(5) }, "none"},
		{"chunks skipped", chunked, func(b *Body) { b.Skip(5) }, "none"},
		{"part of a length lost", length, func(b *Body) { b.Lose(4) }, "length"},
		{"all of a length lost", length, func(b *Body) { b.Lose(5) }, "none"},
		{"more than a length lost", length, func(b *Body) { b.Lose(6) }, "until close"},
		{"chunks lost", chunked, func(b *Body) { b.Lose(5) }, "until close"},
	} {
		b := c.body
		c.do(&b)
		if got := form(b); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// TestThirdKeyOfHixie has the 8 bytes that follow the head of a handshake of
// 2010, whatever they look like.
func TestThirdKeyOfHixie(t *testing.T) {
	h, err := ParseRequest("GET / HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key1: 1 2\r\nSec-WebSocket-Key2: 3 4\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	body := RequestBody(h)
	if n := body.Next([]byte("GET / HTTP")); n != 8 || !body.Done() {
		t.Errorf("the body takes %d bytes, done %v, want 8", n, body.Done())
	}
	h, _ = ParseRequest("GET / HTTP/1.1\r\nSec-WebSocket-Key1: 1 2\r\n\r\n")
	if body = RequestBody(h); !body.Done() {
		t.Error("a request that asks for no WebSocket has a body")
	}
}
