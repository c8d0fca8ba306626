package har

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A schema says what HAR 1.2 wants of a value.
type schema func(path string, v any) []string

// fields is the schema of an object: those that it must have, and those that it may
// have. Any others must begin with an underscore.
func fields(must, may map[string]schema) schema {
	return func(path string, v any) (bad []string) {
		o, ok := v.(map[string]any)
		if !ok {
			return []string{path + ": no object"}
		}
		for key, s := range must {
			if value, ok := o[key]; ok {
				bad = append(bad, s(path+"."+key, value)...)
			} else {
				bad = append(bad, path+"."+key+": missing")
			}
		}
		for key, value := range o {
			switch {
			case may[key] != nil:
				bad = append(bad, may[key](path+"."+key, value)...)
			case must[key] == nil && !strings.HasPrefix(key, "_"):
				bad = append(bad, path+"."+key+": not in HAR 1.2")
			}
		}
		return bad
	}
}

func list(of schema) schema {
	return func(path string, v any) (bad []string) {
		a, ok := v.([]any)
		if !ok {
			return []string{path + ": no array"}
		}
		for i, v := range a {
			bad = append(bad, of(fmt.Sprintf("%s[%d]", path, i), v)...)
		}
		return bad
	}
}

func str(path string, v any) []string {
	if _, ok := v.(string); !ok {
		return []string{path + ": no string"}
	}
	return nil
}

func integer(path string, v any) []string {
	if n, ok := v.(float64); !ok || n != float64(int64(n)) || n < -1 {
		return []string{path + ": no whole number from -1"}
	}
	return nil
}

// duration is in milliseconds; some may be -1, for those that don't apply.
func duration(least float64) schema {
	return func(path string, v any) []string {
		if n, ok := v.(float64); !ok || n < least {
			return []string{fmt.Sprintf("%s: no number from %v", path, least)}
		}
		return nil
	}
}

func isoTime(path string, v any) []string {
	s, _ := v.(string)
	if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
		return []string{path + ": no time of ISO 8601"}
	}
	return nil
}

func isBool(path string, v any) []string {
	if _, ok := v.(bool); !ok {
		return []string{path + ": no boolean"}
	}
	return nil
}

type keys = map[string]schema

var (
	comment  = keys{"comment": str}
	pairs    = list(fields(keys{"name": str, "value": str}, comment))
	cookies  = list(fields(keys{"name": str, "value": str}, keys{"path": str, "domain": str, "expires": isoTime, "httpOnly": isBool, "secure": isBool, "comment": str}))
	creator  = fields(keys{"name": str, "version": str}, comment)
	postData = fields(keys{"mimeType": str, "text": str}, keys{"params": pairs, "comment": str})
	content  = fields(keys{"size": integer, "mimeType": str}, keys{"compression": integer, "text": str, "encoding": str, "comment": str})
	timing   = fields(keys{"send": duration(0), "wait": duration(0), "receive": duration(0)},
		keys{"blocked": duration(-1), "dns": duration(-1), "connect": duration(-1), "ssl": duration(-1), "comment": str})
	request = fields(keys{"method": str, "url": str, "httpVersion": str, "cookies": cookies, "headers": pairs,
		"queryString": pairs, "headersSize": integer, "bodySize": integer}, keys{"postData": postData, "comment": str})
	response = fields(keys{"status": integer, "statusText": str, "httpVersion": str, "cookies": cookies, "headers": pairs, "content": content,
		"redirectURL": str, "headersSize": integer, "bodySize": integer}, comment)
	entryOf = fields(keys{"startedDateTime": isoTime, "time": duration(0), "request": request, "response": response, "cache": fields(nil, keys{"beforeRequest": nil, "afterRequest": nil}), "timings": timing},
		keys{"pageref": str, "serverIPAddress": str, "connection": str, "comment": str})
	har12 = fields(keys{"log": fields(keys{"version": str, "creator": creator, "entries": list(entryOf)},
		keys{"browser": creator, "pages": list(str), "comment": str})}, nil)
)

// TestSchema checks what is written against HAR 1.2, and the messages against the form
// that Chrome has.
func TestSchema(t *testing.T) {
	all := traces(t)
	all["nothing"] = "{\"wstrace\":1}\n"
	all["cookies"] = cookieTrace
	for name, wst := range all {
		for _, control := range []bool{false, true} {
			text, _ := write(t, wst, Options{Control: control})
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, bad := range har12("har", v) {
				t.Errorf("%s: %s", name, bad)
			}
			checkMessages(t, name, v, control)
			checkTimes(t, name, v)
		}
	}
}

func checkMessages(t *testing.T, name string, v any, control bool) {
	message := fields(keys{"type": str, "time": duration(0), "opcode": integer, "data": str}, nil)
	for _, e := range v.(map[string]any)["log"].(map[string]any)["entries"].([]any) {
		e := e.(map[string]any)
		messages, has := e["_webSocketMessages"]
		if (e["_resourceType"] == "websocket") != has {
			t.Errorf("%s: _resourceType is %v, and there are messages: %t", name, e["_resourceType"], has)
		}
		if !has {
			continue
		}
		for _, bad := range list(message)("messages", messages) {
			t.Errorf("%s: %s", name, bad)
		}
		for _, m := range messages.([]any) {
			m := m.(map[string]any)
			if kind := m["type"].(string); kind != "send" && kind != "receive" {
				t.Errorf("%s: type is %s", name, kind)
			}
			if op := m["opcode"].(float64); op > 2 && !control {
				t.Errorf("%s: a control frame is a message", name)
			}
		}
	}
}

// checkTimes checks that the time of an entry is the sum of its timings.
func checkTimes(t *testing.T, name string, v any) {
	for _, e := range v.(map[string]any)["log"].(map[string]any)["entries"].([]any) {
		e := e.(map[string]any)
		var parts []float64
		for _, n := range e["timings"].(map[string]any) {
			parts = append(parts, max(n.(float64), 0))
		}
		slices.Sort(parts)
		sum := 0.0
		for _, n := range parts {
			sum += n
		}
		if whole := e["time"].(float64); sum-whole > 0.001 || whole-sum > 0.001 {
			t.Errorf("%s: time is %v, timings are %v", name, whole, sum)
		}
	}
}
