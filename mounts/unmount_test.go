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

// A file system whose last file is closed a moment later counts as unmounted, not as busy.
func TestUnmountWaits(t *testing.T) {
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
		busy, err := UnmountPlanned([]Mounted{{Target: "/held"}})
		if (len(busy) > 0) != late || errors.Is(err, unix.EBUSY) != late {
			t.Errorf("file closed after %v: %v, %v", limit, busy, err)
		}
	}
}

func TestUnmountPlanned(t *testing.T) {
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
	busy, _ := UnmountPlanned(UnmountPlan(infos)) // UnmountAll would stop devices of the host.
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

// A disk that is not mounted any more, but on which a file is still open for writing, is
// found through the kernel's block devices. Its file system is frozen and so clean.
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

// attachLoop attaches a file to a loop device, which is detached with its last user.
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
		t.Errorf("%+v is not a loop device", d)
	}
	return d
}
