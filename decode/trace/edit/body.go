package edit

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httputil"
	"strings"

	"github.com/wstrace/wstrace/decode/trace"
)

// body puts placeholders into the body that early writers put into the record of its
// head, and its new length into the head. It returns how many bytes more there are.
func (r *rules) body(rec *trace.Record) (grown int64) {
	if !r.inMessages || len(rec.Body) == 0 {
		return 0
	}
	body := r.cleanBody(rec)
	if bytes.Equal(body, rec.Body) {
		return 0
	}
	setLength(rec, int64(len(body))+max(rec.BodyLen-int64(len(rec.Body)), 0))
	grown = int64(len(body) - len(rec.Body))
	if rec.BodyLen > 0 {
		rec.BodyLen += grown
	}
	rec.Body = body
	return grown
}

func (r *rules) cleanBody(rec *trace.Record) []byte {
	if !rec.Head.HasToken("Transfer-Encoding", "chunked") {
		return r.coded(rec, rec.Body)
	}
	plain, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(rec.Body)))
	clean := r.coded(rec, plain)
	switch {
	case bytes.Equal(clean, plain) && err == nil:
		return rec.Body
	case err != nil: // it is cut off, perhaps inside a secret
		return nil
	}
	return fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(clean), clean)
}

// coded returns a body with placeholders that may be compressed. What can't be
// looked into is left out.
func (r *rules) coded(rec *trace.Record, body []byte) []byte {
	coding := strings.ToLower(strings.Join(rec.Head.Tokens("Content-Encoding"), ","))
	if coding == "" || coding == "identity" {
		return r.content(body)
	}
	plain, why := uncoded(body, coding)
	if why != "" {
		return nil
	}
	clean := r.content(plain)
	if bytes.Equal(clean, plain) {
		return body
	}
	return recoded(clean, coding)
}
