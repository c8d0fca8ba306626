// Package replay plays one side of a recorded WebSocket application against a
// program, and tells in a sentence where the program does something else than
// the recording. A trace becomes a test, of a client:
//
//	func TestClient(t *testing.T) {
//		srv := replay.Serve(t, "testdata/chat.wst") // stands in for the recorded server
//		chat(srv.URL)                               // the code under test
//	}
//
// or of a server:
//
//	replay.Dial(t, "ws://"+addr, "testdata/chat.wst")
//
// # Options
//
// What counts as equal is said when a trace is loaded, and how it is played when
// it is played. An option that something would ignore can't be given to it:
//
//	[CompareOption]  Ignore, Capture, CaptureAuto, AnyOrder, Optional, Stream, Exact, Headers
//	[LoadOption]     these, and Session
//	[PlayOption]     Timing, Clock, Stall, Header, Events, Latency, Notes, Captured, Chunks, BodyHint, ServerTLS, Update
//	[ConnectOption]  these, and TLS, Dialer
//	[ServeOption]    LoadOption, PlayOption, All, Times, UpdateFrom
//	[DialOption]     LoadOption, ConnectOption, All
//
// [Serve] and [Dial], which load a file and play it, take those of both times.
//
// # Sessions
//
// All WebSocket sessions of a trace are played together, and its HTTP exchanges are
// answered, or performed: see [Play]. [Session] chooses one session.
//
// # Turns
//
// A frame of ours is sent as soon as the frames recorded before it have come
// from the other side, so a replay takes as long as the program under test
// needs, and has no sleeps. If nothing more comes, it fails after [Stall] and
// says who waits for whom. [Timing] keeps the pauses of the recording as well, and
// [Clock] follows its clock instead.
//
// # What counts as equal
//
// Messages do: their type, and their content. JSON in a text is compared by
// value, and a text that is a document of XML by its elements, attributes and texts:
// the order of attributes, prefixes, and how the same is written do not matter, nor
// white space between elements where no text is. How a message is masked, cut into
// frames and compressed does not matter, pings are answered, and pongs are passed
// over, unless [Exact] is given. Where the protocol is known, its records are compared,
// in whatever messages they come, and its heartbeats may come or not, as may what
// [Optional] names. If it has ids, the other side may ask with others than recorded, and
// in another order: an answer has the id of its question.
// [Ignore], [Capture], [CaptureAuto] and [AnyOrder] allow for what differs from run to
// run. Of the handshake the method, path, query, subprotocols and extensions
// are compared. A key and its accept are made for each connection.
//
// A session of Socket.IO that begins by polling is played by its packets, unless [Exact]
// is given: how many requests bring them, and when the upgrade comes, does not matter.
//
// What is sent is what was recorded, to the byte: junk, opcodes that have no
// meaning, frames that are cut off, a reset, an accept that does not fit the
// key. So a trace made by hand is a bad peer for a test.
//
// # Who owns what
//
// A [Script] is a session that was read, of a trace ([Trace]) or any other file
// that is a [decode.Source]. It does not change and can be played by any number
// of goroutines at once; each play owns its connection and closes it.
package replay
