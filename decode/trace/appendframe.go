package trace

import "github.com/wstrace/wstrace/decode"

// appendFrame appends what appendKeys does for a frame, without the table.
// Nearly every line of a recording is a frame; walking the table would add some
// 65 ns to the 300 that the [Writer] needs for a short one.
func (r *Record) appendFrame(dst []byte) []byte {
	if r.HasT {
		dst = AppendSeconds(append(dst, `,"t":`...), r.T)
	}
	if r.C != 0 {
		dst = appendInt(dst, `,"c":`, r.C)
	}
	if r.HasDir {
		dst = append(append(append(dst, `,"d":"`...), r.Dir.Arrow()...), '"')
	}
	if name := namedOps[r.Op&15]; name != "" {
		dst = append(append(append(dst, `,"op":"`...), name...), '"')
	} else {
		dst = appendInt(dst, `,"op":`, int64(r.Op&15))
	}
	if !r.Fin {
		dst = append(dst, `,"fin":false`...)
	}
	if r.Rsv != 0 {
		dst = appendInt(dst, `,"rsv":`, int64(r.Rsv))
	}
	if r.Masked {
		dst = append(dst, `,"mask":"`...)
		for _, b := range r.Mask {
			dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
		}
		dst = append(dst, '"')
	}
	if r.Form != FormDeflate {
		if r.LenBits > decode.LengthBits(r.Len) {
			dst = appendInt(dst, `,"lenc":`, int64(r.LenBits))
		}
		if r.Len != uint64(len(r.Payload)) {
			dst = appendUint(dst, `,"len":`, r.Len)
		}
	}
	dst = r.appendPayload(dst)
	dst = appendText(dst, `,"leg":`, r.Leg)
	dst = appendText(dst, `,"fx":`, r.FX)
	dst = appendText(dst, `,"change":`, r.Change)
	if r.Cut {
		dst = append(dst, `,"cut":true`...)
	}
	if r.HasInflated {
		dst = appendString(append(dst, `,"=text":`...), r.Inflated)
	}
	if r.InflatedCut {
		dst = append(dst, `,"=cut":true`...)
	}
	dst = appendText(dst, `,"=packed":`, r.Packed)
	return dst
}
