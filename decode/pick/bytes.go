package pick

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Bytes names bytes of a message, which may be binary: by where they stand or, with
// MQTTID, by what they are.
type Bytes struct {
	Offset int  // of the first byte; if it is negative, from the end of the message
	Length int  // at least 1
	MQTTID bool // the packet ids of MQTT packets, instead
}

// MQTTID is the selector of the packet ids of MQTT.
const MQTTID = "@mqtt.id"

// parseBytes parses a selector that begins with @.
func parseBytes(text string) (*Bytes, error) {
	if text == MQTTID {
		return &Bytes{MQTTID: true}, nil
	}
	offset, length, _ := strings.Cut(text[1:], ":")
	from, err1 := strconv.ParseInt(offset, 10, 32)
	n, err2 := strconv.ParseUint(length, 10, 31)
	switch {
	case err1 != nil || err2 != nil || n == 0:
		return nil, fmt.Errorf("%q is not \"@offset:length\", as @2:4, or \"%s\"", text, MQTTID)
	case from < 0 && -from < int64(n):
		return nil, fmt.Errorf("%q goes beyond the end of a message", text)
	}
	return &Bytes{Offset: int(from), Length: int(n)}, nil
}

// spans returns where the bytes stand in a message: nowhere, if it is too short.
func (b *Bytes) spans(message []byte) (list []Span) {
	if b.MQTTID {
		MQTTIDs(message, func(_ byte, at Span) { list = append(list, at) })
		return list
	}
	from := b.Offset
	if from < 0 {
		from += len(message)
	}
	if from < 0 || b.Length > len(message)-from {
		return nil
	}
	return []Span{{from, from + b.Length}}
}

// MQTTIDs calls each with the packet ids in a message of MQTT packets, and what kind of
// packet each is in: 3 for PUBLISH, and so on (MQTT 5.0 §2.1.2). It stops at what is no
// whole packet.
func MQTTIDs(message []byte, each func(kind byte, at Span)) {
	for at := 0; at < len(message); {
		size, n := binary.Uvarint(message[at+1:])
		from := at + 1 + n // of what follows the fixed header
		if n <= 0 || n > 4 || size > uint64(len(message)-from) {
			return
		}
		packet := message[:from+int(size)]
		kind, flags := message[at]>>4, message[at]&15
		at = len(packet)
		switch kind {
		case 3: // PUBLISH
			if flags>>1&3 == 0 || flags>>1&3 == 3 || len(packet)-from < 2 {
				continue
			}
			from += 2 + int(binary.BigEndian.Uint16(packet[from:])) // the topic
		case 4, 5, 7, 9, 11: // PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK
			if flags != 0 {
				return
			}
		case 6, 8, 10: // PUBREL, SUBSCRIBE, UNSUBSCRIBE
			if flags != 2 {
				return
			}
		case 0:
			return
		default:
			continue
		}
		if from+2 > len(packet) {
			return
		}
		each(kind, Span{from, from + 2})
	}
}
