package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"testing"

	coder "github.com/coder/websocket"
	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	xnet "golang.org/x/net/websocket"
)

const maxMessage = 32 << 20

// talk is what a client does with its job: send sends a message or a ping, and
// receive returns the next message.
func (j job) talk(d diary, send func(typ string, p []byte) error, receive func() (typ string, p []byte, err error)) error {
	for n, round := range j.Rounds {
		echoes := 0
		for _, m := range round {
			p := m.payload()
			switch m.Type {
			case "ping":
				d.control("sent", m.Type, string(p))
			default:
				d.message("sent", m.Type, p)
				echoes++
			}
			if err := send(m.Type, p); err != nil {
				return fmt.Errorf("send %s of %d bytes: %w", m.Type, m.Len, err)
			}
		}
		if len(j.Echoes) > 0 {
			echoes = j.Echoes[n]
		}
		for range echoes {
			typ, p, err := receive()
			if err != nil {
				return fmt.Errorf("receive: %w", err)
			}
			d.message("got", typ, p)
		}
	}
	return nil
}

// dial connects to where the job says, through a tunnel if it says so.
func (j job) dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	if j.Proxy == "" {
		return d.DialContext(ctx, "tcp", addr)
	}
	c, err := d.DialContext(ctx, "tcp", j.Proxy)
	if err != nil || !j.Tunnel {
		return c, err
	}
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", addr)
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, &http.Request{Method: "CONNECT"})
	if err == nil && (res.StatusCode != 200 || br.Buffered() > 0) {
		err = fmt.Errorf("CONNECT: %s, and %d bytes more", res.Status, br.Buffered())
	}
	return c, err
}

// tls returns how a client speaks TLS.
func (j job) tls() (*tls.Config, error) {
	if j.CA == "" {
		return nil, nil
	}
	b, err := os.ReadFile(j.CA)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b)
	return &tls.Config{RootCAs: roots}, err
}

// secure begins TLS on c, if the job says so.
func (j job) secure(c net.Conn) (net.Conn, error) {
	config, err := j.tls()
	if config == nil || err != nil {
		return c, err
	}
	config.ServerName = j.location("").Hostname()
	return tls.Client(c, config), nil
}

// location returns the URL of the job in a form in which [url.URL.RequestURI]
// is what belongs into the request line.
func (j job) location(scheme string) *url.URL {
	u, err := url.Parse(j.URL)
	if err != nil {
		panic(err)
	}
	if j.Proxy != "" && !j.Tunnel {
		return &url.URL{Scheme: scheme, Host: u.Host, Opaque: "//" + u.Host + u.RequestURI()}
	}
	return u
}

// serveHTTP runs handler on a port of its own until the test is over.
func serveHTTP(t *testing.T, handler http.HandlerFunc) (addr string) {
	l := listen(t)
	srv := &http.Server{Handler: handler}
	ended := make(chan error)
	go func() { ended <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		<-ended
	})
	return l.Addr().String()
}

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// opTypes names the opcodes; they are the same numbers in every library.
var opTypes = map[int]string{1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}

func opcode(typ string) int {
	for op, t := range opTypes {
		if t == typ {
			return op
		}
	}
	panic(typ)
}

// gorilla/websocket

func gorillaHandlers(c *gorilla.Conn, d diary) {
	pong := c.PingHandler()
	c.SetPingHandler(func(s string) error {
		d.control("got", "ping", s)
		d.control("sent", "pong", s)
		return pong(s)
	})
	c.SetPongHandler(func(s string) error {
		d.control("got", "pong", s)
		return nil
	})
	c.SetReadLimit(maxMessage)
}

func gorillaClose(d diary, err error) error {
	if e := new(gorilla.CloseError); errors.As(err, &e) && e.Code != gorilla.CloseAbnormalClosure {
		d.close("got", e.Code, e.Text)
		return nil
	}
	return err
}

func gorillaClient(ctx context.Context, j job, d diary) error {
	dialer := gorilla.Dialer{EnableCompression: j.Deflate}
	if j.Whole { // it makes a frame of every buffer
		dialer.WriteBufferSize = 2 << 20
	}
	var err error
	if dialer.TLSClientConfig, err = j.tls(); err != nil {
		return err
	}
	if j.Proxy != "" {
		dialer.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: j.Proxy})
	}
	c, _, err := dialer.DialContext(ctx, j.URL, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	gorillaHandlers(c, d)
	receive := func() (string, []byte, error) {
		op, p, err := c.ReadMessage()
		return opTypes[op], p, err
	}
	if err := j.talk(d, func(typ string, p []byte) error { return c.WriteMessage(opcode(typ), p) }, receive); err != nil {
		return err
	}
	d.close("sent", 1000, "bye")
	c.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, "bye"))
	_, _, err = receive()
	return gorillaClose(d, err)
}

func gorillaServer(t *testing.T, b *board) string {
	up := gorilla.Upgrader{EnableCompression: true, CheckOrigin: func(*http.Request) bool { return true }}
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		d := diary{b, r.FormValue("id")}
		gorillaHandlers(c, d)
		for {
			op, p, err := c.ReadMessage()
			if err != nil {
				d.done(gorillaClose(d, err)) // answered by the close handler
				return
			}
			d.message("got", opTypes[op], p)
			d.message("sent", opTypes[op], p)
			c.WriteMessage(op, p)
		}
	})
}

// coder/websocket

func coderOptions(d diary) (ping func(context.Context, []byte) bool, pong func(context.Context, []byte)) {
	ping = func(_ context.Context, p []byte) bool {
		d.control("got", "ping", string(p))
		d.control("sent", "pong", string(p))
		return true
	}
	pong = func(_ context.Context, p []byte) { d.control("got", "pong", string(p)) }
	return ping, pong
}

func coderClose(d diary, err error) error {
	if e := new(coder.CloseError); errors.As(err, e) {
		d.close("got", int(e.Code), e.Reason)
		return nil
	}
	return err
}

func coderClient(ctx context.Context, j job, d diary) error {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return j.dial(ctx, addr)
	}}
	if j.Proxy != "" && !j.Tunnel {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: j.Proxy})
		transport.DialContext = nil
	}
	var err error
	if transport.TLSClientConfig, err = j.tls(); err != nil {
		return err
	}
	o := &coder.DialOptions{HTTPClient: &http.Client{Transport: transport}, CompressionMode: coder.CompressionDisabled}
	if j.Deflate {
		o.CompressionMode = coder.CompressionContextTakeover
	}
	o.OnPingReceived, o.OnPongReceived = coderOptions(d)
	c, _, err := coder.Dial(ctx, j.URL, o)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	c.SetReadLimit(maxMessage)
	receive := func() (string, []byte, error) {
		op, p, err := c.Read(ctx)
		return opTypes[int(op)], p, err
	}
	// Its pings wait for their pongs, and say what they like.
	send := func(typ string, p []byte) error { return c.Write(ctx, coder.MessageType(opcode(typ)), p) }
	if err := j.talk(d, send, receive); err != nil {
		return err
	}
	d.close("sent", 1000, "bye")
	return c.Close(coder.StatusNormalClosure, "bye")
}

func coderServer(t *testing.T, b *board) string {
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		d := diary{b, r.FormValue("id")}
		o := &coder.AcceptOptions{CompressionMode: coder.CompressionContextTakeover, InsecureSkipVerify: true} // any Origin
		o.OnPingReceived, o.OnPongReceived = coderOptions(d)
		c, err := coder.Accept(w, r, o)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(maxMessage)
		for {
			op, p, err := c.Read(r.Context())
			if err != nil {
				d.done(coderClose(d, err)) // answered by Read
				return
			}
			d.message("got", opTypes[int(op)], p)
			d.message("sent", opTypes[int(op)], p)
			c.Write(r.Context(), op, p)
		}
	})
}

// lxzan/gws

// gwsPeer handles the events of one connection.
type gwsPeer struct {
	diary
	messages chan echo // to the client; nil in the server
	closed   chan struct{}
}

// An echo is a message that came.
type echo struct {
	typ string
	p   []byte
}

func (g *gwsPeer) OnOpen(*gws.Conn) {}

func (g *gwsPeer) OnClose(_ *gws.Conn, err error) {
	if e := new(gws.CloseError); errors.As(err, &e) {
		g.close("got", int(e.Code), string(e.Reason))
		err = nil
	}
	if g.messages == nil {
		g.done(err)
	}
	close(g.closed)
}

func (g *gwsPeer) OnPing(c *gws.Conn, p []byte) {
	g.control("got", "ping", string(p))
	g.control("sent", "pong", string(p))
	c.WritePong(p)
}

func (g *gwsPeer) OnPong(_ *gws.Conn, p []byte) { g.control("got", "pong", string(p)) }

func (g *gwsPeer) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	typ := opTypes[int(m.Opcode)]
	if g.messages != nil {
		g.messages <- echo{typ, bytes.Clone(m.Bytes())}
		return
	}
	g.message("got", typ, m.Bytes())
	g.message("sent", typ, m.Bytes())
	c.WriteMessage(m.Opcode, m.Bytes())
}

func gwsDeflate(on bool) gws.PermessageDeflate {
	return gws.PermessageDeflate{Enabled: on, ServerContextTakeover: true, ClientContextTakeover: true,
		ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
}

func gwsClient(ctx context.Context, j job, d diary) error {
	nc, err := j.dial(ctx, j.location("").Host)
	if err == nil {
		nc, err = j.secure(nc)
	}
	if err != nil {
		return err
	}
	g := &gwsPeer{diary: d, messages: make(chan echo, 16), closed: make(chan struct{})}
	c, _, err := gws.NewClientFromConn(g, &gws.ClientOption{
		Addr: j.URL, PermessageDeflate: gwsDeflate(j.Deflate),
		ReadMaxPayloadSize: maxMessage, WriteMaxPayloadSize: maxMessage,
	}, nc)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	go c.ReadLoop()
	err = j.talk(d, func(typ string, p []byte) error { return c.WriteMessage(gws.Opcode(opcode(typ)), p) },
		func() (string, []byte, error) {
			select {
			case m := <-g.messages:
				return m.typ, m.p, nil
			case <-g.closed:
				return "", nil, io.ErrUnexpectedEOF
			}
		})
	if err == nil {
		d.close("sent", 1000, "bye")
	}
	c.WriteClose(1000, []byte("bye")) // does not wait for the answer
	<-g.closed
	return err
}

func gwsServer(t *testing.T, b *board) string {
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		g := &gwsPeer{diary: diary{b, r.FormValue("id")}, closed: make(chan struct{})}
		up := gws.NewUpgrader(g, &gws.ServerOption{
			PermessageDeflate:  gwsDeflate(true),
			ReadMaxPayloadSize: maxMessage, WriteMaxPayloadSize: maxMessage,
		})
		c, err := up.Upgrade(w, r)
		if err != nil {
			return
		}
		c.ReadLoop()
	})
}

// gobwas/ws

// A gobwasConn is one end of a connection.
type gobwasConn struct {
	diary
	net.Conn
	r       io.Reader
	client  bool
	deflate bool
}

func (c *gobwasConn) send(f ws.Frame) error {
	if c.deflate && !f.Header.OpCode.IsControl() {
		var err error
		if f, err = wsflate.CompressFrame(f); err != nil {
			return err
		}
	}
	if c.client {
		f = ws.MaskFrameInPlace(f)
		c.control("mask", "", hex.EncodeToString(f.Header.Mask[:]))
	}
	return ws.WriteFrame(c, f)
}

// next returns the next frame, unmasked.
func (c *gobwasConn) next() (ws.Frame, error) {
	h, err := ws.ReadHeader(c.r)
	if err != nil {
		return ws.Frame{}, err
	}
	if h.Length > maxMessage {
		return ws.Frame{}, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	if _, err := io.ReadFull(c.r, f.Payload); err != nil {
		return ws.Frame{}, err
	}
	if h.Masked {
		f = ws.UnmaskFrameInPlace(f)
	}
	return f, nil
}

// receive returns the next message, and answers what control frames come before
// it. At a close frame it returns its payload and io.EOF.
func (c *gobwasConn) receive() (op ws.OpCode, p []byte, err error) {
	compressed := false
	for {
		f, err := c.next()
		if err != nil {
			return 0, nil, err
		}
		switch f.Header.OpCode {
		case ws.OpPing:
			c.control("got", "ping", string(f.Payload))
			c.control("sent", "pong", string(f.Payload))
			if err := c.send(ws.NewPongFrame(f.Payload)); err != nil {
				return 0, nil, err
			}
			continue
		case ws.OpPong:
			c.control("got", "pong", string(f.Payload))
			continue
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			c.close("got", int(code), reason)
			return ws.OpClose, f.Payload, io.EOF
		case ws.OpContinuation:
			p = append(p, f.Payload...)
		default:
			op, p, compressed = f.Header.OpCode, f.Payload, f.Header.Rsv1()
		}
		if f.Header.Fin && compressed {
			p, err = wsflate.DefaultHelper.Decompress(p)
		}
		if f.Header.Fin || err != nil {
			return op, p, err
		}
	}
}

func gobwasClient(ctx context.Context, j job, d diary) error {
	u := j.location("ws")
	nc, err := j.dial(ctx, u.Host)
	if err == nil {
		nc, err = j.secure(nc)
	}
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	var dialer ws.Dialer
	if j.Deflate {
		dialer.Extensions = []httphead.Option{wsflate.DefaultParameters.Option()}
	}
	br, hs, err := dialer.Upgrade(nc, u)
	if err != nil {
		return err
	}
	c := &gobwasConn{diary: d, Conn: nc, r: nc, client: true, deflate: len(hs.Extensions) > 0}
	if br != nil {
		c.r = br
	}
	err = j.talk(d, func(typ string, p []byte) error { return c.send(ws.NewFrame(ws.OpCode(opcode(typ)), true, p)) },
		func() (string, []byte, error) {
			op, p, err := c.receive()
			return opTypes[int(op)], p, err
		})
	if err != nil {
		return err
	}
	d.close("sent", 1000, "bye")
	if err := c.send(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "bye"))); err != nil {
		return err
	}
	if op, _, err := c.receive(); op != ws.OpClose {
		return fmt.Errorf("receive the close frame: %w", err)
	}
	return nil
}

func gobwasServer(t *testing.T, b *board) string {
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		ext := wsflate.Extension{Parameters: wsflate.DefaultParameters}
		nc, rw, _, err := ws.HTTPUpgrader{Negotiate: ext.Negotiate}.Upgrade(r, w)
		if err != nil {
			return
		}
		defer nc.Close()
		c := &gobwasConn{diary: diary{b, r.FormValue("id")}, Conn: nc, r: rw}
		_, c.deflate = ext.Accepted()
		for {
			op, p, err := c.receive()
			if op == ws.OpClose {
				code, reason := ws.ParseCloseFrameData(p)
				c.close("sent", int(code), reason)
				err = c.send(ws.NewCloseFrame(p))
			}
			if err != nil || op == ws.OpClose {
				c.done(err)
				return
			}
			c.message("got", opTypes[int(op)], p)
			c.message("sent", opTypes[int(op)], p)
			c.send(ws.NewFrame(op, true, p))
		}
	})
}

// golang.org/x/net/websocket

// xnetCodec carries messages with their types.
var xnetCodec = xnet.Codec{
	Marshal: func(v any) ([]byte, byte, error) {
		m := v.(echo)
		return m.p, byte(opcode(m.typ)), nil
	},
	Unmarshal: func(p []byte, op byte, v any) error {
		*v.(*echo) = echo{opTypes[int(op)], bytes.Clone(p)}
		return nil
	},
}

func xnetClient(ctx context.Context, j job, d diary) error {
	u := j.location("http")
	nc, err := j.dial(ctx, u.Host)
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	config := &xnet.Config{Version: xnet.ProtocolVersionHybi13, Location: u, Origin: &url.URL{Scheme: "http", Host: u.Host}}
	c, err := xnet.NewClient(config, nc)
	if err != nil {
		return err
	}
	c.MaxPayloadBytes = maxMessage
	err = j.talk(d, func(typ string, p []byte) error { return xnetCodec.Send(c, echo{typ, p}) },
		func() (string, []byte, error) {
			var m echo
			err := xnetCodec.Receive(c, &m)
			return m.typ, m.p, err
		})
	if err == nil {
		d.close("sent", 1000, "")
	}
	return errors.Join(err, c.Close()) // does not wait for the answer
}

func xnetServer(t *testing.T, b *board) string {
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		xnet.Server{Handler: func(c *xnet.Conn) {
			d := diary{b, r.FormValue("id")}
			c.MaxPayloadBytes = maxMessage
			for {
				var m echo
				err := xnetCodec.Receive(c, &m)
				if errors.Is(err, io.EOF) { // a close frame
					d.close("sent", 1000, "")
					c.Close()
					d.done(nil)
					return
				}
				if err != nil {
					d.done(err)
					return
				}
				d.message("got", m.typ, m.p)
				d.message("sent", m.typ, m.p)
				xnetCodec.Send(c, m)
			}
		}}.ServeHTTP(w, r)
	})
}
