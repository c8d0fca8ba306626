package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

const (
	get     = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	nothing = "HTTP/1.1 204 No Content\r\n\r\n"
)

// answer sends an answer, which the client must get as it is.
func answer(c, s *peer, a string) {
	c.t.Helper()
	s.send(a)
	c.want("the answer", a)
}

// then checks that another request goes through on the same connections.
func (r *rig) then(c, s *peer) {
	r.t.Helper()
	c.send(r.request(get))
	s.want("the next request", get)
	answer(c, s, nothing)
}

func TestKeepAlive(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		c, s := r.ask(get)
		answer(c, s, nothing)
		for i := range int64(50) {
			r.then(c, s)
			r.wantLines(t, i+1, "open", "> GET "+r.target("/"), "< 204")
		}
		for _, x := range []struct{ request, answer string }{
			{get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
			{get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n"},
			{get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
			{get, "HTTP/1.1 200 OK\nContent-Length:5\n\nhello"},
			{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
			{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
			{get, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"},
			{"\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", nothing},
			{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: r\r\n\r\n", nothing},
			{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"},
		} {
			if r.mode == inForward && strings.HasPrefix(x.request, "\r\n") {
				continue // the target is not where r.request would put it
			}
			c.send(r.request(x.request))
			s.want("the request", x.request)
			answer(c, s, x.answer)
		}
	})
}

// Requests may be sent before the answers to those in front of them.
func TestPipelining(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		c := r.dial()
		post := "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
		last := strings.Replace(get, "/", "/last", 1)
		c.send(r.request(get) + r.request(post) + r.request(get) + r.request(last)[:8])
		c.send(r.request(last)[8:])
		c.closeWrite()
		s := r.accept()
		for i, request := range []string{get, post, get, last} {
			s.want("one request at a time", request)
			answer(c, s, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", i))
		}
		s.wantEnd("no more requests", decode.EndFIN)
		s.Close()
		c.wantEnd("no more answers", decode.EndFIN)
	})
}

// An answer without a length lasts until the server ends.
func TestBodyUntilClose(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		for _, version := range []string{"1.0", "1.1"} {
			c, s := r.ask("GET / HTTP/" + version + "\r\n\r\n")
			s.send("HTTP/" + version + " 200 OK\r\n\r\n")
			s.send("as long as")
			s.send(" it takes")
			s.Close()
			c.wantRest("the answer", "HTTP/"+version+" 200 OK\r\n\r\nas long as it takes", decode.EndFIN)
			c.Close()
		}
	})
}

// A client that waits for the server to close is told of it in every mode, even
// if the answer has a length.
func TestConnectionClose(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		for _, x := range []struct{ request, answer string }{
			{"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
			{"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
			{get, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"},
			{get, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"},
		} {
			c, s := r.ask(x.request)
			s.send(x.answer)
			s.Close()
			c.wantRest("the answer", x.answer, decode.EndFIN)
		}
	})
}

func TestRefusedUpgrade(t *testing.T) {
	for status, head := range map[int]string{
		200: "Content-Type: text/html\r\n",
		302: "Location: /elsewhere\r\n",
		400: "Sec-WebSocket-Version: 13\r\n",
		401: "WWW-Authenticate: Basic realm=\"x\"\r\n",
		403: "",
		426: "Upgrade: websocket\r\n",
		503: "Retry-After: 1\r\n",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			eachMode(t, func(t *testing.T, r *rig) {
				start := fmt.Sprintf("HTTP/1.1 %d No\r\n", status) + head
				c, s := r.ask(upgradeRequest)
				answer(c, s, start+"Content-Length: 6\r\n\r\nno\nway")
				r.wantLines(t, 1, "open", "> GET "+r.target("/chat"), fmt.Sprintf(`< %d "no\nway" of 6`, status), `< body "no\nway" of 6`)
				r.then(c, s)

				c.send(r.request(upgradeRequest))
				s.want("the next request", upgradeRequest)
				chunks := "3\r\nno\n\r\n3\r\nway\r\n0\r\n\r\n"
				answer(c, s, start+"Transfer-Encoding: chunked\r\n\r\n"+chunks)
				r.wantLines(t, 3, "open", "> GET "+r.target("/chat"), fmt.Sprintf(`< %d "no\nway" of 6`, status), `< body "no\nway" of 6`)

				c.send(r.request(upgradeRequest))
				s.want("the next request", upgradeRequest)
				s.send(start + "Content-Length: 0\r\n\r\n")
				c.want("the answer", start+"Content-Length: 0\r\n\r\n")
				r.wantLines(t, 4, "open", "> GET "+r.target("/chat"), fmt.Sprintf("< %d", status))

				c.send(r.request(upgradeRequest)) // and now it works
				s.want("the next request", upgradeRequest)
				answer(c, s, switching)
				c.send(masked("hello"))
				s.want("a frame", masked("hello"))
			})
		})
	}
}

// The body of a refusal may last until the server ends, and be longer than what
// is kept of it.
func TestLongRefusal(t *testing.T) {
	r := newRig(t, inReverse)
	c, s := r.ask(upgradeRequest)
	body := strings.Repeat("no ", 50000)
	s.send("HTTP/1.1 403 Forbidden\r\n\r\n" + body)
	s.Close()
	c.wantRest("the answer", "HTTP/1.1 403 Forbidden\r\n\r\n"+body, decode.EndFIN)
	r.wantLines(t, 1, "open", "> GET /chat", fmt.Sprintf("< 403 %q of %d", body[:decode.MaxPiece], len(body)),
		fmt.Sprintf("< body %q of %d", body[:decode.MaxPiece], len(body)), "< end fin", "> end local")
}

// A client that has sent frames before a refusal is relayed until it notices.
func TestFramesThenRefusal(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		c, s := r.ask(upgradeRequest)
		c.send(masked("hopeful"))
		s.want("an early frame", masked("hopeful"))
		answer(c, s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		c.send(masked("still"))
		s.want("a frame", masked("still"))
		c.closeWrite()
		s.wantEnd("the client ends", decode.EndFIN)
		s.Close()
		c.Close()
		r.wantLines(t, 1, "open", "> GET "+r.target("/chat"), "> text 7", `< 403 "no" of 2`, `< body "no" of 2`, "> text 5", "> end fin", "< end fin")
	})
}

// A server may answer before it has the whole request. The rest of it is still
// relayed.
func TestAnswerBeforeBody(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
	const tooLarge = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!"
	eachMode(t, func(t *testing.T, r *rig) {
		c, s := r.ask(head + "123")
		answer(c, s, tooLarge)
		c.send("4567890")
		s.want("the rest of the body", "4567890")
		r.then(c, s)

		c.send(r.request(strings.Replace(head, "10", "16777216", 1)))
		s.read(len(strings.Replace(head, "10", "16777216", 1)))
		s.send(strings.Replace(tooLarge, "Content-Length", "Connection: close\r\nContent-Length", 1))
		s.closeWrite()
		c.wantRest("the answer", strings.Replace(tooLarge, "Content-Length", "Connection: close\r\nContent-Length", 1), decode.EndFIN)
	})
	t.Run("100-continue", func(t *testing.T) {
		eachMode(t, func(t *testing.T, r *rig) {
			expects := strings.Replace(head, "Host", "Expect: 100-continue\r\nHost", 1)
			c, s := r.ask(expects)
			answer(c, s, "HTTP/1.1 100 Continue\r\n\r\n")
			c.send("1234567890")
			s.want("the body", "1234567890")
			answer(c, s, nothing)
			r.then(c, s)
		})
	})
	// The server stops reading and closes, and the client goes on sending.
	t.Run("closed", func(t *testing.T) {
		r := newRig(t, inReverse)
		c, s := r.ask(strings.Replace(head, "10", "999999999", 1))
		s.send(tooLarge)
		c.want("the answer", tooLarge)
		s.Close()
		b := make([]byte, 64<<10)
		var err error
		for n := 0; err == nil && n < 999999999; n += len(b) {
			_, err = c.Write(b)
		}
		if !isReset(err) {
			t.Errorf("got %v while the client sends on, want a reset", err)
		}
		r.wait(t, 1, "closed")
	})
}

// What a server sends unasked is relayed.
func TestUnasked(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		const timeout = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"
		c, s := r.ask(get)
		answer(c, s, nothing)
		r.wait(t, 1, "closed")
		s.send(timeout)
		s.Close()
		c.wantRest("the server gives up waiting", timeout, decode.EndFIN)
	})
	t.Run("client gone", func(t *testing.T) { // and it still has a request in store
		r := newRig(t, inReverse)
		c := r.dial()
		c.send(get + get)
		s := r.accept()
		s.want("the first request", get)
		c.SetReadDeadline(longAgo)
		s.send(nothing + strings.Repeat("x", 1000))
		s.want("the second request", get)
		c.reset()
		s.wantEnd("the client resets", decode.EndRST)
		r.wait(t, 2, "closed")
	})
}

// A forward proxy replaces a connection that the server has ended meanwhile.
func TestServerEndsWhileIdle(t *testing.T) {
	r := newRig(t, inForward)
	c, s := r.ask(get)
	answer(c, s, nothing)
	for i := range 3 {
		s.Close()
		r.log.wait(t, "ended an idle connection", i+1)
		c.send(r.request(get))
		s = r.accept()
		s.want("the request, on a new connection", get)
		answer(c, s, nothing)
	}
}

// A reverse proxy relays what is no HTTP without looking into it.
func TestNoHTTP(t *testing.T) {
	for name, first := range map[string]string{
		"IRC":     "NICK x\r\n",
		"binary":  "\x00\x01\x02",
		"SOCKS":   "\x05\x01\x00",
		"HTTP/2":  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"TLS":     "\x16\x03\x01\x02",
		"HTTP/09": "GET /\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, inReverse)
			why := "not HTTP"
			switch name {
			case "TLS":
				why = "TLS, not intercepted"
			case "HTTP/2", "SOCKS":
				why = name
			}
			for conn, before := range []string{"", get} { // also after a request
				c := r.dial()
				c.send(before + first)
				s := r.accept()
				if before != "" {
					s.want("a request", before)
					answer(c, s, nothing)
				}
				s.want("the client's first bytes", first)
				s.send("\xff\xfe")
				c.want("the server's", "\xff\xfe")
				c.send(get)
				s.want("whatever follows", get)
				s.closeWrite()
				c.wantEnd("the server ends", decode.EndFIN)
				c.Close()
				s.wantEnd("the client ends", decode.EndFIN)
				r.wantLines(t, int64(1+2*conn), "open", "> opaque: "+why, "< end fin", "> end fin")
			}
		})
	}
}

// An answer that is no HTTP is relayed as it is, and so is all that follows.
func TestAnswerIsNoHTTP(t *testing.T) {
	for _, bad := range []string{
		"SSH-2.0-x\r\n", "\x00\x01", "HTTP", "ICY 200 OK\r\n\r\n", "HTTP/1.1 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\nxyz", "<html>",
	} {
		for _, request := range []string{get, upgradeRequest} {
			t.Run(bad, func(t *testing.T) {
				r := newRig(t, inReverse)
				c, s := r.ask(request)
				s.send(bad)
				if bad == "HTTP" { // could still become an answer
					bad += "D"
					s.send("D")
				}
				c.want("what the server sends", bad)
				c.send("\x00what\n")
				s.want("what the client sends", "\x00what\n")
				s.send("more")
				c.want("what the server sends", "more")
				s.reset()
				c.wantEnd("the server resets", decode.EndRST)
				r.wantEnds(t, 1, decode.EndLocal, decode.EndRST)
			})
		}
	}
}

// Requests whose length both ends might read in different ways go through as
// they came.
func TestSmugglingShapes(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		for _, request := range []string{
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nx\r\n0\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 3\r\n\r\nabc",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\nabc",
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n3\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n",
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000000001\r\nx\r\n0\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX: a\rb\x00c\r\n\r\n",
		} {
			c, s := r.ask(request)
			answer(c, s, "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno!")
			c.Close()
		}
		smuggled := "G"
		request := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
		c := r.dial()
		c.send(r.request(request) + smuggled)
		s := r.accept()
		s.want("the request up to its last chunk", request)
		answer(c, s, nothing)
		c.send(r.request(get)[1:])
		s.want("what was behind it, as a request of its own", get)
	})
}

// Bytes behind the answer do not become part of it.
func TestBytesBehindAnswer(t *testing.T) {
	r := newRig(t, inReverse)
	c, s := r.ask(get)
	both := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	s.send(both)
	c.want("the answer and the bytes", both)
	r.wantLines(t, 1, "open", "> GET /", "< 200")
}

// A CONNECT through a reverse proxy is a request like any other.
func TestConnectThroughReverse(t *testing.T) {
	connect := "CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n"
	r := newRig(t, inReverse)
	c, s := r.ask(connect)
	answer(c, s, "HTTP/1.1 200 OK\r\n\r\n")
	c.send("\x16\x03")
	s.want("what goes through the tunnel", "\x16\x03")
	s.send("\x16\x04")
	c.want("what comes through it", "\x16\x04")
	r.wantReason("")

	c, s = r.ask(connect)
	answer(c, s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
	r.wantReason(ReasonConnectToReverse)
	r.then(c, s)

	r = newRig(t, inReverse)
	c, s = r.ask(connect)
	s.Close()
	c.wantEnd("the server gives no answer", decode.EndFIN)
	r.wantReason(ReasonConnectToReverse)
}

// client returns an HTTP client that goes through the proxy.
func (r *rig) client() *http.Client {
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		c, err := net.Dial("tcp", r.addr)
		if err == nil && r.mode.tunnels() {
			fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\n\r\n", r.host())
			_, err = io.ReadFull(c, make([]byte, len(connected)))
		}
		if err == nil && r.mode.secure() {
			c = secureClient(c)
		}
		return c, err
	}}
	if r.mode == inForward {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: r.addr})
	}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// url returns the URL of path for an HTTP client, who dials in a way of its own.
func (r *rig) url(path string) string {
	return "http://" + r.host() + path
}

// serveHTTP makes the origin an HTTP server.
func (r *rig) serveHTTP(h http.Handler) {
	srv := httptest.NewUnstartedServer(h)
	srv.Listener.Close()
	srv.Listener = r.origin
	srv.Start()
	r.t.Cleanup(srv.Close)
}

// The client and the server of net/http get along as without a proxy.
func TestNetHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Length", r.Header.Get("Content-Length"))
		http.NewResponseController(w).EnableFullDuplex()
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n, r.Trailer.Get("X-Sum")))
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	})
	mux.HandleFunc("/status/{status}", func(w http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscan(r.PathValue("status"), &status)
		w.Header().Set("Location", "/")
		w.WriteHeader(status)
	})
	eachMode(t, func(t *testing.T, r *rig) {
		r.serveHTTP(mux)
		client := r.client()
		do := func(method, path string, body io.Reader, header http.Header) (*http.Response, string) {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), method, r.url(path), body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = header
			if header.Get("X-Sum") != "" {
				req.Header, req.Trailer = nil, header
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return res, string(b)
		}
		big := make([]byte, 1<<20)
		rand.NewChaCha8([32]byte{}).Read(big)
		for range 2 {
			if res, body := do("POST", "/echo", strings.NewReader("hello"), nil); body != "hello" || res.Header.Get("X-Length") != "5" || res.Trailer.Get("X-Sum") != "5" {
				t.Errorf("got %v %q, want the echo", res, body)
			}
			chunked := struct{ io.Reader }{bytes.NewReader(big)}
			if res, body := do("POST", "/echo", chunked, http.Header{"X-Sum": {"!"}}); body != string(big) || res.Trailer.Get("X-Sum") != fmt.Sprint(len(big), "!") {
				t.Errorf("got %v and %d bytes, want the echo with its trailer", res, len(body))
			}
			if res, body := do("POST", "/echo", strings.NewReader("please"), http.Header{"Expect": {"100-continue"}}); body != "please" {
				t.Errorf("got %v %q, want the echo", res, body)
			}
			if res, body := do("HEAD", "/echo", nil, nil); body != "" || res.StatusCode != 200 {
				t.Errorf("got %v %q, want an empty 200", res, body)
			}
			for _, status := range []int{204, 304, 301, 404} {
				if res, body := do("GET", fmt.Sprint("/status/", status), nil, nil); body != "" || res.StatusCode != status {
					t.Errorf("got %v %q, want an empty %d", res, body, status)
				}
			}
			if res, body := do("POST", "/refuse", bytes.NewReader(big), nil); body != "too large\n" {
				t.Errorf("got %v %q, want the 413", res, body)
			}
		}
		hints := 0
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == 103 && h.Get("Link") == "</a.css>" {
				hints++
			}
			return nil
		}}
		req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", r.url("/hints"), nil)
		if res, err := client.Do(req); err != nil || res.StatusCode != 202 || hints != 1 {
			t.Errorf("got %v, %v and %d hints, want 202 and 1", res, err, hints)
		}
	})
}

// Bodies of any size go through in the same memory.
func TestBodiesInFlatMemory(t *testing.T) {
	const size = 256 << 20
	r := newRig(t, inReverse)
	r.serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, req.Body)
	}))
	before := heap()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", r.url("/"), io.LimitReader(endless{}, size))
	req.ContentLength = size
	res, err := r.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var most uint64
	for n, b := int64(0), make([]byte, 1<<20); ; {
		k, err := io.ReadFull(res.Body, b)
		n += int64(k)
		if n%(16<<20) == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		if err != nil {
			if n != size {
				t.Errorf("got %d bytes and %v, want %d", n, err, size)
			}
			break
		}
	}
	if most > before+32<<20 {
		t.Errorf("got %d bytes used, want a few MiB", most-before)
	}
	r.wait(t, 1, "closed")
	evs, _ := r.snapshot(1)
	if n := evs[len(evs)-1].Totals.Bytes; n[decode.FromClient] != size || n[decode.FromServer] <= size { // chunks
		t.Errorf("got %v bytes counted, want %d and a little more", n, size)
	}
}

// Answers that a handler hijacks end as it ends them.
func TestHijack(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		r.serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nuntil the end")
			c.Close()
		}))
		res, err := r.client().Get(r.url("/"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(bufio.NewReader(res.Body)); string(b) != "until the end" || err != nil {
			t.Errorf("got %q, %v, want the whole body", b, err)
		}
	})
}
