// Package trace reads and writes traces (.wst), the files in which sessions
// are kept: JSON lines, one record a line.
//
//	decode.Session ─► Event ─► Writer ─► lines ─► Source ─► decode.Session ─► Event
//	                                          └─► Reader ─► Record
//
// A trace is lossless for WebSocket sessions: the bytes that either side sent
// after the handshake, and the handshake itself, can be rebuilt from it. It can
// be appended to, and after a crash it is readable up to its last whole line.
// Text stays text, so that it can be searched, and a short trace can be written
// by hand:
//
//	{"wstrace":1}
//	{"k":"open","c":1}
//	# the server continues a message that it never began
//	{"k":"frame","d":"<","op":"cont","text":"lo"}
//
// FORMAT.md is the specification of the format. Each line but the first is a
// [Record]. Keys and kinds that this package doesn't know are kept and otherwise
// ignored.
//
// What a gate changed is in the trace twice: as it came, with its fate, and as it
// was sent. So the bytes of both sides can be rebuilt ([Bytes], [SentBytes]).
//
// A recording of days may have parts, which a Writer begins with [Writer.Rotate]:
// each can be read by itself, and in their order they are one ([Source.Before]). A
// piece of a trace without its header can be read too ([Reader.Piece]).
//
// # Who owns the bytes
//
// A Record read shares no bytes with the line that it came from. [Writer]
// keeps nothing of an event.
package trace
