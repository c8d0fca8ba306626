package proxy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// Heads go through as they are spelled, whatever their spelling.
func TestHeadSpelling(t *testing.T) {
	request := strings.Replace(upgradeRequest, "Host: example.test\r\n", "hOsT:\t example.test  \r\n"+
		"X-Twice: 1\r\nx-twice:2\r\nX-Folded: a,\r\n\t b\r\n  c\r\nX-Bare: lf\nX-Empty:\r\nX-Latin: \xe9\xff\r\nx-twice:  3\r\nno colon\r\n", 1)
	response := strings.Replace(switching, "Upgrade: websocket\r\n", "uPGRADE:websocket\nSet-Cookie: a=1\r\n"+
		"X-Folded: d\r\n e\r\nSet-Cookie: b=2 \t\r\n", 1)
	eachMode(t, func(t *testing.T, r *rig) {
		c, s := r.ask(request)
		s.send(response)
		c.want("the 101", response)
		c.send(masked("hello"))
		s.want("a masked text frame is relayed unchanged", masked("hello"))
		if got := string(r.wire(1, decode.FromServer)); got != response {
			t.Errorf("recorded %q, want %q", got, response)
		}
	})
}

// In reverse mode the value of each Host line becomes the origin's authority.
func TestHostBecomesOrigin(t *testing.T) {
	r := newRig(t, inReverse, func(p *Proxy) { p.KeepHost = false })
	for _, hosts := range [][2]string{
		{"Host: a.test\r\n", "Host: ORIGIN\r\n"},
		{"hOST:\ta.test:8080 \t\r\n", "hOST:\tORIGIN \t\r\n"},
		{"Host:a.test\n", "Host:ORIGIN\n"},
		{"Host:\r\n", "Host:ORIGIN\r\n"},
		{"Host: \r\n", "Host: ORIGIN\r\n"},
		{"Host : a.test\r\n", "Host : ORIGIN\r\n"},
		{"Host: a.test\r\nX: y\r\nHost: b.test\r\n", "Host: ORIGIN\r\nX: y\r\nHost: ORIGIN\r\n"},
		{"Host: a.test\r\n  b.test\r\n", "Host: ORIGIN\r\n"},
		{"X-Host: a.test\r\nOrigin: http://a.test\r\n", "X-Host: a.test\r\nOrigin: http://a.test\r\n"},
		{"", ""},
	} {
		hosts[1] = strings.ReplaceAll(hosts[1], "ORIGIN", r.host())
		c := r.dial()
		c.send("GET /?Host: HTTP/1.1\r\n" + hosts[0] + "Accept: */*\r\n\r\n")
		s := r.accept()
		s.want(fmt.Sprintf("%q is edited", hosts[0]), "GET /?Host: HTTP/1.1\r\n"+hosts[1]+"Accept: */*\r\n\r\n")
		s.send("HTTP/1.1 204 No Content\r\n\r\n")
		c.want("the answer", "HTTP/1.1 204 No Content\r\n\r\n")
	}
	evs, _ := r.snapshot(1)
	for _, ev := range evs {
		if ev.Kind == decode.KindRequest {
			if f := ev.Handshake.Forwarded; f == nil || f.Get("Host") != r.host() || ev.Handshake.Request.Get("Host") != "a.test" {
				t.Errorf("got %+v, want the request as it came and as it was forwarded", ev.Handshake)
			}
		}
	}
}

// Frames may share a segment with the heads in front of them.
func TestFramesBehindHeads(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		c := r.dial()
		c.send(r.request(upgradeRequest) + masked("early") + masked("bird"))
		s := r.accept()
		s.want("frames of the client before the 101", upgradeRequest+masked("early")+masked("bird"))
		s.send(switching + text("at") + text("once"))
		c.want("frames of the server behind the 101", switching+text("at")+text("once"))
		c.send(masked("later"))
		s.want("a later frame", masked("later"))
		c.closeWrite()
		s.wantEnd("the client ends", decode.EndFIN)
		s.Close()
		c.wantEnd("the server ends", decode.EndFIN)
		r.wantLines(t, 1, "open", "> GET "+r.target("/chat"), "> text 5", "> text 4", "< 101", "< text 2", "< text 4",
			"> text 5", "> end fin", "< end fin")
	})
}

// Client frames may come before the 101, byte by byte.
func TestEarlyFramesByteByByte(t *testing.T) {
	r := newRig(t, inReverse)
	c, s := r.ask(upgradeRequest)
	for b := range strings.SplitSeq(masked("hello"), "") {
		c.send(b)
		s.want("a byte of a frame before the 101", b)
	}
	s.send(switching)
	c.want("the 101", switching)
	s.send(text("hi"))
	c.want("the answer", text("hi"))
	wantSame(t, c, s)
	r.wantWire(t, 1, c, s)
}

// Bytes that begin like a request wait for the answer to the one before.
func TestEarlyBytesMayBeARequest(t *testing.T) {
	next := "GET /next HTTP/1.1\r\nHost: b\r\n\r\n"
	t.Run("refused", func(t *testing.T) {
		r := newRig(t, inReverse)
		c := r.dial()
		c.send(upgradeRequest + next)
		s := r.accept()
		s.want("the first request alone", upgradeRequest)
		s.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		s.want("the next request, after the answer", next)
		s.send("HTTP/1.1 204 No Content\r\n\r\n")
		c.want("both answers", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 204 No Content\r\n\r\n")
		r.wantLines(t, 1, "open", "> GET /chat", `< 403 "no" of 2`, `< body "no" of 2`)
		r.wantLines(t, 2, "open", "> GET /next", "< 204")
	})
	t.Run("upgraded", func(t *testing.T) { // "GE" begins a binary frame too, though not a valid one
		r := newRig(t, inReverse)
		c := r.dial()
		c.send(upgradeRequest + next)
		s := r.accept()
		s.want("the request", upgradeRequest)
		s.send(switching)
		s.want("what waited, after the 101", next)
		c.want("the 101", switching)
		wantSame(t, c, s)
	})
	t.Run("a letter alone", func(t *testing.T) {
		r := newRig(t, inReverse)
		c := r.dial()
		c.send(upgradeRequest + "A")
		s := r.accept()
		s.want("the request", upgradeRequest)
		c.send("\x00")
		s.want("no request after all", "A\x00")
	})
}

func TestHeadsByteByByte(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		c := r.dial()
		for b := range strings.SplitSeq(r.request(upgradeRequest), "") {
			c.send(b)
		}
		s := r.accept()
		s.want("the request", upgradeRequest)
		for b := range strings.SplitSeq(switching, "") {
			s.send(b)
		}
		c.want("the 101", switching)
		c.send(masked("hello"))
		s.want("a frame", masked("hello"))
	})
}

// Frames of all length forms go both ways at once, in writes that do not know
// of frames.
func TestFramesOfAllSizes(t *testing.T) {
	r := newRig(t, inReverse)
	c, s := r.upgrade()
	payload := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{1}).Read(payload)
	var up, down []byte
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, len(payload)} {
		f := ws.NewBinaryFrame(payload[:n])
		down = append(down, ws.MustCompileFrame(f)...)
		up = append(up, ws.MustCompileFrame(ws.MaskFrameWith(f, [4]byte{byte(n), 2, 3, 4}))...)
	}
	sent := make(chan struct{}, 2)
	go func() { c.write(up, 0); sent <- struct{}{} }()
	go func() { s.write(down, 1); sent <- struct{}{} }()
	read := make(chan struct{})
	go func() { defer close(read); s.read(len(up)) }()
	c.read(len(down))
	<-read
	<-sent
	<-sent
	wantSame(t, c, s)
	r.wantWire(t, 1, c, s)
}

// write sends b in writes of pseudo-random sizes.
func (p *peer) write(b []byte, seed uint64) {
	sizes := rand.New(rand.NewPCG(seed, 0))
	p.sent = append(p.sent, b...)
	for len(b) > 0 {
		n := min(1+sizes.IntN(1<<sizes.IntN(21)), len(b))
		if _, err := p.Write(b[:n]); err != nil {
			p.t.Errorf("%s can't send: %v", p.name, err)
			return
		}
		b = b[n:]
	}
}

// After the 101 anything may come.
func TestGarbage(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := newRig(t, inReverse)
			c, s := r.upgrade()
			random := rand.New(rand.NewPCG(seed, 1))
			garbage := func() []byte {
				b := make([]byte, random.IntN(300<<10))
				for i := range b {
					b[i] = byte(random.Uint32())
				}
				if seed%2 == 1 { // a length with its top bit set, behind a frame
					b = append([]byte("\x81\x02hi\x82\x7f\xff\x00\x00\x00\x00\x00\x00\x01"), b...)
				}
				return b
			}
			up, down := garbage(), garbage()
			done := make(chan struct{})
			go func() { defer close(done); s.write(down, seed) }()
			c.write(up, seed)
			s.read(len(up))
			c.read(len(down))
			<-done
			c.closeWrite()
			s.wantEnd("the client ends", decode.EndFIN)
			s.Close()
			c.wantEnd("the server ends", decode.EndFIN)
			wantSame(t, c, s)
			r.wait(t, 1, "closed")
			r.wantWire(t, 1, c, s)
		})
	}
}

// When bytes arrive, the events they complete have been emitted.
func TestRecordedBeforeForwarded(t *testing.T) {
	r := newRig(t, inReverse)
	c := r.dial()
	c.send(upgradeRequest)
	s := r.accept()
	s.want("the request", upgradeRequest)
	if !r.has(1, "> GET /chat") {
		t.Error("the request was forwarded before it was recorded")
	}
	s.send(switching)
	c.want("the 101", switching)
	if !r.has(1, "< 101") {
		t.Error("the 101 was forwarded before it was recorded")
	}
	for n := 1; n < 200; n++ { // each of another length
		f := masked(strings.Repeat("x", n))
		c.send(f)
		s.want("a frame", f)
		if !r.has(1, fmt.Sprintf("> text %d", n)) {
			t.Errorf("client frame %d was forwarded before it was recorded", n)
		}
		f = text(strings.Repeat("x", n))
		s.send(f)
		c.want("a frame", f)
		if !r.has(1, fmt.Sprintf("< text %d", n)) {
			t.Errorf("server frame %d was forwarded before it was recorded", n)
		}
	}
	c.Close()
	s.wantEnd("the client ends", decode.EndFIN)
	if !r.has(1, "> end fin") {
		t.Error("the end was passed on before it was recorded")
	}
}

// A peer that does not read stops the other one; the proxy does not gather what
// it can't pass on.
func TestBackPressure(t *testing.T) {
	r := newRig(t, inReverse, func(p *Proxy) { p.Sink = nil })
	c, s := r.upgrade()
	const size = 64 << 20
	frame := ws.MustCompileFrame(ws.NewBinaryFrame(make([]byte, 1<<20)))
	sent := make(chan struct{})
	before := heap()
	go func() {
		defer close(sent)
		for range size >> 20 {
			if _, err := s.Write(frame); err != nil {
				t.Error(err)
			}
		}
	}()
	c.read(1 << 20) // it flows, and now nobody reads
	if used := int64(heap()) - int64(before); used > 8<<20 {
		t.Errorf("got %d bytes used while a peer does not read, want a few MiB", used)
	}
	c.send(masked("the other way"))
	s.want("the other way is free", masked("the other way"))
	n, err := io.CopyN(io.Discard, c, int64(size>>20*len(frame)-1<<20))
	if err != nil {
		t.Errorf("got %d bytes and %v, want all", n, err)
	}
	<-sent
}

// All bytes of an upgrade to another protocol are relayed and not looked into.
func TestOtherUpgrade(t *testing.T) {
	request := "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other/1\r\n\r\n"
	response := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other/1\r\n\r\n"
	eachMode(t, func(t *testing.T, r *rig) {
		c := r.dial()
		c.send(r.request(request) + "OTHER waits")
		s := r.accept()
		s.want("the request", request)
		s.send(response + "\x00\x00\x00\x04")
		c.want("the 101 and what follows", response+"\x00\x00\x00\x04")
		s.want("what waited", "OTHER waits")
		c.send("\xff\x00")
		s.want("anything", "\xff\x00")
		c.closeWrite()
		s.wantEnd("the client ends", decode.EndFIN)
		s.send("last words")
		s.Close()
		c.wantRest("the server ends", "last words", decode.EndFIN)
		r.wantLines(t, 1, "open", "> GET "+r.target("/"), "< 101", "< opaque: upgraded to other/1", "> end fin", "< end fin")
	})
}

func TestManySessionsAtOnce(t *testing.T) {
	r := newRig(t, inReverse)
	go func() {
		for {
			c, err := r.origin.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := ws.Upgrade(c); err == nil {
					io.Copy(struct{ io.Writer }{c}, c) // an echo as it came, masked
				}
			}()
		}
	}()
	const n = 500
	errs := make(chan error, n)
	before := files(t)
	for i := range n {
		go func() {
			c, _, _, err := ws.Dial(t.Context(), "ws://"+r.addr+"/")
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			frame := []byte(masked(fmt.Sprintf("session %d", i)))
			for range 20 {
				c.Write(frame)
				got := make([]byte, len(frame))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, frame) {
					errs <- fmt.Errorf("session %d: got %q and %v, want %q", i, got, err, frame)
					return
				}
			}
			errs <- nil
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for conn := range int64(n) {
		r.wait(t, conn+1, "closed")
	}
	r.origin.Close()
	r.stop()
	if now := files(t); now > before {
		t.Errorf("got %d files open, want %d", now, before)
	}
}
