package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"keelson/services/control"
)

// service list at 100 services: the command line, two requests and the table.
func BenchmarkList(b *testing.B) {
	s := &system{}
	var usages []control.Usage
	for i := range 100 {
		name := fmt.Sprintf("service-%d", i)
		s.services = append(s.services, control.Service{Name: name, State: control.Running, PID: i + 1, Since: time.Now()})
		usages = append(usages, control.Usage{Name: name, CPUSeconds: number(1), Memory: number(1 << 20)})
	}
	all := sources
	all.Usages = func() (control.Usages, error) { return control.Usages{At: time.Second, Services: usages}, nil }
	client := serveWith(b, s, all)
	var out bytes.Buffer
	b.ReportAllocs()
	for b.Loop() {
		s.requests = nil
		out.Reset()
		app := &App{Name: "service", Client: client, Out: &out, Err: io.Discard}
		if code := app.Run(b.Context(), []string{"list"}); code != control.CodeOK || strings.Count(out.String(), "\n") < 101 {
			b.Fatalf("%d: %s", code, out.String())
		}
	}
}

// Whatever is typed, it is run, or refused with one line before anything is done.
func FuzzCommandLine(f *testing.F) {
	for _, line := range []string{"start -sock X -path DIR NAME", "-v --containerd-namespace N stop a", "logs -fn 3 --since=-5m a", "swap -programs -probation 5s -", "exec a -- -x", "-", "--", "-=", "status -json=", "help help", "-\x80"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "__complete") {
			t.Skip("it is for scripts of shells, and says more")
		}
		var diag bytes.Buffer
		app := &App{Name: "service", Client: control.Unix("/none"), Out: io.Discard, Err: &diag, parse: true, Machine: &Machine{
			Verbs: []Verb{{Use: "exec NAME CMD…", Min: 2, Max: -1, Rest: true}},
		}}
		code := app.Run(t.Context(), strings.Fields(line))
		if text := diag.String(); code != 0 && code != control.CodeUsage || (code == 0) != (text == "") || code != 0 && strings.Count(text, "\n") != 1 {
			t.Errorf("%q: %d, %q", line, code, text)
		}
	})
}
