package decode

// Dir says who sent something: the client or the server.
type Dir uint8

const (
	FromClient Dir = iota
	FromServer
)

// String returns "client" or "server".
func (d Dir) String() string {
	if d == FromClient {
		return "client"
	}
	return "server"
}

// Arrow returns ">" for what the client sent and "<" for what the server sent.
func (d Dir) Arrow() string {
	if d == FromClient {
		return ">"
	}
	return "<"
}

// Peer returns the other side.
func (d Dir) Peer() Dir { return d ^ 1 }
