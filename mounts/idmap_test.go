package mounts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

// A file on an ID-mapped mount has the owner to whom the namespace maps its user; a file
// that such an owner makes there belongs to the user on the file system. A mount below keeps
// its owners. Other file systems are reported as such.
func TestBindIDMapped(t *testing.T) {
	const first, size = 700000, 1000
	var users *os.File
	var err error
	// It executes this program, whose interpreter is in the host's root if it looks for races.
	if !inOwnRoot(t, func() { users, err = UserNamespace(first, size) }) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer users.Close()
	dir := "/idmap"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	source, target, ram := filepath.Join(dir, "source"), filepath.Join(dir, "target"), filepath.Join(dir, "ram")
	for _, m := range []struct{ path, fstype string }{{source, "tmpfs"}, {filepath.Join(source, "below"), "tmpfs"}, {ram, "ramfs"}, {target, ""}} {
		if err := os.Mkdir(m.path, 0o755); err != nil {
			t.Fatal(err)
		}
		if m.fstype == "" {
			continue
		}
		if err := Mount(m.fstype, m.path, m.fstype, nil); err != nil {
			t.Fatal(err)
		}
	}
	for path, uid := range map[string]int{"root": 0, "user": 5, "other": size, "below/root": 0} {
		path = filepath.Join(source, path)
		if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Chown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := CheckIDMap(source, users); err != nil {
		t.Error(err)
	}
	if err := BindIDMapped(source, target, users); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	for path, want := range map[string]uint32{"root": first, "user": first + 5, "other": nobody, "below/root": 0} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(target, path), &st); err != nil || st.Uid != want || st.Gid != want {
			t.Errorf("%s belongs to %d:%d, want %d (%v)", path, st.Uid, st.Gid, want, err)
		}
	}
	var st unix.Stat_t
	if err := os.Chown(filepath.Join(target, "root"), first+7, first+8); err != nil {
		t.Error(err)
	}
	if err := unix.Stat(filepath.Join(source, "root"), &st); err != nil || st.Uid != 7 || st.Gid != 8 {
		t.Errorf("on the file system it belongs to %d:%d (%v)", st.Uid, st.Gid, err)
	}
	if err := BindIDMapped(ram, target, users); !errors.Is(err, ErrNoIDMap) || !strings.Contains(err.Error(), ram) {
		t.Errorf("ramfs: %v", err)
	}
	if err := CheckIDMap(filepath.Join(dir, "none"), users); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a source that does not exist: %v", err)
	}
}

// A namespace with IDs that the system does not have is refused, with the reason.
func TestUserNamespaceRefused(t *testing.T) {
	tier.Root(t)
	if f, err := UserNamespace(1<<32-2, 10); err == nil || f != nil || !strings.Contains(err.Error(), "cannot make a user namespace with the IDs from 4294967294 to 4294967303: ") {
		t.Errorf("%v, %v", f, err)
	}
}
