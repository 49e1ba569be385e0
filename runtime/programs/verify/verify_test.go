package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keelson/runtime/programs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(s[:])
}

// version makes a version, and returns its folder and digest.
func version(t *testing.T) (dir, digest string) {
	t.Helper()
	dir = t.TempDir()
	bin := filepath.Join(dir, programs.RootDir, "usr/bin")
	must(t, os.MkdirAll(bin, 0o755))
	must(t, os.WriteFile(filepath.Join(bin, "service"), []byte("program"), 0o755))
	must(t, os.Symlink("service", filepath.Join(bin, "containerd")))
	list, err := programs.NewList(map[string]string{programs.Service: sum([]byte("program"))}, []string{programs.Containerd})
	must(t, err)
	text, err := json.Marshal(list)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, programs.ListFile), text, 0o600))
	manifest := []byte(`{"config": {"digest": "` + sum(text) + `"}, "layers": []}`)
	must(t, os.WriteFile(filepath.Join(dir, programs.ManifestFile), manifest, 0o600))
	return dir, sum(manifest)
}

func TestVersion(t *testing.T) {
	dir, digest := version(t)
	list, err := Version(dir, digest)
	if err != nil || strings.Join(list.Names(), " ") != "usr/bin/containerd usr/bin/service" {
		t.Fatalf("%v, %v", list, err)
	}
}

// Whatever is exchanged, added or missing, the version is not used.
func TestChanged(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"program":                    {func(dir string) error { return os.WriteFile(dir+"/rootfs/usr/bin/service", []byte("changed"), 0o755) }, "another content"},
		"longer":                     {func(dir string) error { return os.WriteFile(dir+"/rootfs/usr/bin/service", []byte("program\n"), 0o755) }, "another content"},
		"missing":                    {func(dir string) error { return os.Remove(dir + "/rootfs/usr/bin/service") }, "no such file"},
		"another one":                {func(dir string) error { return os.WriteFile(dir+"/rootfs/usr/bin/runc", []byte("x"), 0o755) }, "not in the list"},
		"any file":                   {func(dir string) error { return os.WriteFile(dir+"/rootfs/usr/bin/sh", []byte("x"), 0o755) }, "not in the list"},
		"folder":                     {func(dir string) error { return os.Mkdir(dir+"/rootfs/etc", 0o755) }, "not in the list"},
		"set-user-ID":                {func(dir string) error { return os.Chmod(dir+"/rootfs/usr/bin/service", 0o755|os.ModeSetuid) }, "has mode"},
		"writable":                   {func(dir string) error { return os.Chmod(dir+"/rootfs/usr/bin/service", 0o777) }, "has mode"},
		"folder that all may change": {func(dir string) error { return os.Chmod(dir+"/rootfs/usr/bin", 0o777) }, "may be changed"},
		"link": {func(dir string) error {
			return replace(dir+"/rootfs/usr/bin/containerd", func(p string) error { return os.Symlink("../../../../bin/sh", p) })
		}, "leads to"},
		"file for a link": {func(dir string) error {
			return replace(dir+"/rootfs/usr/bin/containerd", func(p string) error { return os.WriteFile(p, nil, 0o755) })
		}, "invalid argument"},
		"link for a file": {func(dir string) error {
			return replace(dir+"/rootfs/usr/bin/service", func(p string) error { return os.Symlink("/bin/sh", p) })
		}, "not a regular file"},
		"FIFO": {func(dir string) error {
			return replace(dir+"/rootfs/usr/bin/service", func(p string) error { return syscall.Mkfifo(p, 0o755) })
		}, "not a regular file"},
		"list":     {func(dir string) error { return os.WriteFile(dir+"/programs.json", []byte(`{}`), 0o600) }, "programs.json has another content"},
		"manifest": {func(dir string) error { return os.WriteFile(dir+"/manifest.json", []byte(`{}`), 0o600) }, "manifest.json has another content"},
		"manifest that is a FIFO": {func(dir string) error {
			return replace(dir+"/manifest.json", func(p string) error { return syscall.Mkfifo(p, 0o755) })
		}, "not a regular file"},
	} {
		dir, digest := version(t)
		must(t, tc.change(dir))
		if _, err := Version(dir, digest); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func replace(path string, make func(string) error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return make(path)
}
