package mounts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

// inOwnRoot runs the test again in a process with its own mount namespace whose root is an
// empty tmpfs, so that the test cannot reach the host's files. Before that, the process
// calls first. It reports whether this is that process.
func inOwnRoot(t *testing.T, first ...func()) bool {
	t.Helper()
	const mark, place = "KEELSON_TEST_OWN_ROOT", "KEELSON_TEST_OWN_ROOT_DIR"
	if os.Getenv(mark) == t.Name() {
		for _, f := range first {
			f()
		}
		enterEmptyRoot(t, os.Getenv(place))
		return true
	}
	tier.Root(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"="+t.Name(), place+"="+t.TempDir()) // This process removes it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in its own root: %v\n%s", err, out)
	}
	return false
}

// enterEmptyRoot makes an empty root on dir.
func enterEmptyRoot(t *testing.T, dir string) {
	t.Helper()
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
		t.Errorf("/var/run points to %q", to)
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
		t.Errorf("the missing mount point is not reported: %v", err)
	}
	if len(at(t, "/run")) != 1 {
		t.Error("/run is not mounted")
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
			t.Errorf("the bad volume is not reported: %v", err)
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

// Uncovered shows files below mounts to the calling thread only.
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
		t.Error("RootIsInitramfs returns true on a tmpfs")
	}
}
