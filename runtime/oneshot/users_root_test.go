package oneshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/bundle"
	"keelson/runtime/idrange"
	"keelson/testvm/nstest"
)

// Roots of containers, on the file system that holds the bundle.
const (
	readonlyRoot = boundRoot
	overlayRoot  = `{"mounts":[
		{"destination":"DIR/tmp","type":"tmpfs","source":"tmpfs"},
		{"destination":"DIR/tmp","options":["remount","private"]},
		{"destination":"DIR/rootfs","type":"overlay","source":"overlay","options":["lowerdir=DIR/lower,upperdir=DIR/tmp/upper,workdir=DIR/tmp/work"]}],
		"mkdir":["etc/made"]}`
)

// inside reports what a container sees of its users and of the files of its root: those of
// the image keep their owners, set-user-ID bits and contents. It opens its standard output
// by name.
const inside = `set -e
echo map $(busybox cat /proc/self/uid_map) $(busybox cat /proc/self/gid_map)
busybox stat -c '%n %u:%g %a' / /bin /bin/busybox /bin/owned /bin/suid
busybox test "$(busybox cat /bin/owned)" = content
! busybox test -e /etc/made || busybox stat -c '%n %u:%g' /etc/made
busybox stat -c '%n %u:%g' /dev/null /tmp
busybox test -d /sys/class/net/lo
busybox grep -q ' /dev/pts .*gid=' /proc/self/mounts
! (echo 1 >/sys/fs/cgroup/cgroup.procs) 2>/dev/null
echo by name >/dev/stdout
`

// usersBundle writes a bundle with keelson.userns on a new file system of a type.
func usersBundle(t *testing.T, fstype, name, script, runtime string, edit func(string) string) *bundle.Bundle {
	t.Helper()
	top := t.TempDir()
	for dir := top; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := mounts.Mount(fstype, top, fstype, []string{"mode=755"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mounts.Unmount(top, unix.MNT_DETACH) })
	dir := filepath.Join(top, name)
	nstest.Bundle(t, dir, script, map[string]string{"keelson.userns": "auto"}, strings.ReplaceAll(runtime, "DIR", dir))
	rootfs := filepath.Join(dir, "rootfs")
	for file, owner := range map[string]int{"owned": 33, "suid": 0} {
		path := filepath.Join(rootfs, "bin", file)
		if err := os.WriteFile(path, []byte("content"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, owner, owner+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Chmod(filepath.Join(rootfs, "bin/suid"), 0o4755); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(runtime, "lowerdir=") {
		if err := os.Rename(rootfs, filepath.Join(dir, "lower")); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, bundle.ConfigFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(edit(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readonly(text string) string {
	return strings.Replace(machineNetwork(text), `"root":{`, `"root":{"readonly":true,`, 1)
}

// machineNetwork gives a container the network of the machine, and the mounts that LinuxKit
// gives to every container.
func machineNetwork(text string) string {
	return strings.NewReplacer(`{"type":"network"},`, "", `"mounts":[`, `"mounts":[
		{"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev"]},
		{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","noexec","nodev","relatime","ro"]},`, `"mode=755"]}`, `"mode=755"]},
		{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620","gid=5"]}`).Replace(text)
}

// A container with keelson.userns sees its files as in the image, on file systems that the
// kernel can ID-map and on others (ramfs, as an initramfs), with the network of the machine.
func TestOwnUsers(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, fstype := range []string{"tmpfs", "ramfs"} {
			for i, tt := range []struct {
				runtime string
				edit    func(string) string
				made    string
			}{{readonlyRoot, readonly, ""}, {overlayRoot, machineNetwork, "/etc/made 0:0\n"}} {
				name := fmt.Sprintf("%03d-%s", i, fstype)
				b := usersBundle(t, fstype, name, inside, tt.runtime, tt.edit)
				before := mountTable(t)
				for range 2 {
					r := Run(t.Context(), b, options(t))
					first := idrange.OneShot(name)
					want := fmt.Sprintf("map 0 %[1]d 65536 0 %[1]d 65536\n/ 0:0 755\n/bin 0:0 755\n/bin/busybox 0:0 755\n/bin/owned 33:34 755\n/bin/suid 0:1 4755\n%[2]s/dev/null 65534:65534\n/tmp 0:0\nby name\n", first, tt.made)
					if got := string(r.Output()); r.String() != "exited 0" || got != want {
						t.Errorf("%s: %v, output\n%swant\n%s", name, r, got, want)
					}
				}
				if after := mountTable(t); after != before {
					t.Errorf("%s: mounts are left:\n%s\nbefore:\n%s", name, after, before)
				}
			}
		}
	})
}

func mountTable(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Files that a container writes to a bind with the option idmap belong to its own IDs, those
// on another bind to its range. A bind whose file system cannot be ID-mapped is refused.
func TestIDMappedBind(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		binds := func(text string) string {
			return strings.Replace(readonly(text), `"mounts":[`, `"mounts":[
				{"destination":"/run","type":"bind","source":"data","options":["rbind","rw","idmap"]},
				{"destination":"/tmp","type":"bind","source":"plain","options":["rbind","rw"]},`, 1)
		}
		const script = "echo of root >/run/root; busybox touch /run/user /tmp/file; busybox chown 33:34 /run/user"
		for fstype, refused := range map[string]bool{"tmpfs": false, "ramfs": true} {
			name := "000-" + fstype
			b := usersBundle(t, fstype, name, script, readonlyRoot, binds)
			for folder, mode := range map[string]os.FileMode{"data": 0o700, "plain": 0o777} {
				dir := filepath.Join(b.Dir, folder)
				if err := errors.Join(os.Mkdir(dir, mode), os.Chmod(dir, mode)); err != nil {
					t.Fatal(err)
				}
			}
			r := Run(t.Context(), b, options(t))
			if refused {
				for _, want := range []string{"mounts: /run: option idmap: ", filepath.Join(b.Dir, "data") + " is on ramfs, kernel ", fmt.Sprint(idrange.OneShot(name))} {
					if !strings.Contains(r.Err, want) {
						t.Errorf("%q lacks %q", r.Err, want)
					}
				}
				continue
			}
			if r.String() != "exited 0" {
				t.Fatalf("%v: %s", r, r.Output())
			}
			for file, want := range map[string]uint32{"data/root": 0, "data/user": 33, "plain/file": idrange.OneShot(name)} {
				var st unix.Stat_t
				if err := unix.Stat(filepath.Join(b.Dir, file), &st); err != nil || st.Uid != want {
					t.Errorf("%s belongs to %d, want %d (%v)", file, st.Uid, want, err)
				}
			}
		}
	})
}

// A writable root that the kernel can neither ID-map nor cover is refused: what the container
// writes would be lost.
func TestOwnUsersRefused(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		r := Run(t.Context(), usersBundle(t, "ramfs", "000-c", "exit 0", "", machineNetwork), options(t))
		for _, want := range []string{"000-c", "root.readonly: false: ", "is on ramfs, kernel "} {
			if !strings.Contains(r.Err, want) {
				t.Errorf("%q lacks %q", r.Err, want)
			}
		}
	})
}
