package decode

// LengthBits returns the width of the narrowest length field that can hold n:
// 7, 16 or 64 (RFC 6455 §5.2).
func LengthBits(n uint64) int {
	switch {
	case n < 126:
		return 7
	case n <= 0xffff:
		return 16
	}
	return 64
}
