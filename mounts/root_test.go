package mounts

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

// inOwnRoot runs the test again in a process with its own mount namespace whose root is an
// empty tmpfs, so that the test cannot reach the host's files.
// It reports whether this is that process.
func inOwnRoot(t *testing.T) bool {
	t.Helper()
	const mark = "KEELSON_TEST_OWN_ROOT"
	if os.Getenv(mark) == t.Name() {
		enterEmptyRoot(t)
		return true
	}
	tier.Root(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in its own root: %v\n%s", err, out)
	}
	return false
}

func enterEmptyRoot(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	must(t, os.Chdir(dir))
	must(t, unix.PivotRoot(".", "."))
	must(t, unix.Unmount(".", unix.MNT_DETACH))
	must(t, os.Chdir("/"))
	must(t, os.Mkdir("/tmp", 0o777)) // t.TempDir's clean-up looks for it.
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func at(t *testing.T, target string) []*mountinfo.Info {
	t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(target))
	must(t, err)
	return infos
}

func TestCoreTableOnAnEmptyRoot(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	must(t, Apply(Essential()))
	must(t, Apply(Core()))
	must(t, SealRoot())
	before, err := mountinfo.GetMounts(nil)
	must(t, err)
	for _, m := range []struct{ path, fstype, opts string }{
		{"/proc", "proc", "nosuid,nodev,noexec,relatime"},
		{"/run", "tmpfs", "nosuid,nodev,noexec,relatime"},
		{"/var", "tmpfs", "nosuid,nodev,noexec,relatime"},
		{"/dev", "devtmpfs", "nosuid,noexec,relatime"},
		{"/dev/shm", "tmpfs", "nosuid,nodev,noexec"},
		{"/dev/pts", "devpts", "nosuid,noexec"},
		{"/sys", "sysfs", "nosuid,nodev,noexec"},
	} {
		infos := at(t, m.path)
		if len(infos) != 1 || infos[0].FSType != m.fstype || !strings.Contains(infos[0].Options, m.opts) {
			t.Errorf("%s: %+v", m.path, infos)
		}
	}
	for path, mode := range map[string]os.FileMode{
		"/var/tmp": os.ModeDir | sticky, "/tmp": os.ModeDir | sticky, "/var/empty": os.ModeDir | 0o555, "/var/log": os.ModeDir | 0o755, "/run": os.ModeDir | 0o755,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, want %v (%v)", path, info.Mode(), mode, err)
		}
	}
	if to, _ := os.Readlink("/var/run"); to != "/run" {
		t.Errorf("/var/run leads to %q", to)
	}
	if err := os.WriteFile("/x", nil, 0o600); err == nil {
		t.Error("the root can be written to")
	}
	if root := at(t, "/"); !strings.Contains(root[len(root)-1].Optional, "shared:") {
		t.Errorf("the root is not shared: %+v", root[0])
	}
	must(t, Apply(concat(Essential(), Core())))
	after, err := mountinfo.GetMounts(nil)
	must(t, err)
	if len(after) != len(before) {
		t.Errorf("a second run mounts again: %d mounts, then %d", len(before), len(after))
	}
}

func TestReadOnlyRootWithoutMountPoints(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	must(t, Apply(Essential()))
	must(t, os.Mkdir("/run", 0o755))
	must(t, SealRoot())
	err := Apply(writable())
	if err == nil || !strings.Contains(err.Error(), "/var") {
		t.Errorf("no word of the missing mount point: %v", err)
	}
	if len(at(t, "/run")) != 1 {
		t.Error("what could be mounted was not")
	}
}

func TestBindKeepsFlags(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	must(t, Apply(Essential()))
	must(t, FS{"t", "/a", "tmpfs", "nosuid,nodev"}.Make())
	must(t, FS{"/a", "/b", "", "bind,ro,noexec"}.Make())
	if got := at(t, "/b")[0].Options; !strings.HasPrefix(got, "ro,nosuid,nodev,noexec") {
		t.Errorf("bind has %s", got)
	}
	if got := at(t, "/a")[0].Options; !strings.HasPrefix(got, "rw,nosuid,nodev,") {
		t.Errorf("its source has %s", got)
	}
	must(t, Mount("", "/b", "", []string{"remount", "bind", "rw"}))
	if got := at(t, "/b")[0].Options; !strings.HasPrefix(got, "rw,nosuid,nodev,noexec") {
		t.Errorf("after remount,rw it has %s", got)
	}
	must(t, Mount("", "/a", "", []string{"shared"}))
	must(t, Mount("", "/a", "", []string{"remount", "private"}))
	if got := at(t, "/a")[0]; got.Optional != "" || !strings.HasPrefix(got.Options, "rw,nosuid,nodev,") {
		t.Errorf("after remount,private: %+v", got)
	}
}

func TestVolumes(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	must(t, Apply(Essential()))
	for _, dir := range []string{"rw/lower", "rw/merged", "rw/tmp", "ro/lower", "ro/merged", "bad/merged"} {
		must(t, os.MkdirAll(filepath.Join("/v", dir), 0o755))
	}
	must(t, os.WriteFile("/v/rw/lower/f", []byte("x"), 0o600))
	for range 2 {
		names, err := Volumes("/v")
		if err == nil || !strings.Contains(err.Error(), "volume bad") {
			t.Errorf("no word of the bad volume: %v", err)
		}
		if strings.Join(names, " ") != "ro rw" {
			t.Errorf("mounted %v", names)
		}
	}
	must(t, os.WriteFile("/v/rw/merged/g", nil, 0o600))
	if _, err := os.Stat("/v/rw/merged/f"); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile("/v/ro/merged/g", nil, 0o600); err == nil {
		t.Error("the read-only volume can be written to")
	}
	if names, err := Volumes("/none"); names != nil || err != nil {
		t.Errorf("no volumes: %v, %v", names, err)
	}
}

// What is let go of a moment later was not busy.
func TestUnmountIsPatient(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	for _, late := range []bool{false, true} {
		must(t, os.MkdirAll("/held", 0o755))
		must(t, FS{"t", "/held", "tmpfs", ""}.Make())
		hold, err := os.Open("/held")
		must(t, err)
		limit := 50 * time.Millisecond
		if late {
			limit = 3 * time.Second
		}
		time.AfterFunc(limit, func() { _ = hold.Close() })
		busy, err := UnmountSteps([]Step{{Target: "/held"}})
		if (len(busy) > 0) != late || errors.Is(err, unix.EBUSY) != late {
			t.Errorf("let go of after %v: %v, %v", limit, busy, err)
		}
	}
}

func TestUnmountSteps(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	must(t, Apply(Essential()))
	for _, dir := range []string{"/o/l", "/o/u", "/o/w", "/o/m m", "/busy"} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	overlay := FS{"overlay", "/o/m m", "overlay", "lowerdir=/o/l,upperdir=/o/u,workdir=/o/w"}
	must(t, overlay.Make())
	must(t, FS{"t", "/o/m m/deep", "tmpfs", ""}.Make())
	must(t, FS{"t", "/o/m m/deep", "tmpfs", ""}.Make())
	must(t, os.MkdirAll("/o/u2", 0o755))
	must(t, os.MkdirAll("/o/w2", 0o755))
	must(t, FS{"overlay", "/busy", "overlay", "lowerdir=/o/l,upperdir=/o/u2,workdir=/o/w2"}.Make())
	hold, err := os.Open("/busy")
	must(t, err)
	defer hold.Close()
	must(t, os.WriteFile("/busy/y", nil, 0o600))
	infos, err := mountinfo.GetMounts(nil)
	must(t, err)
	busy, _ := UnmountSteps(UnmountPlan(infos)) // UnmountAll would stop devices of the host.
	if err := readOnly(busy); err == nil || !strings.Contains(err.Error(), "/busy") || strings.Contains(err.Error(), "deep") {
		t.Errorf("file systems that stay mounted: %v", err)
	}
	if left := len(at(t, "/o/m m")) + len(at(t, "/o/m m/deep")); left != 0 {
		t.Errorf("%d mounts left", left)
	}
	if err := os.WriteFile("/busy/x", nil, 0o600); err == nil {
		t.Error("the busy file system can still be written to")
	}
}

// A disk whose mount is gone, but not the file that something has open for
// writing, is found by what the kernel says, and its file system frozen: clean.
func TestHeldDisk(t *testing.T) {
	tier.Root(t)
	tier.Tool(t, "mke2fs", "e2fsprogs")
	const mark = "KEELSON_TEST_HELD_DISK"
	image := os.Getenv(mark)
	if image == "" {
		image = filepath.Join(t.TempDir(), "disk")
		out, err := exec.Command("mke2fs", "-q", "-t", "ext4", image, "16M").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestHeldDisk$", "-test.v")
		cmd.Env = append(os.Environ(), mark+"="+image)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	d := attachLoop(t, image)
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("dev", "/dev", "tmpfs", 0, ""))
	must(t, unix.Mknod("/dev/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	place := t.TempDir()
	must(t, withNode(unix.S_IFBLK, d.dev, d.name, func(path string) error { return Mount(path, place, "ext4", nil) }))
	file, err := os.Create(place + "/file")
	must(t, err)
	must(t, unix.Unmount(place, unix.MNT_DETACH))
	if err := withDevice(d, unix.O_EXCL, func(int) error { return nil }); !errors.Is(err, unix.EBUSY) {
		t.Errorf("the device is not in use: %v", err)
	}
	var how string
	must(t, mountAgain(d, func(target string) error {
		how, err = quiesce(target)
		return err
	}))
	head, err := exec.Command("dumpe2fs", "-h", image).CombinedOutput()
	must(t, mountAgain(d, thaw))
	must(t, file.Close())
	if how != "frozen" || err != nil || strings.Contains(string(head), "needs_recovery") {
		t.Errorf("%s, %v:\n%s", how, err, head)
	}
}

func thaw(target string) error {
	fd, err := unix.Open(target, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.IoctlSetInt(fd, 0xc0045878, 0) // FITHAW of linux/fs.h
}

// attachLoop gives a file a loop device, which goes with its last user.
func attachLoop(t *testing.T, image string) blockDevice {
	t.Helper()
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		tier.Skip(t, "needs a loop device: %s", out)
	}
	name := filepath.Base(strings.TrimSpace(string(out)))
	d, err := readBlockDevice(sysBlock, name)
	must(t, err)
	t.Cleanup(func() { _ = stopDevice(d) })
	if d.kind != loopDevice {
		t.Errorf("%+v is no loop device", d)
	}
	return d
}

// What a mount covers is visible to one thread alone.
func TestUncovered(t *testing.T) {
	if !inOwnRoot(t) {
		return
	}
	must(t, Apply(Essential()))
	must(t, os.MkdirAll("/var/lib", 0o755))
	must(t, os.WriteFile("/var/lib/x", nil, 0o600))
	must(t, Apply(Core()))
	must(t, os.Mkdir("/run/view", 0o700))
	must(t, SealRoot())
	for _, writable := range []bool{false, true} {
		calls := 0
		must(t, Uncovered("/run/view", writable, func() {
			calls++
			if _, err := os.Stat("/run/view/var/lib/x"); err != nil {
				t.Error(err)
			}
			err := os.WriteFile("/run/view/var/new", nil, 0o600)
			if writable != (err == nil) {
				t.Errorf("writable: %v, but %v", writable, err)
			}
		}))
		if left, err := os.ReadDir("/run/view"); calls != 1 || err != nil || len(left) > 0 {
			t.Errorf("called %d times; %v, %v is visible to others", calls, left, err)
		}
	}
	if RootIsInitramfs() {
		t.Error("a tmpfs is taken for the initramfs")
	}
}
