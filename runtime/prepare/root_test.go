package prepare

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/testvm/nstest"
)

func countMounts(t *testing.T, below string) int {
	t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(below))
	if err != nil {
		t.Fatal(err)
	}
	return len(infos)
}

func writable(dir string) *bundle.Bundle {
	in := func(p string) string { return filepath.Join(dir, p) }
	return &bundle.Bundle{Dir: dir, Name: "w", Runtime: bundle.Runtime{
		Cgroups: []string{"limits", "limits/w"},
		Mounts: []bundle.Mount{
			{Destination: in("tmp"), Type: "tmpfs", Source: "tmpfs"},
			{Destination: in("tmp"), Options: []string{"remount", "private"}},
			{Destination: in("rootfs"), Type: "overlay", Source: "overlay", Options: []string{
				"lowerdir=" + in("lower"), "upperdir=" + in("tmp/upper"), "workdir=" + in("tmp/work")}},
			{Destination: "etc/given", Source: in("given"), Options: []string{"bind"}},
			{Destination: "/run/outside", Type: "tmpfs", Source: "tmpfs"},
		},
		Mkdir: []string{"/run/outside/made", "etc/made", "var/run/made"},
	}}
}

func TestPrepareWritable(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := t.TempDir()
		b := writable(dir)
		for _, d := range []string{"lower/etc", "lower/run", "lower/var"} {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		// The overlay's root has the owner of its lower directory.
		if err := os.Chown(filepath.Join(dir, "lower"), 100000, 100001); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, "lower"), os.ModeSticky|0o770); err != nil {
			t.Fatal(err)
		}
		// A link that points out of the root filesystem.
		if err := os.Symlink("/run", filepath.Join(dir, "lower/var/run")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "given"), []byte("given"), 0o644); err != nil {
			t.Fatal(err)
		}
		for round := range 2 {
			release, err := Prepare(b)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"rootfs/etc/made", "rootfs/run/made", "/run/outside/made", "/sys/fs/cgroup/limits/w"} {
				if !filepath.IsAbs(path) {
					path = filepath.Join(dir, path)
				}
				if info, err := os.Stat(path); err != nil || !info.IsDir() {
					t.Errorf("%s: %v", path, err)
				}
			}
			var st unix.Stat_t
			if err := unix.Stat(b.Rootfs(), &st); err != nil || st.Uid != 100000 || st.Gid != 100001 || st.Mode&0o7777 != 0o1770 {
				t.Errorf("root: owner %d:%d, mode %#o, %v", st.Uid, st.Gid, st.Mode, err)
			}
			if data, err := os.ReadFile(filepath.Join(dir, "rootfs/etc/given")); err != nil || string(data) != "given" {
				t.Errorf("bound file holds %q, %v", data, err)
			}
			before := countMounts(t, "/")
			if _, err := Prepare(b); err != nil || countMounts(t, "/") != before {
				t.Errorf("round %d: a second Prepare mounted more, error %v", round, err)
			}
			if round == 1 { // as the next supervisor does
				release = func() error { return Release(b) }
			}
			if err := release(); err != nil {
				t.Error(err)
			}
			if err := release(); err != nil {
				t.Errorf("second release: %v", err)
			}
			if n := countMounts(t, dir); n != 0 {
				t.Errorf("%d mounts left in the bundle", n)
			}
			if countMounts(t, "/run/outside") != 1 {
				t.Error("the mount outside of the bundle was unmounted")
			}
		}
	})
}

// A recursive bind of the machine's root is unmounted, and the mounts of the machine stay.
func TestReleaseOfRecursiveBind(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := t.TempDir()
		b := &bundle.Bundle{Dir: dir, Name: "x", Runtime: bundle.Runtime{Mounts: []bundle.Mount{
			{Destination: filepath.Join(dir, "rootfs"), Type: "tmpfs", Source: "tmpfs"},
			{Destination: "host", Source: "/", Options: []string{"rbind", "rw"}},
		}}}
		before := countMounts(t, "/")
		release, err := Prepare(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(b.Rootfs(), "host/proc/self")); err != nil {
			t.Error(err)
		}
		if err := release(); err != nil {
			t.Error(err)
		}
		if after := countMounts(t, "/"); after != before || countMounts(t, "/run") != 1 {
			t.Errorf("%d mounts before, %d after", before, after)
		}
	})
}

func TestPrepareRollsBack(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		b := writable(t.TempDir()) // no lower: the overlay fails
		before := countMounts(t, "/")
		_, err := Prepare(b)
		if err == nil || !strings.Contains(err.Error(), "overlay") {
			t.Errorf("error %v, want one about the overlay", err)
		}
		if n := countMounts(t, "/"); n != before {
			t.Errorf("%d mounts, %d before", n, before)
		}
	})
}

func TestReadOnlyRootIsBound(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := t.TempDir()
		rootfs := filepath.Join(dir, "rootfs")
		if err := os.Mkdir(rootfs, 0o755); err != nil {
			t.Fatal(err)
		}
		b := &bundle.Bundle{Dir: dir, Name: "r", Runtime: bundle.Runtime{Mounts: []bundle.Mount{
			{Destination: rootfs, Source: rootfs, Options: []string{"bind"}}}}}
		for range 2 {
			release, err := Prepare(b)
			if err != nil || countMounts(t, rootfs) != 1 {
				t.Fatalf("%d mounts, error %v; want one", countMounts(t, rootfs), err)
			}
			defer func() { _ = release() }()
		}
	})
}

func TestAfterCreate(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		b := &bundle.Bundle{Name: "n", Runtime: bundle.Runtime{
			Interfaces: []bundle.Interface{{Name: "inner0", Add: "veth", Peer: "outer0"}},
			BindNS:     bundle.Namespaces{Net: "/run/netns/inner", Uts: "/run/ns/uts", Ipc: "/run/ns/ipc", Mnt: "/run/ns/mnt"},
		}}
		if err := AfterCreate(b, cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat("/sys/class/net/outer0"); err != nil {
			t.Errorf("the peer of the veth device is not in the host's namespace: %v", err)
		}
		want, err := os.Stat("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.Stat("/run/netns/inner"); err != nil || !os.SameFile(got, want) {
			t.Errorf("namespace is not bound: %v", err)
		}
		b.Runtime.Interfaces = nil
		if err := AfterCreate(b, cmd.Process.Pid); err != nil || countMounts(t, "/run/netns/inner") != 1 {
			t.Errorf("second run: %v, %d mounts", err, countMounts(t, "/run/netns/inner"))
		}
	})
}
