package mounts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// programsRoot makes an empty root with programs of an image, and returns a folder with a
// version that has service, but not runc.
func programsRoot(t *testing.T) string {
	t.Helper()
	must(t, Apply(Essential()))
	const version = "/version"
	for path, text := range map[string]string{
		"/usr/bin/service": "image", "/usr/bin/runc": "image", "/usr/libexec/shim": "image",
		version + "/usr/bin/service": "new", version + "/usr/libexec/shim": "new",
	} {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o755))
	}
	return version
}

// wantPrograms checks what service, runc and shim are.
func wantPrograms(t *testing.T, want string) {
	t.Helper()
	var found []string
	for _, path := range []string{"/usr/bin/service", "/usr/bin/runc", "/usr/libexec/shim"} {
		text, err := os.ReadFile(path)
		must(t, err)
		found = append(found, string(text))
	}
	if got := strings.Join(found, " "); got != want {
		t.Errorf("service, runc and shim are %q, want %q", got, want)
	}
}

// The programs of a version hide those of the same name, however often it is put into use, and
// nobody can write to them. Without it, the programs of the root are there again.
func TestCoverPrograms(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	version := programsRoot(t)
	for range 2 {
		must(t, CoverPrograms(version))
		wantPrograms(t, "new image new")
	}
	if n := len(at(t, "/usr/bin")); n != 1 {
		t.Errorf("%d mounts on /usr/bin, want 1", n)
	}
	if err := os.WriteFile("/usr/bin/service", nil, 0o755); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing a program: %v", err)
	}
	f, err := os.Open("/usr/bin/service") // As a process that executes it.
	must(t, err)
	defer f.Close()
	must(t, os.RemoveAll(version+"/usr/libexec")) // A version need not have all folders.
	must(t, CoverPrograms(version))
	wantPrograms(t, "new image image")
	must(t, UncoverPrograms())
	must(t, UncoverPrograms())
	wantPrograms(t, "image image image")
	if n := len(at(t, "/usr/bin")) + len(at(t, "/usr/libexec")); n != 0 {
		t.Errorf("%d mounts are left", n)
	}
}

// Other mounts on these folders stay.
func TestUncoverProgramsOnly(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	version := programsRoot(t)
	must(t, Mount("other", "/usr/bin", "overlay", []string{"ro", "lowerdir=" + version + "/usr/bin:/usr/bin"}))
	must(t, CoverPrograms(version))
	must(t, UncoverPrograms())
	if found := at(t, "/usr/bin"); len(found) != 1 || found[0].Source != "other" {
		t.Errorf("mounts on /usr/bin: %v", found)
	}
}

// A version of which one folder cannot be mounted is not used in part.
func TestCoverProgramsFails(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	version := programsRoot(t)
	must(t, os.RemoveAll(version+"/usr/libexec"))
	must(t, os.WriteFile(version+"/usr/libexec", nil, 0o755))
	if err := CoverPrograms(version); err == nil {
		t.Error("a file was mounted on a folder")
	}
	wantPrograms(t, "image image image")
}

// Only the function sees the programs of WithPrograms.
func TestWithPrograms(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	version := programsRoot(t)
	failed := errors.New("failed")
	called := false
	err := WithPrograms(version, func() error {
		called = true
		text, err := os.ReadFile("/usr/bin/service")
		if err != nil || string(text) != "new" {
			t.Errorf("within: %q, %v", text, err)
		}
		return failed
	})
	if !called || !errors.Is(err, failed) {
		t.Errorf("called: %v; %v", called, err)
	}
	wantPrograms(t, "image image image")
}
