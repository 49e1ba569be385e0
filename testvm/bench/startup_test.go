package bench

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"keelson/testvm/image/config"
)

// The script has a line for each program, in a file that is what it should be.
func TestStartupYAML(t *testing.T) {
	yaml, err := StartupYAML("tree")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := config.Parse("startup.yml", yaml)
	if err != nil {
		t.Fatal(err)
	}
	c := doc.Config
	if len(c.Init) != 2 || !strings.HasPrefix(c.Init[0], "dir:/") || len(c.Files) != 1 {
		t.Fatalf("got %+v", c)
	}
	script := *c.Files[0].Contents
	at := 0
	for _, command := range idle {
		i := strings.Index(script, "\nstart "+command+"\n")
		if i < at {
			t.Errorf("%q is not in its place in:\n%s", command, script)
		}
		at = i
	}
}

const startupConsole = `[    5.000000] keelson-bench: start /bin/busybox
[    5.010000] keelson-bench: started /bin/busybox 10
keelson-bench: initialisers /bin/busybox
[    6.000000] keelson-bench: start /init
[    6.060000] keelson-bench: started /init 10
keelson-bench: initialisers /init
init runtime @0.21 ms, 0.004 ms clock, 0 bytes, 0 allocs
init net @0.3 ms, 1.5 ms clock, 120 bytes, 7 allocs
init damaged @0.3 ms
usage: init
`

func TestParseStartup(t *testing.T) {
	got, err := parseStartup(strings.ReplaceAll(startupConsole, "\n", "\r\n"))
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	s := got[0]
	if s.Path != "/init" || s.Instructions != 5e6 || len(s.Initialisers) != 2 {
		t.Errorf("got %+v", s)
	}
	if sum := s.initialisers(); sum != (Initialiser{"", 1_504_000, 120, 7}) {
		t.Errorf("sum %+v", sum)
	}
	if most := s.most(1); len(most) != 1 || most[0].Package != "net" {
		t.Errorf("most %+v", most)
	}
	r := &Report{Startup: got, Runs: []Run{booted()}}
	r.Summarize()
	var table bytes.Buffer
	r.WriteTable(&table)
	for _, want := range []string{"5.0 M", "net 1.50", "service two"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, table.String())
		}
	}
	text, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(text), `"instructions":5000000`) {
		t.Errorf("%s, %v", text, err)
	}
	for _, bad := range []string{"", strings.ReplaceAll(startupConsole, "busybox 10", "busybox 0"), strings.ReplaceAll(startupConsole, "started /bin/busybox 10", "other x")} {
		if got, err := parseStartup(bad); err == nil {
			t.Errorf("taken: %+v of %q", got, bad)
		}
	}
}

func FuzzParseStartup(f *testing.F) {
	f.Add(startupConsole)
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parseStartup(s)
		if err == nil && (len(all) == 0 || slices.ContainsFunc(all, func(s Startup) bool { return s.Path == "" })) {
			t.Errorf("taken: %+v", all)
		}
	})
}
