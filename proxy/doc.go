// Package proxy listens, dials, and relays HTTP exchanges and WebSocket
// connections byte for byte, while a [decode.Session] watches each.
//
//	client ──► link ──► Session ──► server      the link's goroutine
//	client ◄── Session ◄── upstream ◄── server  the upstream's goroutine
//
// A [Proxy] accepts connections. Each is a link with one goroutine that reads
// the client; the upstream connection that it is relayed to has another, which
// reads the server. Until an upgrade they take turns: the link sends a request
// and hands the exchange to the upstream, which relays the answer and says what
// came of it. After a 101 both run the same loop, relay: read a chunk, give it
// to the session, write it on.
//
// # Taking turns
//
// The link hands an exchange over before it sends the first byte of the request,
// so whatever comes while there is none was not asked for. The upstream answers
// each exchange that it has taken, even by ending: it sets the outcome, ends the
// link's reading by a deadline in the past, and closes answered; the link takes
// the deadline back only after that. One lock decides whether an exchange came
// before the server's end, or before its first bytes in a tunnel, or after.
//
// A write that fails says only that bytes are lost. How the peer has ended is
// for the goroutine that reads it to find out, and to pass on.
//
// # What is changed on the way
//
// Nothing but what proxying needs. In reverse mode the value of each Host line
// becomes the origin's authority, unless KeepHost is set. In forward mode a
// target in absolute-form becomes origin-form, and Proxy-Connection and
// Proxy-Authorization go. The sessions tell of it. How a connection ends is
// passed on: a half-close as a half-close, a reset as a reset.
//
// # TLS
//
// A client that begins TLS, in a tunnel or to a reverse proxy, gets a
// certificate from Authority for the server it asks for; TLS with the server is
// another connection, with UpstreamTLS. What fails is told where it can be: to
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
// session borrows them for the call. A connection that waits holds no buffer.
//
// # Ends
//
// The link's goroutine is owned by [Proxy.Serve], which returns when all have
// ended. The upstream's is owned by its link, which waits for it. A connection
// that is closed, by its peer or at the end of the context, ends both.
package proxy
