// Package filter selects events by expressions that a user writes:
//
//	op == close and code != 1000
//	from == server and len > 100KB
//	text contains "price" and op not in {ping, pong}
//	json.type == "trade" and json.data.qty >= 10
//
// [Parse] compiles an expression to closures. What it has to remember of sessions
// is in a [State]; what sessions have to look into for it, in [Needs]. An
// evaluation allocates nothing, and computes only what is named. [Columns] give the
// values of fields as text.
//
// # Grammar
//
//	expr    = and { ("or" | "||") and } .
//	and     = unary { ("and" | "&&") unary } .
//	unary   = { "not" | "!" } ( "(" expr ")" | clause ) .
//	clause  = string | field [ test ] .
//	test    = ("==" | "!=" | "<" | "<=" | ">" | ">=" | "contains" | "matches") value
//	        | ["not"] "in" "{" value { "," value } "}" .
//	value   = word | string | "[" hexadecimal digits "]" .
//	string  = `"` … `"` | "'" … "'" .
//
// A word ends before white space and any of " ' ( ) { } , = ! < > & |. In a
// string \\, \", \', \n, \r, \t, \xHH and \uHHHH stand for what they do in Go; any
// other backslash stays, as do all but that before the quote behind matches.
//
// # Meaning
//
// A string alone searches text. A boolean field alone means that it is true, any
// other field alone that it is there. A comparison with a field that the event
// lacks is false, != too; not negates the whole. Where a field has several values,
// as a header may, one of them has to fit; with != and not in none may.
package filter
