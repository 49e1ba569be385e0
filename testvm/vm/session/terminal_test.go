package session

import "testing"

func TestEscaper(t *testing.T) {
	cases := []struct {
		in     []string
		keys   string
		action byte
	}{
		{[]string{"ls\r\x03"}, "ls\r\x03", 0},
		{[]string{"a\x01x"}, "a", 'x'},
		{[]string{"\x01", "q"}, "", 'q'},
		{[]string{"\x01\x01x"}, "\x01x", 0},
		{[]string{"\x01zx"}, "x", 0},
	}
	for _, c := range cases {
		var e escaper
		var keys []byte
		var action byte
		for _, in := range c.in {
			k, a := e.feed([]byte(in))
			keys, action = append(keys, k...), max(action, a)
		}
		if string(keys) != c.keys || action != c.action {
			t.Errorf("%q: keys %q action %q", c.in, keys, action)
		}
	}
}
