// Package har reads and writes HTTP archives: HAR 1.2 with the messages of WebSocket
// sessions in _webSocketMessages, as Chrome writes them and others do.
//
//	events ─► Writer ─► .har ─► Source ─► decode.Session ─► events
//
// An entry is a session. HAR knows messages and no frames, so a session that is read
// has none ([decode.Info.NoFrames]). What HAR has no name for, a [Writer] puts into
// objects called _wstrace, which other programs pass over. A [Source] reads it, but for
// what is marked with *, which is there for others:
//
//	log       "version" (1)
//	entry     "session", "client", "server", "via", "ext", "pid", "process", "tls"
//	          "handshake": false   the heads are not known, the request is made up
//	          "cont", "open"       something of the session is missing, it did not end
//	          "bytes"              on the wire behind the heads, by the client and the server
//	          "close" *            how it ended: "code", "reason", "by"
//	          "events"             control frames, remarks and ends, each with its "time" and
//	                               "after" how many messages it came
//	head      "target"             of a request, if the URL does not tell it
//	          "raw"                in base64, if it is not spelled as usual or incomplete
//	body      "encoding"           base64, for postData, which has no such key
//	          "b64"                its bytes as they came, if text has them without gzip
//	          "len", "cut"         there is more of it, so long is all
//	          "unfinished"         the connection ended inside of it
//	message   "rsv", "mask" *      of its first frame
//	          "frames", "wire" *   how many it had, if not one, and how many bytes they carried
//	          "compressed" *       it was
//	          "b64"                a text that is not UTF-8
//	          "len", "cut"         there is more of it
//	          "unread", "unfinished"  it is what could be read of it, or what came
//	          "fx" *               it was not sent on as it came
//
// What does not fit into memory goes to a [Spool]: sessions that overlap have to be
// put apart, and Chrome writes the messages of an entry before its request.
package har
