package edit_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/wstrace/wstrace/decode/trace/edit"
)

// The same secret has the same placeholder, so the session still fits together.
func ExampleRedact() {
	const recorded = `{"wstrace":1}
{"k":"open","c":1,"url":"ws://h/chat?token=s3cret"}
{"k":"frame","d":">","op":"text","mask":"01020304","text":"{\"auth\":\"s3cret\",\"room\":1}"}
`
	err := edit.Redact(os.Stdout, strings.NewReader(recorded), "?token", "$.auth")
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"wstrace":1,"redact":["?token","$.auth"]}
	// {"k":"open","c":1,"url":"ws://h/chat?token=redacted-token-1"}
	// {"k":"frame","d":">","op":"text","mask":"01020304","text":"{\"auth\":\"redacted-token-1\",\"room\":1}"}
}
