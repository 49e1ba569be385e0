package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/bundle"
	"keelson/services/versions"
)

// Services are assessed without the supervisor. One whose bundle cannot be read does not
// hide the others.
func TestAssessAll(t *testing.T) {
	dir := t.TempDir()
	for name, config := range map[string]string{
		"web":    `{"process":{"args":["/web"]},"root":{"path":"rootfs"}}`,
		"db":     `{"process":{"args":["/db"],"noNewPrivileges":true},"root":{"path":"rootfs"}}`,
		"rescue": `{"process":{"args":["/sh"]},"root":{"path":"rootfs"},"annotations":{"keelson.role":"rescue"}}`,
		"broken": `{`,
	} {
		folder := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, bundle.ConfigFile), []byte(config), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ named, want, err string }{
		{"", "db web", "broken"},
		{"web", "web", ""},
		{"rescue", "rescue", ""}, // not a service, but can be asked for
		{"broken", "", "broken"},
		{"none", "", ""},
	} {
		reports, err := assessAll(dir, versions.New(filepath.Join(dir, "store")), strings.Fields(c.named))
		var names []string
		for _, r := range reports {
			names = append(names, r.Name)
			if r.Score == 0 || len(r.Findings) == 0 {
				t.Errorf("%q: %+v", c.named, r)
			}
		}
		if strings.Join(names, " ") != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %q, %v; want %q, %q", c.named, names, err, c.want, c.err)
		}
	}
}
