package pid1

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"keelson/mounts"
	"keelson/runtime/userspace"
)

func TestInsideTable(t *testing.T) {
	before := []*mountinfo.Info{{Mountpoint: "/proc", FSType: "proc"}, {Mountpoint: "/var", FSType: "ext4"}}
	targets := map[string]string{}
	for _, item := range insideTable(append(mounts.Essential(), mounts.Core()...), before) {
		if m, ok := item.Thing.(mounts.FS); ok {
			targets[m.Target] = m.Type
		} else if !item.Optional {
			t.Errorf("%s must be there", item.Thing)
		}
		if n, ok := item.Thing.(mounts.Node); ok && (n.Major > 5 || n.Path == "/dev/kmsg" || n.Path == "/dev/console" || n.Path == "/dev/tty1") {
			t.Errorf("%s is the outer system's", n)
		}
	}
	for target, want := range map[string]string{"/run": "tmpfs", "/tmp": "tmpfs", "/dev": "tmpfs", "/sys": "sysfs", "/dev/pts": "devpts",
		"/proc": "", "/var": "", "/sys/kernel/debug": "", "/sys/fs/bpf": "", "/proc/sys/fs/binfmt_misc": ""} {
		if targets[target] != want {
			t.Errorf("%s: %q, want %q", target, targets[target], want)
		}
	}
}

func TestOwnMounts(t *testing.T) {
	info := func(id int, place string) *mountinfo.Info { return &mountinfo.Info{ID: id, Mountpoint: place} }
	before := []*mountinfo.Info{info(1, "/"), info(2, "/proc"), info(3, "/data")}
	now := append(slices.Clone(before[:2]), info(3, "/other"), info(4, "/run"), info(5, "/run/x"), info(6, "/data"), info(7, "/"))
	if got, want := ownMounts(before, now), []mounts.Step{{Target: "/data"}, {Target: "/run/x"}, {Target: "/run"}, {Target: "/other"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestDescendants(t *testing.T) {
	got := descendants(map[int]int{1: 0, 5: 1, 6: 5, 7: 6, 8: 1, 9: 9, 10: 11, 11: 10}, 5)
	slices.Sort(got)
	if !reflect.DeepEqual(got, []int{6, 7}) {
		t.Errorf("%v", got)
	}
	parents, err := processes()
	if err != nil || parents[os.Getpid()] != os.Getppid() {
		t.Errorf("our parent is %d, %v", parents[os.Getpid()], err)
	}
}

func TestAnnounce(t *testing.T) {
	for value, p := range map[string]place{"": {machine: true}, "none": {}, "mnt,uts": {own: []string{"mnt", "uts"}}} {
		t.Setenv(userspace.Variable, "x")
		p.announce()
		if got := os.Getenv(userspace.Variable); got != value {
			t.Errorf("%+v: %q", p, got)
		}
		if told := slices.ContainsFunc(environ(), func(s string) bool { return strings.HasPrefix(s, userspace.Variable) }); told == p.machine {
			t.Errorf("children are told: %v", told)
		}
		if own := userspace.Owns(userspace.UTS); own != (value != "none") {
			t.Errorf("%q: the host name is ours: %v", value, own)
		}
	}
}
