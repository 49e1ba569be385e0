package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	verbs "keelson/services/cli"
	"keelson/testvm/tier"
)

// The manual page names all commands and options, and mandoc finds no fault with it.
func TestManPage(t *testing.T) {
	model := newParser(&cli{}).Model
	pages := manPages(model, time.Unix(0, 0), "v1")
	page := pages["keelson.1"]
	for _, n := range model.Leaves(true) {
		for _, part := range []string{".SS " + verbs.RoffQuoted(n.Summary()), verbs.Roff(n.Help)} {
			if !strings.Contains(page, part) {
				t.Errorf("the page has no %q", part)
			}
		}
		for _, f := range n.Flags {
			if !strings.Contains(page, verbs.Roff("--"+f.Name)) {
				t.Errorf("the page has no option --%s of %s", f.Name, n.Path())
			}
		}
	}
	if !strings.Contains(page, `\-\-endpoint`) || strings.Contains(page, "man\\-pages") {
		t.Errorf("the page lacks an option of ctl, or has a hidden command:\n%s", page)
	}
	if pages["keelson-ctl-list.8"] == "" {
		t.Error("there is no page of keelson ctl list")
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		tier.Skip(t, "no mandoc")
	}
	file := filepath.Join(t.TempDir(), "keelson.1")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
