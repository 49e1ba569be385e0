package cli

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"keelson/services/control"
)

var two = []control.Service{{Name: "redis", State: control.Running, PID: 7}, {Name: "nginx", State: "failed", LastExit: "exited 3"}}

// Each command line becomes one request, with LinuxKit's ways to write it among them.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		args, verb, names string
	}{
		{"", "list", ""},
		{"list", "list", ""},
		{"list --json", "list", ""},
		{"-q start redis", "start", "redis"},
		{"start redis", "start", "redis"},
		{"restart redis nginx", "restart", "redis nginx"},
		{"-v --containerd-namespace services.linuxkit stop redis", "stop", "redis"},
		{"-containerd-namespace=x -v stop redis", "stop", "redis"},
		{"start -sock /run/containerd/containerd.sock -path /containers/services redis", "start", "redis"},
		{"start --sock=-path -path=/containers/services redis", "start", "redis"},
		{"start -sock -path -path /containers/services redis", "start", "redis"},
		{"restart redis -path /containers/services", "restart", "redis"},
		{"-v start -sock X -path /containers/services redis", "start", "redis"},
		{"stop -- redis", "stop", "redis"},
		{"poweroff", "poweroff", ""},
		{"reboot", "reboot", ""},
		{"swap redis -", "swap", "redis"},
		{"swap -plan -f redis -", "swap", "redis"},
		{"swap -f -programs -probation 5s -", "swap", ""},
		{"swap - -programs -plan", "swap", ""},
		{"rollback -programs", "rollback", ""},
		{"rollback redis -plan", "rollback", "redis"},
		{"remove -plan redis", "remove", "redis"},
		{"diff", "diff", ""},
	} {
		s := &system{services: two}
		app, _, diag := local(t, s)
		code := app.Run(t.Context(), strings.Fields(c.args))
		if code != control.CodeOK || len(s.requests) != 1 {
			t.Errorf("%s: exit status %d, %s, %d requests", c.args, code, diag, len(s.requests))
			continue
		}
		r := s.requests[0]
		if r.Verb != c.verb || strings.Join(r.Names, " ") != c.names {
			t.Errorf("%s: %s %q", c.args, r.Verb, r.Names)
		}
		if r.Plan != strings.Contains(c.args, "-plan") || r.Force != strings.Contains(c.args, "-f ") || r.Programs != strings.Contains(c.args, "-programs") {
			t.Errorf("%s: %+v", c.args, r)
		}
	}
}

// A mistake is answered by one line with what may have been meant and how to see more. Nothing is
// done.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		args  string
		code  int
		wants string // parts, separated by |
	}{
		{"lisst", 2, `unknown command "lisst": did you mean list? See 'service help'`},
		{"starrt redis", 2, `did you mean start?`},
		{"stat redis", 2, `unknown command "stat": did you mean sta`},
		{"bogus", 2, `unknown command "bogus"; see 'service help'`},
		{"help lgos", 2, `service: unknown command "lgos": did you mean logs? See`},
		{"help diif", 2, `unknown command "diif": did you mean diff?`},
		{"list --jsno", 2, `list: unknown option --jsno: did you mean --json? See 'service help list'`},
		{"list -jsno", 2, `list: unknown option -jsno: did you mean --json?`},
		{"list -f", 2, `list: unknown option -f;|see 'service help list'`},
		{"list redis", 2, `list: unexpected argument "redis"`},
		{"-q", 2, "list: option --quiet before the command is only for start, stop and restart"},
		{"-v status redis", 2, "status: option --verbose before the command is only for"},
		{"--containerd-namespace x version", 2, "version: option --containerd-namespace before"},
		{"-q -v start redis", 2, "start: -q and -v exclude each other"},
		{"--bogus list", 2, "unknown option --bogus; see 'service help'"},
		{"start", 2, "start: no service is named; see 'service help start'"},
		{"start --json redis", 2, "start: unknown option --json"},
		{"start -v redis", 2, "start: unknown option -v"},
		{"start -path", 2, "start: option --path needs a value: "},
		{"start -path /other redis", 1, "cannot start redis: another folder"},
		{"start rediss", 4, "no such service: rediss: did you mean redis? 'service list' shows all"},
		{"status redis ngnix", 4, "did you mean nginx?"},
		{"stop database", 4, "no such service: database; 'service list' shows all"},
		{"rollback reids", 4, "no such service: reids: did you mean redis?"},
		{"swap redis", 2, "swap: no artifact is named"},
		{"swap", 2, "swap: no service is named"},
		{"swap -programs", 2, "swap: no artifact is named"},
		{"swap -programs web x.tar", 2, `swap: unexpected argument "web": --programs takes the place of NAME`},
		{"swap -probation 5s web x.tar", 2, "swap: --probation is only for --programs"},
		{"swap -programs -probation soon x.tar", 2, `swap: option --probation wants a duration such as 30s, not "soon"`},
		{"swap redis /none", 1, "cannot swap redis: |no such file"},
		{"swap a b c", 2, "swap: 3 arguments are given, want swap NAME ARTIFACT"},
		{"rollback -programs web", 2, `rollback: unexpected argument "web"`},
		{"remove -programs", 2, "remove: unknown option -programs"},
		{"boot -n 3", 2, "boot: unknown option -n"},
		{"halt --json", 2, "halt: unknown option --json"},
		{"version redis", 2, `version: unexpected argument "redis"`},
		{"completion bsh", 2, `completion: unknown shell "bsh": did you mean bash? Want bash, zsh or fish; see`},
		{"events --since someday", 2, `events: --since: cannot read time "someday"`},
	} {
		s := &system{services: two}
		app, out, diag := local(t, s)
		code := app.Run(t.Context(), strings.Fields(c.args))
		text := diag.String()
		if code != c.code || strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "service: ") || out.Len() > 0 {
			t.Errorf("%s: exit status %d, want %d: %q, %q", c.args, code, c.code, text, out)
		}
		for want := range strings.SplitSeq(c.wants, "|") {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q, want %q", c.args, text, want)
			}
		}
		for _, r := range s.requests {
			if c.code == control.CodeUsage {
				t.Errorf("%s: %+v was requested", c.args, r)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"list", "status", "start", "stop", "restart", "logs", "rollback"}
	for given, want := range map[string]string{
		"lisst": "list", "statsu": "status", "stp": "stop", "restarrt": "restart", "roll": "rollback", "LIST": "list", "logss": "logs",
		"x": "", "": "", "xyz": "", "completely-different": "", "größe": "", strings.Repeat("a", 1000): "",
	} {
		if got := nearest(given, names); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"ü", "u", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %d", c.a, c.b, got)
		}
	}
}

// Every verb explains itself, with examples and exit statuses; each way to ask gives the same.
func TestHelp(t *testing.T) {
	app, out, diag := local(t, &system{})
	for _, v := range append(app.verbs(), app.help()) {
		var texts []string
		for _, args := range [][]string{{"help", v.name()}, {v.name(), "--help"}, {v.name(), "-h"}, {v.name(), "-help"}} {
			out.Reset()
			if code := app.Run(t.Context(), args); code != control.CodeOK || diag.Len() > 0 {
				t.Errorf("%q: %d, %s", args, code, diag)
			}
			texts = append(texts, out.String())
		}
		for _, part := range []string{"service " + v.name() + ": " + v.Short, "\nUsage:\n  service " + v.name(), "\nExamples:\n  service " + v.name(), "  # ", "\nExit status:\n  0  done"} {
			if !strings.Contains(texts[0], part) {
				t.Errorf("the help of %s has no %q:\n%s", v.name(), part, texts[0])
			}
		}
		for _, text := range texts[1:] {
			if text != texts[0] {
				t.Errorf("%s: %s\n%s", v.name(), text, texts[0])
			}
		}
		for line := range strings.Lines(texts[0]) {
			if len([]rune(line)) > 130 {
				t.Errorf("%s: a long line: %s", v.name(), line)
			}
		}
	}
	for _, args := range []string{"help", "-h", "--help", "-help"} {
		out.Reset()
		if code := app.Run(t.Context(), strings.Fields(args)); code != control.CodeOK {
			t.Errorf("%s: %d", args, code)
		}
		for _, v := range app.verbs() {
			if !strings.Contains(out.String(), "\n  "+v.name()+" ") {
				t.Errorf("%s: the overview does not name %s", args, v.name())
			}
		}
	}
}

func TestExamples(t *testing.T) {
	app, _, _ := local(t, &system{})
	if err := app.CheckExamples(t.Context()); err != nil {
		t.Error(err)
	}
	app.Machine.Verbs = []Verb{{Use: "odd", Example: "odd --none # cannot be parsed"}, {Use: "bare"}}
	if err := app.CheckExamples(t.Context()); err == nil || !strings.Contains(err.Error(), "odd --none") || !strings.Contains(err.Error(), "bare has no example") {
		t.Errorf("bad examples: %v", err)
	}
}

// Elsewhere than on the machine, verbs and options that work only there do not exist.
func TestElsewhere(t *testing.T) {
	app, out, diag := local(t, &system{services: two})
	app.Name, app.Machine = "keelson ctl", nil
	if code := app.Run(t.Context(), []string{"restart", "redis"}); code != control.CodeOK {
		t.Errorf("%d, %s", code, diag)
	}
	for args, want := range map[string]string{
		"start -path /x redis": "keelson ctl: start: unknown option", "swap --programs x y": "takes the place of NAME",
		"-v start redis": "unknown option -v; see 'keelson ctl help'", "starrt": "did you mean start?",
	} {
		diag.Reset()
		if code := app.Run(t.Context(), strings.Fields(args)); code != control.CodeUsage || !strings.Contains(diag.String(), want) {
			t.Errorf("%s: %d, %s", args, code, diag)
		}
	}
	out.Reset()
	if app.Run(t.Context(), []string{"help", "restart"}); !strings.Contains(out.String(), "keelson ctl restart redis") {
		t.Errorf("%s", out)
	}
	if err := app.CheckExamples(t.Context()); err != nil {
		t.Error(err)
	}
}

// What follows the name of a verb for another program is passed on as it is.
func TestRest(t *testing.T) {
	app, _, diag := local(t, &system{})
	var got []string
	app.Machine.Verbs = []Verb{{Use: "exec NAME CMD…", Min: 2, Max: -1, Rest: true, Run: func(_ context.Context, args []string) (int, error) {
		got = args
		return 42, nil
	}}}
	code := app.Run(t.Context(), strings.Fields("exec redis ls -path --json -- -help x"))
	if code != 42 || strings.Join(got, " ") != "redis ls -path --json -- -help x" {
		t.Errorf("%d, %q, %s", code, got, diag)
	}
}

// Options of a verb for another program may follow the name, and -- may end them.
func TestLateOptions(t *testing.T) {
	app, _, _ := local(t, &system{})
	for line, want := range map[string]string{
		"debug web --with kit sh -c x":     "debug --with kit web sh -c x",
		"debug web -with kit -- sh --with": "debug --with kit web sh --with",
		"debug -e A=1 web --with=kit":      "debug -e A=1 --with=kit web",
		"exec web -it sh -i":               "exec -it web sh -i",
		"exec web -- sh -- x":              "exec web sh -- x",
		"exec web -w":                      "exec -w web",
		"exec web -":                       "exec web -",
		"exec web":                         "exec web",
		"exec -- web -i":                   "exec -- web -i",
		"start web -- x":                   "start web -- x",
		"rescue ls -e":                     "rescue ls -e",
		"rescue -e A=1 -- ls -- -e":        "rescue -e A=1 -- ls -- -e",
	} {
		if got := strings.Join(doubleDashes(app.root(), strings.Fields(line)), " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// A socket that does not exist gives a hint.
func TestNoSupervisor(t *testing.T) {
	app, _, diag := local(t, &system{})
	app.Client = control.Unix(filepath.Join(t.TempDir(), "none"))
	for _, args := range []string{"list", "start redis", "events", "diff", "swap redis -"} {
		diag.Reset()
		if code := app.Run(t.Context(), strings.Fields(args)); code != control.CodeFailed || !strings.Contains(diag.String(), "bind mount of /run") {
			t.Errorf("%s: %d, %s", args, code, diag)
		}
	}
}

// The exit status says whether services run, as systemctl's does.
func TestStatus(t *testing.T) {
	for args, want := range map[string]int{"status redis": 0, "status redis nginx": 3, "status nginx": 3, "status none redis": 4, "list": 0} {
		app, out, _ := appFor(t, two)
		if code := app.Run(t.Context(), strings.Fields(args)); code != want {
			t.Errorf("%s: %d, %s", args, code, out)
		}
	}
}

// Only with -v it is printed what was done.
func TestVerbose(t *testing.T) {
	for args, want := range map[string]string{"-v stop redis": "stop redis: done\n", "-q stop redis": "", "stop redis": ""} {
		app, out, _ := appFor(t, two)
		if code := app.Run(t.Context(), strings.Fields(args)); code != control.CodeOK || out.String() != want {
			t.Errorf("%s: %d, %q", args, code, out)
		}
	}
}

// A change shows its plan or its end, and what else is to be known.
func TestChange(t *testing.T) {
	s := &system{services: two, response: control.Response{Note: "it is in memory"}}
	app, out, _ := local(t, s)
	if code := app.Run(t.Context(), []string{"swap", "redis", "-"}); code != 0 || out.String() != "redis: swap committed\nredis: it is in memory\n" {
		t.Errorf("%d, %q", code, out)
	}
	if text, _ := io.ReadAll(s.requests[0].Body); string(text) != "artifact" {
		t.Errorf("standard input arrives as %q", text)
	}
	s.response = control.Response{Plan: []string{"a", "b"}}
	out.Reset()
	if code := app.Run(t.Context(), []string{"rollback", "-plan", "redis"}); code != 0 || out.String() != "redis: a\nredis: b\n" {
		t.Errorf("%d, %q", code, out)
	}
}

func TestTable(t *testing.T) {
	tab := table{{plain("NAME"), plain("STATE")}}
	tab.row("größe", cell{"failed", bad})
	tab.row("a\x1b[2J\nb", cell{"running", good}) // from another program
	if got, want := tab.text(false), "NAME     STATE\ngröße    failed\na [2J b  running\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := tab.text(true), "NAME     STATE\ngröße    \x1b[31mfailed\x1b[0m\na [2J b  \x1b[32mrunning\x1b[0m\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
