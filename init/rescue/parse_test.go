package rescue

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]invocation{
		"": {}, "  ": {}, "help": {"help", "", 40}, "?": {"help", "", 40}, " RETRY ": {"retry", "", 40}, "list": {"list", "", 40},
		"log 003-x": {"log", "003-x", 40}, "log x 5": {"log", "x", 5}, "dmesg": {"dmesg", "", 40}, "dmesg 7": {"dmesg", "", 7},
		"continue": {"continue", "", 40}, "poweroff": {"poweroff", "", 40},
	} {
		if got, err := parse(line); got != want || err != nil {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
	for line, word := range map[string]string{
		"ls -l": `"ls"`, "exit": "continue", "quit": "continue", "log": "list", "log x 0": `"0"`, "log x y": `"y"`, "log x 3 4": `"4"`,
		"dmesg -f": `"-f"`, "retry now": `"now"`, "continue please": `"please"`, "\x1b[A": `"\x1b[A"`, strings.Repeat("x", 5000): "…",
		"reboot -f": `"-f"`, "dmesg 99999999999999999999": "100000",
	} {
		_, err := parse(line)
		if err == nil || !strings.Contains(err.Error(), word) || len(err.Error()) > 200 {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range commands {
		f.Add(c.verb + " x 3")
	}
	f.Fuzz(func(t *testing.T, line string) {
		o, err := parse(line)
		if err == nil && o.verb != "" && (o.lines < 1 || o.lines > maxLines || strings.ContainsAny(o.name, " \n")) {
			t.Errorf("%q: %+v", line, o)
		}
		if err != nil && (len(err.Error()) > 400 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' })) {
			t.Errorf("%q: %q", line, err)
		}
	})
}

func TestLastLines(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{"", 3, ""}, {"\n\n", 3, ""}, {"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb", 9, "a\nb\n"}, {"a\nb\n\n", 1, "b\n"}, {"\na\n", 2, "\na\n"}, {"a", 1, "a\n"},
	} {
		if got := lastLines(tt.text, tt.n); got != tt.want {
			t.Errorf("%q, %d: %q", tt.text, tt.n, got)
		}
	}
}

func TestWithoutPriorities(t *testing.T) {
	if got := withoutPriorities("<6>[    1.2] a <b>\n<31>c\nd\n<x\n"); got != "[    1.2] a <b>\nc\nd\n<x\n" {
		t.Errorf("%q", got)
	}
}

// Lines do not depend on how the input is split into reads. A line that is too long is
// an error, and the next line is read whole.
func TestReadLines(t *testing.T) {
	text := "one\rtwo\n" + strings.Repeat("x", 3*maxLine) + "\nthree\xff\nhalf\x03\n\nlast"
	want := []input{{line: "one"}, {line: "two"}, {err: errLong}, {line: "three\uFFFD"}, {err: errInterrupt}, {}, {}, {err: io.EOF}}
	for _, size := range []int{1, 3, 4096, 1 << 20} {
		lines, stop := make(chan input), make(chan struct{})
		go func() { readLines(pieces{strings.NewReader(text), size}, lines, stop); close(lines) }()
		var got []input
		for in := range lines {
			got = append(got, in)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("reads of %d bytes: %v", size, got)
		}
	}
	lines, stop := make(chan input), make(chan struct{})
	close(stop)
	readLines(strings.NewReader(text), lines, stop) // It returns although nobody receives.
}

type pieces struct {
	r    io.Reader
	size int
}

func (p pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.size)]) }

func FuzzReadLines(f *testing.F) {
	f.Add([]byte("help\n\x03\x04\r"), 3)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		lines, stop := make(chan input), make(chan struct{})
		go func() { readLines(pieces{strings.NewReader(string(text)), max(1, size)}, lines, stop); close(lines) }()
		n := 0
		for in := range lines {
			if n++; len(in.line) > 3*maxLine || strings.ContainsAny(in.line, "\r\n\x03") {
				t.Errorf("line %q", in.line)
			}
		}
		if n > len(text)+1 {
			t.Errorf("%d lines of %d bytes", n, len(text))
		}
	})
}
