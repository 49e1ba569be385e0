package supervisor

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"keelson/runtime/procfs"
	"keelson/services/control"
)

func TestProcessesIn(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"pods": "1000001\n1000002\n", "pods/own": "1000003\n", "pods/x": "1000004\n", "pods/x/deep": "1000005\n", "podsy": "1000006\n",
	} {
		put(t, filepath.Join(root, path, "cgroup.procs"), text)
	}
	for _, tt := range []struct {
		spare []string
		want  []int
	}{
		{nil, []int{1000001, 1000002, 1000003, 1000004, 1000005}},
		{[]string{"/pods", "/podsy", "/"}, []int{1000001, 1000002, 1000003, 1000004, 1000005}},
		{[]string{"/pods/x"}, []int{1000001, 1000002, 1000003}},
		{[]string{"/pods/x/deep"}, []int{1000001, 1000002, 1000003, 1000004}},
	} {
		c := cgroup{root: root, path: "/pods"}
		got := processesIn(c.dir(), c.nested(tt.spare))
		if slices.Sort(got); !slices.Equal(got, tt.want) {
			t.Errorf("without %v: %v, want %v", tt.spare, got, tt.want)
		}
	}
}

func TestSharedCgroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(path string) string { return `},"linux":{"cgroupsPath":"` + path + `"` }
		r := newRig(t, newFake(), map[string]string{"a": at("/p"), "b": at("/p/b"), "c": at("/p/"), "d": ""})
		defer r.stop()
		for _, name := range []string{"a", "b", "d"} {
			r.is(t, name, "running", 0)
		}
		v := r.is(t, "c", "failed", 0)
		if want := "failed: services a and c share the cgroup /p: set another cgroupsPath for one of them"; v.Error != want {
			t.Errorf("reason %q", v.Error)
		}
	})
}

// Bundles that change after the boot are held to the same.
func TestCgroupsOfChangedBundles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(path string) string { return `},"linux":{"cgroupsPath":"` + path + `"` }
		r := newRig(t, newFake(), map[string]string{"a": at("/p"), "b": "", "c": brokenBundle})
		defer r.stop()
		change := func(name, path string) {
			config := `{"process":{"args":["x"]},"root":{"path":"rootfs"},"annotations":{` + at(path) + `}}`
			put(t, filepath.Join(r.options.Dir, name, "config.json"), config)
		}
		for _, step := range []struct{ verb, name, path, reason string }{
			{control.Restart, "b", "/p", "failed: services a and b share the cgroup /p: set another cgroupsPath for one of them"},
			{control.Start, "c", "/p", "failed: services a and c share the cgroup /p: set another cgroupsPath for one of them"},
			{control.Start, "b", "/p/b", "failed: its cgroup /p/b lies in that of service a, which was started without one in it: restart a, then start b"},
			{control.Restart, "a", "/p", ""},
			{control.Start, "b", "/p/b", ""},
			{control.Restart, "a", "/q", ""},
			{control.Start, "c", "/p", ""},
		} {
			change(step.name, step.path)
			answer := r.Control(t.Context(), control.Request{Verb: step.verb, Names: []string{step.name}})
			if v := r.Control(t.Context(), control.Request{Verb: control.List, Names: []string{step.name}}).Services[0]; v.Error != step.reason {
				t.Errorf("%+v: %q (%+v)", step, v.Error, answer)
			}
		}
	})
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFindCgroup(t *testing.T) {
	for _, tt := range []struct {
		cgroups, own string
		want         cgroup
	}{
		{"0::/web\n", "0::/\n", cgroup{"/sys/fs/cgroup", "/web", false}},
		{"0::/web/keelson.own\n", "0::/\n", cgroup{"/sys/fs/cgroup", "/web", true}},
		{"0::/web\n", "0::/web/below\n", cgroup{}},
		{"0::/web\n", "0::/webby\n", cgroup{"/sys/fs/cgroup", "/web", false}},
		{"0::/\n", "0::/\n", cgroup{}},
		{"5:cpu,cpuacct:/a\n4:pids:/b\n0::/\n", "5:cpu,cpuacct:/\n4:pids:/\n0::/\n", cgroup{"/sys/fs/cgroup/pids", "/b", false}},
		{"4:pids:/b\n0::/c\n", "4:pids:/b\n0::/\n", cgroup{"/sys/fs/cgroup", "/c", false}},
		{"", "", cgroup{}},
	} {
		if got := findCgroup(procfs.ParseCgroup(tt.cgroups), procfs.ParseCgroup(tt.own)); got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.cgroups, got, tt.want)
		}
	}
}
