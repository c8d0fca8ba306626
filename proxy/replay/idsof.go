package replay

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// What follows finds the ids in a record of each protocol. It takes nothing that is not
// plainly one: what it leaves is compared as any other content.

// A field is a value in a document.
type field struct {
	pick.Span     // in the record
	value     any // string, json.Number, bool or nil; of another, errNotScalar
}

// isID reports whether a field is a string or a number.
func (f field) isID() bool { return canCapture(f.value) }

// is reports whether a field is one of these strings.
func (f field) is(list ...string) bool {
	s, ok := f.value.(string)
	for _, t := range list {
		if ok && s == t {
			return true
		}
	}
	return false
}

// number returns the whole number that a field is, or -1.
func (f field) number() int {
	n, ok := f.value.(json.Number)
	if i, err := strconv.Atoi(string(n)); ok && err == nil {
		return i
	}
	return -1
}

// document returns the document that a record is, and where it stands; nil for none.
func document(op ws.OpCode, record []byte) (doc []byte, at int) {
	if op != ws.OpText {
		return nil, 0
	}
	record = bytes.TrimSuffix(record, []byte("\x1e"))
	for _, p := range pick.Parts(record) {
		switch {
		case p.JSON && doc == nil:
			doc = p.Bytes
		case p.JSON || len(bytes.TrimSpace(p.Bytes)) > 0:
			return nil, 0
		case doc == nil:
			at += len(p.Bytes)
		}
	}
	return doc, at
}

// inside calls f with the key and value of each member or element of a document, which
// stands at an offset of a record.
func inside(doc []byte, at int, f func(key any, v field)) {
	v := pick.Visitor{
		Enter: func(place pick.Place, span pick.Span) bool {
			if len(place) == 1 {
				f(place[0], field{pick.Span{Start: at + span.Start, End: at + span.End}, errNotScalar})
			}
			return len(place) == 0
		},
		Scalar: func(s pick.Scalar) {
			if len(s.At) == 1 {
				f(s.At[0], field{pick.Span{Start: at + s.Start, End: at + s.End}, s.Value})
			}
		},
	}
	v.Walk(doc)
}

// members returns the members of an object; none of anything else.
func members(doc []byte, at int) map[string]field {
	m := map[string]field{}
	if len(doc) > 0 && doc[0] == '{' {
		inside(doc, at, func(key any, v field) { m[key.(string)] = v })
	}
	return m
}

// elements returns the elements of an array; none of anything else.
func elements(doc []byte, at int) (list []field) {
	if len(doc) > 0 && doc[0] == '[' {
		inside(doc, at, func(_ any, v field) { list = append(list, v) })
	}
	return list
}

// maxBatched is how many messages an array has at most in which ids are looked for.
const maxBatched = 1000

// objects returns what find finds in the object that a record is, or in each object of
// the array that it is. A member is given by its name.
func objects(op ws.OpCode, record []byte, find func(m map[string]field) []ident) (ids []ident) {
	doc, at := document(op, record)
	if len(doc) == 0 || doc[0] == '{' {
		return find(members(doc, at))
	}
	list := elements(doc, at)
	if len(list) > maxBatched {
		return nil
	}
	for _, e := range list {
		ids = append(ids, find(members(record[e.Start:e.End], e.Start))...)
	}
	return ids
}

// jsonID returns an id that is a value of JSON.
func jsonID(f field, asks bool, asker decode.Dir, space string) []ident {
	if !f.isID() {
		return nil
	}
	return []ident{{Span: f.Span, asks: asks, asker: asker, space: space, json: f.value}}
}

// sortIDs puts ids into the order in which they stand.
func sortIDs(ids []ident) {
	slices.SortFunc(ids, func(a, b ident) int { return a.Start - b.Start })
}

// jsonRPCIDs: a request has an id and a method, and an answer the id of its request
// (JSON-RPC 2.0 §4). A message may take a request back.
func jsonRPCIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	return objects(op, record, func(m map[string]field) []ident {
		id, hasID := m["id"]
		method, asks := m["method"]
		params := m["params"]
		_, result := m["result"]
		_, failed := m["error"]
		switch {
		case hasID && asks:
			return jsonID(id, true, from, "")
		case hasID && (result || failed):
			return jsonID(id, false, from.Peer(), "")
		case method.is("$/cancelRequest") && params.End > 0:
			return jsonID(members(record[params.Start:params.End], params.Start)["id"], false, from, "")
		case method.is("notifications/cancelled") && params.End > 0:
			return jsonID(members(record[params.Start:params.End], params.Start)["requestId"], false, from, "")
		}
		return nil
	})
}

// isJSONRPC reports whether a message is one of JSON-RPC 2.0.
func isJSONRPC(data []byte) bool {
	if !bytes.Contains(data, []byte(`"jsonrpc"`)) {
		return false
	}
	doc, _ := document(ws.OpText, data)
	if list := elements(doc, 0); len(list) > 0 {
		doc = doc[list[0].Start:list[0].End]
	}
	return members(doc, 0)["jsonrpc"].is("2.0")
}

// isCDP reports whether a message is a command of the Chrome DevTools protocol.
func isCDP(data []byte) bool {
	doc, _ := document(ws.OpText, data)
	m := members(doc, 0)
	method, _ := m["method"].value.(string)
	return m["id"].number() >= 0 && strings.Contains(method, ".")
}

// isTRPC reports whether a message is a request of tRPC, or several in an array.
func isTRPC(data []byte) bool {
	if len(data) > maxFirst || !bytes.Contains(data, []byte(`"path"`)) {
		return false
	}
	doc, at := document(ws.OpText, data)
	if list := elements(doc, at); len(list) > 0 {
		doc, at = data[list[0].Start:list[0].End], list[0].Start
	}
	m := members(doc, at)
	params := m["params"]
	if !m["method"].is("query", "mutation", "subscription") || !m["id"].isID() || params.End == 0 {
		return false
	}
	_, ok := members(data[params.Start:params.End], params.Start)["path"].value.(string)
	return ok
}

// tRPCIDs: the client asks, and may stop what it has asked for.
func tRPCIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	return objects(op, record, func(m map[string]field) []ident {
		switch method := m["method"]; {
		case from == decode.FromServer:
			return jsonID(m["id"], false, decode.FromClient, "")
		case method.is("query", "mutation", "subscription"):
			return jsonID(m["id"], true, from, "")
		case method.is("subscription.stop"):
			return jsonID(m["id"], false, from, "")
		}
		return nil
	})
}

// graphQLIDs: the client asks, and either side may end what it has asked for.
func graphQLIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	return objects(op, record, func(m map[string]field) []ident {
		asks := from == decode.FromClient && m["type"].is("subscribe", "start")
		return jsonID(m["id"], asks, decode.FromClient, "")
	})
}

// bayeuxIDs: an answer says whether the request was successful, and other messages of
// the server answer nothing.
func bayeuxIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	return objects(op, record, func(m map[string]field) []ident {
		_, answers := m["successful"]
		if _, ok := m["channel"]; !ok || answers != (from == decode.FromServer) {
			return nil
		}
		return jsonID(m["id"], !answers, decode.FromClient, "")
	})
}

// ocppIDs: [2,id,…] and [6,id,…] ask, and [3,id,…] to [5,id,…] answer.
func ocppIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	list := elements(document(op, record))
	if len(list) < 3 {
		return nil
	}
	switch list[0].number() {
	case 2, 6:
		return jsonID(list[1], true, from, "")
	case 3, 4:
		return jsonID(list[1], false, from.Peer(), "")
	case 5: // of an answer
		return jsonID(list[1], false, from, "")
	}
	return nil
}

// wampIDs: an answer has the id of its request, and its kind tells that of the request
// (The Web Application Messaging Protocol §6).
func wampIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	list := elements(document(op, record))
	if len(list) < 2 {
		return nil
	}
	peer := from.Peer()
	switch kind := list[0].number(); kind {
	case 16, 32, 34, 48, 64, 66, 68: // PUBLISH, SUBSCRIBE, UNSUBSCRIBE, CALL, REGISTER, UNREGISTER, INVOCATION
		return jsonID(list[1], true, from, strconv.Itoa(kind))
	case 17, 33, 35, 65, 67: // PUBLISHED, SUBSCRIBED, UNSUBSCRIBED, REGISTERED, UNREGISTERED
		return jsonID(list[1], false, peer, strconv.Itoa(kind-1))
	case 50, 70: // RESULT, YIELD
		return jsonID(list[1], false, peer, strconv.Itoa(kind-2))
	case 49, 69: // CANCEL, INTERRUPT
		return jsonID(list[1], false, from, strconv.Itoa(kind-1))
	case 8: // ERROR
		if len(list) > 2 {
			return jsonID(list[2], false, peer, strconv.Itoa(list[1].number()))
		}
	}
	return nil
}

// phoenixIDs: a push has a ref, and the join_ref of its channel's join.
func phoenixIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	if op == ws.OpBinary {
		return phoenixBinaryIDs(from, record)
	}
	var joinRef, ref, event field
	doc, at := document(op, record)
	if list := elements(doc, at); len(list) == 5 {
		joinRef, ref, event = list[0], list[1], list[3]
	} else if m := members(doc, at); len(m) > 0 {
		joinRef, ref, event = m["join_ref"], m["ref"], m["event"]
	}
	joins := from == decode.FromClient && event.is("phx_join")
	ids := append(jsonID(joinRef, joins, decode.FromClient, "join"), jsonID(ref, from == decode.FromClient, decode.FromClient, "")...)
	sortIDs(ids)
	return ids
}

// phoenixBinaryIDs: a push of a client and a reply have the lengths of a join_ref, a ref
// and two more strings in front, and a push of the server that of a join_ref and two.
func phoenixBinaryIDs(from decode.Dir, record []byte) []ident {
	lengths := 4
	switch {
	case len(record) == 0:
		return nil
	case record[0] == 0 && from == decode.FromServer:
		lengths = 3
	case record[0] == 0, record[0] == 1 && from == decode.FromServer:
	default:
		return nil
	}
	at := 1 + lengths
	if len(record) < at {
		return nil
	}
	var ids []ident
	for i, n := range record[1:at] {
		if len(record) < at+int(n) {
			return nil
		}
		id := ident{Span: pick.Span{Start: at, End: at + int(n)}, asker: decode.FromClient}
		at = id.End
		switch {
		case i == 0:
			id.space = "join"
			ids = append(ids, id)
		case i == 1 && lengths == 4:
			id.asks = from == decode.FromClient
			ids = append(ids, id)
		}
	}
	return ids
}

// socketIOPacket is an event or its acknowledgement with an id: 4, the type, how many
// binary messages follow, the namespace.
var socketIOPacket = regexp.MustCompile(`^4(?:([23])|([56])[0-9]+-)(/[^,\[]*,)?([0-9]+)\[`)

// socketIOIDs: an acknowledgement has the id of its event, in its namespace.
func socketIOIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	if op != ws.OpText {
		return nil
	}
	m := socketIOPacket.FindSubmatchIndex(record)
	if m == nil {
		return nil
	}
	kind := m[2]
	if kind < 0 {
		kind = m[4]
	}
	id := ident{Span: pick.Span{Start: m[8], End: m[9]}, asker: from, tied: m[4] >= 0}
	if m[6] >= 0 {
		id.space = string(record[m[6]:m[7]])
	}
	if id.asks = record[kind] == '2' || record[kind] == '5'; !id.asks {
		id.asker = from.Peer()
	}
	return []ident{id}
}

// signalRIDs: an invocation may have an id, which its items and its completion have, and
// names the streams that its sender sends next (HubProtocol.md).
func signalRIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	if op == ws.OpBinary {
		return signalRPackIDs(from, record)
	}
	doc, at := document(op, record)
	m := members(doc, at)
	var ids []ident
	switch id := m["invocationId"]; m["type"].number() {
	case 1, 4:
		ids = jsonID(id, true, from, "")
		if list := m["streamIds"]; list.End > 0 {
			for _, stream := range elements(record[list.Start:list.End], list.Start) {
				ids = append(ids, jsonID(stream, true, from, "")...)
			}
			if len(ids) > maxBatched {
				return nil
			}
		}
	case 2, 3:
		if ids = jsonID(id, false, from.Peer(), ""); ids != nil {
			ids[0].either = true
		}
	case 5:
		ids = jsonID(id, false, from, "")
	}
	sortIDs(ids)
	return ids
}

// signalRPackIDs finds the id of a record of MessagePack without headers: its length, an
// array of the type, an empty map and the id.
func signalRPackIDs(from decode.Dir, record []byte) []ident {
	_, n := binary.Uvarint(record)
	if n <= 0 || len(record) < n+4 {
		return nil
	}
	b := record[n:]
	if b[0]&0xf0 != 0x90 || b[2] != 0x80 || b[3]&0xe0 != 0xa0 {
		return nil
	}
	id := ident{Span: pick.Span{Start: n + 4, End: n + 4 + int(b[3]&0x1f)}, asker: from}
	if id.End > len(record) {
		return nil
	}
	switch b[1] {
	case 1, 4:
		id.asks = true
	case 2, 3:
		id.asker, id.either = from.Peer(), true
	case 5:
	default:
		return nil
	}
	return []ident{id}
}

// mqttIDs: a packet id is that of the side that publishes, subscribes or unsubscribes
// (MQTT 5.0 §2.2.1).
func mqttIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	if op != ws.OpBinary || len(record) < 2 {
		return nil
	}
	_, n := binary.Uvarint(record[1:])
	if n <= 0 {
		return nil
	}
	at := 1 + n
	id := ident{asker: from}
	switch kind := record[0] >> 4; kind {
	case 3: // PUBLISH
		if qos := record[0] >> 1 & 3; qos == 0 || qos == 3 || len(record) < at+2 {
			return nil
		}
		at += 2 + int(binary.BigEndian.Uint16(record[at:])) // behind the topic
		id.asks = true
	case 8, 10: // SUBSCRIBE, UNSUBSCRIBE
		id.asks = true
	case 6: // PUBREL
	case 4, 5, 7, 9, 11: // PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK
		id.asker = from.Peer()
	default:
		return nil
	}
	if len(record) < at+2 {
		return nil
	}
	id.Span = pick.Span{Start: at, End: at + 2}
	return []ident{id}
}
