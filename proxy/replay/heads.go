package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// What of HTTP values are captured from, and put into: the target, the headers and the
// body. They are compared decoded.

// headerOfHandshake reports whether a header is of one connection, and no value is taken
// from it or put into it.
func headerOfHandshake(name string) bool {
	switch strings.ToLower(name) {
	case "host", "connection", "upgrade", "date", "content-length", "transfer-encoding", "content-type", "content-encoding",
		"user-agent", "server", "accept", "accept-encoding", "accept-language", "cache-control", "expires", "last-modified",
		"sec-websocket-key", "sec-websocket-accept", "sec-websocket-version", "sec-websocket-extensions":
		return true
	}
	return false
}

// unescaped returns what a part of a target stands for.
func unescaped(s string) string {
	plain, _ := unescape(s, true)
	return plain
}

// unescape returns what an escaped text stands for, and where in that text each byte of it
// begins, with the end of the text behind. What is no escape stands for itself.
func unescape(s string, plus bool) (plain string, from []int) {
	hex := func(i int) int {
		if i >= len(s) {
			return -1
		}
		return strings.IndexByte("0123456789abcdef", s[i]|0x20)
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		c, n := s[i], 0
		if c == '+' && plus {
			c = ' '
		} else if c == '%' {
			if h, l := hex(i+1), hex(i+2); h >= 0 && l >= 0 {
				c, n = byte(h<<4|l), 2
			}
		}
		b, from = append(b, c), append(from, i)
		i += n
	}
	return string(b), append(from, len(s))
}

// escaped puts values into a part of a target: what they replace is looked for decoded,
// and all else stays as it is.
func (v *values) escaped(s string, plus bool) string {
	if s == "" {
		return s
	}
	plain, from := unescape(s, plus)
	var edits []pick.Edit
	p := putting{v: v}
	if sub := v.lookup(json.Number(plain), place{}); sub != nil {
		edits = []pick.Edit{{Span: pick.Span{Start: 0, End: len(plain)}, Text: fmt.Append(nil, sub.live)}}
	} else {
		edits = p.words(plain, nil)
	}
	for i := range edits {
		e := &edits[i]
		e.Start, e.End = from[e.Start], from[e.End]
		e.Text = escapeLike(e.Text, s[e.Start:e.End], plus)
	}
	if edits == nil {
		return s
	}
	return string(pick.Apply(nil, []byte(s), edits))
}

// escapeLike escapes a text as another is escaped, in whose place it goes: what stands for
// itself there may do so here.
func escapeLike(text []byte, other string, plus bool) []byte {
	var b []byte
	for _, c := range text {
		switch {
		case c < 0x80 && (isASCIIWord(rune(c)) || strings.IndexByte("-._~", c) >= 0), c > ' ' && c < 0x7f && c != '%' && c != '+' && c != '&' && c != ';' && strings.IndexByte(other, c) >= 0:
			b = append(b, c)
		case c == ' ' && plus && strings.Contains(other, "+"):
			b = append(b, '+')
		default:
			b = fmt.Appendf(b, "%%%02X", c)
		}
	}
	return b
}

// putTarget returns a target with values in its path and query.
func (v *values) putTarget(target string) string {
	if v.empty() {
		return target
	}
	origin := ""
	if i := strings.Index(target, "://"); i > 0 && !strings.HasPrefix(target, "/") {
		end := i + 3 + strings.IndexAny(target[i+3:]+"/", "/?")
		origin, target = target[:end], target[end:]
	}
	path, query, asks := strings.Cut(target, "?")
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = v.escaped(s, false)
	}
	target = origin + strings.Join(segments, "/")
	if !asks {
		return target
	}
	return target + "?" + v.putQuery(query)
}

// putQuery returns a query, or a body that has its form, with values in it.
func (v *values) putQuery(query string) string {
	var b strings.Builder
	for {
		param, sep := query, strings.IndexAny(query, "&;")
		if sep >= 0 {
			param = query[:sep]
		}
		name, value, ok := strings.Cut(param, "=")
		b.WriteString(v.escaped(name, true))
		if ok {
			b.WriteByte('=')
			b.WriteString(v.escaped(value, true))
		}
		if sep < 0 {
			return b.String()
		}
		b.WriteByte(query[sep])
		query = query[sep+1:]
	}
}

// putHead returns a head with values in its headers. The target and what belongs to one
// connection, such as Host and Sec-WebSocket-Key, stay; Content-Length is for the caller.
func (v *values) putHead(h *decode.Head) *decode.Head {
	if v.empty() {
		return h
	}
	return h.MapValues(func(name, value string) string {
		live := value
		if !headerOfHandshake(name) {
			live = v.header(value)
		}
		if strings.ContainsAny(live, "\r\n\x00") {
			return value
		}
		return live
	})
}

// header returns the value of a header with values in it, as they stand there or escaped.
func (v *values) header(s string) string {
	p := putting{v: v}
	if live := p.string(s, nil); live != s {
		return live
	}
	if sub := v.lookup(json.Number(s), place{}); sub != nil {
		return fmt.Sprint(sub.live)
	}
	if strings.Contains(s, "%") {
		return v.escaped(s, false)
	}
	return s
}

// putBody returns the body behind a head with values in it: form fields, JSON, another
// text, or bytes. One that is coded stays as it is. Content-Length is for the caller. The
// error is for a value that does not fit.
func (v *values) putBody(h *decode.Head, b []byte) ([]byte, error) {
	if v.empty() || len(b) == 0 || isCoded(h) {
		return b, nil
	}
	if isForm(h) {
		if live := v.putQuery(string(b)); live != string(b) {
			return []byte(live), nil
		}
		return b, nil
	}
	p := putting{v: v}
	live := b
	if utf8.Valid(b) {
		live = p.text(b)
	} else {
		live = p.binary(b)
	}
	if p.misfit != nil {
		return nil, fmt.Errorf("a body has a value that is captured: %v", p.misfit)
	}
	return live, nil
}

// isCoded reports whether the body behind a head is compressed.
func isCoded(h *decode.Head) bool {
	coding := h.Get("Content-Encoding")
	return coding != "" && !strings.EqualFold(coding, "identity")
}

func isForm(h *decode.Head) bool {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind == "application/x-www-form-urlencoded"
}

// learnHead takes values out of a request or response that came, which is the recorded one,
// and of its body: parameters, headers, cookies by their names, and what selectors find in
// the body. A body that is coded, or nil, has none.
func (e *equality) learnHead(v *values, how *playing, at int, want, got *decode.Head, wantBody, gotBody []byte) {
	if isCoded(want) || isCoded(got) {
		wantBody, gotBody = nil, nil
	}
	for i := range e.captures {
		v.add(e.captures[i].inHead(want, got, wantBody, gotBody))
	}
	if !e.auto || e.exact || how == nil {
		return
	}
	var list []made
	for _, p := range pairsInHead(want, got, wantBody, gotBody) {
		list = append(list, madeInValue(p.recorded, p.live, p.selector, "", "")...)
	}
	if len(wantBody) > 0 && !isForm(want) {
		u := bodyUnit(want, at, wantBody)
		live, _ := v.putIn(u, true)
		list = append(list, e.made(v, live, gotBody, u.textual())...)
	}
	if taken, _, ok := v.split(list, at); ok {
		v.takeUp(taken, how.taken)
	}
}

// A headPair is a value in a head, and what came there; what is made up in a path.
type headPair struct{ recorded, live, selector string }

// pairsInHead returns the values in two heads that stand at the same place: parameters,
// headers and cookies, fields of a form, and what looks made up in the path.
func pairsInHead(want, got *decode.Head, wantBody, gotBody []byte) (list []headPair) {
	add := func(recorded, live, selector string) {
		if recorded != "" {
			list = append(list, headPair{recorded, live, selector})
		}
	}
	wantPath, wantQuery, _ := strings.Cut(originForm(want.Target), "?")
	gotPath, gotQuery, _ := strings.Cut(originForm(got.Target), "?")
	for _, m := range madeIn(wantPath, gotPath, "^", "") {
		add(m.recorded, m.live, m.selector)
	}
	params := func(want, got string) {
		w, _ := url.ParseQuery(want)
		g, _ := url.ParseQuery(got)
		for name, values := range w {
			for i := range min(len(values), len(g[name])) {
				add(values[i], g[name][i], "?"+name)
			}
		}
	}
	params(wantQuery, gotQuery)
	if isForm(want) {
		params(string(wantBody), string(gotBody))
	}
	seen := map[string]bool{}
	for _, f := range want.Fields {
		name := strings.ToLower(f.Name)
		if headerOfHandshake(name) || seen[name] {
			continue
		}
		seen[name] = true
		ws, gs := want.Values(name), got.Values(name)
		if name == "cookie" || name == "set-cookie" {
			w, g := cookies(ws), cookies(gs)
			for _, c := range w {
				if i := slices.IndexFunc(g, func(o [2]string) bool { return o[0] == c[0] }); i >= 0 {
					add(c[1], g[i][1], f.Name+":")
				}
			}
			continue
		}
		for i := range min(len(ws), len(gs)) {
			add(ws[i], gs[i], f.Name+":")
			// A token also goes without its scheme, to other places.
			scheme, value, ok := strings.Cut(ws[i], " ")
			other, live, ok2 := strings.Cut(gs[i], " ")
			if ok && ok2 && scheme == other && !strings.Contains(value, " ") {
				add(value, live, f.Name+":")
			}
		}
	}
	return list
}

// cookies returns the names and values of cookies in the values of Cookie or Set-Cookie.
func cookies(values []string) (list [][2]string) {
	for _, v := range values {
		for i, part := range strings.Split(v, ";") {
			name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
			if ok && (i == 0 || !isCookieAttribute(name)) {
				list = append(list, [2]string{name, strings.Trim(value, `"`)})
			}
		}
	}
	return list
}

// isCookieAttribute reports whether a name is one of RFC 6265 §4.1.2.
func isCookieAttribute(name string) bool {
	switch strings.ToLower(name) {
	case "expires", "max-age", "domain", "path", "samesite":
		return true
	}
	return false
}

// inHead returns what a capture finds in a head and its body.
func (c *capture) inHead(want, got *decode.Head, wantBody, gotBody []byte) (subs []substitution) {
	switch {
	case c.from.Param != "" || c.from.Header != "":
		for _, p := range pairsInHead(want, got, wantBody, gotBody) {
			if p.selector == "?"+c.from.Param && c.from.Param != "" || strings.EqualFold(p.selector, c.from.Header+":") && c.from.Header != "" {
				subs = append(subs, c.substitute(p.recorded, p.live))
			}
		}
		return subs
	case c.from.Expr != nil:
		if ws, gs := c.values([]byte(originForm(want.Target))), c.values([]byte(originForm(got.Target))); len(ws) == len(gs) {
			for i := range ws {
				subs = append(subs, c.substitute(ws[i], gs[i]))
			}
		}
	}
	ws, gs := c.values(wantBody), c.values(gotBody)
	for i := range min(len(ws), len(gs)) {
		subs = append(subs, c.substitute(ws[i], gs[i]))
	}
	return subs
}

// targetFor returns the target that is expected: the recorded one with values in it, and in
// place of those that are to be captured what came.
func (e *equality) targetFor(v *values, at int, recorded, came string) string {
	want := v.putTarget(recorded)
	if !e.auto || v == nil || want == came {
		return want
	}
	var list []made
	for _, p := range pairsInHead(&decode.Head{Target: want}, &decode.Head{Target: came}, nil, nil) {
		list = append(list, madeInValue(p.recorded, p.live, p.selector, "", "")...)
	}
	if taken, _, ok := v.split(list, at); ok && len(taken) > 0 {
		return newValues(substitutionsOf(taken)...).putTarget(want)
	}
	return want
}

// bodyDiffers compares a body that came with the recorded one behind a head, with values in
// its place. It returns "" if they are equal, and otherwise where they are not.
func (e *equality) bodyDiffers(v *values, at int, h *decode.Head, want, got []byte) string {
	if bytes.Equal(want, got) {
		return ""
	}
	if isForm(h) {
		want, got := v.putQuery(string(want)), string(got)
		live := strings.TrimPrefix(e.targetFor(v, at, "?"+want, "?"+got), "?")
		if e.sameQuery(got, live) {
			return ""
		}
		return differAt(common([]byte(want), []byte(got)))
	}
	u := bodyUnit(h, at, want)
	c := *u
	c.data = got
	_, why := e.compare(u, &c, v)
	return why
}

// bodyUnit returns the body behind a head as if it were a message.
func bodyUnit(h *decode.Head, at int, body []byte) *unit {
	u := &unit{kind: unitMessage, op: ws.OpBinary, data: body, at: at}
	if utf8.Valid(body) && !isCoded(h) {
		u.op = ws.OpText
	}
	return u
}
