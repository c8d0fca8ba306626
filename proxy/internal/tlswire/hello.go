package tlswire

// A ClientHello is what the first message of a TLS client says of where it wants to
// go and what it speaks there. With ECH it is what the outer message says.
type ClientHello struct {
	ServerName string   // "" if it asks for none
	Protocols  []string // of ALPN (RFC 7301), in the client's order; nil without ALPN
}

// MaxClientHello is the longest ClientHello that is read, with its records, in bytes.
const MaxClientHello = 64 << 10

// ParseClientHello parses the ClientHello at the start of what a client sends, in one
// record of TLS or several, and returns how many bytes it has: 0 if more are needed,
// less if it is none.
func ParseClientHello(b []byte) (h ClientHello, n int) {
	const handshake, clientHello = 22, 1
	var message []byte
	for first := true; ; first = false {
		if len(b)-n < 5 {
			if !IsHandshake(b[n:]) && len(b) > n {
				return h, -1
			}
			return h, more(b)
		}
		size := int(b[n+3])<<8 | int(b[n+4])
		if b[n] != handshake || b[n+1] != 3 || size == 0 || size > 1<<14 {
			return h, -1
		}
		fragment := b[n+5:]
		whole := len(fragment) >= size
		fragment = fragment[:min(size, len(fragment))]
		if n += 5 + size; first {
			message = fragment[:len(fragment):len(fragment)] // no copy, of most
		} else {
			message = append(message, fragment...)
		}
		if len(message) > 0 && message[0] != clientHello {
			return h, -1
		}
		if len(message) >= 4 {
			size := int(message[1])<<16 | int(message[2])<<8 | int(message[3])
			if size > MaxClientHello {
				return h, -1
			}
			if len(message) >= 4+size && whole {
				if !h.parse(message[4 : 4+size]) {
					return ClientHello{}, -1
				}
				return h, n
			}
		}
		if !whole {
			return h, more(b)
		}
	}
}

// more asks for more than b, unless that is too long already.
func more(b []byte) int {
	if len(b) > MaxClientHello {
		return -1
	}
	return 0
}

// parse parses the body of a ClientHello (RFC 8446 §4.1.2).
func (h *ClientHello) parse(b reader) bool {
	b.skip(2 + 32)         // legacy_version, random
	b.vector(1)            // legacy_session_id
	suites := b.vector(2)  // cipher_suites
	methods := b.vector(1) // legacy_compression_methods
	if b == nil || len(suites) == 0 || len(suites)%2 != 0 || len(methods) == 0 {
		return false
	}
	if len(b) == 0 { // before TLS 1.3 there may be no extensions
		return true
	}
	extensions := b.vector(2)
	if b == nil || len(b) > 0 {
		return false
	}
	for len(extensions) > 0 {
		kind := extensions.uint(2)
		data := extensions.vector(2)
		if extensions == nil {
			return false
		}
		switch {
		case kind == 0 && !h.serverName(data), kind == 16 && !h.protocols(data):
			return false
		}
	}
	return true
}

// serverName parses the extension of that name (RFC 6066 §3).
func (h *ClientHello) serverName(b reader) bool {
	names := b.vector(2)
	if b == nil || len(b) > 0 {
		return false
	}
	for len(names) > 0 {
		kind := names.uint(1)
		name := names.vector(2)
		if names == nil {
			return false
		}
		if kind == 0 && h.ServerName == "" {
			if h.ServerName = string(name); !isHostName(h.ServerName) {
				return false
			}
		}
	}
	return true
}

// protocols parses the extension of ALPN (RFC 7301 §3.1).
func (h *ClientHello) protocols(b reader) bool {
	names := b.vector(2)
	if b == nil || len(b) > 0 || h.Protocols != nil {
		return false
	}
	for len(names) > 0 {
		name := names.vector(1)
		if names == nil || len(name) == 0 {
			return false
		}
		h.Protocols = append(h.Protocols, string(name))
	}
	return h.Protocols != nil
}

// isHostName reports whether s is made of the letters of host names, and does not end
// in a dot.
func isHostName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return s != "" && s[len(s)-1] != '.'
}

// A reader is what is left of a message; nil once it was too short.
type reader []byte

func (r *reader) skip(n int) {
	if len(*r) < n {
		*r = nil
		return
	}
	*r = (*r)[n:]
}

// uint reads a number of n bytes.
func (r *reader) uint(n int) (v int) {
	if len(*r) < n {
		*r = nil
		return 0
	}
	for _, c := range (*r)[:n] {
		v = v<<8 | int(c)
	}
	*r = (*r)[n:]
	return v
}

// vector reads what has its length, of n bytes, in front of it.
func (r *reader) vector(n int) reader {
	size := r.uint(n)
	if len(*r) < size || *r == nil {
		*r = nil
		return nil
	}
	v := (*r)[:size:size]
	*r = (*r)[size:]
	return v
}
