package edit

import (
	"encoding/json"
	"strings"
	"testing"
)

// Only what is selected in XML is replaced; the rest stays as it is to the byte.
func TestRedactXML(t *testing.T) {
	for _, c := range []struct{ text, selector, want string }{
		{`<iq  to = 'a' id="b&amp;c" ><!-- x --><x/></iq >`, "xml:/iq/@id", `<iq  to = 'a' id="redacted-id-1" ><!-- x --><x/></iq >`},
		{`<a><s:b xmlns:s="u" k='1'>x<c/>y</s:b ><b></b><b/></a>`, "xml://b", `<a><s:b xmlns:s="u" k='1'>redacted-b-1</s:b ><b></b><b/></a>`},
		{`<a><b k="x">y</b></a>`, "xml://@*", `<a><b k="redacted-k-1">y</b></a>`},
		{`<a z="1" b="2"/>`, "xml:/a/@*", `<a z="redacted-z-1" b="redacted-b-1"/>`},
		{`<a><b>&#120;</b><c>x</c></a>`, "xml:/a/*", `<a><b>redacted-b-1</b><c>redacted-b-1</c></a>`},
		{`<a><b>secret text`, "xml:/a/b", `<a><b>redacted-b-1`},
		{`<p>x<br>y</p>`, "xml:/p", `<p>redacted-p-1`},
		{`x <a b="c"/>`, "xml:/a/@b", `x <a b="c"/>`},
		{`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>`, "credentials",
			`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>redacted-auth-1</auth>`},
		{`<authenticate xmlns='urn:xmpp:sasl:2'><initial-response>eA==</initial-response></authenticate>`, "credentials",
			`<authenticate xmlns='urn:xmpp:sasl:2'><initial-response>redacted-initial-response-1</initial-response></authenticate>`},
		{`<w:Password xmlns:w="u" Type="t">pw</w:Password>`, "credentials", `<w:Password xmlns:w="u" Type="t">redacted-password-1</w:Password>`},
	} {
		text, _ := json.Marshal(c.text)
		got := redacted(t, open+`{"k":"frame","d":"<","op":"text","text":`+string(text)+"}\n", c.selector)
		var rec struct{ Text string }
		if err := json.Unmarshal([]byte(strings.Split(got, "\n")[2]), &rec); err != nil {
			t.Fatal(err)
		}
		if rec.Text != c.want {
			t.Errorf("%s in %s:\ngot  %s\nwant %s", c.selector, c.text, rec.Text, c.want)
		}
	}
}
