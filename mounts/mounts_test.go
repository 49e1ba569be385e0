package mounts

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func TestParseOptions(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want options
	}{
		{"", options{}},
		{"defaults", options{}},
		{"defaults,noauto,nofail,x-systemd.automount", options{}},
		{"ro,nosuid", options{set: unix.MS_RDONLY | unix.MS_NOSUID}},
		{"ro,rw", options{clear: unix.MS_RDONLY}},
		{"rw,ro", options{set: unix.MS_RDONLY}},
		{"noatime,relatime", options{set: unix.MS_RELATIME, clear: unix.MS_NOATIME | unix.MS_STRICTATIME}},
		{"rprivate", options{propagation: []uintptr{unix.MS_PRIVATE | unix.MS_REC}}},
		{"rbind,rslave", options{set: unix.MS_BIND | unix.MS_REC, propagation: []uintptr{unix.MS_SLAVE | unix.MS_REC}}},
		{"size=10%,mode=755", options{data: "size=10%,mode=755"}},
		{"lowerdir=/a:/b,upperdir=/u,workdir=/w", options{data: "lowerdir=/a:/b,upperdir=/u,workdir=/w"}},
	} {
		if got := parseOptions([]string{tc.in}); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%q: %+v, want %+v", tc.in, got, tc.want)
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	f.Add("ro,defaults,rprivate,size=1m")
	f.Add(",,=,noatime,atime")
	f.Fuzz(func(t *testing.T, s string) {
		o := parseOptions([]string{s})
		if o.set&o.clear != 0 {
			t.Fatalf("%q sets and clears %#x", s, o.set&o.clear)
		}
		for w := range strings.SplitSeq(o.data, ",") {
			if _, isFlag := flagOptions[w]; isFlag || fstabWords[w] && w != "" || propagationOptions[w] != 0 {
				t.Fatalf("%q passes %q to the file system", s, w)
			}
		}
	})
}

func TestCalls(t *testing.T) {
	const bind, remount = unix.MS_BIND, unix.MS_REMOUNT
	for _, tc := range []struct {
		name                        string
		source, target, fstype, opt string
		want                        []call
	}{
		{"plain", "tmpfs", "/t", "tmpfs", "nosuid,size=1m",
			[]call{{op: "mount", source: "tmpfs", target: "/t", fstype: "tmpfs", flags: unix.MS_NOSUID, data: "size=1m"}}},
		{"nameless source", "", "/t", "tmpfs", "",
			[]call{{op: "mount", source: "tmpfs", target: "/t", fstype: "tmpfs"}}},
		{"linuxkit's remount,private", "", "/t", "", "remount,private",
			[]call{{op: "change propagation of", target: "/t", flags: unix.MS_PRIVATE}}},
		{"propagation alone", "", "/", "", "rshared",
			[]call{{op: "change propagation of", target: "/", flags: unix.MS_SHARED | unix.MS_REC}}},
		{"bind", "/a", "/b", "bind", "bind",
			[]call{{op: "bind", source: "/a", target: "/b", flags: bind}}},
		{"bind by type only", "/a", "/b", "bind", "ro",
			[]call{{op: "bind", source: "/a", target: "/b", flags: bind},
				{op: "remount", target: "/b", flags: bind | remount | unix.MS_RDONLY, keep: true}}},
		{"rbind,rw,rprivate", "/a", "/b", "", "rbind,rw,rprivate",
			[]call{{op: "bind", source: "/a", target: "/b", flags: bind | unix.MS_REC},
				{op: "remount", target: "/b", flags: bind | remount, clear: unix.MS_RDONLY, keep: true},
				{op: "change propagation of", target: "/b", flags: unix.MS_PRIVATE | unix.MS_REC}}},
		{"remount,ro", "", "/", "", "remount,ro",
			[]call{{op: "remount", target: "/", flags: remount | unix.MS_RDONLY, keep: true}}},
		{"remount with data", "", "/t", "", "remount,size=2m",
			[]call{{op: "remount", target: "/t", flags: remount, keep: true, data: "size=2m"}}},
		{"overlay with propagation", "overlay", "/m", "overlay", "lowerdir=/l,private",
			[]call{{op: "mount", source: "overlay", target: "/m", fstype: "overlay", data: "lowerdir=/l"},
				{op: "change propagation of", target: "/m", flags: unix.MS_PRIVATE}}},
	} {
		got := calls(tc.source, tc.target, tc.fstype, parseOptions([]string{tc.opt}))
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tc.name, got, tc.want)
		}
	}
}

func TestErrorTellsAll(t *testing.T) {
	err := error(&Error{Op: "mount", Source: "/dev/sda1", Target: "/var", FSType: "ext4", Flags: 1, Data: "x", Err: unix.ENODEV})
	if !errors.Is(err, unix.ENODEV) {
		t.Error("does not unwrap to its errno")
	}
	for _, part := range []string{"ext4", "/dev/sda1", "/var", "0x1", `"x"`, "no such device"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
}

func TestTablesAreSound(t *testing.T) {
	seen := map[string]bool{}
	for _, item := range concat(Essential(), Core(), Cgroup2()) {
		if item.Why == "" {
			t.Errorf("%s: no reason given", item.Thing)
		}
		if seen[item.Thing.String()] {
			t.Errorf("%s: twice", item.Thing)
		}
		seen[item.Thing.String()] = true
		if m, ok := item.Thing.(FS); ok {
			for _, c := range calls(m.Source, m.Target, m.Type, parseOptions([]string{m.Options})) {
				if strings.Contains(c.data, "no") && c.data != "mode=755" {
					t.Errorf("%s: suspicious data %q", m, c.data)
				}
			}
		}
	}
}

func TestMissing(t *testing.T) {
	table := []Item{{Thing: FS{"p", "/proc", "proc", ""}}, {Thing: Dir{"/d", 0o755}}, {Thing: FS{"t", "/run", "tmpfs", ""}}}
	got := Missing(table, []*mountinfo.Info{
		{Mountpoint: "/proc", FSType: "proc"},
		{Mountpoint: "/run", FSType: "tmpfs"},
		{Mountpoint: "/run", FSType: "ext4"},
	})
	if len(got) != 2 || got[0].Thing != table[1].Thing || got[1].Thing != table[2].Thing {
		t.Errorf("left to do: %v", got)
	}
}

func TestCgroup1(t *testing.T) {
	names, err := enabledControllers(strings.NewReader("#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t1\t1\nrdma\t0\t1\t0\nmemory\t0\t1\t1\nbroken\n\n"))
	if err != nil || !reflect.DeepEqual(names, []string{"cpu", "memory"}) {
		t.Fatalf("controllers %v, %v", names, err)
	}
	var targets []string
	for _, item := range Cgroup1(names) {
		if m, ok := item.Thing.(FS); ok {
			targets = append(targets, strings.TrimPrefix(m.Target, cgroupRoot)+"="+m.Options[strings.LastIndexByte(m.Options, ',')+1:])
		}
	}
	want := []string{"=size=10m", "/cpu=cpu", "/memory=memory", "/systemd=name=systemd"}
	if !reflect.DeepEqual(targets, want) {
		t.Errorf("mounts %v, want %v", targets, want)
	}
}

func TestRootless(t *testing.T) {
	initramfs := &mountinfo.Info{ID: 1, Parent: 1, Mountpoint: "/", FSType: "rootfs"}
	disk := &mountinfo.Info{ID: 20, Parent: 1, Mountpoint: "/", FSType: "ext4"}
	proc := &mountinfo.Info{ID: 21, Parent: 1, Mountpoint: "/proc", FSType: "proc"}
	for _, tc := range []struct {
		name  string
		infos []*mountinfo.Info
		want  bool
	}{
		{"nothing known", nil, false},
		{"initramfs", []*mountinfo.Info{initramfs, proc}, true},
		{"disk", []*mountinfo.Info{disk}, false},
		{"already left", []*mountinfo.Info{initramfs, disk}, false},
	} {
		if got := rootless(tc.infos); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func TestLeavePlan(t *testing.T) {
	got := leavePlan([]*mountinfo.Info{
		{ID: 1, Parent: 1, Mountpoint: "/"},
		{ID: 20, Parent: 1, Mountpoint: "/proc"},
		{ID: 22, Parent: 20, Mountpoint: "/proc/sys/fs/binfmt_misc"},
		{ID: 21, Parent: 1, Mountpoint: "/dev"},
	}, "/run")
	var steps []string
	for _, c := range got {
		steps = append(steps, c.op+" "+c.source+" "+c.target)
	}
	want := []string{"bind / /run", "move /proc /run/proc", "move /dev /run/dev"}
	if !reflect.DeepEqual(steps, want) {
		t.Errorf("plan %v, want %v", steps, want)
	}
}

func TestUnmountPlan(t *testing.T) {
	const table = `1 1 0:2 / / rw - rootfs rootfs rw
20 1 0:2 / / ro shared:1 - rootfs rootfs rw
21 20 0:20 / /proc rw - proc proc rw
22 20 0:21 / /var rw - tmpfs tmpfs rw
23 22 8:1 / /var/lib/my\040disk rw - ext4 /dev/sda1 rw
24 23 0:30 / /var/lib/my\040disk/tmp rw - tmpfs tmpfs rw
25 23 8:2 / /var/lib/my\040disk rw - ext4 /dev/sda2 rw
26 20 0:4 net:[4026532000] /run/netns/a rw - nsfs nsfs rw
27 20 0:31 / /containers/services/a/rootfs rw - overlay overlay rw
28 27 0:32 / /containers/services/a/rootfs/dev rw - devtmpfs dev rw
`
	infos, err := mountinfo.GetMountsFromReader(strings.NewReader(table), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range UnmountPlan(infos) {
		got = append(got, s.Target+" "+s.FSType)
	}
	want := []string{
		"/containers/services/a/rootfs/dev devtmpfs",
		"/containers/services/a/rootfs overlay",
		"/run/netns/a nsfs",
		"/var/lib/my disk ext4", // sda2, on top
		"/var/lib/my disk/tmp tmpfs",
		"/var/lib/my disk ext4", // sda1
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("plan:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestUnmountPlanSurvivesNonsense(t *testing.T) {
	loop := []*mountinfo.Info{
		{ID: 2, Parent: 3, Mountpoint: "/a", FSType: "ext4"},
		{ID: 3, Parent: 2, Mountpoint: "/b", FSType: "ext4"},
		{ID: 5, Parent: 4, Mountpoint: "/c", FSType: "ext4"},
	}
	if got := UnmountPlan(loop); len(got) != 1 || got[0].Target != "/c" {
		t.Errorf("plan %v", got)
	}
}

func FuzzUnescape(f *testing.F) {
	f.Add(`a\040b\`)
	f.Add(`\777\12`)
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescape(s); len(got) > len(s) {
			t.Fatalf("%q grew to %q", s, got)
		}
	})
}
