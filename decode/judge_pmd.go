package decode

import "strings"

// checkAccepted compares the extensions that h accepts with those that asked
// offers (RFC 6455 §9.1, RFC 7692 §5, §7).
func (j *judge) checkAccepted(asked, h *Head) {
	lines := h.Values("Sec-WebSocket-Extensions")
	if lines == nil {
		return
	}
	bad := func(field string, id RuleID, format string, args ...any) {
		j.field(FromServer, field, id, format, args...)
	}
	if len(lines) > 1 {
		bad(fieldExtensions, "res-extensions-split", "%d Sec-WebSocket-Extensions headers", len(lines))
	}
	exts, err := ParseExtensions(lines)
	if err != nil {
		j.reject(fieldExtensions, "res-extensions-syntax", "Sec-WebSocket-Extensions is wrong: %v", err)
	}
	wanted := asked.Values("Sec-WebSocket-Extensions")
	offers, broken := ParseExtensions(wanted)
	compress := ""
	for _, ext := range exts {
		// If the offers can't be parsed, the name somewhere in them is enough.
		offered := broken != nil && strings.Contains(strings.Join(wanted, ","), ext.Name)
		for _, o := range offers {
			offered = offered || o.Name == ext.Name
		}
		if !offered {
			j.reject(fieldExtensions, "res-extension-not-offered", "extension %.40q was not offered", ext.Name)
		}
		if strings.HasPrefix(ext.Name, "permessage-") {
			if compress != "" {
				bad(fieldExtensions, "pmd-res-multiple", "both %.40s and %.40s are accepted, only one of them can own RSV1", compress, ext.Name)
				continue
			}
			compress = ext.Name
		}
		if ext.Name == permessageDeflate {
			j.checkDeflate(ext, offers)
		}
	}
}

// checkDeflate compares an accepted permessage-deflate with the offers
// (RFC 7692 §7.1). The server may have accepted any of them, so a demand counts
// only if all offers make it.
func (j *judge) checkDeflate(ext Extension, offers []Extension) {
	bad := func(field string, id RuleID, format string, args ...any) {
		j.field(FromServer, field, id, format, args...)
	}
	res, faults := deflateParams(ext, false)
	for _, f := range faults {
		j.reject(fieldExtensions, f.response, "%s", f.text)
	}
	j.checkWindow8(FromServer, res)
	if res.bits[FromClient] == bitsAny {
		bad(fieldExtensions, "pmd-res-client-bits-no-value", "client_max_window_bits has no value, which only an offer may leave out")
	}

	count, valid := 0, 0
	clientBits, clientMost := false, 0 // some offer has client_max_window_bits, and the largest value
	serverCap, serverMost := true, 0   // all have server_max_window_bits, and the largest value
	serverAlone := true                // all have server_no_context_takeover
	for _, o := range offers {
		if o.Name != permessageDeflate {
			continue
		}
		count++
		p, faults := deflateParams(o, true)
		if len(faults) > 0 {
			continue
		}
		valid++
		switch n := p.bits[FromClient]; {
		case n == bitsAny:
			clientBits, clientMost = true, 15
		case n > 0:
			clientBits, clientMost = true, max(clientMost, n)
		}
		serverCap = serverCap && p.bits[FromServer] > 0
		serverMost = max(serverMost, p.bits[FromServer])
		serverAlone = serverAlone && p.noTakeover[FromServer]
	}
	switch {
	case count == 0:
		return
	case valid == 0:
		bad(fieldExtensions, "pmd-res-accepted-bad-offer", "permessage-deflate is accepted, but no offer of it was valid")
		return
	}
	switch n := res.bits[FromClient]; {
	case n != 0 && !clientBits:
		bad(fieldExtensions, "pmd-res-client-bits-unoffered", "client_max_window_bits is set, but no offer has it")
	case n > clientMost:
		bad(fieldExtensions, "pmd-res-client-bits-larger", "client_max_window_bits is %d, the client said at most %d", n, clientMost)
	}
	switch n := res.bits[FromServer]; {
	case !serverCap || len(faults) > 0:
	case n == 0:
		sev := SeverityError
		if serverMost == 15 { // which caps nothing
			sev = SeverityInfo
		}
		j.fieldAs(sev, FromServer, fieldExtensions, "pmd-res-server-bits-missing", "no server_max_window_bits, the client asked for at most %d", serverMost)
	case n > serverMost:
		bad(fieldExtensions, "pmd-res-server-bits-larger", "server_max_window_bits is %d, the client asked for at most %d", n, serverMost)
	}
	if serverAlone && !res.noTakeover[FromServer] {
		bad(fieldExtensions, "pmd-res-server-nct-missing", "no server_no_context_takeover, which the client asked for")
	}
}
