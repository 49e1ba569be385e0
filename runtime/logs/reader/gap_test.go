package reader

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"
)

// A follower that reads more slowly than a log is rotated is told that lines may be lost, also when it looks
// for other lines. One that is as fast is not.
func TestGap(t *testing.T) {
	dir := t.TempDir()
	web := filepath.Join(dir, "web.log")
	rotate := func() {
		if err := os.Rename(web, web+".1"); err != nil {
			t.Fatal(err)
		}
	}
	add(t, web, "one\n")
	next, stop := iter.Pull2((Set{Folders: []string{dir}}).Read(t.Context(), Options{Names: []string{"web"}, Follow: true}))
	defer stop()
	want := func(text string) {
		t.Helper()
		e, err, ok := next()
		got := string(e.Text)
		if e.Open {
			got += "…"
		}
		if e.Gap {
			got = e.Lost()
		}
		if err != nil || !ok || got != text {
			t.Fatalf("%q, %v, want %q", got, err, text)
		}
	}
	const lost = "web[stderr]: lines may be lost: the log was rotated faster than it is read"
	want("one")
	add(t, web, "two\n")
	rotate()
	add(t, web, "three\n")
	want("two")
	want("three")
	for i := range 3 { // Each rotation removes the part before.
		rotate()
		add(t, web, fmt.Sprintf("four %d\n", i))
	}
	want(lost)
	want("four 1")
	want("four 2")
	add(t, web, "five\nsi")
	for i := range 4 {
		rotate()
		add(t, web, fmt.Sprintf("seven %d\n", i))
	}
	want("five")
	want("si…")
	want(lost)
	want("seven 2") // It is the part .1.
	want("seven 3")
}

// A gap is in JSON as in the entry, and text is without it.
func TestGapFormats(t *testing.T) {
	e := Entry{Name: "web", Stream: Stdout, Gap: true}
	for name, want := range map[string]string{"short": "", "cat": "", "json": `{"time":"0001-01-01T00:00:00Z","name":"web","stream":"stdout","text":"","gap":true}` + "\n"} {
		format, err := Formats(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(format(nil, e)); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if back, err := (Object{Name: "web", Gap: true}).Entry(); err != nil || back.Lost() == "" {
		t.Errorf("%+v, %v", back, err)
	}
}
