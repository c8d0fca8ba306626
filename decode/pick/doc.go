// Package pick names parts of a session and finds them: what a user does not
// want compared, wants to have put in another place, or must not show.
//
//	text ──► Parse ──► Selector{Path, Param, Header, Expr or Bytes}
//	message ──► Parts ──► Visitor.Walk ──► places and values ──► Edits ──► Apply
//
// A message is not taken for JSON as a whole: many protocols put a few
// characters before a document, or several documents into one message. [Parts]
// tells documents from what stands between them, and everything that is not
// edited stays as it is, to the byte.
package pick
