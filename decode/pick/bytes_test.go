package pick

import (
	"fmt"
	"testing"
)

// The packet id stands where the packet has it (MQTT 5.0 §2.2.1).
func TestMQTTIDs(t *testing.T) {
	for name, c := range map[string]struct{ message, want string }{
		"PUBLISH with QoS 1":           {"\x32\x07\x00\x01a\x12\x34hi", "[3 {5 7}]"},
		"PUBLISH with QoS 2, repeated": {"\x3c\x07\x00\x01a\x12\x34hi", "[3 {5 7}]"},
		"PUBLISH with QoS 0":           {"\x30\x07\x00\x01a\x12\x34hi", "[]"},
		"PUBLISH with QoS 3":           {"\x36\x07\x00\x01a\x12\x34hi", "[]"},
		"PUBLISH, long":                {"\x32\x87\x01\x00\x01a\x12\x34" + string(make([]byte, 130)), "[3 {6 8}]"},
		"topic beyond the packet":      {"\x32\x07\xff\xffa\x12\x34hi", "[]"},
		"topic up to the end":          {"\x32\x04\x00\x02ab", "[]"},
		"no topic":                     {"\x32\x01\x00", "[]"},
		"PUBACK":                       {"\x40\x02\x00\x07", "[4 {2 4}]"},
		"PUBREL":                       {"\x62\x02\x00\x07", "[6 {2 4}]"},
		"PUBREL with flags of none":    {"\x60\x02\x00\x07", "[]"},
		"SUBSCRIBE":                    {"\x82\x06\x00\x07\x00\x01a\x00", "[8 {2 4}]"},
		"SUBACK, too short":            {"\x90\x01\x00", "[]"},
		"PINGREQ":                      {"\xc0\x00", "[]"},
		"several packets":              {"\xc0\x00\x40\x02\x00\x07\x90\x03\x00\x08\x01\x30\x03\x00\x01a", "[4 {4 6} 9 {8 10}]"},
		"one that is cut off":          {"\x40\x02\x00\x07\x40\x02\x00", "[4 {2 4}]"},
		"a length that does not end":   {"\x40\xff\xff\xff\xff\xff\xff", "[]"},
		"text":                         {`{"id":1}`, "[]"},
		"nothing":                      {"", "[]"},
	} {
		got := []any{}
		MQTTIDs([]byte(c.message), func(kind byte, at Span) { got = append(got, kind, at) })
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: got %v, want %s", name, got, c.want)
		}
	}
}

// FuzzMQTTIDs checks that ids are found inside the message, one after another.
func FuzzMQTTIDs(f *testing.F) {
	f.Add([]byte("\x32\x07\x00\x01a\x12\x34hi\x40\x02\x00\x07"))
	f.Add([]byte("\x32\x87\x01\x00\x01a\x12\x34"))
	f.Fuzz(func(t *testing.T, message []byte) {
		end := 0
		MQTTIDs(message, func(_ byte, at Span) {
			if at.Start < end || at.End != at.Start+2 || at.End > len(message) {
				t.Errorf("%v after %d of %d bytes", at, end, len(message))
			}
			end = at.End
		})
	})
}
