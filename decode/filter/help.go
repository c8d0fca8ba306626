package filter

import (
	"fmt"
	"strings"
)

// Examples are expressions with what they select.
var Examples = [...][2]string{
	{`op == close and code != 1000`, "Close frames with any other code than 1000"},
	{`from == server and len > 100KB`, "large frames of the server"},
	{`"error" and op not in {ping, pong}`, "what has this text, pings and pongs aside"},
	{`json.type == "trade" and json.data.price > 10`, "JSON messages with these values"},
	{`session == 2 and from == server and message == 5`, "one message"},
	{`host matches "\.example\.com$" and websocket`, "WebSocket sessions with these hosts"},
	{`severity >= warning and not rule contains "tls"`, "what breaks a rule"},
	{`body and path == /chat/negotiate`, "what was posted there, and the answer"},
	{`binary contains 0xdeadbeef`, "messages with these bytes; also de-ad-be-ef and [de ad be ef]"},
	{`delta > 500ms or rtt > 100ms`, "what came late"},
	{`kind == closed and (code == 1006 or idle >= 60s)`, "sessions that ended badly"},
}

// Help returns a page about expressions: how they are written, the fields, and
// examples.
func Help() string {
	var b strings.Builder
	b.WriteString(`A filter is an expression that selects events.

Operators:
  == != < <= > >=       compare; sizes and times have units: 100KB, 64KiB, 50ms
  contains, matches     a text or bytes; an expression of Go's regexp
  in {a, b}, not in     one of a list
  and or not ( )        also && || !

A string on its own searches text. A yes-or-no field on its own tests for yes, any
other field that it is present. A comparison is false if the event lacks the field, !=
too; not (...) includes those. Text is compared with upper and lower case; matches
"(?i)word" is not. Text and JSON are those of the first 1 MiB of a message, or of an
HTTP body. Bodies are shown with -m, and where the filter names body or searches text
or JSON, unless that stands behind not.

Fields:
`)
	for _, f := range fields {
		doc := f.Doc
		if f.Type == Word && len(f.Words) < 13 {
			var words []string
			for _, w := range f.Words {
				if w != "" && !strings.HasPrefix(doc, w+":") {
					words = append(words, w)
				}
			}
			if len(words) > 0 {
				doc += ": " + strings.Join(words, ", ")
			}
		}
		fmt.Fprintf(&b, "  %-12s %-9s %s\n", f.Name, f.Type, doc)
	}
	b.WriteString("\nExamples:\n")
	for _, e := range Examples {
		fmt.Fprintf(&b, "  %s\n        %s\n", e[0], e[1])
	}
	return b.String()
}
