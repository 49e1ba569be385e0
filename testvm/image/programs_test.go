package image

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/testvm/nstest"
)

// The same programs give the same artifact, whatever their times and modes are.
func TestProgramsReproducible(t *testing.T) {
	shim, err := os.ReadFile(nstest.Guest(t, "usr/bin/containerd-shim-runc-v2"))
	if err != nil {
		t.Fatal(err)
	}
	var first []byte
	for i, mode := range []os.FileMode{0o755, 0o700} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "usr/bin"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "usr/bin/containerd-shim-runc-v2"), shim, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("service", filepath.Join(dir, "usr/bin/containerd")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "usr/bin/other"), []byte{byte(i)}, mode); err != nil { // It is left out.
			t.Fatal(err)
		}
		var out bytes.Buffer
		made, err := WritePrograms([]string{dir}, time.Time{}, Target{Writer: &out})
		if err != nil || len(made) != 1 || made[0].Arch != "amd64" {
			t.Fatalf("%+v, %v", made, err)
		}
		if first == nil {
			first = out.Bytes()
		} else if !bytes.Equal(first, out.Bytes()) {
			t.Error("the artifacts differ")
		}
	}
}

func TestProgramsErrors(t *testing.T) {
	shim := nstest.Guest(t, "usr/bin/containerd-shim-runc-v2")
	folder := func(files map[string]string) string {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, from := range files {
			if err := os.Symlink(from, filepath.Join(dir, "usr/bin", name)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for name, tc := range map[string]struct {
		dirs []string
		want string
	}{
		"nothing":       {[]string{folder(nil)}, "it has none of usr/bin/service"},
		"only a link":   {[]string{folder(map[string]string{"containerd": "service"})}, "it has none of"},
		"no program":    {[]string{folder(map[string]string{"runc": "/etc/passwd"})}, "is not a program of Linux"},
		"the same arch": {[]string{folder(map[string]string{"runc": shim}), folder(map[string]string{"runc": shim})}, "another folder has programs for amd64"},
	} {
		var out bytes.Buffer
		if _, err := WritePrograms(tc.dirs, time.Time{}, Target{Writer: &out}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
