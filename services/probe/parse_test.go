package probe

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"keelson/runtime/procfs"
)

func TestReadStatus(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 200 OK\r\n\r\n": "200 OK",
		"HTTP/1.0 204\nA: b\n\n":  "204",
		"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\n\r\nbody":       "404 No",
		"HTTP/1.1 200 \x1b[1mOK\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n": "200 [1mOK",
		"HTTP/1.1 200 OK\r\n":   "",
		"HTTP/2 200 OK\r\n\r\n": "", "HTTP/1.1 99\r\n\r\n": "", "SSH-2.0-x\r\n": "", "": "",
		strings.Repeat("x", 9000):                                "",
		"HTTP/1.1 100 C\r\n" + strings.Repeat("x: y\r\n", 20000): "",
	} {
		got, err := readStatus(strings.NewReader(answer))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.40q: %q, %v; want %q", answer, got, err, want)
		}
	}
}

func FuzzReadStatus(f *testing.F) {
	for _, s := range []string{"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 103 x\r\na: b\r\n\r\nHTTP/1.0 500 \x00\n\n", "HTTP/1.1 +20 OK\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		status, err := readStatus(strings.NewReader(s))
		if err == nil && (len(status) < 3 || status[0] < '2' || status[0] > '5' || strings.ContainsFunc(status, unicode.IsControl)) {
			t.Errorf("%q gives %q", s, status)
		}
	})
}

func TestParseMessage(t *testing.T) {
	text, long := "two words", strings.Repeat("é", 128)
	second, none := time.Second, time.Duration(0)
	for data, want := range map[string]message{
		"READY=1":                            {ready: true},
		"READY=0\nMAINPID=7\nFDSTORE=1\nx":   {},
		"RELOADING=1\nMONOTONIC_USEC=5":      {reloading: true},
		"STOPPING=1\n":                       {stopping: true},
		"WATCHDOG=1\nSTATUS=two\twords":      {alive: true, status: &text},
		"WATCHDOG=trigger":                   {trigger: true},
		"WATCHDOG_USEC=1000000":              {watchdog: &second},
		"WATCHDOG_USEC=-1\nWATCHDOG_USEC=x":  {},
		"WATCHDOG_USEC=18446744073709551615": {watchdog: &none},
		"EXTEND_TIMEOUT_USEC=1000000":        {extend: time.Second},
		"STATUS=" + strings.Repeat("é", 500): {status: &long},
	} {
		if d := cmp.Diff(want, parseMessage([]byte(data)), cmp.AllowUnexported(message{})); d != "" {
			t.Errorf("%q: %s", data, d)
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=a\x00\xffb\nWATCHDOG_USEC=99999999999999999999"))
	f.Add([]byte("EXTEND_TIMEOUT_USEC=18446744073709551614\nSTATUS=\u2028"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := parseMessage(data)
		if m.extend < 0 || m.watchdog != nil && *m.watchdog < 0 {
			t.Errorf("%q gives a negative time", data)
		}
		if m.status != nil && (len(*m.status) > largestStatus || strings.ContainsFunc(*m.status, func(r rune) bool { return !unicode.IsPrint(r) })) {
			t.Errorf("%q gives %q", data, *m.status)
		}
		State{}.after(m, time.Now())
	})
}

func TestCgroups(t *testing.T) {
	for _, c := range []struct {
		own, other string
		want       bool
	}{
		{"0::/a\n", "0::/a\n", true},
		{"0::/a\n", "0::/a/b\n", true},
		{"0::/a\n", "0::/ab\n", false},
		{"0::/a\n", "0::/\n", false},
		{"0::/\n", "0::/a\n", false},
		{"0::/\n", "0::/\n", true},
		{"4:cpu,cpuacct:/a\n0::/\n", "4:cpu,cpuacct:/b\n0::/\n", false},
		{"4:cpu:/a\n0::/\n", "0::/\n", false},
		{"", "", false},
		{"0::/p/keelson.own\n", "0::/p/keelson.own\n", true},
		{"0::/p/keelson.own\n", "0::/p/made\n", true},
		{"0::/p/keelson.own\n", "0::/p/x\n", false},
		{"0::/p/keelson.own\n", "0::/p/x/deep\n", false},
		{"0::/p/keelson.own\n", "0::/p/xy\n", true},
		{"4:cpu:/p\n0::/\n", "4:cpu:/p/x\n0::/\n", false},
		{"0::/p/x\n", "0::/p/x\n", true},
		{"0::/moved/init\n", "0::/moved/work\n", true},
		{"0::/moved/init\n", "0::/moved2\n", false},
		{"4:cpu:/moved\n0::/moved/init\n", "4:cpu:/moved\n0::/moved/work\n", true},
	} {
		others := []string{"/p/x", "/p"}
		if got := newCgroup(procfs.ParseCgroup(c.own)).ofService("/moved").contains(newCgroup(procfs.ParseCgroup(c.other)), others); got != c.want {
			t.Errorf("%q holds %q: %v", c.own, c.other, got)
		}
	}
}
