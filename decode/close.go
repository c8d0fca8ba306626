package decode

import (
	"encoding/binary"
	"strconv"
)

// Status codes that an endpoint reports without having received them
// (RFC 6455 §7.4.1).
const (
	CodeNoStatus = 1005 // a Close frame without a code
	CodeAbnormal = 1006 // no Close frame at all
	CodeTLS      = 1015 // TLS handshake failed
)

// CloseBody splits the payload of a Close frame into status code and reason
// (RFC 6455 §5.5.1). ok is false if there is no code.
func CloseBody(payload []byte) (code int, reason []byte, ok bool) {
	if len(payload) < 2 {
		return 0, nil, false
	}
	return int(binary.BigEndian.Uint16(payload)), payload[2:], true
}

var closeNames = map[int]string{
	1000: "Normal Closure",
	1001: "Going Away",
	1002: "Protocol error",
	1003: "Unsupported Data",
	1004: "Reserved",
	1005: "No Status Rcvd",
	1006: "Abnormal Closure",
	1007: "Invalid frame payload data",
	1008: "Policy Violation",
	1009: "Message Too Big",
	1010: "Mandatory Ext.",
	1011: "Internal Error",
	1012: "Service Restart",
	1013: "Try Again Later",
	1014: "Bad Gateway",
	1015: "TLS handshake",
	3000: "Unauthorized",
	3003: "Forbidden",
	3008: "Timeout",
}

// CloseName returns a status code with its name in the IANA WebSocket Close
// Code Number registry, "1001 Going Away", or the code alone.
func CloseName(code int) string {
	if name := closeNames[code]; name != "" {
		return strconv.Itoa(code) + " " + name
	}
	return strconv.Itoa(code)
}
