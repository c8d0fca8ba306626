package trust

import (
	"bytes"
	"crypto/sha1"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// subjectHash returns the name, without its number, under which OpenSSL looks in a
// directory for the certificate with this subject (DER): a hash of its canonical form.
func subjectHash(subject []byte) (string, error) {
	var sets []asn1.RawValue
	if err := unmarshal(subject, &sets); err != nil {
		return "", err
	}
	h := sha1.New()
	for _, set := range sets {
		b, err := canonicalSet(set)
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(h.Sum(nil))), nil
}

// canonicalSet returns the canonical form of a RelativeDistinguishedName.
func canonicalSet(set asn1.RawValue) ([]byte, error) {
	var attributes [][]byte
	for rest := set.Bytes; len(rest) > 0; {
		var attribute struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		var err error
		if rest, err = asn1.Unmarshal(rest, &attribute); err != nil {
			return nil, err
		}
		if text, ok := textOf(attribute.Value); ok {
			attribute.Value = asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(canonicalText(text))}
		}
		b, err := asn1.Marshal(attribute)
		if err != nil {
			return nil, err
		}
		attributes = append(attributes, b)
	}
	slices.SortFunc(attributes, bytes.Compare) // as DER orders a SET OF
	return asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: bytes.Join(attributes, nil)})
}

// Tags that encoding/asn1 does not name.
const (
	tagVisibleString   = 26
	tagUniversalString = 28
)

// textOf returns the value of an attribute, if it is of a type whose case and blanks
// don't count.
func textOf(value asn1.RawValue) (string, bool) {
	b := value.Bytes
	switch value.Tag {
	case asn1.TagUTF8String:
		return string(b), true
	case asn1.TagPrintableString, asn1.TagIA5String, asn1.TagT61String, tagVisibleString:
		runes := make([]rune, len(b)) // ISO 8859-1
		for i, c := range b {
			runes[i] = rune(c)
		}
		return string(runes), true
	case asn1.TagBMPString:
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(b[2*i:])
		}
		return string(utf16.Decode(units)), true
	case tagUniversalString:
		var text []byte
		for ; len(b) >= 4; b = b[4:] {
			text = utf8.AppendRune(text, rune(binary.BigEndian.Uint32(b)))
		}
		return string(text), true
	}
	return "", false
}

// canonicalText folds the case of ASCII letters, and blanks into one.
func canonicalText(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' })
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, strings.Join(words, " "))
}

// unmarshal parses all of b.
func unmarshal(b []byte, v any) error {
	rest, err := asn1.Unmarshal(b, v)
	if err == nil && len(rest) > 0 {
		err = asn1.SyntaxError{Msg: "trailing data"}
	}
	return err
}
