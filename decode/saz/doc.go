// Package saz reads and writes the session archives of Fiddler (.saz).
//
// An archive is a ZIP with up to four entries for session N:
//
//	raw/N_c.txt   the request as the client sent it
//	raw/N_s.txt   the response
//	raw/N_m.xml   times and flags
//	raw/N_w.txt   the frames of a WebSocket connection, each as it was on the wire
//
// So heads, masks, lengths and compression are there. How a connection ended, and
// what was sent in place of what came, is not, but for what a [Writer] adds: flags of
// its own in N_m.xml, which Fiddler keeps and does not use. Messages of gRPC
// (raw/N_g.txt) are left out, which a notice tells.
package saz
