package environment

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/testvm/nstest"
)

func TestMissing(t *testing.T) {
	before := []Mount{{Point: "/proc"}, {Point: "/var"}}
	targets := map[string]string{}
	for _, item := range missing(append(mounts.Essential(), mounts.Core()...), before) {
		if m, ok := item.Thing.(mounts.FS); ok {
			targets[m.Target] = m.Type
		} else if !item.Optional {
			t.Errorf("%s is not optional", item.Thing)
		}
		if n, ok := item.Thing.(mounts.Node); ok && (n.Major > 5 || n.Path == "/dev/kmsg" || n.Path == "/dev/console" || n.Path == "/dev/tty1") {
			t.Errorf("%s belongs to the outer system", n)
		}
	}
	for target, want := range map[string]string{"/run": "tmpfs", "/tmp": "tmpfs", "/dev": "tmpfs", "/sys": "sysfs", "/dev/pts": "devpts",
		"/proc": "", "/var": "", "/sys/kernel/debug": "", "/sys/fs/bpf": "", "/proc/sys/fs/binfmt_misc": ""} {
		if targets[target] != want {
			t.Errorf("%s: %q, want %q", target, targets[target], want)
		}
	}
}

func TestAdded(t *testing.T) {
	info := func(id int, point string) *mountinfo.Info { return &mountinfo.Info{ID: id, Mountpoint: point} }
	before := []Mount{{1, "/"}, {2, "/proc"}, {3, "/data"}}
	now := []*mountinfo.Info{info(1, "/"), info(2, "/proc"), info(3, "/other"), info(4, "/run"), info(5, "/run/x"), info(6, "/data"), info(7, "/")}
	if got, want := added(before, now), []mounts.Mounted{{Target: "/data"}, {Target: "/run/x"}, {Target: "/run"}, {Target: "/other"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestDescendants(t *testing.T) {
	got := descendants(map[int]int{1: 0, 5: 1, 6: 5, 7: 6, 8: 1, 9: 9, 10: 11, 11: 10}, 5)
	slices.Sort(got)
	if !reflect.DeepEqual(got, []int{6, 7}) {
		t.Errorf("%v", got)
	}
	parents, err := Parents()
	if err != nil || parents[os.Getpid()] != os.Getppid() {
		t.Errorf("the parent of the test is %d, %v; want %d", parents[os.Getpid()], err, os.Getppid())
	}
}

// Mounts from before stay, in whatever order the others were mounted.
func TestUnmount(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := t.TempDir()
		mount := func(name string) {
			must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
			must(t, unix.Mount("tmpfs", filepath.Join(dir, name), "tmpfs", 0, ""))
		}
		mount("old")
		before, err := mountinfo.GetMounts(nil)
		must(t, err)
		var env Environment
		for _, m := range before {
			env.Before = append(env.Before, Mount{m.ID, m.Mountpoint})
		}
		for _, name := range []string{"a", "a/b", "old/c", "a/b", "d"} {
			mount(name)
		}
		must(t, unix.Mount(filepath.Join(dir, "d"), filepath.Join(dir, "a/b"), "", unix.MS_BIND, ""))
		if err := env.Unmount(); err != nil {
			t.Error(err)
		}
		after, err := mountinfo.GetMounts(nil)
		if err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("mounts before %v and after %v, %v", len(before), len(after), err)
		}
		must(t, unix.Unmount(filepath.Join(dir, "old"), 0))
	})
}

// Nothing is unmounted if the mounts of the outer system are unknown.
func TestUnmountUnknown(t *testing.T) {
	if err := (Environment{BeforeUnknown: true}).Unmount(); err == nil {
		t.Error("Unmount returns no error")
	}
}

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
