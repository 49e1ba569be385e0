package runner

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test binary interpret scripts, as /init does.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "script" {
		os.Exit(Interpret(os.Args[2]))
	}
	os.Exit(m.Run())
}

func TestParsePlain(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []command
	}{
		{"#!/bin/sh\n\n# starts it\nmemlogd -daemonize\n", []command{{line: 4, args: []string{"memlogd", "-daemonize"}}}},
		{"a 'b  c' \"d \\\" e\" f\\ g h'i'j \\\n  k # rest", []command{{line: 1, args: []string{"a", "b  c", "d \" e", "f g", "hij", "k"}}}},
		{"a; b && c ||\n\n d\n", []command{{line: 1, args: []string{"a"}}, {line: 1, args: []string{"b"}},
			{line: 1, join: "&&", args: []string{"c"}}, {line: 3, join: "||", args: []string{"d"}}}},
		{"A=b B='c d' x E=f &\nPATH=/bin", []command{{line: 1, env: []string{"A=b", "B=c d"}, args: []string{"x", "E=f"}, background: true},
			{line: 2, env: []string{"PATH=/bin"}}}},
		{"a >/dev/null 2>&1 <x >>y 3 2", []command{{line: 1, args: []string{"a", "3", "2"}, redirects: []redirect{
			{1, ">", "/dev/null"}, {2, ">&", "1"}, {0, "<", "x"}, {1, ">>", "y"}}}}},
		{"\"if\" then", []command{{line: 1, args: []string{"if", "then"}}}},
		{"", nil},
	} {
		p, err := parsePlain(tt.text)
		if err != nil || !reflect.DeepEqual(p.commands, tt.want) {
			t.Errorf("%q:\n%+v, %v, want\n%+v", tt.text, p.commands, err, tt.want)
		}
	}
}

func TestWhatNeedsAShell(t *testing.T) {
	for text, want := range map[string]string{
		"a\nif [ -e /x ]; then\n b\nfi": "line 2: if needs a shell", "a $HOME": "line 1: $ needs a shell", "a `b`": "line 1: ` needs a shell",
		"a\n\nb | c": "line 3: | needs a shell", "ls *": "line 1: * needs a shell", "[ -e /x ] && a": "line 1: [ needs a shell",
		"a <<EOF": "line 1: << needs a shell", "f() { a; }": "line 1: ( needs a shell", "cd ~/x": "line 1: cd needs a shell", "a ~": "line 1: ~ needs a shell",
		"a '\nb": "line 1: a quote without an end needs a shell", "a \\": "line 1: a backslash at the end needs a shell", "&& a": "line 1: a list without a command needs a shell",
		"a ||": "line 1: a list without a command needs a shell", "a && b &": "line 1: a list in the background needs a shell",
		"a 5>x": "line 1: such a redirection needs a shell", "a >&-": "line 1: such a redirection needs a shell", "a >": "line 1: such a redirection needs a shell",
		"a \"$x\"": "line 1: $ needs a shell", "! a": "line 1: ! needs a shell", "a;;": "line 1: ;; needs a shell",
	} {
		_, err := parsePlain(text)
		var needs errNeedsShell
		if !errors.As(err, &needs) || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParsePlain(f *testing.F) {
	f.Add("#!/bin/sh\nA=b memlogd -x 'y' \"z\\\"\" >/dev/null 2>&1 && c || d; e &\n")
	f.Add("a \\\n b\\")
	f.Add("\"")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePlain(text)
		if err != nil {
			return
		}
		lines := strings.Count(text, "\n") + 1
		for _, c := range p.commands {
			if c.line < 1 || c.line > lines || len(c.args)+len(c.env)+len(c.redirects) == 0 {
				t.Errorf("%q: %+v", text, c)
			}
			for _, r := range c.redirects {
				if r.fd < 0 || r.fd > 2 {
					t.Errorf("%q: %+v", text, r)
				}
			}
		}
	})
}

// noShell is the first line of a script whose interpreter is missing.
const noShell = "#!/no/such/sh\n"

// runPlain writes a script and runs it with Run.
func runPlain(t *testing.T, text string) (how string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return Run(t.Context(), path, time.Minute, func() {})
}

func TestRunPlain(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, tt := range []struct{ script, how, out string }{
		{"echo one >OUT; echo -n two 'a  b' >>OUT", "exited 0", "one\ntwo a  b"},
		{"false || echo no >OUT\nfalse && echo never >OUT", "exited 1", "no\n"},
		{"set -e\nfalse || :\nfalse\necho never >OUT", "exited 1", ""},
		{"false\nexit 7\necho never >OUT", "exited 7", ""},
		{"exec env -i A=b env >OUT\necho never >OUT", "exited 0", "A=b\n"},
		{"export A=b C=d\nE=f env >OUT 2>&1", "exited 0", "A=b\nC=d\nE=f"},
		{"nothing-like-it", "exited 127", ""},
		{"/etc/passwd", "exited 126", ""},
		{"cat <OUT", "exited 1", ""},
		{"sleep 1 >/dev/null 2>&1 &\necho on >OUT", "exited 0", "on\n"},
	} {
		_ = os.Remove(out)
		how, err := runPlain(t, noShell+strings.ReplaceAll(tt.script, "OUT", out))
		if err != nil || how != tt.how {
			t.Errorf("%q: %s, %v, want %s", tt.script, how, err, tt.how)
		}
		text, _ := os.ReadFile(out)
		got := string(text)
		if strings.Contains(tt.script, "E=f") {
			got = tt.out
			for _, entry := range strings.Split(tt.out, "\n") {
				if !strings.Contains("\n"+string(text), "\n"+entry+"\n") {
					t.Errorf("environment %q lacks %s", text, entry)
				}
			}
		}
		if got != tt.out {
			t.Errorf("%q wrote %q, want %q", tt.script, got, tt.out)
		}
	}
}

func TestNoInterpreter(t *testing.T) {
	for script, want := range map[string]string{
		noShell + "a\nfor x in y; do a; done": "cannot start it: its interpreter /no/such/sh is not in the image, and it cannot be run without: line 3: for needs a shell; " +
			"add an image with a static one to the init section",
		"#!/no/such/python -u\nimport os\n": "cannot start it: its interpreter /no/such/python is not in the image, and it cannot be run without: it is no shell; " +
			"add an image with a static one to the init section",
		noShell + strings.Repeat("a\n", plainLimit): "cannot start it: its interpreter /no/such/sh is not in the image, and it cannot be run without: it is longer than 64 KiB; " +
			"add an image with a static one to the init section",
	} {
		if _, err := runPlain(t, script); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
