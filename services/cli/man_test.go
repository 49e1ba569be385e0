package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/testvm/tier"
)

// There is a manual page for each verb, which mandoc finds no fault with and which has all that the
// help has.
func TestManPages(t *testing.T) {
	app, _, _ := local(t, &system{})
	app.Machine.Verbs = []Verb{{Use: "odd", Group: Other, Short: `.it's "odd" \n - `, Example: "odd # .x"}}
	pages := app.ManPages(time.Unix(0, 0), "v1")
	for _, v := range append(app.verbs(), app.help()) {
		page := pages["service-"+v.name()+".8"]
		for _, part := range []string{".TH SERVICE\\-" + strings.ToUpper(v.name()) + " 8 1970-01-01 \"keelson v1\"", ".SH EXAMPLES", ".SH EXIT STATUS\n.TP\n.B 0\ndone"} {
			if !strings.Contains(page, part) {
				t.Errorf("the page of %s has no %q:\n%s", v.name(), part, page)
			}
		}
		if !strings.Contains(pages["service.8"], "\n.B "+v.name()+"\n") {
			t.Errorf("the overview does not name %s", v.name())
		}
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		tier.Skip(t, "no mandoc")
	}
	dir := t.TempDir()
	args := []string{"-T", "lint", "-W", "warning"}
	for name, text := range pages {
		args = append(args, filepath.Join(dir, name))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("mandoc", args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
