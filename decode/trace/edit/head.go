package edit

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// target puts placeholders into the query of a target or URL.
func (r *redactor) target(target string) string {
	path, query, ok := strings.Cut(target, "?")
	if !ok {
		return target
	}
	query, fragment, _ := strings.Cut(query, "#")
	if fragment != "" {
		fragment = "#" + fragment
	}
	params := strings.Split(query, "&")
	for i, p := range params {
		name, value, ok := strings.Cut(p, "=")
		for _, sel := range r.selectors {
			if ok && sel.Param != "" && sel.Param == unescape(name) {
				params[i] = name + "=" + r.text(sel.Param, unescape(value))
			}
		}
	}
	return path + "?" + strings.Join(params, "&") + fragment
}

// unescape returns a part of a query as it was before it was escaped.
func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// urlHeaders hold a URL, which may have the same secrets in its query as the
// target.
var urlHeaders = []string{"Referer", "Location", "Content-Location"}

// head puts placeholders into a head and the body behind it.
func (r *redactor) head(rec *trace.Record) {
	old := parseHead(rec)
	if old.Cut {
		return
	}
	h := old.WithTarget(r.target(old.Target))
	for _, name := range urlHeaders {
		h = mapValue(h, name, r.target)
	}
	for _, sel := range r.selectors {
		if sel.Header != "" {
			h = mapValue(h, sel.Header, func(secret string) string { return r.text(sel.Header, unfold(secret)) })
		}
	}
	if body := r.body(rec); !bytes.Equal(body, rec.Body) {
		h = h.WithValue("Content-Length", strconv.Itoa(len(body)))
		if rec.BodyLen > 0 {
			rec.BodyLen += int64(len(body) - len(rec.Body))
		}
		rec.Body = body
	}
	if h != old {
		rec.Head, rec.RawHead = h, rec.RawHead && (!utf8.ValidString(h.Raw) || !h.Canonical())
	}
}

// parseHead returns the head of rec with its parts, which it sets if the trace
// has the bytes only.
func parseHead(rec *trace.Record) *decode.Head {
	if rec.RawHead {
		parse := decode.ParseRequest
		if rec.Kind == "res" {
			parse = decode.ParseResponse
		}
		raw := rec.Head.Raw
		rec.Head, _ = parse(raw) // with what there is of it
		rec.Head.Cut = decode.HeadLen([]byte(raw), 0) == 0
	}
	return rec.Head
}

// mapValue returns h with the value of each field called name replaced by what f
// makes of it.
func mapValue(h *decode.Head, name string, f func(string) string) *decode.Head {
	return h.MapValues(func(n, value string) string {
		if strings.EqualFold(n, name) {
			return f(value)
		}
		return value
	})
}

// unfold returns a value in one line, as it is meant (RFC 9112 §5.2).
func unfold(value string) string {
	lines := strings.Split(value, "\n")
	if len(lines) == 1 {
		return value
	}
	for i, line := range lines {
		lines[i] = strings.Trim(line, " \t\r")
	}
	return strings.Join(lines, " ")
}

// body returns the body of a head with placeholders.
func (r *redactor) body(rec *trace.Record) []byte {
	if !r.inMessages || len(rec.Body) == 0 {
		return rec.Body
	}
	if !rec.Head.HasToken("Transfer-Encoding", "chunked") {
		return r.content(rec.Body, true)
	}
	plain, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(rec.Body)))
	if err != nil {
		return nil // it is not whole
	}
	clean := r.content(plain, true)
	if bytes.Equal(clean, plain) {
		return rec.Body
	}
	return fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(clean), clean)
}
