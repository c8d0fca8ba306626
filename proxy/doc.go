// Package proxy listens, dials, and relays HTTP exchanges and WebSocket
// connections byte for byte, while a [decode.Session] watches each.
//
//	client ──► link ──► Session ──► server      the link's goroutine
//	client ◄── Session ◄── upstream ◄── server  the upstream's goroutine
//
// A [Proxy] accepts connections. Each is a link, whose goroutine reads the
// client; the upstream connection that it is relayed to has another, which reads
// the server. A link goes through phases: it waits for a first request, then for
// others, until an upgrade has it relay both directions, or it closes.
//
// Until an upgrade the two take turns: the link sends a request and hands the
// exchange to the upstream, which relays the answer and says what came of it.
// After a 101 both run a relay each: read a chunk, give it to the session, write
// it on. A relay knows nothing of HTTP. What it reads is a source and what it
// writes is a destination, be it a connection, a stream of one, or a pipe.
//
// # Taking turns
//
// The link hands an exchange over before it sends the first byte of the request,
// so whatever comes while there is none was not asked for. The upstream answers
// each exchange that it has taken, even by ending: it sets the outcome, ends the
// link's reading by a deadline in the past, and closes answered; the link takes
// the deadline back only after that. One lock decides whether an exchange came
// before the server's end, or before its first bytes in a tunnel, or after. A server
// that ends a tunnel without a word makes no other of it: the client learns of the
// end, and what it sends is still read as a request.
//
// A write that fails says only that bytes are lost. How the peer has ended is
// for the goroutine that reads it to find out, and to pass on.
//
// # What is changed on the way
//
// Nothing but what proxying needs. In reverse mode the value of each Host line
// becomes the origin's authority. In forward mode a target in absolute-form becomes
// origin-form, Host is made from it, and Proxy-Connection and Proxy-Authorization
// go. KeepHost leaves Host alone in both. In both, "Upgrade: h2c" and HTTP2-Settings
// go, with what Connection says of them: they are for the next hop alone. The
// sessions tell of it. How a connection ends is passed on: a half-close as a
// half-close, a reset as a reset.
//
// # Connections that were led here
//
// [Proxy.ServeConn] takes a client's connection with the one to where it wanted to go.
// It is relayed like the inside of a tunnel, and nothing is edited. If the server is a
// proxy of the client's own and opens a tunnel, by CONNECT or SOCKS, the link begins
// anew in it, with the same two connections: an exchange for each turn of the two,
// and after the last the tunnel. TLS may begin in each tunnel, so that legs of TLS may
// lie on one another.
//
// # Gates
//
// If NewGate makes a gate for a session, its frames go on as the gate decides:
//
//	source ──► relay ──► Session ──► Gate ──► outbox ──► relay or writer ──► destination
//
// The session asks the gate about each event while it is locked; the answer goes
// into the outbox of the direction. A frame that goes on as it came and at once
// is written by the relay. Everything else waits in the outbox, up to 1 MiB, for
// its writer, which tells the session of it just before it writes (Session.Sent).
// While the outbox is full the direction is not read. Before the end of the
// direction, or a Close, what is held is released. A stall stops the writer in the
// middle of a frame. Without a gate there is neither outbox nor writer.
//
// A reset drops what waits in both outboxes and closes both connections; their
// goroutines then end as they would at the end of the context. A [HeadGate] is asked
// about each head before the session has it, by the goroutine that has read it. A
// [Looker] says what its session has to look into, and a [Holder] gives up what it holds
// itself when its direction ends. Package change is a gate that acts as a user writes.
//
// # TLS
//
// A client that begins TLS, in a tunnel or to a reverse proxy, gets a
// certificate from Authority for the server it asks for; TLS with the server is
// another connection, with UpstreamTLS. A client that was led here did not ask for us:
// where it can't be served, or refuses us, its TLS is relayed as it is. What fails is told where it can be: to
// the client in an alert or a 502, to the user in a session of its own and, once,
// with a remedy in Log.
//
//	leg ──► tls.Conn ──► leg below ──► socket
//
// The leg below reads records; the leg that the rest of the package sees has
// what they decrypt to. An end without close_notify is passed on as one.
//
// # Who owns the bytes
//
// Bytes are read into a buffer of their leg, from a pool, which is taken when
// there is something to read and put back when it has been written on. A
// session borrows them for the call. A connection that waits holds no buffer,
// unless it has a gate and waits for the rest of a frame.
//
// # Ends
//
// The link's goroutine is owned by [Proxy.Serve], which returns when all have
// ended, or is the caller's of [Proxy.ServeConn]. The upstream's is owned by its
// link, which waits for it. The writer of an outbox is owned by the relay that
// starts it, and ends before the session hears of the end of its direction. A
// connection that is closed, by its peer or at the end of the context, ends them all.
package proxy
