package nstest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Tree copies the guest to dir, the root of a system. Containers go to dir/containers.
func Tree(t *testing.T, dir string) {
	t.Helper()
	for _, file := range []string{"init", "usr/bin/service", "usr/bin/containerd", "usr/bin/containerd-shim-runc-v2",
		"usr/libexec/containerd-shim-runc-v2", "usr/bin/ctr", "usr/bin/runc", "etc/os-release"} {
		Guest(t, file)
	}
	root := GuestRoot(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return copyEntry(path, filepath.Join(dir, strings.TrimPrefix(path, root)), d)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyEntry copies a folder, symlink or file. Only programs become hard links: a test
// that writes to another file must not change the guest's.
func copyEntry(from, to string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case d.IsDir():
		return os.MkdirAll(to, info.Mode().Perm())
	case d.Type() == fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case info.Mode()&0o111 != 0:
		return copyFile(from, to)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}

// Unpack extracts the tree of an initrd, which the builder may have packed with zstd, into a new folder.
func Unpack(t *testing.T, initrd, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `zstd -dcf "$0" | cpio -idm --quiet`, initrd)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot unpack %s: %v: %s", initrd, err, out)
	}
}
