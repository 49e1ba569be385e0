package reader

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestFormats(t *testing.T) {
	at := time.Date(2026, 11, 28, 10, 0, 0, 123456789, time.Local)
	utc := at.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
	e := Entry{Time: at, Name: "web", Stream: Stdout, Text: []byte("hello\tworld\r")}
	for _, tt := range []struct {
		format  string
		entries []Entry
		want    string
	}{
		{"short", []Entry{e}, "Nov 28 10:00:00.123 web[stdout]: hello world\n"},
		{"short", []Entry{{Time: at, Bound: true, Name: "kernel", Text: []byte("a\x1b[2J\x9b\xffb\u0085")}}, "<Nov 28 10:00:00.123 kernel: a [2J\uFFFD\uFFFDb \n"},
		{"short", []Entry{{Time: at, Name: "a\nb", Text: []byte("one"), More: true}, {Text: []byte("two"), continued: true}}, "Nov 28 10:00:00.123 a b: one…\n"},
		{"json", []Entry{e}, `{"time":"` + utc + `","name":"web","stream":"stdout","text":"hello\tworld\r"}` + "\n"},
		{"json", []Entry{{Time: at, Bound: true, Name: "web", Text: []byte("a\xff"), More: true}, {Text: []byte("two"), continued: true}},
			`{"before":"` + utc + `","name":"web","text":"a` + "\uFFFD" + `","bytes":"Yf8=","cut":true}` + "\n"},
		{"cat", []Entry{e, {Text: []byte("\x1b\xff"), More: true}, {Text: []byte("rest"), continued: true}}, "hello\tworld\r\n\x1b\xffrest\n"},
		{"cat", []Entry{{Text: []byte("no end"), Open: true}}, "no end"},
		{"cat", []Entry{{Text: []byte("no end"), Open: true}, {Text: []byte("next")}}, "no end\nnext\n"},
	} {
		format, err := Formats(tt.format)
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		for _, e := range tt.entries {
			b = format(b, e)
		}
		if string(b) != tt.want {
			t.Errorf("%s: %q, want %q", tt.format, b, tt.want)
		}
	}
	if _, err := Formats("xml"); err == nil {
		t.Error("any format is accepted")
	}
}

// No text harms a terminal or makes two lines of one.
func FuzzFormats(f *testing.F) {
	f.Add("web", []byte("a\x1b]0;x\x07\n\u009b\xc2"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		e := Entry{Time: time.Unix(1e9, 0), Name: name, Text: text}
		short := string((&short{}).format(nil, e))
		if !strings.HasSuffix(short, "\n") || strings.ContainsFunc(short[:len(short)-1], unicode.IsControl) {
			t.Errorf("short: %q", short)
		}
		var o Object
		if err := json.Unmarshal(JSON(nil, e), &o); err != nil {
			t.Errorf("json: %v", err)
		}
	})
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("X", 3600)
	now := time.Date(2026, 3, 1, 10, 20, 30, 0, zone)
	for text, want := range map[string]time.Time{
		"2026-01-02T03:04:05Z":      time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02T03:04:05.5Z":    time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC),
		"2026-01-02 03:04:05+02:00": time.Date(2026, 1, 2, 1, 4, 5, 0, time.UTC),
		"2026-01-02 15:04:05":       time.Date(2026, 1, 2, 15, 4, 5, 0, zone),
		"2026-01-02T15:04":          time.Date(2026, 1, 2, 15, 4, 0, 0, zone),
		"2026-01-02":                time.Date(2026, 1, 2, 0, 0, 0, 0, zone),
		"09:08:07":                  time.Date(2026, 3, 1, 9, 8, 7, 0, zone),
		"9:08":                      time.Date(2026, 3, 1, 9, 8, 0, 0, zone),
		"-5m":                       now.Add(-5 * time.Minute),
		"1h30m ago":                 now.Add(-90 * time.Minute),
		"2d ago":                    now.Add(-48 * time.Hour),
		"-1d12h":                    now.Add(-36 * time.Hour),
		"now":                       now,
		"today":                     time.Date(2026, 3, 1, 0, 0, 0, 0, zone),
		" yesterday ":               time.Date(2026, 2, 28, 0, 0, 0, 0, zone),
		"@1700000000":               time.Unix(1700000000, 0),
		"@1.5":                      time.Unix(1, 5e8),
	} {
		if got, err := ParseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "25:00", "5m", "-", "--5m", "- 5", "@", "@x", "@NaN", "@-1", "@1e300", "2026-13-01", "-9999999999d", "-1d-1h", " ago", "tomorrow"} {
		if got, err := ParseTime(text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, text := range []string{"-5m", "2d ago", "@1.5", "10:00", "2026-01-02 15:04"} {
		f.Add(text)
	}
	now := time.Date(2026, 3, 1, 10, 20, 30, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := ParseTime(text, now); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		} else if err == nil && strings.HasSuffix(text, "ago") && got.After(now) {
			t.Errorf("%q is in the future: %v", text, got)
		}
	})
}

func TestContainerdTime(t *testing.T) {
	at, ok := containerdTime([]byte(`time="2026-11-28T10:00:00.123456789Z" level=info msg="x"`))
	if !ok || !at.Equal(time.Date(2026, 11, 28, 10, 0, 0, 123456789, time.UTC)) {
		t.Errorf("%v, %v", at, ok)
	}
	for _, line := range []string{"", "time=", `time="x"`, `time="2026-11-28T10:00:00Z`, "panic: x"} {
		if _, ok := containerdTime([]byte(line)); ok {
			t.Errorf("%q has a time", line)
		}
	}
}
