package trace

import (
	"slices"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// keysOf returns the keys that records of kind k have behind k itself, in the
// order in which they are written. [Parse] and [Record.Append] both walk them:
// a new key is a line here, a field of Record and a line in FORMAT.md.
func keysOf(k Kind) []key {
	if keys, ok := keysByKind[k]; ok {
		return keys
	}
	return common
}

var keysByKind = map[Kind][]key{
	KindHeader: {
		timestamp("t0", func(r *Record) *string { return &r.T0 }),
		text("by", func(r *Record) *string { return &r.By }),
		text("host", func(r *Record) *string { return &r.Host }),
		text("mode", func(r *Record) *string { return &r.Mode }),
		text("run", func(r *Record) *string { return &r.Run }),
		number("part", func(r *Record) *int64 { return &r.Part }, 1),
		number("seed", func(r *Record) *int64 { return &r.Seed }, 1),
		texts("redact", func(r *Record) *[]string { return &r.Redact }),
		knownCount("snap", func(r *Record) (*int64, *bool) { return &r.Snap, &r.HasSnap }),
	},
	KindOpen: slices.Concat(common, []key{
		text("client", func(r *Record) *string { return &r.Client }),
		text("server", func(r *Record) *string { return &r.Server }),
		text("url", func(r *Record) *string { return &r.URL }),
		text("via", func(r *Record) *string { return &r.Via }),
		number("pid", func(r *Record) *int64 { return &r.PID }, 1),
		text("process", func(r *Record) *string { return &r.Process }),
		text("ext", func(r *Record) *string { return &r.Ext }),
		flag("messages", func(r *Record) *bool { return &r.NoFrames }),
		flag("cont", func(r *Record) *bool { return &r.Cont }),
		anyJSON("tls", func(r *Record) *[]byte { return &r.TLS }),
	}),
	KindReq: slices.Concat(common, []key{
		headText("m", func(h *decode.Head) *string { return &h.Method }),
		headText("target", func(h *decode.Head) *string { return &h.Target }),
		headText("v", func(h *decode.Head) *string { return &h.Proto }),
	}, fieldsAndBody, fate, derived),
	KindRes: slices.Concat(common, []key{
		headText("v", func(h *decode.Head) *string { return &h.Proto }),
		headStatus("code"),
		headText("reason", func(h *decode.Head) *string { return &h.Reason }),
	}, fieldsAndBody, fate, derived),
	KindBody: slices.Concat(oneSided, []key{
		cutLength("len"),
		payload("text", FormText),
		otherPayload("b64", FormBase64),
		otherPayload("hex", FormHex),
	}, cut, []key{
		flag("last", func(r *Record) *bool { return &r.Last }),
		text("=packed", func(r *Record) *string { return &r.Packed }),
	}),
	KindFrame: slices.Concat(oneSided, []key{
		required(opcode("op")),
		fin("fin"),
		rsv("rsv"),
		mask("mask"),
		lengthBits("lenc"),
		frameLength("len"),
		payload("text", FormText),
		otherPayload("b64", FormBase64),
		otherPayload("hex", FormHex),
		closeCode("code"),
		closeReason("reason"),
		otherPayload("deflate", FormDeflate),
	}, fate, cut, inflatedText),
	KindMore: slices.Concat(oneSided, []key{
		cutLength("len"),
		payload("text", FormText),
		otherPayload("b64", FormBase64),
		otherPayload("hex", FormHex),
	}, fate, cut, inflatedText),
	KindJunk: slices.Concat(oneSided, []key{
		cutLength("len"),
		payload("b64", FormBase64),
		otherPayload("hex", FormHex),
		text("why", func(r *Record) *string { return &r.Why }),
	}, fate, cut),
	KindOpaque: slices.Concat(oneSided, []key{
		text("why", func(r *Record) *string { return &r.Why }),
	}, derived),
	KindEnd: slices.Concat(common, []key{
		ending("how"),
		text("err", func(r *Record) *string { return &r.Err }),
		status("status", func(r *Record) *int64 { return &r.Status }),
	}, derived),
	KindDone: slices.Concat(common, []key{
		count("sent", func(r *Record) *int64 { return &r.Sent }),
		count("got", func(r *Record) *int64 { return &r.Got }),
	}),
	KindGap: slices.Concat(oneSided, []key{
		required(count("n", func(r *Record) *int64 { return &r.N })),
	}),
	KindNote: slices.Concat(common, []key{
		text("text", func(r *Record) *string { return &r.Text }),
		text("change", func(r *Record) *string { return &r.Change }),
	}),

	KindViolation: {
		lineTime("t"),
		direction("d"),
		sessionNumber("conn"),
		text("from", func(r *Record) *string { return &r.From }),
		knownCount("frame", func(r *Record) (*int64, *bool) { return &r.Frame, &r.HasFrame }),
		text("rule", func(r *Record) *string { return &r.Rule }),
		text("severity", func(r *Record) *string { return &r.Severity }),
		text("section", func(r *Record) *string { return &r.Section }),
		text("text", func(r *Record) *string { return &r.Text }),
	},
	KindMessage: slices.Concat(common, []key{
		text("op", func(r *Record) *string { return &r.Message.Op }),
		derivedCount("frames", func(r *Record) **int64 { return &r.Message.Frames }),
		derivedCount("wire", func(r *Record) **int64 { return &r.Message.Wire }),
		derivedCount("len", func(r *Record) **int64 { return &r.Message.Len }),
		payload("text", FormText),
		otherPayload("b64", FormBase64),
		closeCode("code"),
		closeReason("reason"),
		flag("compressed", func(r *Record) *bool { return &r.Message.Compressed }),
		text("packed", func(r *Record) *string { return &r.Packed }),
		flag("cut", func(r *Record) *bool { return &r.Cut }),
		flag("unread", func(r *Record) *bool { return &r.Message.Unread }),
		flag("unfinished", func(r *Record) *bool { return &r.Message.Unfinished }),
	}, fate),
	KindClosed: slices.Concat(common, []key{
		derivedCount("code", func(r *Record) **int64 { return &r.Closed.Code }),
		text("by", func(r *Record) *string { return &r.Closed.By }),
		text("reason", func(r *Record) *string { return &r.Closed.Reason }),
		derivedFlag("answered", func(r *Record) **bool { return &r.Closed.Answered }),
		status("status", func(r *Record) *int64 { return &r.Closed.Status }),
		derivedSeconds("seconds", func(r *Record) **time.Duration { return &r.Closed.Took }),
		pair("frames", func(r *Record) **[2]int64 { return &r.Closed.Frames }),
		pair("bytes", func(r *Record) **[2]int64 { return &r.Closed.Bytes }),
		pair("messages", func(r *Record) **[2]int64 { return &r.Closed.Messages }),
		pair("unread", func(r *Record) **[2]int64 { return &r.Closed.Unread }),
		pair("compressed", func(r *Record) **[2]int64 { return &r.Closed.Compressed }),
		pair("inflated", func(r *Record) **[2]int64 { return &r.Closed.Inflated }),
		pair("pings", func(r *Record) **[2]int64 { return &r.Closed.Pings }),
		pair("pongs", func(r *Record) **[2]int64 { return &r.Closed.Pongs }),
		derivedCount("violations", func(r *Record) **int64 { return &r.Closed.Violations }),
		ruleCounts("rules"),
	}),
	KindSum: slices.Concat(common, []key{
		count("conns", func(r *Record) *int64 { return &r.Conns }),
		count("frames", func(r *Record) *int64 { return &r.Frames }),
		count("bytes", func(r *Record) *int64 { return &r.Bytes }),
	}),
}

var common = []key{lineTime("t"), sessionNumber("c"), direction("d")}

// oneSided is common for kinds that are about one direction.
var oneSided = []key{lineTime("t"), sessionNumber("c"), required(direction("d"))}

var fieldsAndBody = []key{
	fields("h"),
	rawHead("raw"),
	body("body"),
	number("blen", func(r *Record) *int64 { return &r.BodyLen }, 0),
}

// fate are the keys that say what became of what came.
var fate = []key{
	text("leg", func(r *Record) *string { return &r.Leg }),
	text("fx", func(r *Record) *string { return &r.FX }),
	text("change", func(r *Record) *string { return &r.Change }),
}

// inflatedText are the derived keys of the last piece of the frame that ends a
// compressed message.
var inflatedText = []key{
	inflated("=text"),
	flag("=cut", func(r *Record) *bool { return &r.InflatedCut }),
	text("=packed", func(r *Record) *string { return &r.Packed }),
}

var cut = []key{flag("cut", func(r *Record) *bool { return &r.Cut })}

var derived = []key{flag("derived", func(r *Record) *bool { return &r.Derived })}
