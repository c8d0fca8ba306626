package flow

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// Values of Python, as tests spell them.
type (
	dict  []any // names and values, in turn
	array []any
)

// tnet returns a value as a tnetstring.
func tnet(v any) string {
	wrap := func(s string, typ string) string { return strconv.Itoa(len(s)) + ":" + s + typ }
	join := func(all []any) string {
		var b strings.Builder
		for _, v := range all {
			b.WriteString(tnet(v))
		}
		return b.String()
	}
	switch v := v.(type) {
	case nil:
		return "0:~"
	case bool:
		return wrap(strconv.FormatBool(v), "!")
	case int:
		return wrap(strconv.Itoa(v), "#")
	case float64:
		return wrap(strconv.FormatFloat(v, 'f', -1, 64), "^")
	case string:
		return wrap(v, ";")
	case []byte:
		return wrap(string(v), ",")
	case dict:
		return wrap(join(v), "}")
	case array:
		return wrap(join(v), "]")
	}
	panic(fmt.Sprintf("%T", v))
}

// replaced returns d with another value for a name.
func (d dict) replaced(name string, v any) dict {
	d = slices.Clone(d)
	for i := 0; i < len(d); i += 2 {
		if d[i] == name {
			d[i+1] = v
			return d
		}
	}
	return append(d, name, v)
}

// at returns the dictionary that d has for a name.
func (d dict) at(name string) dict { return d[slices.Index(d, any(name))+1].(dict) }

const t0 = 1764410400.25

// conns returns what a flow of a version says of its connections.
func conns(version int) (client, server dict) {
	if version < 19 {
		return dict{"address", array{"127.0.0.1", 5000}, "tls_version", nil, "cipher_name", nil, "timestamp_start", t0, "timestamp_end", t0 + 9},
			dict{"address", array{"a.example", 443}, "ip_address", array{"192.0.2.1", 443}, "tls_version", "TLSv1.3", "cipher_name", "TLS_AES_128_GCM_SHA256", "sni", "a.example"}
	}
	return dict{"peername", array{"127.0.0.1", 5000}, "tls_version", nil, "cipher", nil, "timestamp_start", t0, "timestamp_end", t0 + 9},
		dict{"address", array{"a.example", 443}, "peername", array{"192.0.2.1", 443}, "tls_version", "TLSv1.3", "cipher", "TLS_AES_128_GCM_SHA256", "sni", "a.example"}
}

func headers(pairs ...string) array {
	a := array{}
	for i := 0; i < len(pairs); i += 2 {
		a = append(a, array{[]byte(pairs[i]), []byte(pairs[i+1])})
	}
	return a
}

func b(s string) []byte { return []byte(s) }

// post returns an exchange.
func post(version int) dict {
	client, server := conns(version)
	return dict{"id", "1", "error", nil, "client_conn", client, "server_conn", server, "timestamp_created", t0,
		"request", dict{"http_version", b("HTTP/1.1"), "headers", headers("Host", "a.example", "content-length", "5"), "content", b("hello"), "trailers", nil,
			"timestamp_start", t0, "timestamp_end", t0 + 0.5, "host", "a.example", "port", 443, "method", b("POST"), "scheme", b("https"), "authority", b(""), "path", b("/rpc?x=1")},
		"response", dict{"http_version", b("HTTP/1.1"), "headers", headers("Transfer-Encoding", "chunked"), "content", b("{}"), "trailers", nil,
			"timestamp_start", t0 + 1, "timestamp_end", t0 + 2, "status_code", 200, "reason", b("OK")},
		"websocket", nil, "version", version, "type", "http"}
}

// chat returns a WebSocket connection.
func chat(version int, messages array, end ...any) dict {
	client, server := conns(version)
	ws := dict{"messages", messages, "closed_by_client", nil, "close_code", nil, "close_reason", nil, "timestamp_end", nil}
	if len(end) > 0 {
		ws = dict{"messages", messages, "closed_by_client", end[0], "close_code", end[1], "close_reason", end[2], "timestamp_end", t0 + 5}
	}
	return dict{"client_conn", client, "server_conn", server, "error", nil, "timestamp_created", t0,
		"request", dict{"http_version", b("HTTP/1.1"), "headers", headers("Host", "a.example", "Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEA==", "Sec-WebSocket-Version", "13"),
			"content", b(""), "timestamp_start", t0, "timestamp_end", t0, "host", "a.example", "port", 443, "method", b("GET"), "scheme", b("https"), "authority", b(""), "path", b("/chat")},
		"response", dict{"http_version", b("HTTP/1.1"), "headers", headers("Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Accept", "C/0nmHhBztSRGR1CwL6Tf4ZjwpY="),
			"content", b(""), "timestamp_start", t0 + 1, "timestamp_end", t0 + 1, "status_code", 101, "reason", b("Switching Protocols")},
		"websocket", ws, "version", version, "type", "http"}
}

// said returns a message, which came so many seconds after the start.
func said(op int, fromClient bool, text string, after float64, dropped, injected bool) array {
	return array{op, fromClient, b(text), t0 + after, dropped, injected}
}

// A teller notes what events say, by session.
type teller struct {
	said  map[int64][]string
	order []int64
}

func (s *teller) Emit(ev *decode.Event) {
	if s.said == nil {
		s.said = map[int64][]string{}
	}
	tell := func(format string, args ...any) {
		when := ev.Time.UTC().Format("05.000")
		s.said[ev.Conn] = append(s.said[ev.Conn], when+" "+fmt.Sprintf(format, args...))
		s.order = append(s.order, ev.Conn)
	}
	d := ev.Dir.Arrow()
	switch ev.Kind {
	case decode.KindOpen:
		i := ev.Info
		tell("open %s %s %s noframes=%t", i.Client, i.Server, i.URL, i.NoFrames)
		if i.ServerTLS != nil {
			tell("tls %+v", *i.ServerTLS)
		}
	case decode.KindRequest:
		tell("request %q", ev.Handshake.Request.Append(nil))
	case decode.KindResponse:
		tell("response %q", ev.Head.Append(nil))
	case decode.KindBody:
		tell("body %s %q %d part=%t", d, ev.Data, ev.BodyLen, ev.Part)
	case decode.KindMessage:
		tell("message %s %d %q", d, ev.Message.Op, ev.Message.Data)
	case decode.KindNotice:
		tell("notice %s", ev.Text)
	case decode.KindOpaque:
		tell("opaque %s", ev.Text)
	case decode.KindEnd:
		tell("end %s %q both=%t", ev.How, ev.Text, ev.Both)
	case decode.KindClosed:
		tell("closed code=%d bytes=%d", ev.Totals.Code, ev.Totals.Bytes)
	}
	for i := range ev.Violations {
		if v := &ev.Violations[i]; v.Severity != decode.SeverityInfo {
			tell("%s %s %s", v.Severity, v.ID, v.Text)
		}
	}
}

func (s *teller) all() string {
	var b strings.Builder
	for _, conn := range slices.Sorted(maps.Keys(s.said)) {
		for _, line := range s.said[conn] {
			fmt.Fprintln(&b, conn, line)
		}
	}
	return b.String()
}

func source(text string) *Source { return &Source{R: strings.NewReader(text), Size: int64(len(text))} }

// look is what commands ask for.
var look = decode.Look{Messages: true, Advice: true, Bodies: 1 << 30}

func TestPlay(t *testing.T) {
	const tls = "tls {Version:TLS1.3 Cipher:TLS_AES_128_GCM_SHA256 ALPN: SNI:a.example}"
	for version := minVersion; version <= maxVersion; version++ {
		for _, c := range []struct {
			name string
			flow dict
			want []string
		}{
			{"exchange", post(version), []string{
				"00.250 open 127.0.0.1:5000 a.example:443 https://a.example/rpc?x=1 noframes=false", "00.250 " + tls,
				`00.250 request "POST /rpc?x=1 HTTP/1.1\r\nHost: a.example\r\ncontent-length: 5\r\n\r\n"`, `00.750 body > "hello" 5 part=false`,
				`01.250 response "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"`, `02.250 body < "{}" 2 part=false`, "02.250 closed code=0 bytes=[5 2]"}},
			{"failed", post(version).replaced("response", nil).replaced("error", dict{"msg", "Connection refused", "timestamp", t0 + 3}), []string{
				"open", "tls", "request", "body", `03.250 end local "Connection refused" both=true`, "03.250 closed code=0 bytes=[5 0]"}},
			{"failed in a body that was not kept", post(version).replaced("response", post(version).at("response").replaced("content", nil).replaced("headers", headers("Content-Length", "100"))).replaced("error", dict{"msg", "reset", "timestamp", t0 + 3}), []string{
				"open", "tls", "request", "body", "response", `03.250 end local "reset" both=true`, "03.250 closed code=0 bytes=[5 0]"}},
			{"killed", chat(version, array{}).replaced("error", dict{"msg", "Connection killed.", "timestamp", t0 + 3}), []string{
				"open", "tls", "request", "response", "03.250 notice mitmproxy: Connection killed.", "03.250 closed code=0"}},
			{"not followed", chat(version, array{}).replaced("websocket", nil), []string{
				"open", "tls", "notice mitmproxy has not kept what followed", "request", "response", "01.250 closed code=0"}},
			{"not answered yet", post(version).replaced("response", nil), []string{"open", "tls", "request", "body"}},
			{"closed", chat(version, array{said(1, true, "hi", 2, false, false), said(2, false, "\x00\xff", 3, false, false)}, true, 1000, "bye"), []string{
				"00.250 open 127.0.0.1:5000 a.example:443 wss://a.example/chat noframes=true", "tls", "request", "response",
				`02.250 message > 1 "hi"`, `03.250 message < 2 "\x00\xff"`, `05.250 message > 8 "\x03\xe8bye"`, `end fin "" both=true`, "closed code=1000 bytes=[7 2]"}},
			{"closed by the server, without a code", chat(version, array{}, false, 1005, ""), []string{
				"open", "tls", "request", "response", `message < 8 ""`, "end", "closed code=1005"}},
			{"broken", chat(version, array{}, false, 1006, ""), []string{"open", "tls", "request", "response", "end", "closed code=1006"}},
			{"open", chat(version, array{said(1, true, "hi", 2, false, false)}), []string{"open", "tls", "request", "response", "message > 1"}},
			{"dropped and injected", chat(version, array{said(1, true, "a", 2, true, false), said(1, false, "b", 3, false, true)}), []string{
				"open", "tls", "request", "response", `message > 1 "a"`, "notice mitmproxy dropped", `03.250 notice mitmproxy sent a text message to the client, which did not come from the server: "b"`}},
		} {
			t.Run(fmt.Sprint(version, " ", c.name), func(t *testing.T) {
				got := new(teller)
				if err := source(tnet(c.flow)).Play(t.Context(), got, look); err != nil {
					t.Fatal(err)
				}
				lines := got.said[1]
				if len(lines) != len(c.want) {
					t.Fatalf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(c.want, "\n"))
				}
				for i, want := range c.want {
					if !strings.Contains(lines[i], want) {
						t.Errorf("got %s, want %s", lines[i], want)
					}
				}
			})
		}
	}
}

// TestVersions reads flows of versions that are too old and too new, of which the first
// one is told.
func TestVersions(t *testing.T) {
	text := tnet(post(16)) + tnet(post(17)) + tnet(post(22)) + tnet(post(16))
	var bad []error
	src := source(text)
	src.Bad = func(err error) { bad = append(bad, err) }
	got := new(teller)
	if err := src.Play(t.Context(), got, look); err != nil {
		t.Error(err)
	}
	if len(bad) != 1 || !strings.Contains(got.all(), "2 00.250 open") || !strings.Contains(got.all(), "0 00.250 notice 2 flows are of another version, too: left out") {
		t.Errorf("got %v and\n%s", bad, got.all())
	}
	for text, old := range map[string]bool{text: true, tnet(post(22)): false, tnet(dict{"type", "http", "version", array{0, 18}}): true} {
		err := source(text).Play(t.Context(), got, look)
		if v, ok := errors.AsType[*VersionError](err); !ok || v.Old() != old {
			t.Errorf("got %v, want one of an old version: %t", err, old)
		}
	}
}

func TestOthers(t *testing.T) {
	client, server := conns(21)
	tcp := dict{"client_conn", client, "server_conn", server, "error", nil, "messages", array{array{true, b("hello"), t0 + 1}, array{false, b("you"), t0 + 2}}, "version", 21, "type", "tcp"}
	dns := dict{"client_conn", client, "server_conn", server, "version", 21, "type", "dns"}
	late := post(21)
	got := new(teller)
	src := source(tnet(tcp) + tnet(dns) + tnet(late) + tnet(chat(17, array{})))
	if err := src.Play(t.Context(), got, look); err != nil {
		t.Fatal(err)
	}
	want := []string{"0 00.250 notice 1 flow is neither HTTP nor TCP: left out", "1 00.250 open 127.0.0.1:5000 a.example:443", "1 00.250 opaque a TCP flow", "1 09.250 closed code=0 bytes=[5 3]", "3 00.250 open", "4 00.250 open"}
	text := got.all()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("got no %q in\n%s", w, text)
		}
	}
	if src.Last() != 4 {
		t.Errorf("got %d as the last session, want 4", src.Last())
	}
	if slices.IsSorted(got.order) {
		t.Errorf("got events of sessions %d, want them by time", got.order)
	}
}

// TestCut plays every beginning of a file.
func TestCut(t *testing.T) {
	first, second := tnet(post(17)), tnet(chat(21, array{said(1, true, "hi", 2, false, false)}))
	text := first + second
	for n := range text {
		got := new(teller)
		err := source(text[:n]).Play(t.Context(), got, decode.Look{})
		whole := n == 0 || n == len(first)
		at, ok := errors.AsType[*decode.SourceError](err)
		if whole && err != nil || !whole && (!errors.Is(err, decode.ErrCut) || !ok) {
			t.Fatalf("the first %d bytes: got %v", n, err)
		}
		if n > len(first) && (len(got.said[1]) == 0 || at.Offset != int64(len(first))) {
			t.Fatalf("the first %d bytes: got\n%s%v", n, got.all(), err)
		}
	}
}

func TestDamage(t *testing.T) {
	deep := ""
	for range 5000 {
		deep = strconv.Itoa(len(deep)) + ":" + deep + "]"
	}
	for _, c := range []struct{ name, text, want string }{
		{"no length", "hello", `byte 0: "hello" is no length of a value`},
		{"digits without end", strings.Repeat("1", 100), `byte 0: "1111111111111" is no length`},
		{"absurd length", "999999999999:x", "byte 0: the file is cut off here"},
		{"no dictionary", "2:ab,", "no flow: a value of type ','"},
		{"unknown type", "2:ab?", `'?' is no type of a value`},
		{"no version", tnet(dict{"type", "http"}), "no version"},
		{"empty", "0:}", "no version"},
		{"too old", tnet(dict{"type", "http", "version", 16}), "a flow of version 16, 17 to 21 are read"},
		{"too new", tnet(dict{"type", "http", "version", 22}), "a flow of version 22, 17 to 21 are read"},
		{"very old", tnet(dict{"type", "http", "version", array{0, 18}}), "a flow of an old version"},
		{"longer than what it is in", "12:7:version;9:}", "byte 13: a value of 9 bytes in one that has"},
		{"no request", tnet(dict{"type", "http", "version", 17, "request", 1, "response", nil}), `want '}'`},
		{"not a time", tnet(post(17).replaced("timestamp_created", "x").replaced("request", nil)), "want \"#^\""},
		{"year 300000", tnet(post(17).replaced("timestamp_created", 1e13).replaced("request", nil)), "no time"},
		{"message of type 9", tnet(chat(17, array{said(9, true, "hi", 2, false, false)})), "a message of type 9"},
		{"status", tnet(post(17).replaced("response", dict{"status_code", 1})), "1 is no status"},
		{"deep metadata", tnet(post(17).replaced("metadata", b(deep))), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := source(c.text).Play(t.Context(), new(teller), look)
			if at, ok := errors.AsType[*decode.SourceError](err); c.want != "" && (!ok || !strings.Contains(at.Error(), c.want)) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			var bad []error
			src := source(c.text + tnet(post(17)))
			src.Bad = func(err error) { bad = append(bad, err) }
			got := new(teller)
			err = src.Play(t.Context(), got, look)
			if c.want != "" && err == nil && (len(bad) == 0 || len(got.said[2]) == 0) {
				t.Errorf("got %v, and of the flow behind it %q", bad, got.said[2])
			}
		})
	}
}

// TestLarge plays bodies that are larger than the memory that it may take.
func TestLarge(t *testing.T) {
	const size = 64 << 20
	r := newHole(size)
	src := &Source{R: r, Size: r.size}
	var got int64
	allocated := testing.AllocsPerRun(1, func() {
		got = 0
		err := src.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
			if ev.Kind == decode.KindClosed {
				got = ev.Totals.Bytes[decode.FromServer]
			}
		}), decode.Look{})
		if err != nil {
			t.Error(err)
		}
	})
	if got != size || allocated > 1000 {
		t.Errorf("got %d bytes with %v allocations, want %d with few", got, allocated, size)
	}
}

// A hole is a file of one flow whose body has size bytes that are nowhere.
type hole struct {
	before, after string
	size          int64
}

func newHole(n int64) *hole {
	response := dict{"http_version", b("HTTP/1.1"), "headers", headers("Content-Length", strconv.FormatInt(n, 10)), "status_code", 200, "reason", b("OK"), "timestamp_start", t0, "timestamp_end", t0}
	var inner strings.Builder
	for _, v := range response {
		inner.WriteString(tnet(v))
	}
	before := inner.String() + "7:content;" + strconv.FormatInt(n, 10) + ":"
	wrap := func(before, after, typ string) (string, string) {
		return strconv.FormatInt(int64(len(before)+len(after))+n, 10) + ":" + before, after + typ
	}
	before, after := wrap(before, ",", "}")
	top := ""
	for _, v := range post(17).replaced("response", nil) {
		if v == "response" {
			v = "was"
		}
		top += tnet(v)
	}
	before, after = wrap(top+"8:response;"+before, after, "}")
	return &hole{before, after, int64(len(before)+len(after)) + n}
}

func (h *hole) ReadAt(p []byte, at int64) (int, error) {
	clear(p)
	from := int64(len(h.before))
	if at < from {
		copy(p, h.before[at:])
	}
	if end := h.size - int64(len(h.after)); at+int64(len(p)) > end {
		if at < end {
			copy(p[end-at:], h.after)
		} else {
			copy(p, h.after[at-end:])
		}
	}
	return len(p), nil
}

func FuzzFlow(f *testing.F) {
	f.Add([]byte(tnet(post(17)) + tnet(chat(21, array{said(1, true, "hi", 2, false, false)}, true, 1000, "bye"))))
	f.Add([]byte(tnet(dict{"type", "tcp", "version", 21, "messages", array{array{true, b("hello"), t0 + 1}}})))
	f.Add([]byte("999999999999:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		src := &Source{R: bytes.NewReader(b), Size: int64(len(b)), Bad: func(error) {}}
		src.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
			if ev.Kind == decode.KindOpen && ev.Conn < 1 {
				t.Error("a session without a number")
			}
		}), look)
	})
}
