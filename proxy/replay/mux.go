package replay

import (
	"encoding/binary"
	"slices"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// Multiplexers use WebSocket as a pipe. As nothing names them, one is recognized only if
// all that both sides sent is frames of it, and all data is of streams that were opened.

// A muxFrame is what the header of a multiplexer's frame says.
type muxFrame struct {
	stream uint32 // 0 for the session
	opens  bool   // it opens the stream
}

// isMux reports whether a session is that of a multiplexer, whose frames begin with one of
// these versions. header returns what a frame says, and whether the record is one.
func (t *traits) isMux(split splitter, header func(record []byte) (muxFrame, bool), versions ...byte) bool {
	for _, first := range t.first {
		if len(first) == 0 || !slices.Contains(versions, first[0]) {
			return false // mostly it is known without a look at the rest
		}
	}
	opened := map[uint32]bool{}
	used := map[uint32]bool{}
	for d := range decode.Dir(2) {
		ok := true
		r := records{split: split, emit: func(u *unit) {
			if u.kind != unitMessage {
				return
			}
			h, is := header(u.data)
			ok = ok && is && u.op == ws.OpBinary && splits(u)
			switch {
			case h.opens:
				opened[h.stream] = true
			case h.stream != 0:
				used[h.stream] = true
			}
		}}
		for i := range t.s.sides[d].units {
			if r.take(&t.s.sides[d].units[i]); !ok {
				return false
			}
		}
		if r.end(); !ok {
			return false
		}
	}
	for id := range used {
		if !opened[id] {
			return false
		}
	}
	return len(opened) > 0
}

// Of yamux (its spec.md): a version, a type, flags, a stream and a length, in 12 bytes.
const (
	yamuxData   = 0
	yamuxWindow = 1
	yamuxPing   = 2
	yamuxGoAway = 3

	yamuxSYN = 1
	yamuxACK = 2
)

// yamuxRecord: data follows the header of its type only.
func yamuxRecord(op ws.OpCode, data []byte) int {
	switch {
	case op != ws.OpBinary:
		return len(data)
	case len(data) < 12:
		return 0
	case data[0] != 0 || data[1] != yamuxData:
		return 12
	}
	if n := binary.BigEndian.Uint32(data[8:]); uint64(n) <= uint64(len(data)-12) {
		return 12 + int(n)
	}
	return 0
}

func yamuxHeader(b []byte) (f muxFrame, ok bool) {
	if len(b) < 12 || b[0] != 0 {
		return f, false
	}
	flags, length := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[8:])
	f.stream = binary.BigEndian.Uint32(b[4:])
	f.opens = b[1] <= yamuxWindow && flags&yamuxSYN != 0
	switch b[1] {
	case yamuxData:
		return f, f.stream != 0 && flags < 16 && uint64(length) == uint64(len(b)-12)
	case yamuxWindow:
		return f, f.stream != 0 && flags < 16
	case yamuxPing:
		return f, f.stream == 0 && (flags == yamuxSYN || flags == yamuxACK)
	case yamuxGoAway:
		return f, f.stream == 0 && flags == 0 && length <= 2
	}
	return f, false
}

func yamuxBeat(_ decode.Dir, op ws.OpCode, data []byte) beat {
	if op != ws.OpBinary || len(data) != 12 || data[1] != yamuxPing {
		return noBeat
	}
	switch f, ok := yamuxHeader(data); {
	case !ok || f.stream != 0:
		return noBeat
	case data[3] == yamuxSYN:
		return beatAsk
	}
	return beatAnswer
}

// yamuxIDs: a ping has a value of its own, which its answer has too.
func yamuxIDs(from decode.Dir, op ws.OpCode, record []byte) []ident {
	id := ident{asker: from}
	switch yamuxBeat(from, op, record) {
	case beatAsk:
		id.asks = true
	case beatAnswer:
		id.asker = from.Peer()
	default:
		return nil
	}
	id.Start, id.End = 8, 12
	return []ident{id}
}

// Of smux: a version, a command, a length and a stream, in 8 bytes, the last two with
// their low bytes first.
const (
	smuxSYN    = 0
	smuxFIN    = 1
	smuxData   = 2
	smuxNOP    = 3
	smuxUpdate = 4 // of version 2
)

func smuxRecord(op ws.OpCode, data []byte) int {
	switch {
	case op != ws.OpBinary:
		return len(data)
	case len(data) < 8:
		return 0
	}
	if n := 8 + int(binary.LittleEndian.Uint16(data[2:])); n <= len(data) {
		return n
	}
	return 0
}

func smuxHeader(b []byte) (f muxFrame, ok bool) {
	if len(b) < 8 || b[0] != 1 && b[0] != 2 {
		return f, false
	}
	n := len(b) - 8
	f.stream, f.opens = binary.LittleEndian.Uint32(b[4:]), b[1] == smuxSYN
	switch b[1] {
	case smuxSYN, smuxFIN:
		return f, f.stream != 0 && n == 0
	case smuxData:
		return f, f.stream != 0 && n > 0
	case smuxNOP:
		return f, f.stream == 0 && n == 0
	case smuxUpdate:
		return f, b[0] == 2 && f.stream != 0 && n == 8
	}
	return f, false
}

func smuxBeat(_ decode.Dir, op ws.OpCode, data []byte) beat {
	if op == ws.OpBinary && len(data) == 8 && data[1] == smuxNOP {
		return beatAlone
	}
	return noBeat
}
