package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// rdn is one attribute of a name.
type rdn struct {
	oid   asn1.ObjectIdentifier
	tag   int
	value string
}

var commonName, organization = asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 10}

// name encodes a name of sets of attributes.
func name(t *testing.T, sets ...[]rdn) []byte {
	var encoded []asn1.RawValue
	for _, set := range sets {
		var all []byte
		for _, a := range set {
			b, err := asn1.Marshal(struct {
				Type  asn1.ObjectIdentifier
				Value asn1.RawValue
			}{a.oid, asn1.RawValue{Tag: a.tag, Bytes: []byte(a.value)}})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
		encoded = append(encoded, asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: all})
	}
	b, err := asn1.Marshal(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSubjectHash(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, subject := range map[string][]byte{
		"printable":      name(t, []rdn{{organization, asn1.TagPrintableString, "wstrace"}}, []rdn{{commonName, asn1.TagPrintableString, "wstrace CA host 2026"}}),
		"case, blanks":   name(t, []rdn{{commonName, asn1.TagUTF8String, "  The\t\n COMPANY \u00c4 \u00a0x "}}),
		"Latin-1":        name(t, []rdn{{commonName, asn1.TagT61String, "Caf\xc9"}}),
		"IA5":            name(t, []rdn{{commonName, asn1.TagIA5String, "A@B"}}),
		"BMP":            name(t, []rdn{{commonName, asn1.TagBMPString, "\x00A\x20\xac\x00 "}}),
		"universal":      name(t, []rdn{{commonName, tagUniversalString, "\x00\x00\x00A\x00\x01\xf6\x00"}}),
		"no text":        name(t, []rdn{{asn1.ObjectIdentifier{2, 5, 4, 45}, asn1.TagBitString, "\x00A B"}}),
		"several at one": name(t, []rdn{{organization, asn1.TagUTF8String, "B"}, {commonName, asn1.TagPrintableString, "a longer one"}}),
		"blanks alone":   name(t, []rdn{{commonName, asn1.TagUTF8String, "  "}}),
	} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: subject, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		cmd := exec.Command(openssl, "x509", "-hash", "-noout")
		cmd.Stdin = strings.NewReader(string(pemOf(der)))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", what, err, out)
			continue
		}
		if got, err := subjectHash(subject); got != strings.TrimSpace(string(out)) {
			t.Errorf("%s: got %s (%v), want %s", what, got, err, out)
		}
	}
}

func FuzzSubjectHash(f *testing.F) {
	f.Add([]byte{0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, 'A'})
	f.Add([]byte{0x30, 0x02, 0x31, 0x00})
	f.Fuzz(func(t *testing.T, subject []byte) {
		if hash, err := subjectHash(subject); (err == nil) != (len(hash) == 8) {
			t.Errorf("%q, %v", hash, err)
		}
	})
}
