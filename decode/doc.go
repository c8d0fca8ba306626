// Package decode turns the bytes of WebSocket sessions into values. It does no
// I/O, has no goroutines and never reads the clock.
//
//	live bytes ─► relay ──┐
//	.wst and other files ─┼─► Session ─► Event ─► Tee ─► Sinks
//	        (a Source) ───┘     │
//	                            ├ exchange   heads and bodies            facts
//	                            ├ cutter     frames and their pieces     facts
//	                            ├ assembly   messages, inflated          facts
//	                            ├ heartbeat  pings, pongs, times         facts
//	                            ├ verdict    how it was closed           facts
//	                            ├ judge      rules                       violations, from the facts alone
//	                            └ gate       changes                     a fate for the event, only if set
//
// # The flow
//
// Everything flows from left to right. A relay reads a chunk, gives it to
// [Session.Data] with the time it came, and then writes the very same bytes to
// the other side: what was forwarded was recorded before. A [Source] gives the
// bytes of a file to a Session in the same way, so live traffic and a recording
// of it come out as the same events. Sources that have no wire bytes give parsed
// heads, bodies and messages instead ([Session.Head], [Session.Body],
// [Session.Message]).
//
// A Session is one HTTP exchange and the WebSocket connection that it becomes.
// It gathers the heads ([ParseRequest], [ParseResponse]), follows bodies
// ([Body]), and after a 101 finds the frames of each direction with a
// [Decoder]. One event is emitted for a frame: when it is complete, or when
// [MaxPiece] bytes of its payload are at hand, or at [Session.Flush]; longer
// frames continue in later pieces, cut at the same places however the bytes
// were split.
//
// # Who owns the bytes
//
// The bytes given to Data are the caller's; they are read during the call and
// not changed. Masked payload is unmasked only where somebody asks for it, into
// the asker's buffer ([Frame.AppendPayload]). An [Event] and all it points to
// belong to the Session and are valid during [Sink.Emit]; [Event.Clone] keeps
// one. A Session holds at most MaxPiece bytes of a frame in flight per
// direction, and MaxMessageData of a message, from pools, and nothing while it
// waits between them; and 32 KiB per direction once a message was inflated.
//
// # Messages
//
// If [Look.Messages] is set, the frames of a data message are put together,
// what is compressed is inflated, and text is checked to be UTF-8, all as the
// bytes come. A [Message] comes with the event of its final frame, and once more
// as an event of its own. Of its content the beginning is kept; the rest is
// looked at and forgotten.
//
// # Facts and violations
//
// The parts of a Session keep facts and emit nothing. What an endpoint does
// wrong is a [Violation] of one of the [Rules], a value that the judge finds in
// those facts and that travels with the event of its frame or head, or of an
// end. The traffic goes on. The first time that a side of a session breaks a
// rule it is reported, then it is counted ([Totals.Rules]). Rules that take time
// are judged when a frame or an end comes, by its time; rules that compare
// sessions need a [Seen] that the sessions share. Errors are for our own
// failures, and a Session has none: bytes that can't be understood are junk, and
// are reported once.
//
// # Changes
//
// [Session.Gate], if set, decides what becomes of what came before its event is
// emitted; what was sent in its place is told to [Session.Sent]. So the events
// say both what each side sent and what the other side received.
//
// # Locks
//
// A Session has one mutex, held for a call up to its last event. A [Tee] has
// one, taken once for the events of a chunk, so that every sink sees one order.
package decode
