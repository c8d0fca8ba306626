package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// A Listener lets in the clients of recorded sessions. Others it deals with itself: a
// connection that ends before it asks for anything, as a probe of the port does, is
// passed over; a request that is not recorded and does not ask for websocket gets a 404,
// and the question of a browser whether it may send one (CORS) a yes.
type Listener struct {
	net.Listener
	how    *playing
	plays  *cast // which has the answers that are recorded; may be nil
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	in     chan arrival

	mu     sync.Mutex
	turned []string
}

// An arrival is a client, or why it could not come in.
type arrival struct {
	conn net.Conn
	err  error
}

// NewListener returns a Listener for the connections of l, which it closes when it is
// closed itself.
func NewListener(l net.Listener, opts ...PlayOption) (*Listener, error) {
	how, err := newPlaying(opts)
	if err != nil {
		return nil, err
	}
	return newListener(l, how, nil), nil
}

func newListener(l net.Listener, how *playing, plays *cast) *Listener {
	d := &Listener{Listener: l, how: how, plays: plays, in: make(chan arrival)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				d.arrived(arrival{err: err})
				return
			}
			d.take(conn)
		}
	})
	return d
}

// take lets a connection in, once it has asked.
func (d *Listener) take(conn net.Conn) { d.group.Go(func() { d.admit(conn, nil) }) }

// takeAtOnce is take for one that has to ask before patience is at an end; else Accept
// returns silent.
func (d *Listener) takeAtOnce(conn net.Conn, silent error) {
	d.group.Go(func() { d.admit(conn, silent) })
}

// Accept returns the next client. Its request is read from the connection. The error
// is that of the Listener beneath, or a [*HandshakeError], after which others may come.
func (d *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-d.in:
		return a.conn, a.err
	case <-d.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close closes the Listener beneath, and the connections that have not come in.
func (d *Listener) Close() error {
	d.cancel()
	err := d.Listener.Close()
	d.group.Wait()
	return err
}

// Turned returns what was asked for that is in no recorded session: "GET /".
func (d *Listener) Turned() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.turned
}

func (d *Listener) arrived(a arrival) {
	select {
	case d.in <- a:
	case <-d.ctx.Done():
		if a.conn != nil {
			a.conn.Close()
		}
	}
}

// admit reads what a client begins with.
func (d *Listener) admit(conn net.Conn, silent error) {
	conn, early, err := d.how.accept(d.ctx, conn)
	if err != nil {
		probe := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
		if failed := (*HandshakeError)(nil); errors.As(err, &failed) && !probe {
			d.arrived(arrival{err: err})
		}
		return
	}
	stop := context.AfterFunc(d.ctx, func() { conn.Close() })
	defer stop()
	for {
		var ok bool
		if early, ok = d.ask(conn, early, silent != nil); !ok {
			if silent != nil && errors.Is(silent, ErrStalled) && len(early) == 0 && d.ctx.Err() == nil {
				d.arrived(arrival{err: silent}) // before the client learns of it
			}
			conn.Close()
			return
		}
		silent = nil // it may ask again
		req, err := decode.ParseRequest(string(early[:decode.HeadLen(early, 0)]))
		if err == nil && d.plays != nil {
			a := d.plays.serve(d.ctx, conn, req, early[len(req.Raw):])
			switch {
			case a.takenOver:
				return
			case a.answered && a.goesOn:
				early = a.rest
				continue
			case a.answered:
				linger(conn)
				return
			}
		}
		if err == nil && !decode.AsksForWebSocket(req) {
			if d.plays != nil && (!safe(req.Method) || d.plays.near(req)) { // which is no health check, but another client
				d.plays.strange()
			}
			d.answer(conn, req)
			return
		}
		if stop() { // from now on it is another's to close
			d.arrived(arrival{conn: &begun{conn, early}})
		}
		return
	}
}

// linger ends our side of a connection, and closes it when the other side has: else what
// is unread would reset it.
func linger(conn net.Conn) {
	defer conn.Close()
	if c, ok := conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		conn.SetReadDeadline(time.Now().Add(time.Second))
		io.Copy(io.Discard, io.LimitReader(conn, 1<<20))
	}
}

// ask reads the head of a request that begins with b. Who says nothing may do so for as
// long as it likes: browsers connect ahead of need. ok is false if it is none of ours.
func (d *Listener) ask(conn net.Conn, b []byte, atOnce bool) (_ []byte, ok bool) {
	defer conn.SetReadDeadline(time.Time{})
	buf := make([]byte, 4<<10)
	for decode.HeadLen(b, 0) == 0 && len(b) < decode.MaxHead && !tlswire.IsHandshake(b) {
		conn.SetReadDeadline(time.Now().Add(d.how.stall))
		n, err := conn.Read(buf)
		b = append(b, buf[:n]...)
		switch {
		case err == nil, errors.Is(err, os.ErrDeadlineExceeded) && len(b) == 0 && !atOnce:
		default:
			return b, len(b) > 0 // the player says what is wrong with it
		}
	}
	return b, d.ctx.Err() == nil
}

// answer answers a request that is in no session, and ends the connection.
func (d *Listener) answer(conn net.Conn, req *decode.Head) {
	d.mu.Lock()
	if len(d.turned) < maxTurned {
		d.turned = append(d.turned, req.Method+" "+req.Target)
	}
	d.mu.Unlock()
	text := fmt.Sprintf("%s %s is not in the recording\n", req.Method, req.Target)
	if d.plays != nil && d.plays.used(req) {
		text = fmt.Sprintf("%s %s is in the recording, but no more often than it came\n", req.Method, req.Target)
	}
	head := "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
	if origin := req.Get("Origin"); origin != "" {
		head += "Access-Control-Allow-Origin: " + origin + "\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
		if req.Method == "OPTIONS" {
			head = "HTTP/1.1 204 No Content" + head[len("HTTP/1.1 404 Not Found"):]
			head += "Access-Control-Allow-Methods: *, " + cmp.Or(req.Get("Access-Control-Request-Method"), "GET") + "\r\n"
			if names := req.Get("Access-Control-Request-Headers"); names != "" {
				head += "Access-Control-Allow-Headers: " + names + "\r\n"
			}
			text = ""
		}
	}
	if text != "" {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(text))
	}
	if req.Method == "HEAD" {
		text = ""
	}
	conn.SetDeadline(time.Now().Add(d.how.stall))
	io.WriteString(conn, head+"Connection: close\r\n\r\n"+text)
	linger(conn)
}

// maxTurned is how many requests are remembered.
const maxTurned = 20
