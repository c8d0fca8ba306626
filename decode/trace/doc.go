// Package trace reads and writes traces (.wst), the files in which sessions
// are kept: JSON lines, one record a line.
//
//	decode.Session ─► Event ─► Writer ─► lines ─► Reader ─► Record ─► Play ─► decode.Session ─► Event
//
// A trace is lossless for WebSocket sessions: the bytes that either side sent
// after the handshake, and the handshake itself, can be rebuilt from it
// ([Bytes]). It can be appended to, and after a crash it is readable up to its
// last whole line. Text stays text, so that it can be searched, and a short
// trace can be written by hand:
//
//	{"wstrace":1}
//	{"k":"open","c":1}
//	# the server continues a message that it never began
//	{"k":"frame","d":"<","op":"cont","text":"lo"}
//
// # Records
//
// The first line is a header. Each further line is a [Record] of the kind that
// k names, at t seconds after the header's t0, of session c, sent by d: ">" is
// the client, "<" the server.
//
//	open       a session begins
//	req, res   a head, taken apart, or in raw if it is not spelled as usual
//	frame      a frame, its payload unmasked, or the first piece of a long one
//	more       a further piece of it
//	junk       bytes that belong to no frame
//	opaque     from here on the bytes of d are not decoded: junk after a
//	           handshake, only counted without one
//	end        a direction ended, or both if there is no d, and then it is not
//	           known which ended the other; with a status, because the proxy
//	           answered the client in place of the server
//	done       the exchange ended: the bytes each way that followed the heads
//	gap        bytes of a capture are lost
//	note       a remark
//	violation, closed, sum   derived, ignored when read
//
// A key or kind that this package doesn't know is kept and otherwise ignored.
//
// # Who owns the bytes
//
// A Record read shares no bytes with the line that it came from. [Writer]
// keeps nothing of an event.
package trace
