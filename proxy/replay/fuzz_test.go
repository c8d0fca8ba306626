package replay

import (
	"io"
	"strings"
	"testing"
)

// FuzzLoad checks that whatever is a trace can be loaded, by its records and by
// its events, or is refused; and that a session is equal to itself.
func FuzzLoad(f *testing.F) {
	f.Add(talk, false)
	f.Add(talkWithoutPings, true)
	f.Add(open+`{"k":"frame","d":">","op":"text","fin":false,"text":"{\"id\":"}
{"k":"frame","d":">","op":"text","re":"a+","text":"b","group":"x"}
{"k":"frame","d":"<","op":"bin","len":9,"hex":"01","after":1}
{"k":"more","d":"<","hex":"02"}
{"k":"junk","d":">","hex":"ff ff"}
{"k":"end","how":"rst"}
`, false)
	f.Add(handshake+`{"k":"res","v":"HTTP/1.1","code":403,"reason":"","h":[],"body":"bm8=","blen":2}`, true)
	f.Add(open+`{"k":"req","raw":"R0VUIC8gSFRUUC8xLjENClVwZ3JhZGU6IHdlYnNvY2tldA0KDQo="}
{"k":"frame","d":">","op":"text","text":"early"}
{"k":"res","v":"HTTP/1.1","code":101,"reason":"","h":[["Upgrade","websocket"]]}
`, false)
	f.Add(open+`{"k":"frame","d":"<","op":"text","text":"a"}
{"k":"req","raw":"R0VUIC8gSFRUUC8xLjENClVwZ3JhZGU6IHdlYnNvY2tldA0KDQo="}
{"k":"open","c":1}
`, true)
	f.Add(handshake+`{"k":"res","raw":"SFRUUC8xLjEgMTAxIHgNClVwZ3JhZGU6IHdlYnNvY2tldA0KDQqBAWE="}`, false) // a frame behind the head
	f.Add(openDeflate+`{"k":"frame","d":"<","op":"text","rsv":4,"b64":"////"}
{"k":"frame","d":">","op":"bin","len":18446744073709551615,"hex":"01"}
{"k":"more","d":">","hex":"02"}
`, false)
	for _, c := range idCases {
		f.Add(linesOf(c.target, c.subprotocol, c.recorded...), false)
	}
	f.Add(linesOf("/", "mqtt", "> hex 82 06 01", "> hex 02 00 01 61 00 32", "< hex 90 03", "< hex 01", "< text", "< hex 02 00"), false)
	f.Fuzz(func(t *testing.T, text string, exact bool) {
		opts := []LoadOption{Capture("$..id"), Capture("xml://@id", "xml://a"), Capture("@1:2", "@0:2"), CaptureAuto(), Ignore("/x+/", "@-1:1")}
		if exact {
			opts = append(opts, Exact())
		}
		if s, err := Load(Trace(strings.NewReader(text)), opts...); err == nil {
			if differ, err := Diff(io.Discard, s, s, 0); differ || err != nil {
				t.Errorf("it differs from itself, %v", err)
			}
			s.Unfound()
			if s.words != nil {
				s.words.of(s)
			}
		}
		Load(onlySource{Trace(strings.NewReader(text))}, opts...)
	})
}
