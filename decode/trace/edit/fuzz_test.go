package edit

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/trace"
)

// FuzzRedact checks that records stay records when they are redacted, also a
// second time.
func FuzzRedact(f *testing.F) {
	f.Add(open+`{"k":"req","raw":"R0VUIC8/dG9rZW49YSBIVFRQLzEuMQ0KQ29va2llOiBhDQogYg0KDQo="}
{"k":"frame","d":">","op":"text","fin":false,"mask":"01020304","text":"{\"id\":\"a"}
{"k":"frame","d":">","op":"ping","mask":"01020304","text":"key"}
{"k":"frame","d":">","op":"cont","mask":"01020304","text":"b\"}"}
{"k":"frame","d":"<","op":"close","code":1000,"reason":"key"}
{"k":"junk","d":"<","b64":"a2V5"}
{"k":"end","how":"fin"}
`, "$..id", "/k(e)y/")
	f.Add(`{"wstrace":1}
{"k":"open","c":1,"ext":"permessage-deflate","url":"ws://h/?token=1"}
{"k":"frame","d":"<","op":"text","deflate":"{\"id\":1}"}
{"k":"frame","d":"<","op":"text","rsv":4,"b64":"8kjNyckHAA=="}
{"k":"res","c":1,"v":"HTTP/1.1","code":403,"reason":"No","h":[["Set-Cookie","a"],["Content-Length","2"]],"body":"bm8=","blen":2}
`, "Set-Cookie:", "/o/")
	f.Add(exchanged(`{"k":"req","c":1,"m":"POST","target":"/","v":"HTTP/1.1","h":[["Content-Length","13"]]}`,
		`{"k":"body","c":1,"d":">","text":"{\"id\":"}`, `{"k":"body","c":1,"d":">","text":"\"key\"}"}`,
		`{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"","h":[["Content-Encoding","gzip"]]}`,
		`{"k":"body","c":1,"d":"<","b64":"`+base(zipped("key"))+`"}`, `{"k":"body","c":1,"d":"<","len":9,"cut":true}`,
		`{"k":"done","c":1,"sent":13,"got":9}`), "$..id", "/k(e)y/")
	f.Fuzz(func(t *testing.T, text, selector1, selector2 string) {
		var once, twice bytes.Buffer
		err := Redact(&once, strings.NewReader(text), selector1, selector2, "?token")
		if err != nil && !errors.Is(err, trace.ErrCut) {
			return
		}
		for line := range bytes.Lines(once.Bytes()) {
			if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
				continue
			}
			if _, err := trace.Parse(line); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
		}
		if err := Redact(&twice, bytes.NewReader(once.Bytes()), selector1, selector2, "?token"); err != nil {
			t.Errorf("a second time: %v\n%s", err, once.Bytes())
		}
		Freeze(io.Discard, strings.NewReader(text))
	})
}
