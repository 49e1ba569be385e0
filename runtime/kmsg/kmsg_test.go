package kmsg

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"6,339,5140900,-;NET: Registered\n SUBSYSTEM=acpi\n":         "5.1409s 0 NET: Registered",
		"31,1,7,-,caller=T1;keelson: \\x1b[1m \\xc3\\xa4 \\x5c\\x\n": "7µs 3 keelson: \x1b[1m ä \\\\x",
		"31,1,7;x": "7µs 3 x",
		"":         "", "6,1;x": "", "x,1,2,-;x": "", "6,1,-2,-;x": "", "no": "",
	} {
		r, ok := Parse([]byte(text))
		got := ""
		if ok {
			got = strings.Join([]string{r.At.String(), string(rune('0' + r.Facility)), string(r.Text)}, " ")
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("31,1,7,-,caller=T1;keelson: \\x1b[1m\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, ok := Parse(b); ok && (r.At < 0 || len(r.Text) > len(b)) {
			t.Errorf("%+v", r)
		}
	})
}
