package image

import (
	"testing"

	"keelson/testvm/image/tree"
)

// A boot menu shows the image's name for a system that is keelson's alone.
func TestOSRelease(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"none":        {"", "ID=keelson\nPRETTY_NAME=\"web\"\n"},
		"the guest's": {"NAME=\"keelson\"\nID=keelson\nVERSION_ID=\"1\"\nPRETTY_NAME=\"keelson 1\"\n", "NAME=\"keelson\"\nID=keelson\nVERSION_ID=\"1\"\nPRETTY_NAME=\"web\"\n"},
		"another":     {"ID=alpine\nPRETTY_NAME=\"Alpine\"", "ID=alpine\nPRETTY_NAME=\"Alpine\""},
		"no newline":  {"PRETTY_NAME=\"keelson 1\"\nID=keelson", "ID=keelson\nPRETTY_NAME=\"web\"\n"},
	} {
		root := tree.New()
		if tc.file != "" {
			root.Set(tree.Entry{Path: "usr/lib/os-release", Type: tree.File, Mode: 0o644, Data: []byte(tc.file)})
			root.Set(tree.Entry{Path: "etc/os-release", Type: tree.Symlink, Mode: 0o777, Link: "../usr/lib/os-release"})
		}
		m := &maker{builder: &builder{Options: Options{Name: "web"}}, root: root}
		if got := string(m.osRelease()); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
