package decode

import (
	"strings"
	"testing"
)

// marked returns a value with … in place of what is secret, or "whole".
func marked(header, value, mark string) string {
	var b strings.Builder
	at := 0
	if !CookieValues(header, value, func(from, to int) {
		b.WriteString(value[at:from] + mark)
		at = to
	}) {
		return "whole"
	}
	return b.String() + value[at:]
}

func TestCookieValues(t *testing.T) {
	for _, c := range []struct{ header, value, want string }{
		{"Cookie", "sid=abc", "sid=…"},
		{"cookie", "theme=dark; sid=a=b==;x=\t1 ;", "theme=…; sid=…;x=\t… ;"},
		{"Cookie", `a="x y"; b=; c={"d":[1,2]}`, `a="…"; b=; c=…`},
		{"Cookie", "path=/a; expires=b", "path=…; expires=…"},
		{"Set-Cookie", "sid=abc; HttpOnly; Path=/", "sid=…; HttpOnly; Path=/"},
		{"SET-COOKIE", "path=x;expires=Wed, 09 Jun 2027 10:18:14 GMT; Max-Age=-1; domain=.example.com; Secure; SameSite=Lax; Partitioned; Priority=High; Path",
			"path=…;expires=Wed, 09 Jun 2027 10:18:14 GMT; Max-Age=-1; domain=.example.com; Secure; SameSite=Lax; Partitioned; Priority=High; Path"},
		{"Set-Cookie", "sid=; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "sid=; Expires=Thu, 01-Jan-1970 00:00:00 GMT"},
		{"Set-Cookie", "sid=abc; Comment=def", "sid=…; Comment=…"},

		// What can't be read so may be secret as a whole.
		{"Authorization", "sid=abc", "whole"},
		{"Cookie", "abc", "whole"},
		{"Cookie", "sid=abc; def", "whole"},
		{"Cookie", "Bearer abc=1", "whole"},
		{"Cookie", "=abc", "whole"},
		{"Cookie", `a="x;y=z"`, "whole"},
		{"Cookie", "c2VjcmV0IGlzIDEyMw==", "whole"},
		{"Cookie", "c2VjcmV0IGlzIDE=", "whole"},
		{"Cookie", "laravel_session=", "laravel_session="},
		{"Set-Cookie", "; sid=abc", "whole"},
		{"Set-Cookie", "sid=abc; def", "whole"},
		{"Set-Cookie", "sid=abc; Path=/, other=def", "whole"},
		{"Set-Cookie", "sid=abc; Expires=Wed, 09 Jun 2027 10:18:14 GMT, other=def", "whole"},
		{"Set-Cookie", "sid=abc; Max-Age=def", "whole"},
		{"Set-Cookie", "sid=abc; SameSite=def", "whole"},
		{"Set-Cookie", "sid=abc; Secure=def", "whole"},
	} {
		if got := marked(c.header, c.value, "…"); got != c.want {
			t.Errorf("%s: %s: got %s, want %s", c.header, c.value, got, c.want)
		}
	}
}

// FuzzCookieValues checks that values are in order, and that those with others in their
// places are read in the same way.
func FuzzCookieValues(f *testing.F) {
	f.Add("Cookie", `a=1; b="2";c=`)
	f.Add("Set-Cookie", "sid=abc; Path=/; HttpOnly; x=y")
	f.Fuzz(func(t *testing.T, header, value string) {
		once := marked(header, value, "x") // which panics if they are not
		if once == "whole" {
			return
		}
		if twice := marked(header, once, "x"); twice != once {
			t.Errorf("%q: got %q, then %q", value, once, twice)
		}
	})
}
