package cmdline

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"keelson/runtime/userspace"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Line
	}{
		{"", nil},
		{" \n", nil},
		{"ro quiet\n", Line{{Name: "ro"}, {Name: "quiet"}}},
		{"console=tty0 console=ttyS0,115200n8", Line{{"console", "tty0", true}, {"console", "ttyS0,115200n8", true}}},
		{`a="b c" "d=e f" g=h"i j"`, Line{{"a", "b c", true}, {"d", "e f", true}, {"g", `h"i j"`, true}}},
		{`a= b==c`, Line{{"a", "", true}, {"b", "=c", true}}},
		{`a="open b`, Line{{"a", "open b", true}}},
		{`a=1 -- b=2`, Line{{"a", "1", true}}},
		{`a=1 --b "--"`, Line{{"a", "1", true}, {Name: "--b"}, {Name: "--"}}},
	} {
		if got := Parse(tc.in); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%q: %+v, want %+v", tc.in, got, tc.want)
		}
	}
}

func TestLookups(t *testing.T) {
	l := Parse("console=tty0 linuxkit.runc_debug=1 x-y=1 x_y=2 bare off=0 on=yes console=ttyS0")
	if got := l.Values("console"); !reflect.DeepEqual(got, []string{"tty0", "ttyS0"}) {
		t.Errorf("console %v", got)
	}
	if got, ok := l.Last("x-y"); got != "2" || !ok {
		t.Errorf("x-y is %q, %v", got, ok)
	}
	if got, ok := l.Last("none"); got != "" || ok {
		t.Errorf("none is %q, %v", got, ok)
	}
	for name, want := range map[string]bool{"linuxkit.runc-debug": true, "bare": true, "on": true, "off": false, "none": false} {
		if l.Enabled(name) != want {
			t.Errorf("%s enabled: %v", name, !want)
		}
	}
}

// Read takes the kernel's command line, and in userspace mode that of the environment.
func TestRead(t *testing.T) {
	text, err := os.ReadFile(Path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Read(userspace.Machine()); err != nil || !reflect.DeepEqual(got, Parse(string(text))) {
		t.Errorf("read %v, %v; want %s", got, err, text)
	}
	if got, err := Read(userspace.Environment{CmdLine: "a=1 b"}); err != nil || !reflect.DeepEqual(got, Line{{"a", "1", true}, {Name: "b"}}) {
		t.Errorf("in userspace mode: read %v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`a="b c" "d=e f" -- x`)
	f.Add("\"\"\x00=\t\"")
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range Parse(s) {
			if !p.Set && p.Value != "" {
				t.Fatalf("%q: %+v has a value that was not set", s, p)
			}
			if strings.Contains(p.Name, "=") {
				t.Fatalf("%q: the name of %+v holds an equals sign", s, p)
			}
		}
	})
}
