package replay

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

// FuzzLoadAll checks that whatever is a trace can be loaded whole, or is refused, and that
// each exchange is what its recording says.
func FuzzLoadAll(f *testing.F) {
	f.Add(app)
	if b, err := os.ReadFile(chat); err == nil {
		f.Add(string(b))
	}
	f.Add(handshake + `{"k":"res","v":"HTTP/1.1","code":403,"reason":"","h":[["Transfer-Encoding","chunked"]],"body":"Mg0Kbm8NCjANCg0K","blen":12}`)
	f.Add(handshake + `{"k":"res","v":"HTTP/1.1","code":403,"reason":"","h":[["Content-Length","9"]],"blen":9}
{"k":"body","d":"<","len":9,"text":"no","cut":true}
`)
	f.Add(open + `{"k":"req","m":"POST","target":"http://h/a?t=12345","v":"HTTP/1.0","h":[["Content-Encoding","gzip"]]}
{"k":"body","d":">","hex":"1f 8b"}
{"k":"res","v":"HTTP/1.1","code":304,"reason":"","h":[]}
{"k":"done","sent":2,"got":0}
`)
	f.Fuzz(func(t *testing.T, text string) {
		LoadAll(onlySource{Trace(strings.NewReader(text))}, CaptureAuto())
		p, err := LoadAll(Trace(strings.NewReader(text)), Capture("$..id"), CaptureAuto())
		if err != nil {
			return
		}
		p.Unfound()
		c, _ := newCast(context.Background(), p.scripts, decode.FromServer, &playing{stall: time.Second})
		defer c.cancel(nil)
		for _, s := range p.scripts {
			if s.plain == nil {
				continue
			}
			s.title()
			s.askedAt()
			v := c.valuesFor(s)
			if !s.asksAlike(newAsking(s.request.Head, &s.equality), v) {
				t.Errorf("%s is not like itself", s.title())
			}
			if d := s.bodyDifference(v, decode.FromClient, s.request.Head, s.bodyOf(s.request)); d != nil {
				t.Error(d)
			}
			if s.answered() {
				a := &attendance{cast: c, s: s, req: s.request.Head, subs: v}
				a.sendings()
				if d := s.bodyDifference(v, decode.FromServer, s.final().Head, s.bodyOf(s.final())); d != nil {
					t.Error(d)
				}
			}
		}
	})
}

// FuzzRequests checks that whatever comes in place of requests is answered, or not, and
// that the connection ends.
func FuzzRequests(f *testing.F) {
	f.Add([]byte("POST /hub/negotiate?v=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n{\"a\":1}GET /data HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
	f.Add([]byte("POST /hub/negotiate?v=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n7\r\n{\"a\":1}\r\n0\r\n\r\n"))
	f.Add([]byte("OPTIONS /data HTTP/1.1\r\nOrigin: http://a\r\n\r\n"))
	f.Add([]byte("HEAD /data HTTP/1.0\r\n\r\n\x16\x03\x01"))
	f.Add([]byte("POST /data HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nabc"))
	play, err := LoadAll(Trace(strings.NewReader(app)))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		how := &playing{stall: 20 * time.Millisecond}
		c, _ := newCast(context.Background(), play.scripts, decode.FromServer, how)
		l := newListener(noListener{make(chan struct{})}, how, c)
		client, server := memconn.Pipe()
		l.take(server)
		go func() {
			client.Write(b)
			client.CloseWrite()
		}()
		go func() {
			for {
				conn, err := l.Accept()
				if err == net.ErrClosed {
					return
				}
				if err == nil {
					conn.Close()
				}
			}
		}()
		io.Copy(io.Discard, client)
		client.Close()
		c.cancel(nil)
		l.Close()
	})
}

// A noListener is one to which nobody connects.
type noListener struct{ closed chan struct{} }

func (l noListener) Accept() (net.Conn, error) {
	<-l.closed
	return nil, net.ErrClosed
}

func (l noListener) Close() error {
	close(l.closed)
	return nil
}

func (l noListener) Addr() net.Addr { return &net.TCPAddr{} }
