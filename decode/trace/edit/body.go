package edit

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode/trace"
)

// body puts placeholders into the body behind a head, and its new length into the
// head.
func (r *rules) body(rec *trace.Record) {
	if !r.inMessages || len(rec.Body) == 0 {
		return
	}
	body := r.cleanBody(rec)
	if bytes.Equal(body, rec.Body) {
		return
	}
	h := rec.Head.WithValue("Content-Length", strconv.Itoa(len(body)+int(max(rec.BodyLen-int64(len(rec.Body)), 0))))
	if h != rec.Head && rec.RawHead {
		rec.RawHead = h.Cut || !utf8.ValidString(h.Raw) || !h.Canonical()
	}
	rec.Head = h
	if rec.BodyLen > 0 {
		rec.BodyLen += int64(len(body) - len(rec.Body))
	}
	rec.Body = body
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
	switch coding {
	case "", "identity":
		return r.content(body)
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil
		}
		plain, err := io.ReadAll(io.LimitReader(z, MaxMessage+1))
		if err != nil || len(plain) > MaxMessage {
			return nil
		}
		clean := r.content(plain)
		if bytes.Equal(clean, plain) {
			return body
		}
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(clean)
		w.Close()
		return b.Bytes()
	}
	return nil
}
