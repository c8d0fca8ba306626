package replay

import (
	"bufio"
	"fmt"
	"io"
	"net"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// nextFrame reads a frame. Its payload is not masked.
func nextFrame(r *bufio.Reader) (ws.Header, []byte, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return h, nil, err
	}
	if h.Length > maxSent {
		return h, nil, fmt.Errorf("a frame of more than %d MiB", maxSent>>20)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return h, nil, err
	}
	if h.Masked {
		ws.Cipher(payload, h.Mask, 0)
	}
	return h, payload, nil
}

// readHeadOf reads a head of HTTP, whole lines of it.
func readHeadOf(r *bufio.Reader) (b []byte, err error) {
	for decode.HeadLen(b, 0) == 0 {
		more, err := r.ReadSlice('\n')
		switch b = append(b, more...); {
		case err != nil && err != bufio.ErrBufferFull:
			return b, err
		case len(b) > decode.MaxHead:
			return b, fmt.Errorf("a head of more than %d KiB", decode.MaxHead>>10)
		}
	}
	return b, nil
}

// flagsOf returns the first byte of a frame.
func flagsOf(h ws.Header) byte {
	b := h.Rsv<<4 | byte(h.OpCode)
	if h.Fin {
		b |= 0x80
	}
	return b
}

// readMessage reads a message, or a Close frame. Pings and pongs are passed over.
func readMessage(r *bufio.Reader) (op ws.OpCode, data []byte, err error) {
	for {
		h, payload, err := nextFrame(r)
		switch {
		case err != nil:
			return 0, nil, err
		case h.OpCode == ws.OpClose:
			return h.OpCode, payload, nil
		case h.OpCode.IsControl():
			continue
		case h.OpCode != ws.OpContinuation:
			op, data = h.OpCode, nil
		}
		if data = append(data, payload...); len(data) > maxSent {
			return 0, nil, fmt.Errorf("a message of more than %d MiB", maxSent>>20)
		}
		if h.Fin {
			return op, data, nil
		}
	}
}

// A tapped connection tells what is read from it.
type tapped struct {
	net.Conn
	told func([]byte)
}

func (t *tapped) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if n > 0 {
		t.told(p[:n])
	}
	return n, err
}

// onlyReader hides all but Read, so that what is copied is not read in other ways.
type onlyReader struct{ io.Reader }

// closeWrite ends our side of a connection.
func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
		return
	}
	conn.Close()
}
