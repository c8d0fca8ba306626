package replay

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// said returns a trace of a session in which the handshake has a target and headers of the
// answer, and in which messages follow: "> text", "< text", and with >b and <b binary.
func said(target, headers string, messages ...string) string {
	text := `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n" + strings.Replace(upgradeOf(target, ""), `["Sec-WebSocket-Accept"`, headers+`["Sec-WebSocket-Accept"`, 1)
	for _, m := range messages {
		who, content, _ := strings.Cut(m, " ")
		op, mask := "text", ""
		if strings.HasSuffix(who, "b") {
			op = "bin"
		}
		if who[0] == '>' {
			mask = `,"mask":"00000000"`
		}
		text += fmt.Sprintf(`{"k":"frame","d":"%c","op":"%s"%s,"b64":"%s"}`+"\n", who[0], op, mask, base64.StdEncoding.EncodeToString([]byte(content)))
	}
	return text
}

// A run is a recording and what is said this time. In each of the tests one side is played
// from the recording, and the other says what is said this time, and expects that.
type run struct {
	name           string
	recorded, live string
	opts           []LoadOption
	captured       []string // selectors that are told
	want           string   // the end of the error; "" for none
}

// check plays the run, with the role that hears the first value.
func (r *run) check(t *testing.T, role decode.Dir) {
	t.Helper()
	var mu sync.Mutex
	var told []string
	how := []PlayOption{Captured(func(sel string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, sel)
	})}
	var err, other error
	ours, theirs := loaded(t, r.recorded, r.opts...), loaded(t, r.live)
	if role == decode.FromServer {
		err, other = bothAs(t, ours, theirs, how, nil)
	} else {
		other, err = bothAs(t, theirs, ours, nil, how)
	}
	switch {
	case r.want == "":
		check(t, err, "")
		check(t, other, "")
	case err == nil || !strings.HasSuffix(err.Error(), r.want):
		t.Errorf("got %v, want … %s", err, r.want)
	}
	slices.Sort(told)
	if !slices.Equal(told, r.captured) {
		t.Errorf("captured %q, want %q", told, r.captured)
	}
}

const (
	id1, id2, id3 = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "16fd2706-8baf-433b-82eb-8c7fada847da"
)

// TestCaptureServed captures what a client makes up.
func TestCaptureServed(t *testing.T) {
	auto := []LoadOption{CaptureAuto()}
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, r := range []run{
		{"parameter, into a message", said("/a?id=abcd", "", `< you are abcd`), said("/a?id=x%20y", "", `< you are x y`), []LoadOption{Capture("?id")}, nil, ""},
		{"parameter that is missing", said("/a?id=abcd", "", `< you are abcd`), said("/a", "", `< you are x`), []LoadOption{Capture("?id")}, nil, `expected query "id=abcd", got ""`},
		{"path, by an expression", said("/room/abcd", "", `< you are abcd`), said("/room/xyz", "", `< you are xyz`), []LoadOption{Capture("/room.(.*)/")}, nil, ""},
		{"header", strings.Replace(said("/", "", `< hi abcd`), `["Host","h"]`, `["Host","h"],["X-Id","abcd"]`, 1), strings.Replace(said("/", "", `< hi xyz`), `["Host","h"]`, `["Host","h"],["X-Id","xyz"]`, 1), []LoadOption{Capture("x-id:")}, nil, ""},
		{"parameter, into a header of the answer", said("/?id=abcd", `["X-Id","abcd"],`), said("/?id=xyz1", `["X-Id","xyz1"],`), []LoadOption{Capture("?id"), Headers("X-Id")}, nil, ""},
		{"message, into base64", said("/", "", `> {"user":"abcd"}`, `< {"auth":"`+b64("abcd:secret")+`"}`), said("/", "", `> {"user":"xyz"}`, `< {"auth":"`+b64("xyz:secret")+`"}`), []LoadOption{Capture("$.user")}, nil, ""},
		{"JSON in a binary message", said("/", "", `>b {"id":"ab"}`, `<b {"re":"ab"}`), said("/", "", `>b {"id":"xyz"}`, `<b {"re":"xyz"}`), []LoadOption{Capture("$.id")}, nil, ""},
		{"binary", said("/", "", "> id abcd", "<b \x00\x04abcdx"), said("/", "", "> id wxyz", "<b \x00\x04wxyzx"), []LoadOption{Capture("/id (.*)/")}, nil, ""},
		{"binary, of another length", said("/", "", "> id abcd", "<b \x00\x04abcd"), said("/", "", "> id xyz", "<b \x00\x03xyz"), []LoadOption{Capture("/id (.*)/")}, nil,
			`our frame 0 (line 6) has a value that is captured: "xyz" can't be put in the place of "abcd": in a binary message only a value of the same length can be`},
		{"content-length", said("/", "", "> id abcd", "< MESSAGE\ncontent-length:7\n\nhi abcd\x00"), said("/", "", "> id xyz", "< x"), []LoadOption{Capture("/id (.*)/")}, nil,
			`"xyz" can't be put in the place of "abcd": 7, the length of what it is in, stands before it, so only a value of the same length can be`},
		{"content-length that stays", said("/", "", "> id abcd", "< MESSAGE\r\ncontent-length:7\r\n\r\nhi abcd\x00"), said("/", "", "> id wxyz", "< MESSAGE\r\ncontent-length:7\r\n\r\nhi wxyz\x00"), []LoadOption{Capture("/id (.*)/")}, nil, ""},
		{"length of a document", said("/", "", "> id abcd", `< ~m~13~m~{"id":"abcd"}`), said("/", "", "> id xyz", "< x"), []LoadOption{Capture("/id (.*)/")}, nil,
			`'"xyz"' can't be put in the place of '"abcd"': 13, the length of what it is in, stands before it, so only a value of the same length can be`},
		{"length of a value", said("/", "", "> id abcd", `< 4:abcd,`), said("/", "", "> id xyz", "< x"), []LoadOption{Capture("/id (.*)/")}, nil,
			`4, the length of what it is in, stands before it, so only a value of the same length can be`},
		{"a number that is no length", said("/", "", "> id abcd", `< 42["a","abcd"] 7:abcd`), said("/", "", "> id xyz", `< 42["a","xyz"] 7:xyz`), []LoadOption{Capture("/id (.*)/")}, nil, ""},
		{"XML, into JSON", said("/", "", `> <a id="abcd"/>`, `< {"re":"abcd","not":"abcd"}`), said("/", "", `> <a id="&lt;"/>`, `< {"re":"<","not":"abcd"}`), []LoadOption{Capture("xml:/a/@id", "$.re")}, nil, ""},
		{"parameter, into XML", said("/?id=abcd", "", `< <a b="abcd">abcd</a>`), said("/?id=x%20%26", "", `< <a b="x &amp;">abcd</a>`), []LoadOption{Capture("?id", "xml:/a/@b")}, nil, ""},
		{"XML, to other bytes", said("/", "", "> <a>abcd</a>", "< abcd <b/>"), said("/", "", "> <a>wxyz</a>", "< wxyz <b/>"), []LoadOption{Capture("xml:/a", "@0:4")}, nil, ""},
		{"length in XML", said("/", "", "> id abcd", `< <a>4:abcd</a>`), said("/", "", "> id xyz", "< x"), []LoadOption{Capture("/id (.*)/")}, nil,
			`4, the length of what it is in, stands before it, so only a value of the same length can be`},
		{"bytes", said("/", "", ">b \x01\x00\x07", "<b \x02\x00\x07"), said("/", "", ">b \x01\x00\x09", "<b \x02\x00\x09"), []LoadOption{Capture("@1:2")}, nil, ""},
		{"bytes, to elsewhere", said("/", "", ">b \x01\x00\x07", "<b \x00\x07\x00\x07"), said("/", "", ">b \x01\x00\x09", "<b \x00\x09\x00\x07"), []LoadOption{Capture("@1:2", "@0:2")}, nil, ""},
		{"bytes besides", said("/", "", ">b \x01\x00\x07"), said("/", "", ">b \x02\x00\x09"), []LoadOption{Capture("@1:2")}, nil, `got binary [02 00 09], which differs at byte 0`},
		{"MQTT, without its name", said("/", "", ">b \x82\x06\x00\x01\x00\x01a\x01", "<b \x32\x05\x00\x01a\x00\x01", "<b \x90\x03\x00\x01\x01"),
			said("/", "", ">b \x82\x06\x00\x05\x00\x01a\x01", "<b \x32\x05\x00\x01a\x00\x01", "<b \x90\x03\x00\x05\x01"), []LoadOption{Capture("@mqtt.id")}, nil, ""},
		{"ignored bytes", said("/", "", ">b \x01\x00\x07"), said("/", "", ">b \x01\x00\x09"), []LoadOption{Ignore("@-2:2")}, nil, ""},
		{"more bytes than are ignored", said("/", "", ">b \x01\x00\x07"), said("/", "", ">b \x01\x00\x09\x09"), []LoadOption{Ignore("@1:2")}, nil, `which differs at byte 3`},
		{"fewer bytes than are ignored", said("/", "", ">b \x01\x00\x07"), said("/", "", ">b \x01"), []LoadOption{Ignore("@1:2")}, nil, `which differs at byte 1`},

		{"auto: UUID", said("/", "", `> {"id":"`+id1+`","n":1}`, `< {"re":"`+id1+`"}`), said("/", "", `> {"id":"`+id2+`","n":1}`, `< {"re":"`+id2+`"}`), auto, []string{"$.id"}, ""},
		{"auto: UUID in a text", said("/", "", `> join id=`+id1+`;`, `< `+id1), said("/", "", `> join id=`+id2+`;`, `< `+id2), auto, []string{"/id=([0-9a-fA-F-]{36})/"}, ""},
		{"auto: with a prefix", said("/", "", `> ["conn_8f3a9b2c1d"]`, `< 8f3a9b2c1d`), said("/", "", `> ["conn_71aa0b99ce"]`, `< 71aa0b99ce`), auto, []string{`/"conn_([0-9a-fA-F]{10})/`}, ""},
		{"auto: number", said("/", "", `> {"at":1700000001}`, `< {"re":1700000001}`), said("/", "", `> {"at":1800000002}`, `< {"re":1800000002}`), auto, []string{"$.at"}, ""},
		{"auto: base36", said("/", "", `> {"id":"k3j9x0a1b2"}`, `< {"re":"k3j9x0a1b2"}`), said("/", "", `> {"id":"q81zt5yw3"}`, `< {"re":"q81zt5yw3"}`), auto, []string{"$.id"}, ""},
		{"auto: base64", said("/", "", `> {"id":"a+3D/x9Kq2s="}`, `< {"re":"a+3D/x9Kq2s="}`), said("/", "", `> {"id":"Zb7/+tR01Lw="}`, `< {"re":"Zb7/+tR01Lw="}`), auto, []string{"$.id"}, ""},
		{"auto: XML", said("/", "", `> <iq id="`+id1+`" n="1"><to>urn:`+id3+`</to></iq>`, `< <a><re>`+id1+`</re>`+id3+`</a>`), said("/", "", `> <iq n='1' id='`+id2+`' ><to>urn:12345678`+id3[8:]+`</to></iq>`, `< <a><re>`+id2+`</re>12345678`+id3[8:]+`</a>`), auto, []string{`/[>"']urn:([0-9a-fA-F-]{36})/`, "xml:/iq/@id"}, ""},
		{"auto: base64 in XML", said("/", "", `> <a>a+3D/x9Kq2s=</a>`, `< <b c="a+3D/x9Kq2s="/>`), said("/", "", `> <a >Zb7/+tR01Lw=</a>`, `< <b c="Zb7/+tR01Lw="/>`), auto, []string{"xml:/a"}, ""},
		{"auto: XML and something else", said("/", "", `> <a><b>yes</b><c>`+id1+`</c></a>`, `< `+id1), said("/", "", `> <a><b>no</b><c>`+id2+`</c></a>`, `< x`), auto, nil, `where xml:/a/b is "no", expected "yes"`},
		{"auto: parameter", said("/?v=1&id="+id1, "", `< `+id1), said("/?v=1&id="+id2, "", `< `+id2), auto, []string{"?id"}, ""},
		{"auto: path", said("/room/"+id1+"/ws", "", `< `+id1), said("/room/"+id2+"/ws", "", `< `+id2), auto, []string{"/^/room/([0-9a-fA-F-]{36})/"}, ""},
		{"auto: again in theirs", said("/", "", `> {"id":"`+id1+`"}`, `> {"id":"`+id1+`"}`), said("/", "", `> {"id":"`+id2+`"}`, `> {"id":"`+id2+`"}`), auto, []string{"$.id"}, ""},
		{"auto: binary", said("/", "", ">b \x01urn:"+id1, "<b \x02"+id1), said("/", "", ">b \x01urn:"+id2, "<b \x02"+id2), auto, []string{"/urn:([0-9a-fA-F-]{36})/"}, ""},
		{"auto: numbers that count up", said("/", "", `> {"id":1}`, `< {"re":1,"n":1}`, `> {"id":2}`, `< {"re":2,"n":1}`), said("/", "", `> {"id":4}`, `< {"re":4,"n":1}`, `> {"id":7}`, `< {"re":7,"n":1}`), auto, []string{"$.id into $.re"}, ""},
		{"auto: numbers that count up, one the same", said("/", "", `> {"id":1}`, `< {"re":1}`, `> {"id":2}`, `< {"re":2}`), said("/", "", `> {"id":1}`, `< {"re":1}`, `> {"id":3}`, `< {"re":3}`), auto, []string{"$.id into $.re"}, ""},

		// What is another message stays one.
		{"auto: numbers that count down", said("/", "", `> {"id":1}`, `< {"re":1}`, `> {"id":2}`, `< {"re":2}`), said("/", "", `> {"id":5}`, `< {"re":5}`, `> {"id":4}`, `< {"re":4}`), auto, []string{"$.id into $.re"}, `where $.id is 4, expected 2`},
		{"auto: a number that does not count", said("/", "", `> {"id":1}`, `< {"re":1}`), said("/", "", `> {"id":2}`, `< {"re":2}`), auto, nil, `where $.id is 2, expected 1`},
		{"auto: does not come back", said("/", "", `> {"id":"`+id1+`"}`, `< ok`), said("/", "", `> {"id":"`+id2+`"}`, `< ok`), auto, nil, `expected "` + id1 + `", and looks made up, but does not come back`},
		{"auto: not the same again", said("/", "", `> {"id":"`+id1+`"}`, `> {"id":"`+id1+`"}`), said("/", "", `> {"id":"`+id2+`"}`, `> {"id":"`+id3+`"}`), auto, []string{"$.id"}, `where $.id is "` + id3 + `", expected "` + id2 + `"`},
		{"auto: an echo of ours", said("/", "", `< `+id1, `> `+id1, `< `+id1), said("/", "", `< `+id1, `> `+id2, `< x`), auto, nil, `which differs at byte 0`},
		{"auto: that of another", said("/", "", `> {"id":"`+id1+`"}`, `> {"id":"`+id2+`"}`, `< `+id1+id2), said("/", "", `> {"id":"`+id2+`"}`, `> {"id":"`+id1+`"}`), auto, nil, "which is expected later, as client frame 1 (line 6)"},
		{"auto: the same for two", said("/", "", `> {"a":"`+id1+`","b":"`+id2+`"}`, `< `+id1+" "+id2), said("/", "", `> {"a":"`+id3+`","b":"`+id3+`"}`, `< x`), auto, nil, `where $.a is "` + id3 + `", expected "` + id1 + `"`},
		{"auto: of another kind", said("/", "", `> {"id":"`+id1+`"}`, `< `+id1), said("/", "", `> {"id":"none"}`, `< none`), auto, nil, `where $.id is "none", expected "` + id1 + `"`},
		{"auto: and something else", said("/", "", `> {"id":"`+id1+`","a":"yes"}`, `< `+id1), said("/", "", `> {"id":"`+id2+`","a":"no"}`, `< x`), auto, nil, `where $.a is "no", expected "yes"`},
		{"auto: words", said("/", "", `> {"id":"greeting"}`, `< greeting`), said("/", "", `> {"id":"farewell"}`, `< x`), auto, nil, `where $.id is "farewell", expected "greeting"`},
		{"auto: another parameter", said("/?id="+id1, "", `< x`), said("/?id="+id2, "", `< x`), auto, nil, `expected query "id=` + id1 + `", got "id=` + id2 + `"`},
		{"auto: with exact", said("/", "", `> {"id":"`+id1+`"}`, `< `+id1), said("/", "", `> {"id":"`+id2+`"}`, `< x`), []LoadOption{CaptureAuto(), Exact()}, nil, `which differs at byte 7`},
	} {
		t.Run(r.name, func(t *testing.T) { r.check(t, decode.FromServer) })
	}
}

// TestCapturePerformed captures what a server makes up.
func TestCapturePerformed(t *testing.T) {
	cookie := func(value string) string { return `["Set-Cookie","sid=` + value + `; Path=/; HttpOnly"],` }
	for _, r := range []run{
		{"cookie", said("/", cookie("abcd"), `> {"sid":"abcd"}`), said("/", cookie("xyz"), `> {"sid":"xyz"}`), []LoadOption{Capture("Set-Cookie:")}, nil, ""},
		{"header", said("/", `["X-Session","abcd"],`, `> abcd`), said("/", `["X-Session","xyz"],`, `> xyz`), []LoadOption{Capture("X-Session:")}, nil, ""},
		{"auto: cookie", said("/", cookie(id1), `> {"sid":"`+id1+`"}`), said("/", cookie(id2), `> {"sid":"`+id2+`"}`), []LoadOption{CaptureAuto()}, []string{"Set-Cookie:"}, ""},
		{"auto: cookie that is not used", said("/", cookie(id1), `> hi`), said("/", cookie(id2), `> hi`), []LoadOption{CaptureAuto()}, nil, ""},
		{"auto: message", said("/", "", `< {"sid":"`+id1+`"}`, `> /a?sid=`+id1), said("/", "", `< {"sid":"`+id2+`"}`, `> /a?sid=`+id2), []LoadOption{CaptureAuto()}, []string{"$.sid"}, ""},
	} {
		t.Run(r.name, func(t *testing.T) { r.check(t, decode.FromClient) })
	}
}

// WCF's SOAP is XML in binary messages.
func TestCaptureWCF(t *testing.T) {
	const file = "testdata/wcf.wst"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	recorded := string(text)
	const old = "9f30da65-69b1-48f7-8a7c-f454f7dea08a"
	live := strings.ReplaceAll(recorded, old, id1)
	shorter := strings.ReplaceAll(recorded, old, "short")
	if recorded == live {
		t.Fatal("the id is not there")
	}
	for _, r := range []run{
		{"by an expression", recorded, live, []LoadOption{Capture("/<a:MessageID>urn:uuid:([^<]*)/")}, nil, ""},
		{"auto", recorded, live, []LoadOption{CaptureAuto()}, []string{"/>urn:uuid:([0-9a-fA-F-]{36})/"}, ""},
		{"of another length", recorded, shorter, []LoadOption{Capture("/<a:MessageID>urn:uuid:([^<]*)/")}, nil,
			`our frame 1 (line 7) has a value that is captured: "short" can't be put in the place of "` + old + `": in a binary message only a value of the same length can be`},
		{"without", recorded, live, nil, nil, "which differs at byte 211"},
	} {
		t.Run(r.name, func(t *testing.T) { r.check(t, decode.FromServer) })
	}
}

// A value that comes in one session goes into the others that are played with it, and an
// id of each session stays there.
func TestCaptureAcross(t *testing.T) {
	two := func(token string, ids ...int) string {
		second := strings.ReplaceAll(upgradeOf("/b?token="+token, ""), `{"k":"re`, `{"c":2,"k":"re`)
		return `{"wstrace":1}
{"k":"open","c":1}
` + strings.ReplaceAll(upgradeOf("/a", ""), `{"k":"re`, `{"c":1,"k":"re`) + fmt.Sprintf(`{"k":"frame","c":1,"d":"<","op":"text","text":"{\"token\":\"%s\",\"id\":%d}"}
{"k":"open","c":2}
`, token, ids[0]) + second + fmt.Sprintf(`{"k":"frame","c":2,"d":"<","op":"text","text":"{\"id\":%d}"}
{"k":"frame","c":2,"d":">","op":"text","mask":"00000000","text":"{\"re\":%d,\"token\":\"%s\"}"}
{"k":"frame","c":1,"d":">","op":"text","mask":"00000000","text":"{\"re\":%d}"}
`, ids[1], ids[1], token, ids[0])
	}
	recorded, live := two("abc.def", 1, 1), two("x y.z", 7, 9)
	live = strings.Replace(live, "token=x y.z", "token=x%20y.z", 1)
	client, err := LoadAll(Trace(strings.NewReader(recorded)), Capture("$.token"), Capture("$.id"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := LoadAll(Trace(strings.NewReader(live)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(t.Context(), l) }()
	check(t, client.Connect(t.Context(), "ws://"+l.Addr().String()), "")
	check(t, <-done, "")
}

func TestPutTarget(t *testing.T) {
	v := newValues(substitution{recorded: "a b/c", live: "x&y=z"}, substitution{recorded: "tok1", live: "új"}, substitution{recorded: pick.Decode([]byte("17")), live: pick.Decode([]byte("18"))})
	for target, want := range map[string]string{
		"/":                       "/",
		"/tok1/a":                 "/%C3%BAj/a",
		"/a%20b%2fc?q=a+b%2Fc":    "/x%26y%3Dz?q=x%26y%3Dz",
		"/items/17?n=17&m=170":    "/items/18?n=18&m=170",
		"/?t%6Fk1=%74ok1;x=+%2b+": "/?%C3%BAj=%C3%BAj;x=+%2b+",
		"/?d=17%3d%3D":            "/?d=17%3d%3D",
		"/a,tok1?a+b/c=a%20b/c":   "/a,%C3%BAj?x%26y%3Dz=x%26y%3Dz",
		"/?mytok1=tok1x":          "/?mytok1=tok1x",
		"/%zz%?a=%4":              "/%zz%?a=%4",
		"http://tok1/tok1?tok1":   "http://tok1/%C3%BAj?%C3%BAj",
		"http://tok1":             "http://tok1",
		"":                        "",
		"/?":                      "/?",
		"/?b=" + base64.URLEncoding.EncodeToString([]byte("user tok1 here")): "/?b=" + base64.URLEncoding.EncodeToString([]byte("user új here")),
	} {
		if got := v.putTarget(target); got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
	if got := (*values)(nil).putTarget("/a"); got != "/a" {
		t.Error(got)
	}
}

func TestPutHead(t *testing.T) {
	v := newValues(substitution{recorded: "tok1", live: "new"}, substitution{recorded: "evil", live: "a\r\nX: y"}, substitution{recorded: "s:a.b", live: "s:c/d"})
	h := &decode.Head{Method: "GET", Target: "/tok1", Proto: "HTTP/1.1", Fields: []decode.Field{
		{Name: "Host", Value: "tok1"}, {Name: "Cookie", Value: "a=1; sid=tok1"}, {Name: "Authorization", Value: "Bearer tok1"}, {Name: "Authorization", Value: "Basic dG9rMTpwYXNzd29yZA=="},
		{Name: "X-Evil", Value: "evil"}, {Name: "Sec-WebSocket-Key", Value: "tok1"}, {Name: "X", Value: "sid=s%3Aa.b"}, {Name: "Sec-WebSocket-Protocol", Value: "auth, tok1"},
	}}
	want := `[{Host tok1} {Cookie a=1; sid=new} {Authorization Bearer new} {Authorization Basic bmV3OnBhc3N3b3Jk} {X-Evil evil} {Sec-WebSocket-Key tok1} {X sid=s%3Ac%2Fd} {Sec-WebSocket-Protocol auth, new}]`
	if got := v.putHead(h); fmt.Sprint(got.Fields) != want || got.Target != h.Target {
		t.Errorf("got  %v\nwant %v", got.Fields, want)
	}
}

func TestPutBody(t *testing.T) {
	v := newValues(substitution{recorded: "tok1", live: "n w"})
	for _, c := range []struct{ kind, coding, body, want, err string }{
		{"application/json", "", `{"a":"tok1"}`, `{"a":"n w"}`, ""},
		{"application/x-www-form-urlencoded; charset=utf-8", "", `a=tok1&b=tok12`, `a=n%20w&b=tok12`, ""},
		{"text/plain", "gzip", "tok1", "tok1", ""},
		{"text/xml", "", "<?xml version='1.0'?><a b='tok1'><!-- tok1 --><tok1/></a>", "<?xml version='1.0'?><a b='n w'><!-- tok1 --><tok1/></a>", ""},
		{"", "", "\xfftok1", "", `a body has a value that is captured: "n w" can't be put in the place of "tok1": in a binary message only a value of the same length can be`},
		{"", "", "", "", ""},
	} {
		h := &decode.Head{Fields: []decode.Field{{Name: "content-type", Value: c.kind}, {Name: "content-encoding", Value: c.coding}}}
		got, err := v.putBody(h, []byte(c.body))
		check(t, err, c.err)
		if string(got) != c.want {
			t.Errorf("%s: got %s, want %s", c.body, got, c.want)
		}
	}
}

// Heads and bodies of HTTP, as they are played together with the sessions.
func TestLearnHead(t *testing.T) {
	head := func(status int, target, fields string) *decode.Head {
		h := &decode.Head{Status: status, Target: target, Proto: "HTTP/1.1"}
		for line := range strings.SplitSeq(fields, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				h.Fields = append(h.Fields, decode.Field{Name: name, Value: value})
			}
		}
		return h
	}
	for _, c := range []struct {
		name               string
		capture            string
		want, got          *decode.Head
		wantBody, gotBody  string
		recorded, expected string // a target
	}{
		{"JSON", "$.token", head(200, "", ""), head(200, "", ""), `{"token":"a/b"}`, `{"token":"c+d"}`, "/hub?id=a%2Fb", "/hub?id=c%2Bd"},
		{"form", "?name", head(0, "/", "Content-Type: application/x-www-form-urlencoded"), head(0, "/", ""), `name=ab%20c`, `name=x`, "/u/ab%20c", "/u/x"},
		{"cookie", "Set-Cookie:", head(200, "", "Set-Cookie: x=1\nSet-Cookie: sid=abc; Path=/abc"), head(200, "", "Set-Cookie: sid=xyz\nSet-Cookie: x=1"), "", "", "/?s=abc&x=1", "/?s=xyz&x=1"},
		{"scheme", "Authorization:", head(0, "/", "Authorization: Bearer abc"), head(0, "/", "Authorization: Bearer xyz"), "", "", "/?s=abc", "/?s=xyz"},
		{"XML", "xml://token", head(200, "", ""), head(200, "", ""), `<s:E xmlns:s="u"><token>a/b</token></s:E>`, `<E xmlns="u"><token>c&amp;d</token></E>`, "/hub?id=a%2Fb", "/hub?id=c%26d"},
		{"compressed", "/tok-(.*)/", head(200, "", "Content-Encoding: gzip"), head(200, "", ""), "tok-a", "tok-b", "/a", "/a"},
	} {
		s := loaded(t, talk, Capture(c.capture))
		v := newValues()
		s.learnHead(v, &playing{}, 1, c.want, c.got, []byte(c.wantBody), []byte(c.gotBody))
		if got := v.putTarget(c.recorded); got != c.expected {
			t.Errorf("%s: got %s, want %s", c.name, got, c.expected)
		}
	}
}

// With auto, a token in the body of a response is taken for the sake of a request later.
func TestLearnHeadAuto(t *testing.T) {
	s := loaded(t, talk, CaptureAuto())
	for _, c := range []struct{ recorded, live, want string }{
		{id1, id2, "/hub?id=" + id2},
		{"-a_b/c", id2, "/hub?id=" + id1}, // none that comes back
	} {
		words := newRecorded()
		res, req := &decode.Head{Status: 200}, &decode.Head{Method: "GET", Target: "/hub?id=" + id1}
		words.addHead(1, res)
		words.addBody(1, []byte(`{"token":"`+c.recorded+`"}`))
		words.addHead(2, req)
		v := newValues()
		v.knowsWords(words)
		var told []string
		want, got := []byte(`{"token":"`+c.recorded+`"}`), []byte(`{"token":"`+c.live+`"}`)
		differs := s.bodyDiffers(v, 1, res, want, got)
		s.learnHead(v, &playing{taken: func(sel string) { told = append(told, sel) }}, 1, res, res, want, got)
		if target := v.putTarget(req.Target); target != c.want || (differs == "") != (c.recorded == id1) || (len(told) > 0) != (c.recorded == id1) {
			t.Errorf("%s: got %s, %q, %q", c.recorded, target, differs, told)
		}
	}
}

func TestBodyDiffers(t *testing.T) {
	form := &decode.Head{Fields: []decode.Field{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}}}
	s := loaded(t, talk, Ignore("?t", "$.t", "xml://@t"))
	v := newValues(substitution{recorded: "abcd", live: "x y"})
	for _, c := range []struct {
		h               *decode.Head
		want, got, diff string
	}{
		{&decode.Head{}, `{"a":"abcd","t":1}`, `{"t":2,"a":"x y"}`, ""},
		{&decode.Head{}, `{"a":"abcd"}`, `{"a":"abcd"}`, ""},
		{&decode.Head{}, `{"a":"abcd"}`, `{"a":"b"}`, `where $.a is "b", expected "x y"`},
		{&decode.Head{}, `<s:E xmlns:s="u" t="1"><a>abcd</a></s:E>`, "<?xml version='1.0'?>\n<E xmlns='u' t='2'><a xmlns=''>x y</a></E>", ""},
		{&decode.Head{}, `<E><a>abcd</a></E>`, `<E><a>b</a></E>`, `where xml:/E/a is "b", expected "x y"`},
		{form, `a=abcd&t=1`, `t=2&a=x+y`, ""},
		{form, `a=abcd`, `a=b`, "which differs at byte 2"},
		{&decode.Head{}, "\xffabc", "\xffabd", "which differs at byte 3"},
	} {
		if got := s.bodyDiffers(v, 1, c.h, []byte(c.want), []byte(c.got)); got != c.diff {
			t.Errorf("%s: got %q, want %q", c.got, got, c.diff)
		}
	}
}

func TestMadeUp(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{id1, id2, true},
		{id1, strings.ToUpper(id2), true},
		{id1, id1, false},
		{id1, "12345678", false},
		{"8f3a9b2c", "12345678", true},
		{"8f3a9b2c", "8F3A9B2D", true}, // as base64url
		{"1234567890", "1234567891", true},
		{"123456", "123457", false}, // an amount
		{"1000000000", "9999999999", false},
		{"123456", "12345678", false},
		{"k3j9x0a1b2", "q81zt5yw3", true},
		{"k3j9x0a1b2", "notfound", false},
		{"V1StGXR8_Z5jdHi6B-myT", "Uakgb_J5m9g-0JDMbcJqL", true},
		{"user12345", "user54321", false},
		{"greeting", "farewell", false},
		{"message-one", "message-two", false},
		{"2026-11-28", "2026-11-29", false},
		{"", "", false},
	} {
		if got := madeUp(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: got %t", c.a, c.b, got)
		}
	}
}

// FuzzPut checks that values that go into anything leave the rest as it is, and that what is
// told can be parsed.
func FuzzPut(f *testing.F) {
	f.Add("abcd", "xyz", `{"a":"abcd"}`, "")
	f.Add("abcd", "wxyz", "4:abcd YWJjZDpwYXNzd29yZA== \x00\x04abcdx", "\x00\x04wxyzx")
	f.Add("a b", "x&y", "/a%20b?q=a+b#%zz", "/x%20y")
	f.Add(id1, id2, `{"a":"`+id1+`"}`, `{"a":"`+id2+`"}`)
	f.Add("k3j9x0a1b2", "q81zt5yw3", "id=k3j9x0a1b2;", "id=q81zt5yw3;")
	f.Add("abcd", "w&z", `<a b="`+id1+`">x <c>conn_`+id1+`</c>abcd</a>`, `<a b='`+id2+`'>x <c>conn_`+id2+`</c>abcd</a>`)
	f.Fuzz(func(t *testing.T, old, live, text, other string) {
		v := newValues(substitution{recorded: old, live: live}, substitution{recorded: "\x00\x01", live: "\x02\x03", into: []pick.Selector{{Bytes: &pick.Bytes{Length: 2}}}})
		same := newValues(substitution{recorded: old, live: old})
		for op := range 2 {
			u := &unit{kind: unitMessage, op: ws.OpText, data: []byte(text)}
			if op == 1 {
				u.op = ws.OpBinary
			}
			v.putIn(u, false)
			if got, wrong := same.putIn(u, false); wrong != nil || string(got) != text && u.op == ws.OpBinary && !u.textual() {
				t.Errorf("nothing changes: got %q, %v", got, wrong)
			}
		}
		v.putTarget(text)
		if got := same.putTarget(text); unescaped(got) != unescaped(text) && !strings.Contains(text, "%") && !strings.Contains(text, "+") {
			t.Errorf("nothing changes: got %q of %q", got, text)
		}
		v.header(text)
		if w, g := pick.ParseXML([]byte(text)), pick.ParseXML([]byte(other)); w != nil && g != nil {
			for _, m := range new(equality).madeInXML(w, g) {
				if _, err := pick.Parse(m.selector); err != nil {
					t.Error(err)
				}
			}
		}
		eachWord([]byte(text), func(string) {})
		for _, m := range madeIn(text, other, "^", "") {
			sel, err := pick.Parse(m.selector)
			if err != nil {
				t.Errorf("%v", err)
			}
			if values := sel.Values([]byte(text)); !slices.Contains(values, any(m.recorded)) {
				t.Errorf("%s finds %q in %q, not %q", m.selector, values, text, m.recorded)
			}
		}
	})
}
