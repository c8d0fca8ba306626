package proxy

// A Reason says why something failed that its user can mend, so that a program
// can name the remedy in its own words. It is the attribute [ReasonKey] of the
// record that [Proxy.Log] takes of the first such failure; of a client of
// [Proxy.ServeConn] that does not trust [Proxy.Authority], the first of its process
// with each host.
type Reason string

// ReasonKey is the key of the attribute.
const ReasonKey = "reason"

// Keys of further attributes, of the records with [ReasonUntrustedAuthority] that tell
// of a client of [Proxy.ServeConn]: its process as [Target] has it, and the host.
const (
	PIDKey     = "pid"
	ProcessKey = "process"
	HostKey    = "host"
)

const (
	// A client does not trust [Proxy.Authority], or seems not to.
	ReasonUntrustedAuthority Reason = "authority-untrusted"

	// A client asks the proxy for a tunnel to the proxy itself: it takes it for
	// a server.
	ReasonConnectToSelf Reason = "connect-to-self"

	// A client asks the proxy itself for a WebSocket: it takes it for the server.
	ReasonUpgradeToSelf Reason = "upgrade-to-self"

	// A client asks a proxy with an [Proxy.Upstream] for a tunnel, which the
	// server does not open: the client takes the two for an HTTP proxy.
	ReasonConnectToReverse Reason = "connect-to-reverse"

	// A client does not speak HTTP/1.1 inside TLS.
	ReasonClientProtocol Reason = "client-protocol"

	// A server has a certificate of an authority that [Proxy.UpstreamTLS] does
	// not trust, or of none.
	ReasonUntrustedServer Reason = "server-untrusted"

	// A server has a certificate that would not do even if its authority were
	// trusted: it has expired, say, or is for another name.
	ReasonInvalidCertificate Reason = "server-certificate-invalid"

	// A server that is asked without TLS speaks TLS.
	ReasonServerWantsTLS Reason = "server-wants-tls"

	// A server wants a certificate that [Proxy.UpstreamTLS] does not have.
	ReasonClientCertificateWanted Reason = "client-certificate-wanted"

	// TLS with a peer has a version or a cipher suite that is no longer safe.
	// [Proxy.Strict] refuses it.
	ReasonOldTLS Reason = "tls-old"

	// A peer has no TLS that package tls can speak: it knows nothing but SSL
	// 3.0, or DHE key exchange, say, or wants another handshake.
	ReasonUnsupportedTLS Reason = "tls-unsupported"

	// TLS with a server failed that [Proxy.Strict] may be the reason of.
	ReasonStrictTLS Reason = "tls-strict"

	// A client asks for a server name that TLS does not allow.
	ReasonServerName Reason = "server-name-invalid"
)

// warn logs what has failed and its reason, unless there was a failure for the
// same reason before.
func (p *Proxy) warn(reason Reason, text string) {
	if _, known := p.warned.LoadOrStore(reason, true); !known {
		p.log().Warn(text, ReasonKey, reason)
	}
}

// warnOf is like warn, and logs another text for the same reason too, without
// the reason.
func (p *Proxy) warnOf(reason Reason, text string) {
	if _, known := p.warned.LoadOrStore(text, true); known {
		return
	}
	if _, known := p.warned.Load(reason); known {
		p.log().Warn(text)
		return
	}
	p.warn(reason, text)
}
