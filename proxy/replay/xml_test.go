package replay

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
)

func TestXML(t *testing.T) {
	const stanza = `<message xmlns="jabber:client" id="a" to="b@c"><body>hi</body></message>`
	for _, c := range []struct {
		name, recorded, came string
		opts                 []LoadOption
		want                 string
	}{
		{"order of attributes", stanza, `<message to='b@c' id='a' xmlns='jabber:client'><body>hi</body></message>`, nil, ""},
		{"spelling", `<a b="1&apos;"/>`, "<?xml version=\"1.0\"?>\n<a\tb = \"1'\" ></a >\n", nil, ""},
		{"references", `<a>&lt;é</a>`, `<a><![CDATA[<]]>&#xe9;</a>`, nil, ""},
		{"prefixes", `<s:E xmlns:s="u"><s:B/></s:E>`, `<E xmlns="u"><t:B xmlns:t="u"/></E>`, nil, ""},
		{"space between elements", `<a><b/><c>x</c></a>`, "<a>\n  <b/>\n  <c>x</c>\n</a>", nil, ""},
		{"space beside text", `<a>x<b/></a>`, `<a>x <b/></a>`, nil, `where xml:/a is "x ", expected "x"`},
		{"space alone", `<a><b/></a>`, `<a><b> </b></a>`, nil, `where xml:/a/b is " ", expected ""`},
		{"an attribute", stanza, strings.Replace(stanza, `id="a"`, `id="b"`, 1), nil, `where xml:/message/@id is "b", expected "a"`},
		{"a missing attribute", stanza, strings.Replace(stanza, `id="a"`, ``, 1), nil, `where xml:/message/@id is missing, expected "a"`},
		{"one more attribute", stanza, strings.Replace(stanza, `id=`, `x="y" id=`, 1), nil, `where xml:/message/@x is "y", which is not expected`},
		{"a text", stanza, strings.Replace(stanza, `hi`, `ho`, 1), nil, `where xml:/message/body is "ho", expected "hi"`},
		{"a missing text", stanza, strings.Replace(stanza, `hi`, ``, 1), nil, `where xml:/message/body is "", expected "hi"`},
		{"another root", stanza, `<presence/>`, nil, `where the XML is <presence>, expected <message>`},
		{"another namespace", `<a xmlns="u"/>`, `<a xmlns="v"/>`, nil, `where the XML is <a xmlns="v">, expected <a xmlns="u">`},
		{"another element", `<a><b/><c/></a>`, `<a><b/><d/></a>`, nil, `where xml:/a/c is <d>, expected <c>`},
		{"a missing element", `<a><b/><b/></a>`, `<a><b/></a>`, nil, `where xml:/a/b[2] is missing`},
		{"one more element", `<a><b/></a>`, `<a><b/><b/></a>`, nil, `where xml:/a/b[2] is not expected`},
		{"an element for a text", `<a>x</a>`, `<a><b/></a>`, nil, `where xml:/a is "", expected "x"`},
		{"a text for an element", `<a><b/></a>`, `<a>x</a>`, nil, `where xml:/a is "x", expected ""`},
		{"order of elements", `<a><b/><c/></a>`, `<a><c/><b/></a>`, nil, `where xml:/a/b is <c>, expected <b>`},
		{"JSON inside", `<a>{"n":1,"t":2}</a>`, `<a>{&quot;t&quot;: 3, "n": 1.0}</a>`, []LoadOption{Ignore("$.t")}, ""},
		{"ignored attribute", stanza, strings.Replace(stanza, `id="a"`, ``, 1), []LoadOption{Ignore("xml://@id")}, ""},
		{"ignored text", stanza, strings.Replace(stanza, `hi`, `<x/>`, 1), []LoadOption{Ignore("xml:/message/body")}, ""},
		{"ignored element is missing", `<a>x<b/>y</a>`, `<a>xy</a>`, []LoadOption{Ignore("xml:/a/b")}, ""},
		{"ignored document", `<a><b/></a>`, `<c/>`, []LoadOption{Ignore("xml:/*")}, ""},
		{"another document", `<a><b/></a>`, `<c/>`, []LoadOption{Ignore("xml:/a")}, `where the XML is <c>, expected <a>`},
		{"another is ignored", stanza, strings.Replace(stanza, `id="a"`, `id="b"`, 1), []LoadOption{Ignore("xml:/message/*", "xml:/iq/@id")}, `where xml:/message/@id is "b", expected "a"`},
		{"captured", stanza, strings.Replace(stanza, `id="a"`, `id="b"`, 1), []LoadOption{Capture("xml:/message/@id")}, ""},
		{"captured is missing", stanza, strings.Replace(stanza, `id="a"`, ``, 1), []LoadOption{Capture("xml:/message/@id")}, `where xml:/message/@id is missing, expected "a"`},
		{"expression", stanza, strings.Replace(stanza, `id="a"`, `id="b"`, 1), []LoadOption{Ignore(`/id="\w+"/`)}, ""},
		{"HTML", `<p>a<br>b</p>`, `<p>a<br>c</p>`, nil, `which differs at byte 8`},
		{"not closed", `<stream:stream to="a">`, `<stream:stream to="b">`, nil, `which differs at byte 19`},
		{"text for XML", `<a/>`, `a`, nil, `which differs at byte 0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			record := func(text string) string {
				rec := trace.Record{Kind: "frame", Fin: true, HasDir: true, Op: ws.OpText, Masked: true, Payload: []byte(text), Len: uint64(len(text))}
				return open + string(rec.Append(nil))
			}
			conn, wait := served(t, loaded(t, record(c.recorded), c.opts...))
			io.WriteString(conn, frame(ws.OpText, c.came))
			conn.Close()
			err := wait()
			if c.want == "" {
				check(t, err, "")
			} else if err == nil || !strings.HasSuffix(err.Error(), ", "+c.want) {
				t.Errorf("got %v, want … %s", err, c.want)
			}
			if got := diff(t, record(c.recorded), record(c.came), c.opts...); (got == "") != (c.want == "") {
				t.Errorf("diff says %s", got)
			}
		})
	}
}

// What is captured takes the place of the recorded text wherever it stands in XML, and is
// written as it has to be there.
func TestCaptureXML(t *testing.T) {
	const text = open + `
{"k":"frame","d":">","op":"text","mask":"00000000","text":"<iq id='q1' from='x'><bind><resource>res</resource></bind></iq>"}
{"k":"frame","d":"<","op":"text","text":"<iq to='x' id='q1'><jid>me/res</jid><q1/><!-- q1 --></iq>"}
{"k":"frame","d":"<","op":"text","text":"q1 <3"}
`
	for _, c := range []struct {
		opts        []LoadOption
		first, next string
	}{
		{[]LoadOption{Capture("xml:/iq/@id"), Capture("xml://resource")}, `<iq to='x' id='&lt;7&apos;'><jid>me/r&amp;d</jid><q1/><!-- q1 --></iq>`, "<7' <3"},
		{[]LoadOption{Capture("xml:/iq/@id", "xml:/iq/@id"), Capture("xml://resource")}, `<iq to='x' id='&lt;7&apos;'><jid>me/r&amp;d</jid><q1/><!-- q1 --></iq>`, "q1 <3"},
		{[]LoadOption{Capture("xml:/iq/@id", "xml:/other"), Capture("xml:/iq//resource", "xml:/iq/jid")}, `<iq to='x' id='q1'><jid>me/r&amp;d</jid><q1/><!-- q1 --></iq>`, "q1 <3"},
	} {
		conn, wait := served(t, loaded(t, text, c.opts...))
		io.WriteString(conn, frame(ws.OpText, `<iq from="x" id="&lt;7'"><bind><resource>r&amp;d</resource></bind></iq>`))
		expect(t, conn, "\x81"+string(byte(len(c.first)))+c.first)
		expect(t, conn, "\x81"+string(byte(len(c.next)))+c.next)
		conn.Close()
		check(t, wait(), "")
	}
}

// A ping of XMPP is an empty element.
func TestOptionalXML(t *testing.T) {
	text := open + `
{"k":"frame","d":">","op":"text","mask":"00000000","text":"<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"<message/>"}
`
	conn, wait := served(t, loaded(t, text, Optional("xml:/iq/ping")))
	io.WriteString(conn, frame(ws.OpText, "<message />"))
	conn.Close()
	check(t, wait(), "")
}

// A redacted document is compared without what was taken out, and what came is not shown.
func TestRedactedXML(t *testing.T) {
	const recorded = open + `
{"k":"frame","d":">","op":"text","mask":"00000000","text":"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"<m room='s3cret' n='1'><user><name>s3cret</name></user></m>"}
`
	text := redact(t, recorded, "credentials", "xml:/m/@room", "xml://user")
	if strings.Contains(text, "s3cret") || strings.Contains(text, "AGEAYg==") {
		t.Fatalf("not redacted: %s", text)
	}
	for _, c := range []struct{ second, want string }{
		{`<m n="1" room="live"><user/></m>`, ""},
		{`<m n="2" room="live"><user>live</user></m>`, `where xml:/m/@n is "2", expected "1"`},
	} {
		conn, wait := served(t, loaded(t, text))
		io.WriteString(conn, frame(ws.OpText, `<auth mechanism="PLAIN" xmlns="urn:ietf:params:xml:ns:xmpp-sasl">bGl2ZQ==</auth>`)+frame(ws.OpText, c.second))
		conn.Close()
		err := wait()
		if c.want == "" {
			check(t, err, "")
		} else if err == nil || !strings.HasSuffix(err.Error(), ", "+c.want) || strings.Contains(err.Error(), "live") {
			t.Errorf("got %v, want … %s", err, c.want)
		}
	}
}

// What differs in documents is shown line by line.
func TestXMLLines(t *testing.T) {
	d := Difference{Want: []byte(`<s:a xmlns:s="u" z="1" b="2"><c xmlns="v">x</c>t<d/></s:a>`), Got: []byte(`<a b="2" z="3" xmlns="u"><c xmlns="v">x</c>t<d xmlns=""/></a>`)}
	const want = `- <a xmlns="u" b="2" z="1">
+ <a xmlns="u" b="2" z="3">
    <c xmlns="v">x</c>
    t
    <d xmlns=""/>
  </a>
`
	if got := d.Diff(0); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// FuzzXML checks that a document equals itself, however it is compared.
func FuzzXML(f *testing.F) {
	for _, text := range []string{`<a b="1"><c/>x</a>`, `<a>{"t":1}</a>`, `<a><b/><b/> </a>`, `<a xmlns="u" xmlns:p="v" p:b="1"/>`} {
		f.Add(text, "xml://b")
		f.Add(text, "xml:/a/@b")
	}
	f.Fuzz(func(t *testing.T, text, selector string) {
		root := pick.ParseXML([]byte(text))
		if root == nil {
			return
		}
		var l loading
		Ignore(selector).setLoading(&l)
		Capture(selector).setLoading(&l)
		if why := l.xmlDiffers(root, root); why != "" {
			t.Errorf("%q differs from itself %s", text, why)
		}
		l.compared([]byte(text))
		put([]byte(text), newValues(substitution{recorded: "b", live: "<"}, substitution{recorded: "1", live: "c", into: l.ignore}))
		s := &Script{equality: l.equality}
		s.appendXMLKey(nil, root, root.Root())
		(&Difference{Want: []byte(text), Got: []byte("<x/>")}).Diff(0)
	})
}

// A selector that finds nothing in any message or body is told.
func TestUnfoundXML(t *testing.T) {
	s := loaded(t, open+`{"k":"frame","d":">","op":"text","mask":"00000000","text":"<a b='1'>x</a>"}`+"\n", Capture("xml:/a/@b"), Capture("xml:/a"), Capture("xml:/a/c"))
	if got := s.Unfound(); !slices.Equal(got, []string{"xml:/a/c"}) {
		t.Errorf("got %q", got)
	}
	text := strings.NewReplacer(`{\"a\":1}`, `<a/>  `, `{\"id\":`, `<a b='`, `\"abc\"}`, `abc'/>`).Replace(app)
	p := loadAll(t, text, Capture("xml:/a/@b"), Capture("xml:/a/@c"))
	if got := p.Unfound(); !slices.Equal(got, []string{"xml:/a/@c"}) {
		t.Errorf("got %q of bodies", got)
	}
}
