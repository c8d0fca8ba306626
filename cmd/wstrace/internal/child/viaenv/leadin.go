package viaenv

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Target is where a program wanted to connect whose connection was led to us.
type Target struct {
	Addr    string   // "host:port"
	Conn    net.Conn // a connection to there; nil if there is none
	PID     int      // of the program's process, as that says
	Process string   // its name, as it says; "" if it is no name
}

const (
	// lineLen is the length of the line that a connection begins with: JSON, filled up
	// with blanks. As its length is known, nothing that follows is read with it.
	lineLen = 1024

	lineTimeout = 10 * time.Second
	dialTimeout = 30 * time.Second
)

// A LeadIn takes connections from programs that were made to connect to it in place of
// where they wanted to go, and that say so in a first line.
type LeadIn struct {
	ln    *net.TCPListener
	token string // that keeps others on this machine out
}

// Listen opens a lead-in at a free port of 127.0.0.1. [LeadIn.Serve] closes it.
func Listen() (*LeadIn, error) {
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return &LeadIn{ln: ln, token: rand.Text()}, nil
}

// Addr returns the address that programs connect to.
func (l *LeadIn) Addr() *net.TCPAddr { return l.ln.Addr().(*net.TCPAddr) }

// Close closes a lead-in that is not served.
func (l *LeadIn) Close() error { return l.ln.Close() }

// Serve connects each program that comes to where it wants to go, and calls handle,
// which closes both connections. If that can't be had, the program's connection is
// reset, and failed, if it is not nil, is told why. Both functions may be called by
// several goroutines at once. Serve returns when ctx has ended and so have all calls;
// its error is that of the listener, nil if ctx has ended.
func (l *LeadIn) Serve(ctx context.Context, handle func(context.Context, net.Conn, Target), failed func(Target, error)) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	defer context.AfterFunc(ctx, func() { l.ln.Close() })()
	defer l.ln.Close()
	for {
		c, err := l.ln.AcceptTCP()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				reset(c)
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // no more descriptors, say
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		calls.Go(func() { l.lead(ctx, c, handle, failed) })
	}
}

// lead leads one connection.
func (l *LeadIn) lead(ctx context.Context, c *net.TCPConn, handle func(context.Context, net.Conn, Target), failed func(Target, error)) {
	to, family, ok := l.readLine(ctx, c)
	if !ok {
		reset(c)
		return
	}
	var err error
	if to.Conn, err = dial(ctx, "tcp"+family, to.Addr); err != nil {
		reset(c)
		if failed != nil && ctx.Err() == nil {
			failed(to, err)
		}
		return
	}
	handle(ctx, c, to)
}

// readLine reads the first line. It is not ok if it is no such line, or does not come
// in time.
func (l *LeadIn) readLine(ctx context.Context, c *net.TCPConn) (to Target, family string, ok bool) {
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	var b [lineLen]byte
	c.SetReadDeadline(time.Now().Add(lineTimeout))
	if ctx.Err() != nil {
		return to, "", false
	}
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return to, "", false
	}
	if c.SetReadDeadline(time.Time{}) != nil {
		return to, "", false
	}
	return parseLine(b[:], l.token)
}

// parseLine parses the first line of a program that knows the token. family is "", or
// "4" or "6" if the program wants only that.
func parseLine(b []byte, token string) (to Target, family string, ok bool) {
	b, ok = bytes.CutSuffix(b, []byte("\n"))
	var line struct {
		Token   string `json:"token"`
		Host    string `json:"host"`
		Port    int    `json:"port"`
		Family  int    `json:"family"`
		PID     int    `json:"pid"`
		Process string `json:"process"`
	}
	if !ok || json.Unmarshal(b, &line) != nil || subtle.ConstantTimeCompare([]byte(line.Token), []byte(token)) != 1 {
		return to, "", false
	}
	if !isName(line.Host) || line.Port < 1 || line.Port > 65535 {
		return to, "", false
	}
	if line.Family == 4 || line.Family == 6 {
		family = strconv.Itoa(line.Family)
	}
	to = Target{Addr: net.JoinHostPort(line.Host, strconv.Itoa(line.Port)), PID: max(line.PID, 0)}
	if isName(line.Process) {
		to.Process = line.Process
	}
	return to, family, true
}

// isName reports whether s can be the name of a host or of a process.
func isName(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || r == ' ' })
}

// dial connects to addr. For localhost it tries both families, whatever the resolver
// says.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	host, port, _ := net.SplitHostPort(addr)
	if !strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return d.DialContext(ctx, network, addr)
	}
	var first error
	for _, ip := range []string{"127.0.0.1", "::1"} {
		c, err := d.DialContext(ctx, network, net.JoinHostPort(ip, port))
		if err == nil {
			return c, nil
		}
		if first == nil || strings.HasSuffix(network, "6") {
			first = err
		}
	}
	return nil, first
}

// reset closes c so that its other end sees an error.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
