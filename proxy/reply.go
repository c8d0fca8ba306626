package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/wstrace/wstrace/decode"
)

// A failure is why a request is answered by us and not by a server.
type failure struct {
	status int    // of the answer
	text   string // one line
	body   string // of the answer, if not text

	made   bool       // a change has made it
	change string     // which one
	dir    decode.Dir // of the head that it is about, iff made
}

func (f *failure) Error() string { return f.text }

func failed(status int, format string, args ...any) *failure {
	return &failure{status: status, text: fmt.Sprintf(format, args...)}
}

// refusal is for a handshake that breaks a rule: the violation, which the
// session has shown already, is the answer.
func refusal(status int, violation string) *failure {
	return &failure{status: status, text: "refused, because the handshake breaks a rule", body: violation}
}

// reply returns an answer of ours: an error of the proxy, with the reason as
// its body. It ends the connection.
func reply(status int, contentType, body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), contentType, len(body), body)
}

// dialFailure says why a connection to addr did not come about.
func dialFailure(addr string, err error) *failure {
	status, why := http.StatusBadGateway, err.Error()
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		switch why = dns.Err; {
		case dns.IsNotFound:
			why = "no such host"
		case dns.IsTimeout:
			status, why = http.StatusGatewayTimeout, "timed out"
		}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		status, why = http.StatusGatewayTimeout, "timed out"
	case errors.As(err, &op):
		if op.Timeout() {
			status, why = http.StatusGatewayTimeout, "timed out"
			break
		}
		why = op.Err.Error()
		var errno syscall.Errno
		if errors.As(op.Err, &errno) {
			why = errno.Error()
		}
	}
	return failed(status, "dial upstream %q: %s", addr, why)
}

// errorText returns what went wrong in a read or write, without the addresses
// that the message names anyway.
func errorText(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// page says what a browser has found that was pointed at the proxy as if it
// were a server.
func (p *Proxy) page(self net.Addr) string {
	if p.Page != nil {
		return p.Page(self)
	}
	return fmt.Sprintf("<!doctype html>\n<title>HTTP proxy</title>\n<p>http://%s is an HTTP proxy, not a server.</p>\n", self)
}
