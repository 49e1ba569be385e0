package prepare

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/bundle"
	"keelson/testvm/nstest"
)

const firstID = 700000

// ownUsers returns a bundle with a user namespace, on a file system of a type.
func ownUsers(t *testing.T, fstype string) *bundle.Bundle {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "b")
	if err := errors.Join(os.Mkdir(dir, 0o755), mounts.Mount(fstype, dir, fstype, []string{"mode=755"})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mounts.Unmount(dir, unix.MNT_DETACH) })
	b := &bundle.Bundle{
		Dir: dir, Name: "b", Settings: bundle.Defaults(), FirstID: firstID,
		Spec: &specs.Spec{Root: &specs.Root{Path: "rootfs", Readonly: true}},
		Runtime: bundle.Runtime{
			Mounts: []bundle.Mount{
				{Destination: filepath.Join(dir, "rootfs"), Source: filepath.Join(dir, "rootfs"), Options: []string{"bind"}},
				{Destination: "new/mount", Type: "tmpfs", Source: "tmpfs"},
			},
			Mkdir: []string{"new/folder"},
		},
	}
	b.Settings.Userns = bundle.UsernsAuto
	if err := os.MkdirAll(filepath.Join(dir, "rootfs/etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rootfs/etc/file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	return b
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid
}

// Folders and mount points that a bundle asks for are made, whether the root is ID-mapped or
// not. A preparation that was interrupted is completed by the next one, which mounts nothing
// twice. Release removes all.
func TestOwnUsers(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, fstype := range []string{"tmpfs", "ramfs"} {
			b := ownUsers(t, fstype)
			root := b.Rootfs()
			before := countMounts(t, b.Dir)
			if _, err := Prepare(b); err != nil {
				t.Fatal(err)
			}
			mounted := countMounts(t, b.Dir)
			for _, path := range []string{"", "etc", "etc/file", "new/folder"} {
				if uid := owner(t, filepath.Join(root, path)); uid != firstID {
					t.Errorf("%s: %q belongs to %d", fstype, path, uid)
				}
			}
			if fstype == "ramfs" {
				for _, path := range []string{"", "etc/file"} {
					if err := os.Chown(filepath.Join(root, path), 0, 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			if _, err := Prepare(b); err != nil {
				t.Fatal(err)
			}
			if now := countMounts(t, b.Dir); now != mounted {
				t.Errorf("%s: %d mounts, then %d", fstype, mounted, now)
			}
			if uid := owner(t, filepath.Join(root, "etc/file")); uid != firstID {
				t.Errorf("%s: after an interruption the file belongs to %d", fstype, uid)
			}
			if err := Release(b); err != nil {
				t.Error(err)
			}
			if now := countMounts(t, b.Dir); now != before {
				t.Errorf("%s: %d mounts are left, %d before", fstype, now, before)
			}
			if n := countMounts(t, usersDir(b)); n != 0 {
				t.Errorf("%s: %d layers are left", fstype, n)
			}
			if uid := owner(t, filepath.Join(root, "etc/file")); uid != 0 {
				t.Errorf("%s: the file of the image belongs to %d", fstype, uid)
			}
		}
	})
}

// The files below the overlay of a writable root are given away, also when an attempt to
// ID-map the layer has left an upper layer of its owner. The overlay may cover its own lower
// layer, as that of a version does, whose mounts propagate.
func TestOwnUsersOverlay(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, tt := range []struct{ fstype, lower string }{{"tmpfs", "lower"}, {"ramfs", "lower"}, {"tmpfs", "rootfs"}, {"ramfs", "rootfs"}} {
			fstype, b := tt.fstype, ownUsers(t, tt.fstype)
			in := func(path string) string { return filepath.Join(b.Dir, path) }
			b.Spec.Root.Readonly = false
			b.Runtime.Mounts = []bundle.Mount{
				{Destination: in("tmp"), Type: "tmpfs", Source: "tmpfs"},
				{Destination: in("rootfs"), Type: "overlay", Source: "overlay", Options: []string{
					"lowerdir=" + in(tt.lower), "upperdir=" + in("tmp/upper"), "workdir=" + in("tmp/work")}},
			}
			if tt.lower != "rootfs" {
				if err := os.Rename(in("rootfs"), in(tt.lower)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(mounts.Mount("", b.Dir, "", []string{"shared"}), os.Mkdir(in("tmp"), 0o755), mounts.Mount("tmpfs", in("tmp"), "tmpfs", nil),
				os.Mkdir(in("tmp/upper"), 0o755), os.Chown(in("tmp/upper"), firstID, firstID)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := Prepare(b); err != nil {
					t.Fatal(err)
				}
				for _, path := range []string{"", "etc/file", "new/folder"} {
					if uid := owner(t, filepath.Join(b.Rootfs(), path)); uid != firstID {
						t.Errorf("%s: %q above %s belongs to %d", fstype, path, tt.lower, uid)
					}
				}
				if top := topMount(b.Rootfs()); top.FSType != "overlay" {
					t.Errorf("%s: the root above %s is on %s", fstype, tt.lower, top.FSType)
				}
			}
			if err := Release(b); err != nil {
				t.Error(err)
			}
		}
	})
}

// A preparation that fails leaves no mounts.
func TestOwnUsersFail(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, fstype := range []string{"tmpfs", "ramfs"} {
			b := ownUsers(t, fstype)
			b.Runtime.Mounts = append(b.Runtime.Mounts, bundle.Mount{Destination: "/run/x", Type: "nosuchfs"})
			before := countMounts(t, "/")
			if _, err := Prepare(b); err == nil || !strings.Contains(err.Error(), "nosuchfs") {
				t.Error(err)
			}
			if now := countMounts(t, "/"); now != before {
				t.Errorf("%s: %d mounts are left, %d before", fstype, now, before)
			}
			b.FirstID = 0
			if _, err := Prepare(b); err == nil {
				t.Errorf("%s: prepared without IDs", fstype)
			}
		}
	})
}

// A file that gets another owner keeps its set-user-ID bit and its capabilities, as those of
// the user namespace. IDs that the container does not have stay.
func TestGive(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		u := usersRoot{bundle: ownUsers(t, "tmpfs")}
		path := filepath.Join(u.bundle.Dir, "file")
		if err := errors.Join(os.WriteFile(path, nil, 0o755), os.Chown(path, 5, 70000), unix.Chmod(path, 0o6755)); err != nil {
			t.Fatal(err)
		}
		// cap_net_raw=ep, as setcap(8) writes it.
		v2 := []byte{1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		if err := unix.Setxattr(path, "security.capability", v2, 0); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := u.give(path); err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil || st.Uid != firstID+5 || st.Gid != 70000 || st.Mode&0o7777 != 0o6755 {
				t.Errorf("%d:%d, mode %o (%v)", st.Uid, st.Gid, st.Mode, err)
			}
			caps := make([]byte, 100)
			n, err := unix.Getxattr(path, "security.capability", caps)
			want := append([]byte{1, 0, 0, 3, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0x60, 0xae, 0x0a, 0x00)
			if err != nil || !bytes.Equal(caps[:n], want) {
				t.Errorf("capabilities % x, want % x (%v)", caps[:max(n, 0)], want, err)
			}
		}
	})
}

func TestEscapeLayer(t *testing.T) {
	if got := escapeLayer(`/a:b,c\d`); got != `/a\:b\,c\\d` {
		t.Error(got)
	}
}
