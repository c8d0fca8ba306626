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
//	                            └ gate       changes                     a fate for each event, only if set
//
// # The flow
//
// Everything flows from left to right. A relay reads a chunk, gives it to
// [Session.Data] with the time of its arrival, and then writes the very same
// bytes to the other side: everything is recorded before it is forwarded. A
// [Source] gives the bytes of a file to a Session in the same way, so live
// traffic and a recording of it come out as the same events. Sources that have
// no wire bytes give parsed heads, bodies and messages instead ([Session.Head], [Session.Body],
// [Session.Message]).
//
// A Session is one HTTP exchange and the WebSocket connection that it becomes.
// It collects the heads ([ParseRequest], [ParseResponse]), follows the bodies
// ([Body]), and after a 101 finds the frames of each direction with a
// [Decoder]. A frame is emitted as one event: when it is complete, or when
// [MaxPiece] bytes of its payload are at hand, or at [Session.Flush]. A longer
// frame continues in later pieces, cut at the same places however the bytes
// were split on their way. After the closed event nothing is emitted.
//
// # Who owns the bytes
//
// The bytes given to Data are the caller's; they are read during the call and
// not changed or kept. Masked payload is unmasked only on request, into the
// caller's buffer ([Frame.AppendPayload]). An [Event] and all it points to
// belong to the Session and are valid during [Sink.Emit]; [Event.Clone] keeps
// one. Per direction a Session holds at most [MaxPiece] bytes of the frame in
// flight and [MaxMessageData] bytes of the message in flight, both in pooled
// buffers that it gives back between frames and messages; and 32 KiB once a
// message was inflated.
//
// # Messages
//
// If [Look.Messages] is set, data messages are put together from their frames,
// inflated if they are compressed, and checked for UTF-8 if they are text, all
// as the bytes come. A [Message] comes with the event of its final frame, and
// again as an event of its own. Only the beginning of its content is kept; the
// rest is examined and forgotten. With [Look.Inflate] that is done for sessions
// alone that agreed on permessage-deflate; with [Look.Pieces] the event of each
// piece of a data frame has the content that it adds, of up to [MaxInflated] bytes
// for one message.
//
// # Facts and violations
//
// The parts of a Session keep facts; only the Session itself emits events. What
// an endpoint does wrong is a [Violation] of one of the [Rules]: a value that the
// judge finds in those facts and that travels with the event of the frame, head
// or end at fault. The traffic goes on. The first time a side of a session
// breaks a rule, that is reported; after that it is only counted
// ([Totals.Rules]). Rules about time are judged when a frame or an end comes, by
// its time; rules that compare sessions need a [Seen] that the sessions share.
// Errors are for our own failures, and a Session has none: bytes that can't be
// framed are junk, which is emitted as such ([KindJunk]).
//
// # Changes
//
// [Session.Gate], if set, is asked about each event before it is emitted and
// decides its [Fate]. Whoever sends something else instead reports that to
// [Session.Sent], and what no frame tells to [Session.Changed]. So the events say both
// what each side sent and what the other side received. What a side sent is judged by
// what came from it, and what it owes by what it was sent.
//
// # Locks
//
// A Session has one mutex, held for the whole of each call. A [Tee] has one,
// locked once for all events of a call, so that every sink sees the same order.
package decode
