package pick_test

import (
	"fmt"

	"github.com/wstrace/wstrace/decode/pick"
)

// What a selector finds in a message, and how it is put out of sight without
// anything else being changed.
func Example() {
	message := []byte(`42["login", {"user": {"id": 17, "name": "Ada"}}]`)
	sel, err := pick.Parse("$..name")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sel.Values(message)...)

	var out []byte
	for _, part := range pick.Parts(message) {
		var edits []pick.Edit
		v := pick.Visitor{Scalar: func(s pick.Scalar) {
			if sel.Path.Matches(s.At) {
				fmt.Println(s.At)
				edits = append(edits, pick.Edit{Span: s.Span, Text: []byte(`"…"`)})
			}
		}}
		if part.JSON {
			v.Walk(part.Bytes)
		}
		out = pick.Apply(out, part.Bytes, edits)
	}
	fmt.Println(string(out))
	// Output:
	// Ada
	// $[1].user.name
	// 42["login", {"user": {"id": 17, "name": "…"}}]
}
