package edit

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/trace"
)

// quoted returns s as a JSON string.
func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func base(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func zipped(s string) string { return string(recoded([]byte(s), "gzip")) }

// bodyOf returns a response whose body of some type is a text; with a length of 0 only
// the end tells how long it is.
func bodyOf(media, text string, length int) string {
	head := `{"k":"res","v":"HTTP/1.1","code":200,"reason":"","h":[["Content-Type",` + quoted(media) + `]`
	if length > 0 {
		head += fmt.Sprintf(`,["Content-Length","%d"]`, length)
	}
	return head + "]}\n" + `{"k":"body","d":"<","text":` + quoted(text) + `}`
}

func codedBody(coding, content string) string {
	return `{"k":"res","v":"HTTP/1.1","code":200,"reason":"","h":[["Content-Encoding",` + quoted(coding) + `]]}
{"k":"body","d":"<","b64":` + quoted(base(content)) + `}`
}

// places is every place of a trace where text can stand: a function that puts it
// there.
var places = map[string]func(text string) string{
	"url": func(s string) string { return `{"k":"open","c":2,"url":` + quoted("ws://h/"+s) + `}` },
	"target": func(s string) string {
		return `{"k":"req","m":"GET","target":` + quoted("/"+s) + `,"v":"HTTP/1.1","h":[]}`
	},
	"escaped target": func(s string) string {
		return `{"k":"req","m":"GET","target":` + quoted("/x?q="+url.QueryEscape(" "+s)) + `,"v":"HTTP/1.1","h":[]}`
	},
	"referer": func(s string) string {
		return `{"k":"req","m":"GET","target":"/","v":"HTTP/1.1","h":[["Referer",` + quoted("http://h/"+s) + `]]}`
	},
	"header": func(s string) string {
		return `{"k":"req","m":"GET","target":"/","v":"HTTP/1.1","h":[["X-Other",` + quoted("a, "+s+", b") + `]]}`
	},
	"raw head": func(s string) string {
		return `{"k":"req","raw":"` + base("GET / HTTP/1.1\r\nx:  "+s+"\r\n\r\n") + `"}`
	},
	"latin1 head": func(s string) string {
		return `{"k":"req","raw":"` + base("GET / HTTP/1.1\r\nx: "+s+" \xfc\r\n\r\n") + `"}`
	},
	"cut head":   func(s string) string { return `{"k":"req","raw":"` + base("GET / HTTP/1.1\r\nx: "+s) + `"}` },
	"cut target": func(s string) string { return `{"k":"req","raw":"` + base("GET /"+s) + `"}` },
	"continuation": func(s string) string {
		return `{"k":"req","raw":"` + base("GET / HTTP/1.1\r\nx: a\r\n\t"+s+"\r\n\r\n") + `"}`
	},
	"no colon": func(s string) string { return `{"k":"req","raw":"` + base("GET / HTTP/1.1\r\n"+s+"\r\n\r\n") + `"}` },
	"reason phrase": func(s string) string {
		return `{"k":"res","v":"HTTP/1.1","code":403,"reason":` + quoted(s) + `,"h":[]}`
	},
	"body": func(s string) string {
		return `{"k":"res","v":"HTTP/1.1","code":403,"reason":"","h":[],"body":"` + base(s) + `"}`
	},
	"gzip body": func(s string) string {
		return `{"k":"res","v":"HTTP/1.1","code":403,"reason":"","h":[["Content-Encoding","gzip"]],"body":"` + base(zipped(s)) + `"}`
	},
	"body of its own": func(s string) string { return bodyOf("text/plain", s, len(s)) },
	"pieces of a body": func(s string) string {
		n := len(s) / 2
		return bodyOf("text/plain", s[:n], len(s)) + "\n" + `{"k":"body","d":"<","text":` + quoted(s[n:]) + `}`
	},
	"gzip body of its own": func(s string) string { return codedBody("gzip", zipped(s)) },
	"deflate body":         func(s string) string { return codedBody("deflate", string(recoded([]byte(s), "deflate"))) },
	"br body":              func(s string) string { return codedBody("br", s) },
	"two codings":          func(s string) string { return codedBody("br, gzip", zipped(s)) },
	"cut gzip body": func(s string) string {
		return strings.TrimSuffix(codedBody("gzip", zipped(s)), "}") + `,"len":999,"cut":true}`
	},
	"cut body": func(s string) string {
		return strings.TrimSuffix(bodyOf("text/plain", s, 999), "}") + `,"len":999,"cut":true}`
	},
	"unfinished body": func(s string) string { return bodyOf("text/plain", s, 999) },
	"long body":       func(s string) string { return bodyOf("text/plain", strings.Repeat("x ", MaxMessage/2)+s, 0) },
	"body without a head": func(s string) string {
		return `{"k":"body","d":"<","text":` + quoted(s) + `}`
	},
	"body with a byte that is no text": func(s string) string {
		return `{"k":"body","d":"<","b64":` + quoted(base(s+"\xff")) + `}`
	},
	"form": func(s string) string {
		return bodyOf("application/x-www-form-urlencoded", "a=b&v="+url.QueryEscape(s), 0)
	},
	"form in parts": func(s string) string {
		const lead = "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"
		return bodyOf("multipart/form-data; boundary=xyz", lead+s+"\r\n--xyz--\r\n", 0)
	},
	"body that was looked into": func(s string) string { // by -o json
		return codedBody("gzip", s)[:len(codedBody("gzip", s))-1] + `,"=packed":"gzip"}`
	},
	"text":   func(s string) string { return `{"k":"frame","d":"<","op":"text","text":` + quoted(s) + `}` },
	"binary": func(s string) string { return `{"k":"frame","d":"<","op":"bin","b64":"` + base(s) + `"}` },
	"one bad byte": func(s string) string {
		return `{"k":"frame","d":"<","op":"text","b64":"` + base(s+"\xff") + `"}`
	},
	"bad JSON": func(s string) string {
		return `{"k":"frame","d":"<","op":"text","text":` + quoted(`{"a":"`+strings.ReplaceAll(s, `"`, `\"`)+`",`) + `}`
	},
	"nested JSON": func(s string) string {
		return `{"k":"frame","d":"<","op":"text","text":` + quoted(`[{"a":[`+quoted(s)+`]}]`) + `}`
	},
	"escaped JSON": func(s string) string {
		var b strings.Builder
		for _, c := range s {
			fmt.Fprintf(&b, `\u%04x`, c)
		}
		return `{"k":"frame","d":"<","op":"text","text":` + quoted(`{"a":"`+b.String()+`"}`) + `}`
	},
	"fragments": func(s string) string {
		n := len(s) / 2
		return `{"k":"frame","d":"<","op":"text","fin":false,"text":` + quoted(s[:n]) + `}
{"k":"frame","d":"<","op":"ping"}
{"k":"frame","d":"<","op":"cont","text":` + quoted(s[n:]) + `}`
	},
	"pieces": func(s string) string {
		n := len(s) / 2
		return fmt.Sprintf(`{"k":"frame","d":"<","op":"text","len":%d,"text":%s}
{"k":"note","text":"between"}
{"k":"more","d":"<","text":%s}`, len(s), quoted(s[:n]), quoted(s[n:]))
	},
	"compressed": func(s string) string {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 9)
		w.Write([]byte(s))
		w.Flush()
		p := strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
		return `{"k":"open","c":2,"ext":"permessage-deflate"}
{"k":"frame","d":"<","op":"text","rsv":4,"b64":"` + base(p) + `","=text":` + quoted(s) + `}`
	},
	"can't be inflated": func(s string) string {
		return `{"k":"open","c":2,"ext":"permessage-deflate"}
{"k":"frame","d":"<","op":"text","rsv":4,"b64":"` + base("\xff"+s) + `"}`
	},
	"to be compressed": func(s string) string {
		return `{"k":"open","c":2,"ext":"permessage-deflate"}
{"k":"frame","d":"<","op":"text","deflate":` + quoted(s) + `}`
	},
	"unfinished": func(s string) string { return `{"k":"frame","d":"<","op":"text","fin":false,"text":` + quoted(s) + `}` },
	"lone continuation": func(s string) string {
		return `{"k":"frame","d":"<","op":"cont","text":` + quoted(s) + `}`
	},
	"too long": func(s string) string {
		return `{"k":"frame","d":"<","op":"text","text":` + quoted(strings.Repeat("x ", MaxMessage/2)+s) + `}`
	},
	"sent instead": func(s string) string {
		return `{"k":"frame","d":"<","op":"text","text":"a","fx":"replace","change":` + quoted(s) + `}
{"k":"frame","d":"<","op":"text","text":` + quoted(s) + `,"leg":"out","change":` + quoted(s) + `}`
	},
	"close reason": func(s string) string {
		return `{"k":"frame","d":"<","op":"close","code":1000,"reason":` + quoted(s) + `}`
	},
	"ping":    func(s string) string { return `{"k":"frame","d":"<","op":"ping","text":` + quoted(s) + `}` },
	"junk":    func(s string) string { return `{"k":"junk","d":"<","b64":"` + base(s) + `","why":` + quoted(s) + `}` },
	"comment": func(s string) string { return "# " + s },
	"method":  func(s string) string { return `{"k":"req","m":` + quoted(s) + `,"target":"/","v":"HTTP/1.1","h":[]}` },
	"version": func(s string) string {
		return `{"k":"req","m":"GET","target":"/","v":` + quoted("HTTP/"+s) + `,"h":[]}`
	},
	"header name": func(s string) string {
		return `{"k":"req","m":"GET","target":"/","v":"HTTP/1.1","h":[[` + quoted(s) + `,"a"]]}`
	},
	"extension": func(s string) string {
		return `{"k":"req","m":"GET","target":"/","v":"HTTP/1.1","h":[["Sec-WebSocket-Extensions",` + quoted("permessage-deflate; "+s+", mux") + `]]}`
	},
	"agreed extension": func(s string) string { return `{"k":"open","c":2,"ext":` + quoted("x; "+s) + `}` },
	"pieces of junk": func(s string) string {
		n := len(s) / 2
		return `{"k":"junk","d":"<","b64":"` + base(s[:n]) + `"}
{"k":"note","text":"between"}
{"k":"junk","d":"<","b64":"` + base(s[n:]) + `"}`
	},
	"section":       func(s string) string { return `{"k":"violation","conn":1,"rule":"x","section":` + quoted(s) + `}` },
	"name of a key": func(s string) string { return `{"k":"note","text":"",` + quoted(s) + `:[{` + quoted(s) + `:1}]}` },
	"derived text": func(s string) string {
		return `{"k":"frame","d":"<","op":"text","text":"a","=text":` + quoted(s) + `}`
	},
	"note": func(s string) string { return `{"k":"note","text":` + quoted(s) + `}` },
	"end":  func(s string) string { return `{"k":"end","d":"<","how":"local","err":` + quoted("dial "+s) + `}` },
	"opaque": func(s string) string {
		return `{"k":"opaque","d":"<","why":` + quoted(s) + `}`
	},
	"derived message": func(s string) string {
		return `{"k":"message","d":"<","op":"text","len":5,"text":` + quoted(s) + `}`
	},
	"violation": func(s string) string { return `{"k":"violation","conn":1,"rule":"x","text":` + quoted("of "+s) + `}` },
	"closed":    func(s string) string { return `{"k":"closed","c":1,"code":1000,"reason":` + quoted(s) + `}` },
	"unknown key": func(s string) string {
		return `{"k":"note","text":"","other":[{"a":` + quoted(s) + `}]}`
	},
	"unknown kind": func(s string) string { return `{"k":"x-mine","a":` + quoted(s) + `}` },
	"tls":          func(s string) string { return `{"k":"open","c":2,"tls":{"client":{"sni":` + quoted(s) + `}}}` },
	"no session": func(s string) string {
		return `{"k":"req","c":7,"m":"GET","target":` + quoted("/"+s) + `,"v":"HTTP/1.1","h":[]}`
	},
}

// A secret is gone from every place where text can stand, and what is left is a
// trace that stays as it is when it is redacted again.
func TestPlaces(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.S3CRETsignature"
	for _, kind := range []struct{ name, text, secret, selector string }{
		{"expression", "key=S3CRET-a", "S3CRET", `/key=([A-Z0-9]+)/`},
		{"literal", "so S3CRET is", "S3CRET", `/S3CRET/`},
		{"token", "v=" + jwt, "S3CRET", "credentials"},
		{"parameter", "x?apikey=S3CRET", "S3CRET", "credentials"},
		{"selected parameter", "x?mine=S3CRET", "S3CRET", "?mine"},
		{"key of a maker", "sk-proj-S3CRETabcdefghijkl", "S3CRET", "credentials"},
		{"bearer", "Bearer S3CRET1234", "S3CRET", "credentials"},
		{"looks redacted", "x?token=redacted-S3CRET", "S3CRET", "credentials"},
	} {
		for place, put := range places {
			if kind.selector == "?mine" && !inHeads[place] {
				continue // it concerns URLs
			}
			trail := "\n{\"k\":\"end\",\"how\":\"fin\"}\n"
			text := open + put(kind.text) + trail
			got := redactedWhole(t, text, kind.selector)
			if what := everything(t, got); strings.Contains(what, kind.secret) {
				t.Errorf("%s in %s: %s", kind.name, place, got)
			}
			if again := redactedWhole(t, got, kind.selector); again != got {
				t.Errorf("%s in %s: a second time\n%s\nwas\n%s", kind.name, place, again, got)
			}
		}
	}
}

var inHeads = map[string]bool{"url": true, "target": true, "referer": true, "raw head": true, "header": true}

func redactedWhole(t *testing.T, text, selector string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Redact(&b, strings.NewReader(text), selector); err != nil {
		t.Fatal(err, text[:min(len(text), 300)])
	}
	return b.String()
}

// everything returns a trace with what is encoded in it.
func everything(t *testing.T, text string) string {
	t.Helper()
	var all strings.Builder
	all.WriteString(text)
	for line := range strings.Lines(text) {
		if line[0] == '#' {
			continue
		}
		rec, err := trace.Parse([]byte(line))
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all.Write(rec.Payload)
		all.Write(rec.Body)
		for _, b := range [][]byte{rec.Body, rec.Payload} {
			for _, coding := range []string{"gzip", "deflate"} {
				plain, _ := uncoded(b, coding)
				all.Write(plain)
			}
		}
		if rec.Rsv == 4 {
			fmt.Fprint(&all, readAll(flate.NewReader(bytes.NewReader(rec.Payload))))
		}
		if rec.Head != nil {
			s, _ := url.QueryUnescape(rec.Head.Target)
			all.WriteString(rec.Head.Raw + s)
		}
		var v any
		if json.Unmarshal(rec.Payload, &v) == nil {
			fmt.Fprint(&all, v)
		}
	}
	return all.String()
}

func readAll(r interface{ Read([]byte) (int, error) }) string {
	var b bytes.Buffer
	b.ReadFrom(r)
	return b.String()
}

// What only JSON or a protocol tells.
func TestCredentialsInMessages(t *testing.T) {
	frame := func(op, payload string) string {
		return `{"k":"frame","d":">","op":"` + op + `","b64":"` + base(payload) + `"}`
	}
	connect := "\x10\x1f\x00\x04MQTT\x04\xc2\x00\x3c\x00\x03abc\x00\x04user\x00\x06S3CRET"
	connect = "\x10" + string(rune(len(connect)-2)) + connect[2:]
	for _, c := range []string{
		frame("text", `{"type":"auth","accessToken":"S3CRET"}`),
		frame("text", `{"a":{"connectionToken":"S3CRET"},"reconnectionToken":"S3CRET"}`+"\x1e"),
		frame("text", `0{"sid":"S3CRET","pingInterval":25000}`),
		frame("text", `40{"sid":"S3CRET"}`),
		frame("bin", `{"password":"S3CRET"}`),
		frame("text", `{"access_token":"S3CRET","bad":"`+"\xff"+`"}`),
		frame("text", `{"access_token" : "S3CRET`),
		frame("text", `{"op":2,"d":{"token":"S3CRETS3CRETS3CRET"}}`),
		frame("text", `{"data":"{\"password\":\"S3CRET\"}"}`),
		frame("bin", connect),
		frame("text", "CONNECT\nlogin:a\npasscode:S3CRET\n\n\x00"),
		frame("text", "CAP REQ :x\r\nPASS oauth:S3CRET\r\nNICK a\r\n"),
		frame("text", `{"accessToken":["S3CRET"],"a":{"password":{"value":"S3CRET","n":[{"x":"S3CRET"}]}}}`),
		frame("text", `{"headers":[["Host","a"],["Authorization","S3CRET"]]}`),
		frame("text", `{"rawHeaders":["Host","a","X-Api-Key","S3CRET"]}`),
		frame("text", `{"headers":[{"name":"Cookie","value":"S3CRET"}]}`),
		frame("bin", "\x83"+`{"headers":[["Authorization","S3CRET"]],"accessToken":["S3CRET"]`),
		frame("text", `{"headers":[{"name":"Cookie","value":"S3CRET"}],`),
		frame("text", `{accessToken:"S3CRET"}`),
		frame("text", `{'accessToken' : 'S3CRET'}`),
		frame("text", "access_token=S3CRET&x=1"),
		frame("text", "<a><password>S3CRET</password></a>"),
		`{"k":"req","m":"GET","target":"/?data=%7B%22password%22%3A%22S3CRET%22%7D&x={\"password\":\"S3CRET\"}","v":"HTTP/1.1","h":[["Api_Key","S3CRET"]]}`,
		`# {"accessToken":"S3CRET"}`,
		`{"k":"x-mine","password":"S3CRET","a":{"password":"S3CRET"}}`,
		`{"k":"res","v":"HTTP/1.1","code":403,"reason":"","h":[["Content-Length","9"]],"body":"` + base(`{"accessToken":"S3CRET"}`) + `"}`,
	} {
		got := redactedWhole(t, open+c+"\n", "credentials")
		if strings.Contains(everything(t, got), "S3CRET") {
			t.Errorf("%s\nis left in %s", everything(t, open+c+"\n"), got)
		}
	}
	got := redactedWhole(t, open+frame("bin", connect)+"\n", "credentials")
	want := "\x10\x2d\x00\x04MQTT\x04\xc2\x00\x3c\x00\x03abc\x00\x04user\x00\x13redacted-password-1"
	want = "\x10" + string(rune(len(want)-2)) + want[2:]
	if !strings.Contains(everything(t, got), want) {
		t.Errorf("got %q", everything(t, got))
	}
}
